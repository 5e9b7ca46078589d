//! `sipway check`: mistakes in a configuration file, all at once; and whether the servers behind are there.

use std::time::Duration;

use config::{Config, Machine};
use tokio::task::JoinSet;

use crate::{
    command::Check,
    outcome::{Outcome, warn},
    speech::say,
};

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(4);

pub(crate) fn run(check: &Check) -> Outcome {
    let config = match Config::load(&check.config, &Machine) {
        Ok(config) => config,
        Err(errors) => return Outcome::Misconfigured(errors),
    };
    warn(config.warnings());
    say!("{}: no errors", check.config.display());
    if check.offline || config.upstreams.is_empty() {
        return Outcome::Done;
    }
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(ask_servers(&config)),
        Err(error) => Outcome::failed(error),
    }
}

/// Asks every server of every upstream by OPTIONS, all at once.
async fn ask_servers(config: &Config) -> Outcome {
    let mut asked = JoinSet::new();
    for upstream in &config.upstreams {
        let Some(listener) = config.listeners.iter().find(|listener| listener.name == upstream.listener)
        else {
            continue;
        };
        for target in &upstream.targets {
            let (name, server) = (upstream.name.clone(), target.0);
            let (local, host) = (listener.bind.ip(), listener.advertise.host.clone());
            asked.spawn(async move {
                let answer = edge::ask_whether_there((local, &host), server, PATIENCE).await;
                (name, server, answer)
            });
        }
    }
    let mut silent = 0;
    while let Some(asked) = asked.join_next().await {
        let Ok((name, server, answer)) = asked else { continue };
        let name = name.as_str();
        match answer {
            Ok(503) => {
                silent += 1;
                say!("upstream {name}: {server} answers 503: it is not to be used now");
            }
            Ok(status) => say!("upstream {name}: {server} answers ({status})"),
            Err(error) => {
                silent += 1;
                say!("upstream {name}: {server} does not answer OPTIONS over UDP: {error}");
            }
        }
    }
    match silent {
        0 => Outcome::Done,
        1 => Outcome::failed("one server behind is not there; --offline does not ask"),
        many => Outcome::failed(format!("{many} servers behind are not there; --offline does not ask")),
    }
}
