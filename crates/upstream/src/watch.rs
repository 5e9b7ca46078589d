//! Watches the servers of an upstream: whether they answer, and where they are now.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use hickory_resolver::TokioResolver;
use targets::{HealthChange, ServerState};
use tokio::{sync::watch, time::Instant};

use metrics::{Count, Metrics};

use crate::{
    hop::Hop,
    resolve::resolve,
    upstream::{Number, Upstreams, spoken},
};

/// How long a probe waits for its answer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(4);

/// How long after a name could not be looked up it is tried again.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Asks every server of an upstream again and again whether it is there. `ask` sends a request by the way
/// that requests go, and gives the status of the final answer; none if none came within the time.
pub async fn probe<F: Future<Output = Option<u16>>>(
    upstreams: Arc<Upstreams>,
    number: Number,
    metrics: Arc<Metrics>,
    ask: impl Fn(Hop, SocketAddr, Duration) -> F,
) {
    let Some(upstream) = upstreams.get(number) else { return };
    let Some(every) = upstream.probe else { return };
    loop {
        for server in upstream.servers().iter() {
            let turned = match ask(server.way.hop, server.address, PROBE_TIMEOUT).await {
                // Whatever it answers, it is there; but for 503 it says itself that it is not to be used.
                Some(status) if status != 503 => server.way.change(ServerState::record_answer),
                failed => {
                    metrics.add(Count::ProbesFailed);
                    server.failures.fetch_add(1, Ordering::Relaxed);
                    server.way.change(|state| match failed {
                        // Nobody took it: that is known already.
                        Some(_) if state.is_unreachable() => HealthChange::Nothing,
                        Some(_) => state.record_refused_probe(),
                        None => state.record_silent_probe(std::time::Instant::now()),
                    })
                }
            };
            upstream.turned(server, turned);
        }
        tokio::time::sleep(every).await;
    }
}

/// How long connections and datagrams wait at the start for the first answers of DNS.
const FIRST_LOOK_UP: Duration = Duration::from_secs(2);

/// Ends once every name of a server has been looked up, with whatever success, or that has taken too long.
#[derive(Clone, Debug)]
pub struct LookedUp {
    /// Ends with the last [`LookingUp`].
    first: watch::Receiver<()>,
    until: Instant,
}

/// A name that has not been looked up yet. Dropped once it has.
#[derive(Clone, Debug)]
pub struct LookingUp(#[expect(dead_code, reason = "held until it is dropped")] watch::Sender<()>);

impl LookedUp {
    /// What to wait for, and what each name holds meanwhile.
    pub fn new() -> (LookingUp, Self) {
        let (sender, first) = watch::channel(());
        (LookingUp(sender), Self { first, until: Instant::now() + FIRST_LOOK_UP })
    }

    /// Waits.
    pub async fn wait(mut self) {
        // Nothing is ever sent.
        let _ = tokio::time::timeout_at(self.until, self.first.changed()).await;
    }
}

/// Looks a target's name up, again and again, as soon as what was answered has run out. What DNS does not
/// answer leaves what is known as it is.
pub async fn look_up(
    (upstreams, metrics): (Arc<Upstreams>, Arc<Metrics>),
    resolver: TokioResolver,
    (number, entry): (Number, usize),
    looking_up: LookingUp,
) {
    let mut looking_up = Some(looking_up);
    let Some(upstream) = upstreams.get(number) else { return };
    let Some(place) = upstream.entries.get(entry).and_then(|entry| entry.place.as_ref()) else { return };
    let spoken = spoken(&upstream.listeners);
    let name = upstream.name.as_str();
    let mut last = None;
    loop {
        let pause = match resolve(&resolver, place, &spoken).await {
            Ok((found, lasts)) => {
                upstream.learn(entry, &found);
                if last.replace(found.len()).is_none() {
                    tracing::info!(
                        upstream = name,
                        host = place.host,
                        servers = found.len(),
                        "a name resolves to servers"
                    );
                }
                lasts
            }
            Err(error) => {
                metrics.add(Count::LookUpsFailed);
                last = None;
                tracing::warn!(upstream = name, host = place.host, %error, "a name cannot be resolved; the known servers stay in use");
                LOOK_AGAIN
            }
        };
        drop(looking_up.take());
        tokio::time::sleep(pause).await;
    }
}
