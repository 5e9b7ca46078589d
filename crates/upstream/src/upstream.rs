//! SIP servers behind this one: where they are, and whether they answer.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use config::{HeaderName, Host, Listener, Name, Unregister, UpstreamTarget};
use rustls_pki_types::ServerName;
use smallvec::SmallVec;
use targets::{Health, Place, Preference, ServerState, Transport as Spoken, order};
use tls_settings::{
    certificate::{CertificateError, Fitting},
    trust::{self, ClientTls, Roots},
};

use crate::{
    UpstreamError,
    connections::Connections,
    hop::{ExpectedPeer, Hop},
    resolve::ResolvedServer,
    unregisters::Unregisters,
};

/// A request larger than this may not go by UDP where there is TCP (RFC 3261 §18.1.1), bytes.
const LARGEST_DATAGRAM: usize = 1300;

/// What a request grows by on its way through: a Via, two Record-Routes or a Path. Rather too much.
const GROWTH: usize = 350;

/// Several servers that do the same.
#[derive(Debug)]
pub struct Upstream {
    /// Its name.
    pub name: Name,
    /// When bindings are taken back from it.
    pub unregister: Unregister,
    /// The results of the un-REGISTERs that it got from us.
    pub unregisters: Unregisters,
    pub(crate) probe: Option<Duration>,
    pub(crate) timeout: Duration,
    /// Whether its registrar has shown that it knows flows (RFC 5626).
    pub(crate) outbound: AtomicBool,
    /// The configured targets; never empty.
    pub(crate) entries: Vec<Entry>,
    /// Where that is, as far as it is known.
    pub(crate) servers: RwLock<Servers>,
    /// The listeners that servers are spoken to by, by transport and whether it is IPv4.
    pub(crate) listeners: BTreeMap<(Spoken, bool), u8>,
}

pub(crate) type Servers = Arc<[Arc<Server>]>;

/// One target of the configuration.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) preference: Preference,
    /// The DNS query for it.
    pub(crate) place: Option<Place>,
    /// The transport that the configuration names.
    pub(crate) transport: Option<Spoken>,
    /// Whom its servers over TLS must prove to be.
    pub(crate) proves: ExpectedPeer,
}

/// One server.
#[derive(Debug)]
pub(crate) struct Server {
    /// The place of its target in the configuration.
    pub(crate) entry: usize,
    /// The name that its address is of.
    pub(crate) host: Option<Arc<str>>,
    pub(crate) address: SocketAddr,
    pub(crate) transport: Spoken,
    pub(crate) way: ServerHop,
    /// What is too large for `way` goes by this.
    pub(crate) large: Option<ServerHop>,
    /// Among the servers of its target.
    pub(crate) preference: Preference,
    pub(crate) failures: AtomicU64,
}

/// One way to a server, and how it stands.
#[derive(Debug)]
pub(crate) struct ServerHop {
    pub(crate) hop: Hop,
    pub(crate) state: Mutex<ServerState>,
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
    /// Un-REGISTERs of this server that the upstream, whichever server of it was asked, did not do.
    pub unregisters_failed: u64,
    /// The status of the last of these; none if no server answered it, or there was none.
    pub unregister_status: Option<u16>,
}

