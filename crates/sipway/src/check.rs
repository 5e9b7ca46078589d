//! `sipway check`: what would keep a server with this configuration from its work. It tries as the server
//! would, and leaves everything as it is: a server that runs meanwhile notices nothing.

mod addresses;
mod directories;
mod servers;
mod users;

use std::{fmt::Display, sync::Arc};

use config::{Config, Machine};
use edge::{Severity, certificate_remarks};
use event_text::counted;

use crate::{
    command::Check,
    now::now,
    outcome::{Outcome, warn},
    own_address::is_here,
    speech::{complain, say},
};

pub(crate) fn run(check: &Check) -> Outcome {
    let config = match Config::load(&check.config, &Machine) {
        Ok(config) => Arc::new(config),
        Err(errors) => return Outcome::Misconfigured(errors),
    };
    warn(config.warnings());
    let mut findings = Findings { errors: 0, warnings: config.warnings().problems().len() as u64 };
    targets(&config, &mut findings);
    let remote = users::look(&config, &mut findings);
    certificates(&config, &mut findings);
    if check.offline {
        return findings.end(&check.config.display(), 0);
    }
    let running = directories::ledger(&config, &mut findings);
    directories::sinks(&config, &mut findings);
    addresses::look(&config, running, &mut findings);
    let mut absent = 0;
    if !(config.upstreams.is_empty() && remote.is_empty()) {
        match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => absent = runtime.block_on(servers::ask(&config, &remote)),
            Err(error) => return Outcome::failed(error),
        }
    }
    findings.end(&check.config.display(), absent)
}

/// What was found so far. Each finding is said at once.
struct Findings {
    errors: u64,
    warnings: u64,
}

impl Findings {
    /// It keeps the server from starting, or from something that the configuration asks for.
    fn error(&mut self, what: impl Display) {
        self.errors += 1;
        complain!("error: {what}");
    }

    /// The server does what it says, but that is seldom what is wanted.
    fn warning(&mut self, what: impl Display) {
        self.warnings += 1;
        complain!("warning: {what}");
    }

    fn end(self, file: &impl Display, absent: u64) -> Outcome {
        let Self { errors, warnings } = self;
        if errors > 0 {
            return Outcome::Refused(format!("{file}: {}", counted(errors, "error")));
        }
        if absent > 0 {
            let (servers, are) = (counted(absent, "server"), if absent == 1 { "is" } else { "are" });
            return Outcome::failed(format!("{servers} {are} not there; --offline does not ask"));
        }
        match warnings {
            0 => say!("{file}: no errors"),
            some => say!("{file}: no errors, {}", counted(some, "warning")),
        }
        Outcome::Done
    }
}

/// Looks whether a target of an upstream is a listener of this server, which may be at all addresses of this
/// machine.
fn targets(config: &Config, findings: &mut Findings) {
    for upstream in &config.upstreams {
        for target in &upstream.targets {
            if let Some(listener) = target.listener_in_its_place(&config.listeners, is_here) {
                findings.error(format_args!(
                    "upstream {}: {} is an address of this machine, and the port is that of the listener `{}`: requests would come back here. \
                     Give the listener another port, or `bind` it to another address",
                    upstream.name, target.host, listener.name
                ));
            }
        }
    }
}

fn certificates(config: &Config, findings: &mut Findings) {
    for remark in certificate_remarks(config, now() / 1_000_000) {
        match remark.severity() {
            Severity::Wrong => findings.error(remark),
            Severity::Doubtful => findings.warning(remark),
        }
    }
}
