//! `[[listener]]`: where flows come in.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use defence::ClientAddress;
use lifecycle::FlowLimits;

use crate::client_address;
use crate::document::{At, Field, Reading, Section, SectionSchema};
use crate::host::{Advertised, Host};
use crate::keepalive::Keepalive;
use crate::limits::{Limits, MESSAGE, read_flow};
use crate::report::{Problem, ProblemKind};
use crate::tls::TlsMaterial;
use crate::value::{Keyword, Name};
use crate::websocket::WebSocket;

pub(crate) const SCHEMA: SectionSchema = SectionSchema {
    header: "[[listener]]",
    keys: &[
        "name",
        "transport",
        "bind",
        "advertise",
        "client_address",
        "trusted_proxies",
        "paths",
        "origins",
        "missing_origin",
        "certificate",
        "private_key",
        "client_ca",
        "client_certificate",
        "client_identity",
        "ping_after",
        "pong_timeout",
        "max_message",
        "idle",
        "lifetime",
        "message_rate",
    ],
};

/// The transport of a listener, as it is written in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransportKind {
    /// WebSocket (RFC 7118).
    Ws,
    /// WebSocket over TLS.
    Wss,
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
}

impl TransportKind {
    /// The word for it in the file, in lower case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ws => "ws",
            Self::Wss => "wss",
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }
}

impl Keyword for TransportKind {
    const CHOICES: &'static [(&'static str, Self)] =
        &[("ws", Self::Ws), ("wss", Self::Wss), ("udp", Self::Udp), ("tcp", Self::Tcp), ("tls", Self::Tls)];
}

/// The transport of a listener, with what that transport alone needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// WebSocket (RFC 7118).
    Ws(WebSocket),
    /// WebSocket over TLS.
    Wss(WebSocket, TlsMaterial),
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
    /// TLS over TCP.
    Tls(TlsMaterial),
}

impl Transport {
    /// Which transport it is.
    #[must_use]
    pub fn kind(&self) -> TransportKind {
        match self {
            Self::Ws(_) => TransportKind::Ws,
            Self::Wss(..) => TransportKind::Wss,
            Self::Udp => TransportKind::Udp,
            Self::Tcp => TransportKind::Tcp,
            Self::Tls(_) => TransportKind::Tls,
        }
    }

    /// What handshakes on it must keep to, for `ws` and `wss`.
    #[must_use]
    pub fn websocket(&self) -> Option<&WebSocket> {
        match self {
            Self::Ws(websocket) | Self::Wss(websocket, _) => Some(websocket),
            Self::Udp | Self::Tcp | Self::Tls(_) => None,
        }
    }

    /// What it proves itself with, for `wss` and `tls`.
    #[must_use]
    pub fn tls(&self) -> Option<&TlsMaterial> {
        match self {
            Self::Wss(_, tls) | Self::Tls(tls) => Some(tls),
            Self::Ws(_) | Self::Udp | Self::Tcp => None,
        }
    }
}

/// A place where flows come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Its name, unique among listeners.
    pub name: Name,
    /// Its transport, with what that transport alone needs.
    pub transport: Transport,
    /// Where it listens; port 0 takes a free one. No other listener has this address.
    pub bind: SocketAddr,
    /// What others are told to reach it by; never a wildcard address.
    pub advertise: Advertised,
    /// By what it knows its clients; for `udp` always by their sockets.
    pub client_address: ClientAddress,
    /// When its silent flows are pinged and given up: its own keys, else those of `[keepalive]`.
    pub keepalive: Keepalive,
    /// Length of one SIP message in bytes on it: its own key, else that of `[limits]`. Never more than
    /// [`Limits::outbound_queue`].
    pub max_message: u64,
    /// What each flow of it must keep to: its own keys, else those of `[limits]`. Nothing for `udp`, which
    /// has no flows.
    pub flow_limits: FlowLimits,
}

impl Listener {
    /// The largest number of listeners.
    pub const MOST: usize = 64;

    /// A listener at this address, with the default rules.
    #[must_use]
    pub fn new(name: Name, transport: Transport, bind: SocketAddr) -> Self {
        Self {
            name,
            transport,
            bind,
            advertise: Advertised::bound(bind),
            client_address: ClientAddress::Socket,
            keepalive: Keepalive::default(),
            max_message: Limits::default().max_message,
            flow_limits: FlowLimits::default(),
        }
    }

