//! SIP servers behind this one: where they are, and whether they answer.

use std::{
    collections::HashSet,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use config::{Listener, Name, Unregister, UpstreamTransport};
use lifecycle::{FlowFacts, Transport};
use rustls_pki_types::ServerName;
use smallvec::SmallVec;
use targets::{Preference, Standing, Turned, order};
use transport::{
    certificate::{CertificateError, Fitting},
    trust::{self, ClientTls, Roots},
};

use crate::{
    StartError,
    ask::{Ask, ask},
    hop::{FlowNumber, Hop, Proves},
    metrics::Count,
    shared::Shared,
};

/// How long a probe waits for its answer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(4);

/// A request larger than this may not go by UDP where there is TCP (RFC 3261 §18.1.1), bytes.
const LARGEST_DATAGRAM: usize = 1300;

/// What a request grows by on its way through: a Via, two Record-Routes or a Path. Rather too much.
const GROWTH: usize = 350;

/// Several servers that do the same.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) name: Name,
    pub(crate) unregister: Unregister,
    probe: Option<Duration>,
    timeout: Duration,
    /// Never empty.
    targets: Vec<Target>,
}

/// One server.
#[derive(Debug)]
struct Target {
    address: SocketAddr,
    transport: UpstreamTransport,
    way: Way,
    /// What is too large for `way` goes by this.
    large: Option<Way>,
    preference: Preference,
    failures: AtomicU64,
}

/// One way to a server, and how it stands.
#[derive(Debug)]
struct Way {
    hop: Hop,
    standing: Mutex<Standing>,
}

/// How a server of an upstream is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamView {
    /// The upstream's name.
    pub upstream: String,
    /// Where the server is.
    pub target: SocketAddr,
    /// How it is spoken to.
    pub transport: &'static str,
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
    /// It failed a request a moment ago: others are asked first.
    Resting,
    /// It does not answer probes: others are asked first until it does.
    Down,
}

impl Health {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Resting => "resting",
            Self::Down => "down",
        }
    }
}

