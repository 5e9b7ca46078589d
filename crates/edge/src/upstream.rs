//! SIP servers behind this one: where they are, and whether they answer.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use config::{Name, Unregister};
use smallvec::SmallVec;

use crate::{Bound, ask::ask_whether_there, hop::Hop, metrics::Count, shared::Shared};

/// Probes in a row that must go unanswered before a target is passed over.
const FAILURES: u64 = 2;

/// How long a probe waits for its answer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(4);

/// Several servers that do the same.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) name: Name,
    pub(crate) unregister: Unregister,
    probe: Option<Duration>,
    /// The number of the UDP listener that they are spoken to by.
    listener: u8,
    /// Most wanted first; never empty.
    targets: Vec<Target>,
}

/// One server.
#[derive(Debug)]
struct Target {
    address: SocketAddr,
    /// Passed over while others are there.
    down: AtomicBool,
    /// Probes in a row without an answer.
    unanswered: AtomicU64,
    failures: AtomicU64,
}

/// How a server of an upstream is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamView {
    /// The upstream's name.
    pub upstream: String,
    /// Where the server is.
    pub target: SocketAddr,
    /// Whether it answers, as far as is known.
    pub health: Health,
    /// Requests and probes that it did not answer, or answered 503.
    pub failures: u64,
}

/// Whether a server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It does, as far as is known.
    Up,
    /// It is passed over while another is up.
    Down,
}

impl Health {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// All upstreams.
#[derive(Debug, Default)]
pub(crate) struct Upstreams(Vec<Upstream>);

/// Which of the upstreams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Number(usize);

impl Upstreams {
    pub(crate) fn new(upstreams: &[config::Upstream], listeners: &[Bound]) -> Self {
        let one = |upstream: &config::Upstream| Upstream {
            name: upstream.name.clone(),
            unregister: upstream.unregister,
            probe: upstream.probe,
            // The configuration names no other than a listener of its own.
            listener: (0..)
                .zip(listeners)
                .find(|(_, bound)| bound.name == upstream.listener.as_str())
                .map_or(0, |(number, _)| number),
            targets: upstream.targets.iter().map(|target| Target::new(target.0)).collect(),
        };
        Self(upstreams.iter().map(one).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn find(&self, name: &Name) -> Option<Number> {
        self.0.iter().position(|upstream| upstream.name == *name).map(Number)
    }

    pub(crate) fn get(&self, number: Number) -> Option<&Upstream> {
        self.0.get(number.0)
    }

    /// Whether a hop leads to a server of ours. Its port counts too: others may share its host; and so does the listener that
    /// it is spoken to by: whoever reaches another could write its address on datagrams.
    pub(crate) fn knows(&self, hop: Hop) -> bool {
        let Hop::Udp { listener, remote } = hop else { return false };
        let here = self.0.iter().filter(|upstream| upstream.listener == listener);
        here.flat_map(|upstream| &upstream.targets).any(|target| target.address == remote)
    }

    /// The way to a server of ours by its address, for a route that names it.
    pub(crate) fn at(&self, address: SocketAddr) -> Option<Hop> {
        let upstream =
            self.0.iter().find(|upstream| upstream.targets.iter().any(|t| t.address == address))?;
        Some(Hop::Udp { listener: upstream.listener, remote: address })
    }

    /// A target did not answer a request, or answered 503: it is passed over until it answers a probe.
    pub(crate) fn failed(&self, hop: Hop) {
        let Hop::Udp { listener, remote } = hop else { return };
        for upstream in self.0.iter().filter(|upstream| upstream.listener == listener) {
            for target in upstream.targets.iter().filter(|target| target.address == remote) {
                target.failures.fetch_add(1, Ordering::Relaxed);
                // Without probes nobody would find out that it is back.
                if upstream.probe.is_some() {
                    upstream.turn(target, Health::Down);
                }
            }
        }
    }

    pub(crate) fn views(&self) -> impl Iterator<Item = UpstreamView> {
        self.0.iter().flat_map(|upstream| {
            upstream.targets.iter().map(|target| UpstreamView {
                upstream: upstream.name.as_str().to_owned(),
                target: target.address,
                health: target.health(),
                failures: target.failures.load(Ordering::Relaxed),
            })
        })
    }
}

impl Upstream {
    /// Ways to it, those that are up before those that are down, each in the order of the configuration.
    pub(crate) fn hops(&self) -> SmallVec<[Hop; 2]> {
        let with = |health| {
            let targets = self.targets.iter().filter(move |target| target.health() == health);
            targets.map(|target| Hop::Udp { listener: self.listener, remote: target.address })
        };
        with(Health::Up).chain(with(Health::Down)).collect()
    }

    /// What it is asked comes from.
    pub(crate) fn listener<'a>(&self, shared: &'a Shared) -> Option<&'a Bound> {
        shared.listeners.get(usize::from(self.listener))
    }

    fn turn(&self, target: &Target, health: Health) {
        let down = health == Health::Down;
        if target.down.swap(down, Ordering::Relaxed) != down {
            let (upstream, target) = (self.name.as_str(), target.address);
            match health {
                Health::Up => tracing::info!(upstream, %target, "a server answers again"),
                Health::Down => {
                    tracing::warn!(upstream, %target, "a server does not answer: it is passed over until it does");
                }
            }
        }
    }
}

impl Target {
    fn new(address: SocketAddr) -> Self {
        Self {
            address,
            down: AtomicBool::new(false),
            unanswered: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }
    }

    fn health(&self) -> Health {
        if self.down.load(Ordering::Relaxed) { Health::Down } else { Health::Up }
    }
}

/// Asks every server of an upstream again and again whether it is there.
pub(crate) async fn probe(shared: Arc<Shared>, number: usize) {
    let Some(upstream) = shared.upstreams.get(Number(number)) else { return };
    let (Some(every), Some(bound)) = (upstream.probe, upstream.listener(&shared)) else { return };
    loop {
        for target in &upstream.targets {
            let from = (bound.local.ip(), &bound.host);
            match ask_whether_there(from, target.address, PROBE_TIMEOUT).await {
                // Whatever it answers, it is there; but for 503 it says itself that it is not to be used.
                Ok(status) if status != 503 => {
                    target.unanswered.store(0, Ordering::Relaxed);
                    upstream.turn(target, Health::Up);
                }
                _ => {
                    shared.metrics.add(Count::ProbesFailed);
                    target.failures.fetch_add(1, Ordering::Relaxed);
                    if target.unanswered.fetch_add(1, Ordering::Relaxed) + 1 >= FAILURES {
                        upstream.turn(target, Health::Down);
                    }
                }
            }
        }
        tokio::time::sleep(every).await;
    }
}