/// All upstreams.
#[derive(Debug, Default)]
pub struct Upstreams {
    pub(crate) all: Vec<Upstream>,
    /// Who servers over TLS must prove to be, by [`ExpectedPeer`] from 1.
    proofs: Vec<(ClientTls, ServerName<'static>)>,
    pub(crate) connections: Connections,
    /// The names of all `unregister_header`s.
    proofs_of_ours: Vec<HeaderName>,
}

/// Which of the upstreams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number(usize);

impl Upstreams {
    /// Makes them from the configuration.
    ///
    /// # Errors
    /// See [`UpstreamError`].
    pub fn new(upstreams: &[config::Upstream], listeners: &[Listener]) -> Result<Self, UpstreamError> {
        let mut made = Self::default();
        for upstream in upstreams {
            let wrong = |error| UpstreamError::Tls { upstream: upstream.name.as_str().to_owned(), error };
            let listeners = speaking(upstream, listeners);
            let mut tls = None;
            let mut entries = Vec::with_capacity(upstream.targets.len());
            for target in &upstream.targets {
                let by_tls = listeners.keys().any(|(transport, _)| *transport == Spoken::Tls)
                    && (target.transport == Some(Spoken::Tls) || target.address().is_none());
                let proves = if by_tls {
                    let config = match &tls {
                        Some(config) => Arc::clone(config),
                        None => Arc::clone(tls.insert(client_tls(upstream).map_err(wrong)?)),
                    };
                    made.proofs.extend(server_name(target).map(|name| (config, name)));
                    let number = u8::try_from(made.proofs.len());
                    ExpectedPeer(
                        number.map_err(|_| UpstreamError::TooManyTlsTargets { most: u8::MAX.into() })?,
                    )
                } else {
                    ExpectedPeer::NOTHING
                };
                entries.push(Entry {
                    preference: Preference { priority: target.priority.into(), weight: target.weight },
                    place: place(target),
                    transport: target.transport,
                    proves,
                });
            }
            let one = Upstream {
                name: upstream.name.clone(),
                unregister: upstream.unregister,
                unregisters: Unregisters::new(upstream.unregister_header.clone()),
                probe: upstream.probe,
                timeout: upstream.timeout,
                entries,
                outbound: AtomicBool::new(false),
                servers: RwLock::new(Arc::new([])),
                listeners,
            };
            for (entry, target) in upstream.targets.iter().enumerate() {
                if let Some(address) = target.address() {
                    let (transport, preference) = (target.usual(), Preference::ONLY);
                    let found = ResolvedServer { host: None, transport, address, preference };
                    one.learn(entry, &[found]);
                }
            }
            made.all.push(one);
            made.proofs_of_ours.extend(upstream.unregister_header.as_ref().map(|header| header.name.clone()));
        }
        Ok(made)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Each of them.
    pub fn numbers(&self) -> impl Iterator<Item = Number> + use<> {
        (0..self.all.len()).map(Number)
    }

    /// The one of this name.
    pub fn find(&self, name: &Name) -> Option<Number> {
        self.all.iter().position(|upstream| upstream.name == *name).map(Number)
    }

    /// The one of this number.
    #[must_use]
    pub fn get(&self, number: Number) -> Option<&Upstream> {
        self.all.get(number.0)
    }

    pub(crate) fn servers(&self) -> impl Iterator<Item = (&Upstream, Arc<Server>)> {
        self.all.iter().flat_map(|upstream| {
            let servers = upstream.servers();
            (0..servers.len()).map(move |at| (upstream, Arc::clone(&servers[at])))
        })
    }

    /// The server that a hop leads to. Its port counts too: others may share its host; and so does the
    /// listener that it is spoken to by: a sender at another listener could forge its address on datagrams.
    pub(crate) fn server(&self, hop: Hop) -> Option<(&Upstream, Arc<Server>)> {
        self.servers().find(|(_, server)| server.ways().any(|way| way.hop == hop))
    }

    /// Whether a hop leads to a server of ours.
    pub fn is_upstream(&self, hop: Hop) -> bool {
        match hop {
            Hop::Flow(number) => self.connections.has(number),
            Hop::Udp { .. } | Hop::Peer { .. } => self.server(hop).is_some(),
        }
    }

    /// Whether a server of ours is at this address.
    pub fn has(&self, address: IpAddr) -> bool {
        self.servers().any(|(_, server)| server.address.ip() == address)
    }

    /// The way to a server of ours by its address, for a route that names it.
    pub fn hop_at(&self, address: SocketAddr) -> Option<Hop> {
        self.servers().find(|(_, server)| server.address == address).map(|(_, server)| server.way.hop)
    }

    /// How long a hop may give no sign of life before another way is tried.
    pub fn timeout(&self, hop: Hop) -> Option<Duration> {
        self.server(hop).map(|(upstream, _)| upstream.timeout)
    }

    /// TLS for a connection, and whom its peer must prove to be.
    pub fn tls(&self, proves: ExpectedPeer) -> Option<(ClientTls, ServerName<'static>)> {
        self.proofs.get(usize::from(proves.0).checked_sub(1)?).cloned()
    }

    /// Every server, as the admin API shows it.
    pub fn views(&self) -> impl Iterator<Item = UpstreamView> {
        self.servers().map(|(upstream, server)| {
            let (unregisters_failed, unregister_status) = upstream.unregisters.failures();
            UpstreamView {
                upstream: upstream.name.as_str().to_owned(),
                target: server.address,
                transport: server.transport.as_str(),
                health: server.way.health(),
                failures: server.failures.load(Ordering::Relaxed),
                unregisters_failed,
                unregister_status,
            }
        })
    }

    /// Every upstream, and how many un-REGISTERs failed there.
    pub fn unregisters_failed(&self) -> impl Iterator<Item = (&str, u64)> {
        self.all.iter().map(|upstream| (upstream.name.as_str(), upstream.unregisters.failures().0))
    }

    /// Whether a header field is one by which registrars know what this server itself says. None of them is
    /// ever forwarded.
    pub fn proves_ours(&self, name: &[u8]) -> bool {
        self.proofs_of_ours.iter().any(|own| name.eq_ignore_ascii_case(own.as_str().as_bytes()))
    }

    /// Whether there is such a header field at all.
    pub fn has_proofs(&self) -> bool {
        !self.proofs_of_ours.is_empty()
    }

    /// The targets that are named and have to be looked up, again and again: see [`look_up`].
    pub fn names(&self) -> Vec<(Number, usize)> {
        let named = |(at, upstream): (usize, &Upstream)| {
            let entries =
                (0..upstream.entries.len()).filter(|&entry| upstream.entries[entry].place.is_some());
            entries.map(move |entry| (Number(at), entry)).collect::<Vec<_>>()
        };
        self.all.iter().enumerate().flat_map(named).collect()
    }
}

/// The listeners that an upstream's servers can be spoken to by.
pub(crate) fn speaking(upstream: &config::Upstream, listeners: &[Listener]) -> BTreeMap<(Spoken, bool), u8> {
    let any: [IpAddr; 2] = [std::net::Ipv4Addr::UNSPECIFIED.into(), std::net::Ipv6Addr::UNSPECIFIED.into()];
    let ways = Spoken::ALL.into_iter().flat_map(|transport| any.map(|ip| (transport, ip)));
    let speaking = ways.filter_map(|(transport, ip)| {
        // Numbers of listeners are checked when they are bound.
        let listener = u8::try_from(upstream.spoken_to_by(listeners, transport, ip)?).ok()?;
        Some(((transport, ip.is_ipv4()), listener))
    });
    speaking.collect()
}

/// The query for a target that is a name.
pub(crate) fn place(target: &UpstreamTarget) -> Option<Place> {
    let Host::Name(host) = &target.host else { return None };
    Some(Place { host: host.clone(), port: target.port, transport: target.transport })
}

/// TLS for connections to the servers of an upstream.
pub(crate) fn client_tls(upstream: &config::Upstream) -> Result<ClientTls, CertificateError> {
    let roots = upstream.ca.as_ref().map_or(Roots::System, |ca| Roots::Only(ca.to_vec()));
    let own = upstream.identity.as_ref().map(|files| Fitting::new(&files.chain, &files.key)).transpose()?;
    trust::client(roots, own)
}

/// Whom a server over TLS must prove to be.
pub(crate) fn server_name(target: &UpstreamTarget) -> Option<ServerName<'static>> {
    match &target.host {
        // RFC 5922 §4: the domain that was asked for, whatever names DNS led to.
        Host::Name(name) => ServerName::try_from(name.clone()).ok(),
        Host::V4(address) => Some(ServerName::IpAddress(IpAddr::from(*address).into())),
        Host::V6(address) => Some(ServerName::IpAddress(IpAddr::from(*address).into())),
    }
}

impl Upstream {
    /// The listener that it knows us by: that of its first server.
    pub fn advertised_listener(&self) -> Option<u8> {
        self.servers().first().map(|server| server.way.hop.listener())
    }