/// All upstreams.
#[derive(Debug, Default)]
pub(crate) struct Upstreams {
    all: Vec<Upstream>,
    /// Who servers over TLS must prove to be, by [`Proves`] from 1.
    proofs: Vec<(ClientTls, ServerName<'static>)>,
    /// Flows that servers opened.
    connections: RwLock<HashSet<FlowNumber>>,
    /// As many.
    connected: AtomicUsize,
}

/// Which of the upstreams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Number(usize);

impl Upstreams {
    /// # Errors
    /// Certificates that cannot be used.
    pub(crate) fn new(upstreams: &[config::Upstream], listeners: &[Listener]) -> Result<Self, StartError> {
        let mut made = Self::default();
        for upstream in upstreams {
            let wrong =
                |error| StartError::UpstreamTls { upstream: upstream.name.as_str().to_owned(), error };
            let mut tls = None;
            let mut targets = Vec::with_capacity(upstream.targets.len());
            for target in &upstream.targets {
                let (address, transport) = (target.address, target.usual());
                let listener = |transport| {
                    // Numbers of listeners are checked when they are bound.
                    let place = upstream.spoken_to_by(listeners, transport, address.ip())?;
                    u8::try_from(place).ok()
                };
                let proves = match transport {
                    UpstreamTransport::Udp | UpstreamTransport::Tcp => Proves::NOTHING,
                    UpstreamTransport::Tls => {
                        let config = match &tls {
                            Some(config) => Arc::clone(config),
                            None => Arc::clone(tls.insert(client_tls(upstream).map_err(wrong)?)),
                        };
                        made.proofs.push((config, server_name(target)));
                        let number = u8::try_from(made.proofs.len());
                        Proves(number.map_err(|_| StartError::TooManyTlsTargets { most: u8::MAX.into() })?)
                    }
                };
                let way = |transport, proves| {
                    let listener = listener(transport)?;
                    Some(Way::new(match transport {
                        UpstreamTransport::Udp => Hop::Udp { listener, remote: address },
                        UpstreamTransport::Tcp | UpstreamTransport::Tls => {
                            Hop::Peer { listener, proves, remote: address }
                        }
                    }))
                };
                // The configuration has no target that nobody could speak to.
                let Some(usual) = way(transport, proves) else { continue };
                targets.push(Target {
                    address,
                    transport,
                    way: usual,
                    large: match target.transport {
                        None => way(UpstreamTransport::Tcp, Proves::NOTHING),
                        Some(_) => None,
                    },
                    preference: Preference { priority: target.priority, weight: target.weight },
                    failures: AtomicU64::new(0),
                });
            }
            made.all.push(Upstream {
                name: upstream.name.clone(),
                unregister: upstream.unregister,
                probe: upstream.probe,
                timeout: upstream.timeout,
                targets,
            });
        }
        Ok(made)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(crate) fn find(&self, name: &Name) -> Option<Number> {
        self.all.iter().position(|upstream| upstream.name == *name).map(Number)
    }

    pub(crate) fn get(&self, number: Number) -> Option<&Upstream> {
        self.all.get(number.0)
    }

    fn targets(&self) -> impl Iterator<Item = (&Upstream, &Target)> {
        self.all.iter().flat_map(|upstream| upstream.targets.iter().map(move |target| (upstream, target)))
    }

    /// The server that a hop leads to. Its port counts too: others may share its host; and so does the listener that it is spoken to
    /// by: whoever reaches another could write its address on datagrams.
    fn server(&self, hop: Hop) -> Option<(&Upstream, &Target)> {
        self.targets().find(|(_, target)| target.ways().any(|way| way.hop == hop))
    }

    /// Whether a hop leads to a server of ours.
    pub(crate) fn knows(&self, hop: Hop) -> bool {
        match hop {
            Hop::Flow(number) => {
                self.connected.load(Ordering::Acquire) > 0 && self.connections().contains(&number)
            }
            Hop::Udp { .. } | Hop::Peer { .. } => self.server(hop).is_some(),
        }
    }

    /// A flow was opened to us. A server that does so by itself comes from any port, so it is known by its address; but what
    /// comes from the address that it comes to may be anyone on this machine, and what comes by way of a proxy anyone at all.
    pub(crate) fn connected(&self, number: FlowNumber, facts: &FlowFacts) {
        let from = facts.remote.ip().to_canonical();
        if from == facts.local.ip().to_canonical() || facts.forwarded.is_some() {
            return;
        }
        let fits = |target: &Target| {
            let speaks = match facts.transport {
                Transport::Tcp => target.transport != UpstreamTransport::Tls,
                Transport::Tls => target.transport == UpstreamTransport::Tls,
                Transport::Ws | Transport::Wss | Transport::Udp => false,
            };
            speaks && target.address.ip() == from
        };
        if self.targets().any(|(_, target)| fits(target)) {
            let mut connections = self.connections.write().unwrap_or_else(PoisonError::into_inner);
            connections.insert(number);
            self.connected.store(connections.len(), Ordering::Release);
        }
    }

    /// A flow that was opened to us is over.
    pub(crate) fn disconnected(&self, number: FlowNumber) {
        if self.connected.load(Ordering::Acquire) > 0 {
            let mut connections = self.connections.write().unwrap_or_else(PoisonError::into_inner);
            connections.remove(&number);
            self.connected.store(connections.len(), Ordering::Release);
        }
    }

    fn connections(&self) -> std::sync::RwLockReadGuard<'_, HashSet<FlowNumber>> {
        // Nothing can panic under this lock.
        self.connections.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The way to a server of ours by its address, for a route that names it.
    pub(crate) fn at(&self, address: SocketAddr) -> Option<Hop> {
        self.targets().find(|(_, target)| target.address == address).map(|(_, target)| target.way.hop)
    }

    /// How long a hop may give no sign of life before another way is tried.
    pub(crate) fn timeout(&self, hop: Hop) -> Option<Duration> {
        self.server(hop).map(|(upstream, _)| upstream.timeout)
    }

    /// TLS for a connection, and whom its peer must prove to be.
    pub(crate) fn tls(&self, proves: Proves) -> Option<(ClientTls, ServerName<'static>)> {
        self.proofs.get(usize::from(proves.0).checked_sub(1)?).cloned()
    }

    /// A server did not answer a request in time, answered 503, or could not be connected to.
    pub(crate) fn failed(&self, hop: Hop) {
        let Some((upstream, target)) = self.server(hop) else { return };
        target.failures.fetch_add(1, Ordering::Relaxed);
        if let Some(way) = target.ways().find(|way| way.hop == hop) {
            way.change(|standing| standing.failed(Instant::now()));
        }
        let (upstream, target) = (upstream.name.as_str(), target.address);
        tracing::debug!(upstream, %target, ?hop, "a server failed a request");
    }

    pub(crate) fn views(&self) -> impl Iterator<Item = UpstreamView> {
        self.targets().map(|(upstream, target)| UpstreamView {
            upstream: upstream.name.as_str().to_owned(),
            target: target.address,
            transport: target.transport.as_str(),
            health: target.way.health(),
            failures: target.failures.load(Ordering::Relaxed),
        })
    }
}

/// TLS for connections to the servers of an upstream.
pub(crate) fn client_tls(upstream: &config::Upstream) -> Result<ClientTls, CertificateError> {
    let roots = upstream.ca.as_ref().map_or(Roots::System, |ca| Roots::Only(ca.to_vec()));
    let own = upstream.identity.as_ref().map(|files| Fitting::new(&files.chain, &files.key)).transpose()?;
    trust::client(roots, own)
}

/// Whom a server over TLS must prove to be.
pub(crate) fn server_name(target: &config::UpstreamTarget) -> ServerName<'static> {
    ServerName::IpAddress(target.address.ip().into())
}

impl Upstream {
    /// Whether a hop leads to one of its servers.
    pub(crate) fn has(&self, hop: Hop) -> bool {
        self.targets.iter().any(|target| target.ways().any(|way| way.hop == hop))
    }

