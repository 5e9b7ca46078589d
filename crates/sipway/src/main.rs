//! `sipway`: the commands.
#![forbid(unsafe_code)]
// They panic once nobody reads: `say!` and `complain!` do not.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod admin_place;
mod audit;
mod bans;
mod certificates;
mod check;
mod command;
mod dev;
mod drain;
mod events;
mod flows;
mod init;
mod ledger_place;
mod logs;
mod now;
mod outcome;
mod own_address;
mod prove;
mod reverse_reader;
mod run;
mod schema;
mod serve;
mod speech;
mod systemd;
mod version;
mod why;

use std::process::ExitCode;

use clap::Parser as _;

use command::{Command, Sipway};

fn main() -> ExitCode {
    let outcome = match Sipway::parse().command {
        Command::Dev(dev) => dev::run(dev),
        Command::Init(init) => init::run(&init),
        Command::Run(run) => run::run(&run),
        Command::Check(check) => check::run(&check),
        Command::Events(events) => events::run(&events),
        Command::Why(why) => why::run(&why),
        Command::Audit(audit) => audit::run(&audit),
        Command::Flows(flows) => flows::run(&flows),
        Command::Bans(bans) => bans::run(&bans),
        Command::Drain(drain) => drain::run(&drain),
        Command::Schema(schema) => schema::run(&schema),
        Command::Prove(prove) => prove::run(&prove),
    };
    outcome.report()
}