    /// The port that others are told, once the listener is bound to `bound`.
    #[must_use]
    pub fn advertised_port(&self, bound: SocketAddr) -> u16 {
        self.advertise.port.unwrap_or(bound.port())
    }
}

/// All listeners, and what other rules need of them.
pub(crate) struct Listeners {
    pub(crate) listeners: Vec<Listener>,
    /// The place of the first address that other machines reach.
    pub(crate) outside: Option<Range<usize>>,
}

/// Reads all listeners. Names and addresses are checked against each other, also of listeners with other
/// faults.
pub(crate) fn read(
    reading: &mut Reading<'_>,
    sections: &[Section<'_>],
    keepalive: Keepalive,
    limits: &Limits,
    admin: Option<At<SocketAddr>>,
) -> Listeners {
    let mut taken = Addresses::default();
    if let Some(admin) = admin {
        taken.claim(reading, Family::Stream, &admin);
    }
    if let Some(excess) = sections.get(Listener::MOST) {
        let title = format!("there are more than {} listeners", Listener::MOST);
        reading.error(
            Problem::new(ProblemKind::OutOfRange, excess.span.clone(), title)
                .label("this one is too many")
                .help("one listener serves any number of clients; start a second server for more addresses"),
        );
    }
    let mut names = crate::unique::Unique::new("listener");
    let drafts: Vec<Draft> =
        sections.iter().map(|section| Draft::read(reading, section, keepalive, limits)).collect();
    for draft in &drafts {
        if let Some(name) = &draft.name {
            names.claim(reading, name.value.as_str(), name.span.clone());
        }
        if let (Some(transport), Some(bind)) = (&draft.kind, &draft.bind) {
            taken.claim(reading, Family::of(transport.value), bind);
        }
    }
    let outside = drafts
        .iter()
        .filter_map(|draft| draft.bind.as_ref())
        .find(|bind| !bind.value.ip().is_loopback())
        .map(|bind| bind.span.clone());
    let listeners = drafts
        .into_iter()
        .filter_map(|draft| {
            let name = match &draft.name {
                Some(name) => name.value.clone(),
                None => names.invent(draft.kind.as_ref()?.value, draft.bind.as_ref()?.value.port())?,
            };
            draft.finish(name)
        })
        .collect();
    Listeners { listeners, outside }
}

/// A listener as far as it could be read.
struct Draft {
    name: Option<At<Name>>,
    kind: Option<At<TransportKind>>,
    bind: Option<At<SocketAddr>>,
    advertise: Option<Advertised>,
    client_address: Option<ClientAddress>,
    transport: Option<Transport>,
    keepalive: Keepalive,
    max_message: u64,
    flow_limits: FlowLimits,
}

impl Draft {
    fn read(reading: &mut Reading<'_>, section: &Section<'_>, keepalive: Keepalive, limits: &Limits) -> Self {
        let name = section.field::<Name>(reading, "name").given();
        let kind = section.required::<TransportKind>(reading, "transport", "\"wss\"");
        let bind = section.required::<SocketAddr>(reading, "bind", "\"127.0.0.1:8080\"");
        let advertise = match section.field::<Advertised>(reading, "advertise") {
            Field::Given(at) => Some(at.value),
            Field::Faulty => None,
            Field::Absent => bind.as_ref().and_then(|bind| advertise_bound(reading, bind)),
        };
        let client_address = client_address::read(reading, section, kind.as_ref().map(|at| at.value));
        let transport = kind.as_ref().and_then(|kind| transport(reading, section, kind.value));
        let keepalive = Keepalive::read_over(reading, section, keepalive);
        let own = section.size(reading, "max_message", MESSAGE).given();
        let max_message = own.as_ref().map_or(limits.max_message, |at| at.value);
        if let Some(at) = own {
            limits.message_fits_queue(reading, at.value, at.span);
        }
        let flow_limits = read_flow(reading, section, limits.flow);
        Self { name, kind, bind, advertise, client_address, transport, keepalive, max_message, flow_limits }
    }

    fn finish(self, name: Name) -> Option<Listener> {
        Some(Listener {
            name,
            transport: self.transport?,
            bind: self.bind?.value,
            advertise: self.advertise?,
            client_address: self.client_address?,
            keepalive: self.keepalive,
            max_message: self.max_message,
            flow_limits: self.flow_limits,
        })
    }
}

/// The bound address is what others are told, unless it stands for all addresses.
fn advertise_bound(reading: &mut Reading<'_>, bind: &At<SocketAddr>) -> Option<Advertised> {
    if !bind.value.ip().is_unspecified() {
        return Some(Advertised::bound(bind.value));
    }
    reading.error(
        Problem::new(
            ProblemKind::MissingKey,
            bind.span.clone(),
            "`listener.advertise` is missing beside a wildcard `bind`",
        )
        .label("this is every address of the machine: which one shall others be told?")
        .help("add `advertise = \"sip.example.com\"`, with the name or address that clients use"),
    );
    None
}

fn transport(reading: &mut Reading<'_>, section: &Section<'_>, kind: TransportKind) -> Option<Transport> {
    let word = kind.as_str();
    let speaks_websocket = matches!(kind, TransportKind::Ws | TransportKind::Wss);
    if kind == TransportKind::Udp {
        section.not_applicable(
            reading,
            &["idle", "lifetime", "message_rate"],
            "a udp listener has no connections",
            "remove it",
        );
    }
    let speaks_tls = matches!(kind, TransportKind::Wss | TransportKind::Tls);
    if !speaks_websocket {
        section.not_applicable(
            reading,
            &["paths", "origins", "missing_origin"],
            &format!("a {word} listener has no WebSocket handshake"),
            "remove it, or set `transport` to \"ws\" or \"wss\"",
        );
    }
    if !speaks_tls {
        let secure = if speaks_websocket { "wss" } else { "tls" };
        section.not_applicable(
            reading,
            &["certificate", "private_key", "client_ca", "client_certificate", "client_identity"],
            &format!("a {word} listener does not speak TLS"),
            &format!("remove it, or set `transport` to \"{secure}\""),
        );
    }
    Some(match kind {
        TransportKind::Ws => Transport::Ws(WebSocket::read(reading, section)?),
        TransportKind::Wss => {
            // Both are read before either is judged, so that the faults of both are seen.
            let (websocket, tls) = (WebSocket::read(reading, section), TlsMaterial::read(reading, section));
            Transport::Wss(websocket?, tls?)
        }
        TransportKind::Udp => Transport::Udp,
        TransportKind::Tcp => Transport::Tcp,
        TransportKind::Tls => Transport::Tls(TlsMaterial::read(reading, section)?),
    })
}

/// Ports of UDP and of TCP are counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Datagram,
    Stream,
}

