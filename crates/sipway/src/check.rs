//! `sipway check`: mistakes in a configuration file, all at once; what is wrong with users, keys and certificates; and whether the
//! servers behind and the logins are there.

use std::{sync::Arc, time::Duration};

use config::{Config, Host, Machine, WebhookUrl};
use edge::{ServerPlace, UsersFound};
use tokio::task::JoinSet;

use crate::{
    certificates,
    command::Check,
    outcome::{Outcome, warn},
    own_address::is_here,
    speech::say,
};

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(4);

pub(crate) fn run(check: &Check) -> Outcome {
    let config = match Config::load(&check.config, &Machine) {
        Ok(config) => Arc::new(config),
        Err(errors) => return Outcome::Misconfigured(errors),
    };
    warn(config.warnings());
    say!("{}: no errors", check.config.display());
    if let Err(clash) = look_at_targets(&config) {
        return Outcome::failed(clash);
    }
    let remote = match look_at_users(&config) {
        Ok(remote) => remote,
        Err(error) => return Outcome::failed(error),
    };
    match certificates::check(&config) {
        Outcome::Done => {}
        other => return other,
    }
    if check.offline || (config.upstreams.is_empty() && remote.is_empty()) {
        return Outcome::Done;
    }
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(async {
            match ask_logins(&remote).await {
                Outcome::Done => ask_servers(&config).await,
                other => other,
            }
        }),
        Err(error) => Outcome::failed(error),
    }
}

/// Looks whether a target of an upstream is a listener of this server, which may be at all addresses of this machine.
///
/// # Errors
/// All that are.
fn look_at_targets(config: &Config) -> Result<(), String> {
    let mut wrong = Vec::new();
    for upstream in &config.upstreams {
        for target in &upstream.targets {
            if let Some(listener) = target.listener_in_its_place(&config.listeners, is_here) {
                wrong.push(format!(
                    "upstream {}: {} is an address of this machine, and the port is that of the listener `{}`: requests would come back here. \
                     Give the listener another port, or `bind` it to another address",
                    upstream.name,
                    target.host,
                    listener.name
                ));
            }
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

/// Reads users and keys as the server would; gives the addresses where keys are to be fetched from.
///
/// # Errors
/// All that would keep it from starting.
fn look_at_users(config: &Config) -> Result<Vec<(&Host, WebhookUrl)>, String> {
    let (mut remote, mut wrong) = (Vec::new(), Vec::new());
    for domain in &config.domains {
        let name = &domain.name;
        let found = match UsersFound::of(domain, &config.domains) {
            Ok(found) => found,
            Err(error) => {
                wrong.push(error.to_string());
                continue;
            }
        };
        match found {
            UsersFound::NotAsked => {}
            UsersFound::Users { count, remarks } => {
                say!("domain {name}: {count} users");
                for remark in remarks {
                    say!("domain {name}: {remark}");
                }
            }
            UsersFound::Keys(keys) => say!("domain {name}: tokens by {}", keys.join(", ")),
            UsersFound::Remote(url) => remote.push((name, url)),
        }
    }
    if wrong.is_empty() { Ok(remote) } else { Err(wrong.join("\n")) }
}

/// Fetches the keys of all logins.
async fn ask_logins(remote: &[(&Host, WebhookUrl)]) -> Outcome {
    for (domain, url) in remote {
        match edge::fetch_keys(url).await {
            Ok(keys) => say!("domain {domain}: tokens by {}", keys.names().collect::<Vec<_>>().join(", ")),
            Err(error) => {
                let text =
                    format!("domain {domain}: no token keys at {url}: {error}; --offline does not ask");
                return Outcome::failed(text);
            }
        }
    }
    Outcome::Done
}

/// Asks every server of every upstream by OPTIONS, all at once.
async fn ask_servers(config: &Arc<Config>) -> Outcome {
    let mut asked = JoinSet::new();
    for (number, upstream) in config.upstreams.iter().enumerate() {
        for target in upstream.targets.clone() {
            let config = Arc::clone(config);
            asked.spawn(async move {
                let upstream = &config.upstreams[number];
                match edge::find_servers(&config, upstream, &target).await {
                    Ok(places) => {
                        let mut answers = Vec::with_capacity(places.len());
                        for place in places {
                            let asking = edge::ask_whether_there(&config, upstream, &target, place, PATIENCE);
                            answers.push((place, asking.await));
                        }
                        (number, target, Ok(answers))
                    }
                    Err(error) => (number, target, Err(error)),
                }
            });
        }
    }
    let mut silent = 0;
    while let Some(asked) = asked.join_next().await {
        let Ok((number, target, answers)) = asked else { continue };
        let name = config.upstreams[number].name.as_str();
        let answers = answers.unwrap_or_else(|error| {
            silent += 1;
            say!("upstream {name}: {} cannot be looked up: {error}", target.host);
            Vec::new()
        });
        for (ServerPlace { transport, address }, answer) in answers {
            let transport = transport.as_str().to_uppercase();
            let server = match target.host {
                Host::Name(ref host) => format!("{host} at {address}"),
                Host::V4(_) | Host::V6(_) => address.to_string(),
            };
            match answer {
                Ok(503) => {
                    silent += 1;
                    say!("upstream {name}: {server} answers 503: it is not to be used now");
                }
                Ok(status) => say!("upstream {name}: {server} answers ({status})"),
                Err(error) => {
                    silent += 1;
                    say!("upstream {name}: {server} does not answer OPTIONS over {transport}: {error}");
                }
            }
        }
    }
    match silent {
        0 => Outcome::Done,
        1 => Outcome::failed("one server behind is not there; --offline does not ask"),
        many => Outcome::failed(format!("{many} servers behind are not there; --offline does not ask")),
    }
}
