//! `sipway`: the commands.
#![forbid(unsafe_code)]

mod check;
mod command;
mod dev;
mod events;
mod logs;
mod outcome;
mod run;
mod serve;

use std::process::ExitCode;

use clap::Parser as _;

use command::{Command, Sipway};

fn main() -> ExitCode {
    let outcome = match Sipway::parse().command {
        Command::Dev(dev) => dev::run(dev),
        Command::Run(run) => run::run(&run),
        Command::Check(check) => check::run(&check),
        Command::Events(events) => events::run(&events),
    };
    outcome.report()
}