    /// Ways to it for a request of so many bytes: those that are wanted before those that are not, each by priority and weight.
    pub(crate) fn hops(&self, length: usize) -> SmallVec<[Hop; 2]> {
        let now = Instant::now();
        let large = length + GROWTH > LARGEST_DATAGRAM;
        let preferences: SmallVec<[Preference; 4]> =
            self.targets.iter().map(|target| target.preference).collect();
        let order = match preferences.len() {
            1 => vec![0],
            _ => order(&preferences, |below| rand::random_range(0..below)),
        };
        let mut hops = SmallVec::new();
        for wanted in [true, false] {
            for target in order.iter().filter_map(|&at| self.targets.get(at)) {
                if target.way.is_wanted(now) == wanted {
                    // What refused it lately is spared a large request.
                    let by_stream = target.large.as_ref().filter(|way| large && way.is_wanted(now));
                    hops.extend(by_stream.map(|way| way.hop));
                    hops.push(target.way.hop);
                }
            }
        }
        hops
    }

    fn turned(&self, target: &Target, turned: Turned) {
        let (upstream, target) = (self.name.as_str(), target.address);
        match turned {
            Turned::Nothing => {}
            Turned::Up => tracing::info!(upstream, %target, "a server answers again"),
            Turned::Down => {
                tracing::warn!(upstream, %target, "a server does not answer: it is passed over until it does");
            }
        }
    }
}

impl Target {
    fn ways(&self) -> impl Iterator<Item = &Way> {
        std::iter::once(&self.way).chain(&self.large)
    }
}

impl Way {
    fn new(hop: Hop) -> Self {
        Self { hop, standing: Mutex::default() }
    }

    fn change<T>(&self, act: impl FnOnce(&mut Standing) -> T) -> T {
        // Nothing can panic under this lock.
        act(&mut self.standing.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn is_wanted(&self, now: Instant) -> bool {
        self.change(|standing| standing.is_wanted(now))
    }

    fn health(&self) -> Health {
        let now = Instant::now();
        self.change(|standing| {
            if standing.is_down() {
                Health::Down
            } else if standing.is_wanted(now) {
                Health::Up
            } else {
                Health::Resting
            }
        })
    }
}

/// Asks every server of an upstream again and again whether it is there, by the way that requests go.
pub(crate) async fn probe(shared: Arc<Shared>, number: usize) {
    let Some(upstream) = shared.upstreams.get(Number(number)) else { return };
    let Some(every) = upstream.probe else { return };
    loop {
        for target in &upstream.targets {
            let options = Ask::options(target.address);
            let turned = match ask(&shared, target.way.hop, &options, PROBE_TIMEOUT).await {
                // Whatever it answers, it is there; but for 503 it says itself that it is not to be used.
                Some(status) if status != 503 => target.way.change(Standing::answered),
                _ => {
                    shared.metrics.add(Count::ProbesFailed);
                    target.failures.fetch_add(1, Ordering::Relaxed);
                    target.way.change(Standing::unanswered)
                }
            };
            upstream.turned(target, turned);
        }
        tokio::time::sleep(every).await;
    }
}

/// Whether an address is of the family of another.
pub(crate) fn same_family(one: IpAddr, other: IpAddr) -> bool {
    one.is_ipv4() == other.is_ipv4()
}