impl Family {
    fn of(transport: TransportKind) -> Self {
        match transport {
            TransportKind::Udp => Self::Datagram,
            TransportKind::Ws | TransportKind::Wss | TransportKind::Tcp | TransportKind::Tls => Self::Stream,
        }
    }
}

/// The addresses that are bound so far.
#[derive(Default)]
struct Addresses(Vec<(Family, At<SocketAddr>)>);

impl Addresses {
    fn claim(&mut self, reading: &mut Reading<'_>, family: Family, bind: &At<SocketAddr>) {
        let first = self
            .0
            .iter()
            .find(|(other, at)| *other == family && overlap(at.value, bind.value))
            .map(|(_, at)| at.span.clone());
        match first {
            Some(first) => reading.error(
                Problem::new(
                    ProblemKind::Duplicate,
                    bind.span.clone(),
                    format!("two listeners on one address: {}", bind.value),
                )
                .label("this address is taken")
                .related(first, "by this listener")
                .help("give one of the two another port"),
            ),
            None => self.0.push((family, bind.clone())),
        }
    }
}

/// Whether two sockets could not be bound side by side.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let same_address = match (a.ip(), b.ip()) {
        (IpAddr::V4(a), IpAddr::V4(b)) => a == b || a.is_unspecified() || b.is_unspecified(),
        (IpAddr::V6(a), IpAddr::V6(b)) => a == b || a.is_unspecified() || b.is_unspecified(),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    };
    a.port() != 0 && a.port() == b.port() && same_address
}

impl Advertised {
    /// The address that a listener is bound to; port 0 is left open until then.
    pub(crate) fn bound(bind: SocketAddr) -> Self {
        Self { host: Host::from(bind.ip()), port: Some(bind.port()).filter(|port| *port != 0) }
    }
}
