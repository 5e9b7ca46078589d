//! Resolves names of servers to addresses by DNS (RFC 3263). `targets` decides what to ask and what answers
//! mean.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use hickory_resolver::{
    ResolverBuilder, TokioResolver,
    config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig},
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::rr::{RData, RecordType},
};
use targets::{
    First, Naptr, Place, Preference, Server, Service, Srv, Transport, fallback, first, servers, services,
};

/// How long the whole chain of questions may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// Servers of one name at most; others are left out.
const MOST_SERVERS: usize = 64;

/// An answer is asked for again no jittered, and no later, than this.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(3600);

/// A server that a name led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResolvedServer {
    /// The name that the address is of.
    pub(crate) host: Option<Arc<str>>,
    pub(crate) transport: Transport,
    pub(crate) address: SocketAddr,
    pub(crate) preference: Preference,
}

/// No server.
#[derive(Debug, thiserror::Error)]
pub enum Unresolved {
    /// DNS was asked, and gave no answer.
    #[error("DNS: {0}")]
    Dns(#[from] NetError),
    /// The chain of questions took too long.
    #[error("DNS did not answer within {0:?}")]
    TimedOut(Duration),
    /// The name leads to no server that a listener here could speak to.
    #[error("the name leads to no address")]
    Nowhere,
}

/// Asks these servers, or those of the system.
///
/// # Errors
/// The system's configuration cannot be read.
pub fn resolver(servers: &[SocketAddr]) -> Result<TokioResolver, NetError> {
    if servers.is_empty() {
        return built(TokioResolver::builder_tokio()?);
    }
    let one = |server: &SocketAddr| {
        let at = |mut connection: ConnectionConfig| {
            connection.port = server.port();
            connection
        };
        let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(at).to_vec();
        NameServerConfig::new(server.ip(), true, connections)
    };
    let config = ResolverConfig::from_parts(None, Vec::new(), servers.iter().map(one).collect());
    built(TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()))
}

fn built(mut builder: ResolverBuilder<TokioRuntimeProvider>) -> Result<TokioResolver, NetError> {
    builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    builder.build()
}

/// One chain of questions.
struct Chain<'a> {
    resolver: &'a TokioResolver,
    /// What was answered counts until then.
    until: Instant,
    /// The first question that had no answer.
    failed: Option<NetError>,
}

/// The servers of a place, and how long that counts. `spoken` are the transports that we speak.
///
/// # Errors
/// There are none.
pub(crate) async fn resolve(
    resolver: &TokioResolver,
    place: &Place,
    spoken: &[Transport],
) -> Result<(Vec<ResolvedServer>, Duration), Unresolved> {
    let now = Instant::now();
    let mut chain = Chain { resolver, until: now + LONGEST, failed: None };
    let found = tokio::time::timeout(DEADLINE, chain.servers(place, spoken)).await;
    let found = found.map_err(|_| Unresolved::TimedOut(DEADLINE))?;
    match (found.is_empty(), chain.failed) {
        (false, _) => Ok((found, chain.until.saturating_duration_since(now).max(SHORTEST))),
        (true, Some(error)) => Err(error.into()),
        (true, None) => Err(Unresolved::Nowhere),
    }
}

impl Chain<'_> {
    async fn servers(&mut self, place: &Place, spoken: &[Transport]) -> Vec<ResolvedServer> {
        let services = match first(place, spoken) {
            First::Addresses(transport, port) => {
                let server = Server { host: place.host.clone(), port, preference: Preference::ONLY };
                return self.addresses(transport, &server).await;
            }
            First::Servers(services) => services,
            First::Services => services(&place.host, &self.naptr(&place.host).await, spoken),
        };
        let mut found = Vec::new();
        let mut any = false;
        for (rank, Service { name, transport }) in (0..).zip(services) {
            let records = self.srv(&name).await;
            any |= !records.is_empty();
            for server in servers(rank, &records) {
                if found.len() < MOST_SERVERS {
                    found.extend(self.addresses(transport, &server).await);
                }
            }
        }
        if !any && let Some((transport, port)) = fallback(place, spoken) {
            let server = Server { host: place.host.clone(), port, preference: Preference::ONLY };
            found = self.addresses(transport, &server).await;
        }
        found.truncate(MOST_SERVERS);
        found
    }

    async fn naptr(&mut self, host: &str) -> Vec<Naptr> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        self.ask(host, RecordType::NAPTR, |data| match data {
            RData::NAPTR(naptr) => Some(Naptr {
                order: naptr.order,
                preference: naptr.preference,
                flags: text(&naptr.flags),
                service: text(&naptr.services),
                replacement: naptr.replacement.to_ascii(),
            }),
            _ => None,
        })
        .await
    }

    async fn srv(&mut self, name: &str) -> Vec<Srv> {
        self.ask(name, RecordType::SRV, |data| match data {
            RData::SRV(srv) => Some(Srv {
                priority: srv.priority,
                weight: srv.weight,
                port: srv.port,
                target: srv.target.to_ascii(),
            }),
            _ => None,
        })
        .await
    }

    /// A server's addresses share its weight.
    async fn addresses(&mut self, transport: Transport, server: &Server) -> Vec<ResolvedServer> {
        let ips: Vec<IpAddr> = match self.resolver.lookup_ip(server.host.as_str()).await {
            Ok(lookup) => {
                self.until = self.until.min(lookup.valid_until());
                lookup.iter().collect()
            }
            Err(error) => {
                self.failed.get_or_insert(error);
                return Vec::new();
            }
        };
        let share = u16::try_from(ips.len()).unwrap_or(u16::MAX).max(1);
        let weight = match server.preference.weight {
            0 => 0,
            weight => (weight / share).max(1),
        };
        let preference = Preference { weight, ..server.preference };
        let host: Arc<str> = server.host.to_ascii_lowercase().into();
        let found = |ip| ResolvedServer {
            host: Some(Arc::clone(&host)),
            transport,
            address: SocketAddr::new(ip, server.port),
            preference,
        };
        ips.into_iter().map(found).collect()
    }

    /// Records of one kind; none where there are none.
    async fn ask<T>(&mut self, name: &str, kind: RecordType, read: impl Fn(&RData) -> Option<T>) -> Vec<T> {
        // What has a dot is a whole name: nothing is to be tried behind it.
        let name = if name.contains('.') { format!("{name}.") } else { name.to_owned() };
        match self.resolver.lookup(name, kind).await {
            Ok(lookup) => {
                self.until = self.until.min(lookup.valid_until());
                lookup.answers().iter().filter_map(|record| read(&record.data)).collect()
            }
            Err(error) if error.is_no_records_found() || error.is_nx_domain() => Vec::new(),
            Err(error) => {
                self.failed.get_or_insert(error);
                Vec::new()
            }
        }
    }
}