    /// Whether a hop leads to one of its servers.
    pub fn has(&self, hop: Hop) -> bool {
        self.servers().iter().any(|server| server.ways().any(|way| way.hop == hop))
    }

    pub(crate) fn servers(&self) -> Servers {
        // Nothing can panic under this lock.
        Arc::clone(&self.servers.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The servers of an entry are these from now on; those that were there keep what is known of them. None
    /// is no news.
    pub(crate) fn learn(&self, entry: usize, found: &[ResolvedServer]) {
        let Some(target) = self.entries.get(entry).filter(|_| !found.is_empty()) else { return };
        let mut servers = self.servers.write().unwrap_or_else(PoisonError::into_inner);
        let mut kept: Vec<Arc<Server>> =
            servers.iter().filter(|server| server.entry != entry).map(Arc::clone).collect();
        for ResolvedServer { host, transport, address, preference } in found {
            let (transport, address, preference) = (*transport, *address, *preference);
            let way = |transport| {
                let listener = *self.listeners.get(&(transport, address.is_ipv4()))?;
                let proves = if transport == Spoken::Tls { target.proves } else { ExpectedPeer::NOTHING };
                Some(ServerHop::new(match transport {
                    Spoken::Udp => Hop::Udp { listener, remote: address },
                    Spoken::Tcp | Spoken::Tls => Hop::Peer { listener, proves, remote: address },
                }))
            };
            let Some(usual) = way(transport) else { continue };
            let same = |server: &&Arc<Server>| {
                server.entry == entry && server.way.hop == usual.hop && server.preference == preference
            };
            kept.push(match servers.iter().find(same) {
                Some(known) => Arc::clone(known),
                None => Arc::new(Server {
                    entry,
                    host: host.clone(),
                    address,
                    transport,
                    way: usual,
                    large: match (target.transport, transport) {
                        (None, Spoken::Udp) => way(Spoken::Tcp),
                        _ => None,
                    },
                    preference,
                    failures: AtomicU64::new(0),
                }),
            });
        }
        kept.sort_by_key(|server| server.entry);
        *servers = kept.into();
    }

    /// Ways to it for a request of so many bytes: those that are wanted before those that are not, each by
    /// priority and weight.
    pub fn hops(&self, length: usize) -> SmallVec<[Hop; 2]> {
        let now = Instant::now();
        let large = length + GROWTH > LARGEST_DATAGRAM;
        let servers = self.servers();
        let ordered = in_order(&self.entries, |entry| entry.preference).into_iter().flat_map(|entry| {
            let own: Vec<&Arc<Server>> = servers.iter().filter(|server| server.entry == entry).collect();
            in_order(&own, |server| server.preference).into_iter().map(move |at| own[at]).collect::<Vec<_>>()
        });
        let ordered: SmallVec<[&Arc<Server>; 4]> = ordered.collect();
        let mut hops = SmallVec::new();
        for wanted in [true, false] {
            for server in ordered.iter().filter(|server| server.way.is_wanted(now) == wanted) {
                // What refused it lately is spared a large request.
                let by_stream = server.large.as_ref().filter(|way| large && way.is_wanted(now));
                hops.extend(by_stream.map(|way| way.hop));
                hops.push(server.way.hop);
            }
        }
        hops
    }
}

/// The places of these in the order in which to try them.
fn in_order<T>(all: &[T], preference: impl Fn(&T) -> Preference) -> Vec<usize> {
    if all.len() < 2 {
        return (0..all.len()).collect();
    }
    let preferences: SmallVec<[Preference; 4]> = all.iter().map(preference).collect();
    order(&preferences, |below| rand::random_range(0..below))
}

impl Server {
    pub(crate) fn ways(&self) -> impl Iterator<Item = &ServerHop> {
        std::iter::once(&self.way).chain(&self.large)
    }
}

impl ServerHop {
    fn new(hop: Hop) -> Self {
        Self { hop, state: Mutex::default() }
    }

    pub(crate) fn change<T>(&self, act: impl FnOnce(&mut ServerState) -> T) -> T {
        // Nothing can panic under this lock.
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn is_wanted(&self, now: Instant) -> bool {
        self.change(|state| state.is_wanted(now))
    }

    pub(crate) fn health(&self) -> Health {
        self.change(|state| state.health(Instant::now()))
    }
}

/// The transports that there are listeners for, most wanted first.
pub(crate) fn spoken(listeners: &BTreeMap<(Spoken, bool), u8>) -> Vec<Spoken> {
    let spoken = |transport: &Spoken| listeners.keys().any(|(listener, _)| listener == transport);
    Spoken::ALL.into_iter().filter(spoken).collect()
}

/// Whether an address is of the family of another.
pub fn same_family(one: IpAddr, other: IpAddr) -> bool {
    one.is_ipv4() == other.is_ipv4()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use config::{Config, FakeEnvironment};
    use lifecycle::{Direction, FlowFacts, Text, Transport};

    use super::*;
    use crate::hop::FlowNumber;

    /// Who is taken for a server speaks for whom it will: it must come from where no one else can come from.
    #[test]
    fn a_server_that_connects_by_itself_is_known_by_an_address_that_is_its_own_alone() {
        let text = "[[listener]]\ntransport = \"tcp\"\nbind = \"127.0.0.1:5060\"\n\
            [[upstream]]\nname = \"pbx\"\ntargets = [\"sip:192.0.2.7;transport=tcp\"]\n";
        let config = Config::parse(text, Path::new("sipway.toml"), &FakeEnvironment::new()).unwrap();
        let upstreams = Upstreams::new(&config.upstreams, &config.listeners).unwrap();
        let facts = |transport, remote: &str, local: &str, forwarded: Option<&str>| FlowFacts {
            transport,
            direction: Direction::Accepted,
            listener: Text::new("tcp"),
            local: local.parse().unwrap(),
            remote: remote.parse().unwrap(),
            forwarded: forwarded.map(Text::new),
            host: None,
            origin: None,
            path: None,
            user_agent: None,
            tls: None,
        };
        let known = |facts: &FlowFacts| {
            let number = FlowNumber::new(1, 0, 0);
            upstreams.connected(number, facts);
            let known = upstreams.is_upstream(Hop::Flow(number));
            upstreams.disconnected(number);
            assert!(!upstreams.is_upstream(Hop::Flow(number)));
            known
        };
        let (pbx, here) = ("192.0.2.7:40000", "192.0.2.1:5060");
        assert!(known(&facts(Transport::Tcp, pbx, here, None)));
        assert!(!known(&facts(Transport::Tcp, "192.0.2.8:40000", here, None)), "another machine");
        assert!(!known(&facts(Transport::Tcp, pbx, "192.0.2.7:5060", None)), "any program on this machine");
        assert!(!known(&facts(Transport::Tcp, pbx, here, Some("192.0.2.9"))), "by way of a proxy");
        for transport in [Transport::Ws, Transport::Wss, Transport::Tls] {
            assert!(!known(&facts(transport, pbx, here, None)), "{transport}");
        }
    }
}
