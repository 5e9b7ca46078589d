//! Logins and servers behind: whether they answer.

use std::{sync::Arc, time::Duration};

use config::{Config, Host, WebhookUrl};
use tokio::task::JoinSet;
use upstream::ServerPlace;

use crate::speech::{complain, say};

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(4);

/// Asks all logins for their keys and all servers by OPTIONS; gives how many are not there.
pub(super) async fn ask(config: &Arc<Config>, logins: &[(&Host, WebhookUrl)]) -> u64 {
    let mut absent = 0;
    for (domain, url) in logins {
        match identity::fetch_keys(url).await {
            Ok(keys) => say!("domain {domain}: tokens by {}", keys.names().collect::<Vec<_>>().join(", ")),
            Err(error) => {
                absent += 1;
                complain!("domain {domain}: no token keys at {url}: {error}");
            }
        }
    }
    absent + ask_servers(config).await
}

/// All at once.
async fn ask_servers(config: &Arc<Config>) -> u64 {
    let mut asked = JoinSet::new();
    for (number, upstream) in config.upstreams.iter().enumerate() {
        for target in upstream.targets.clone() {
            let config = Arc::clone(config);
            asked.spawn(async move {
                let upstream = &config.upstreams[number];
                match upstream::find_servers(&config, upstream, &target).await {
                    Ok(places) => {
                        let mut answers = Vec::with_capacity(places.len());
                        for place in places {
                            let asking =
                                upstream::ask_whether_there(&config, upstream, &target, place, PATIENCE);
                            answers.push((place, asking.await));
                        }
                        (number, target, Ok(answers))
                    }
                    Err(error) => (number, target, Err(error)),
                }
            });
        }
    }
    let mut absent = 0;
    while let Some(asked) = asked.join_next().await {
        let Ok((number, target, answers)) = asked else { continue };
        let name = config.upstreams[number].name.as_str();
        let answers = answers.unwrap_or_else(|error| {
            absent += 1;
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
                    absent += 1;
                    say!("upstream {name}: {server} answers 503: it is not to be used now");
                }
                Ok(status) => say!("upstream {name}: {server} answers ({status})"),
                Err(error) => {
                    absent += 1;
                    say!("upstream {name}: {server} does not answer OPTIONS over {transport}: {error}");
                }
            }
        }
    }
    absent
}
