//! `[[upstream]]`: SIP servers behind this one, such as a PBX, to which the requests of whole domains go.

mod clash;
mod unregister;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use targets::Transport;
use toml::de::DeValue;

use crate::document::{At, Field, Reading, Section, SectionSchema};
use crate::domain::Domain;
use crate::host::Host;
use crate::listener::{Listener, TransportKind};
use crate::report::{Problem, ProblemKind};
use crate::tls::{self, TlsFiles};
use crate::unique::Unique;
use crate::url::host_and_port;
use crate::value::{Fault, FromToml, Name, integer, kind_of, text};

pub use unregister::{HeaderName, Unregister, UnregisterHeader};

pub(crate) const SCHEMA: SectionSchema = SectionSchema {
    header: "[[upstream]]",
    keys: &[
        "name",
        "targets",
        "listener",
        "probe",
        "timeout",
        "unregister",
        "unregister_header",
        "unregister_secret_env",
        "unregister_secret_file",
        "ca",
        "certificate",
        "private_key",
    ],
};

/// From a second to an hour.
const PROBE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);

/// From a tenth of a second to when a transaction ends anyway.
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(32);

/// Several servers that do the same, tried in turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Its name, unique among upstreams.
    pub name: Name,
    /// Where it is reached; never empty.
    pub targets: Vec<UpstreamTarget>,
    /// The listener that it is spoken to by, where its transport is a target's.
    pub listener: Option<Name>,
    /// How often targets are asked whether they are there; none: never.
    pub probe: Option<Duration>,
    /// How long a target may take to give a sign of life before the next is tried.
    pub timeout: Duration,
    /// What a registrar hears when a connection ends.
    pub unregister: Unregister,
    /// By what it knows that an un-REGISTER is this server's own; none: by nothing.
    pub unregister_header: Option<UnregisterHeader>,
    /// Authorities whose signature makes a target's certificate valid; none: those of the system.
    pub ca: Option<Arc<[CertificateDer<'static>]>>,
    /// What this server proves itself with where a target asks for it.
    pub identity: Option<TlsFiles>,
}

/// A server of an upstream.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UpstreamTarget {
    /// Where it is: an address, or a name that leads to one or several (RFC 3263).
    pub host: Host,
    /// The port, if one is named.
    pub port: Option<u16>,
    /// How it is spoken to. None: as DNS says of a name; else by UDP, and by TCP what is too large for that
    /// (RFC 3261 §18.1.1).
    pub transport: Option<Transport>,
    /// Lower ones are tried first; without one its place in the list, from 1.
    pub priority: u16,
    /// Which part of the requests it gets of those for targets of the same priority.
    pub weight: u16,
}

/// The keys of a target that is more than a URI.
const TARGET_KEYS: [&str; 3] = ["uri", "priority", "weight"];

impl FromToml for UpstreamTarget {
    fn expected() -> String {
        "a SIP URI, such as \"sip:10.0.0.5:5060\", \"sip:10.0.0.5;transport=tcp\" or \"sips:pbx.example.com\""
            .to_owned()
    }

    fn from_toml(value: &DeValue<'_>) -> Result<Self, Fault> {
        let DeValue::Table(table) = value else { return Self::from_uri(text(value)?) };
        if let Some((key, _)) = table.iter().find(|(key, _)| !TARGET_KEYS.contains(&&**key.get_ref())) {
            let help = "write { uri = \"sip:10.0.0.5\", priority = 1, weight = 10 }";
            return Err(Fault::mended(format!("there is no `{}` here", key.get_ref()), help));
        }
        let Some(uri) = table.get("uri") else { return Err(Fault::value("it has no `uri`")) };
        let target = Self::from_uri(text(uri.get_ref())?)?;
        let number = |key, default, most: u64| match table.get(key) {
            None => Ok(default),
            Some(value) => match integer(value.get_ref()) {
                Ok(number @ 1..) if number <= most => Ok(number as u16),
                Ok(_) => Err(Fault::value(format!("`{key}` must be from 1 to {most}"))),
                Err(Fault::Type) => {
                    Err(Fault::value(format!("`{key}` must be a number, not {}", kind_of(value.get_ref()))))
                }
                Err(fault) => Err(fault),
            },
        };
        let (priority, weight) = (number("priority", target.priority, 65_535)?, number("weight", 1, 1000)?);
        Ok(Self { priority, weight, ..target })
    }
}

/// A text that names no server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadTarget(String);

impl fmt::Display for BadTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadTarget {}

impl FromStr for UpstreamTarget {
    type Err = BadTarget;

    /// Reads a SIP URI as it stands in a configuration.
    fn from_str(uri: &str) -> Result<Self, BadTarget> {
        Self::from_uri(uri).map_err(|fault| {
            let expected = <Self as FromToml>::expected();
            BadTarget(match fault {
                Fault::Type => format!("give {expected}"),
                Fault::Value { label, help: None } => format!("{label}; give {expected}"),
                Fault::Value { label, help: Some(help) } => format!("{label}; {help}"),
            })
        })
    }
}

/// Schemes of URIs that people know and that lead to no SIP server.
const OTHER_SCHEMES: [&str; 8] = ["tel", "http", "https", "ws", "wss", "mailto", "im", "pres"];

impl UpstreamTarget {
    fn from_uri(uri: &str) -> Result<Self, Fault> {
        let (rest, secure) = match (uri.strip_prefix("sip:"), uri.strip_prefix("sips:")) {
            (Some(rest), _) => (rest, false),
            (None, Some(rest)) => (rest, true),
            (None, None) => {
                let scheme = uri.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
                return Err(match scheme.as_deref() {
                    Some(scheme @ ("sip" | "sips")) => {
                        let rest = &uri[scheme.len()..];
                        Fault::mended("it does not begin with sip:", format!("write \"{scheme}{rest}\""))
                    }
                    // What may be a host with a port is taken for one.
                    Some(scheme) if OTHER_SCHEMES.contains(&scheme) => {
                        Fault::value(format!("{scheme}: is no address of a server"))
                    }
                    _ => Fault::mended("it does not begin with sip:", format!("write \"sip:{uri}\"")),
                });
            }
        };
        let (authority, transport) = match rest.split_once(';') {
            None => (rest, None),
            Some((authority, parameter)) => (authority, Some(transport(parameter)?)),
        };
        let transport = match (secure, transport) {
            (true, Some(Transport::Udp)) => {
                return Err(Fault::mended(
                    "sips: and UDP do not go together",
                    "write sip:, or leave out `;transport=udp`",
                ));
            }
            (true, _) => Some(Transport::Tls),
            (false, transport) => transport,
        };
        let (host, port) = host_and_port(authority, NO_PORT)?;
        let port = Some(port).filter(|&port| port != NO_PORT);
        Ok(Self { host, port, transport, priority: UNSAID, weight: 1 })
    }

    /// Where it is, unless DNS has to say that.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        let ip: IpAddr = match self.host {
            Host::V4(address) => address.into(),
            Host::V6(address) => address.into(),
            Host::Name(_) => return None,
        };
        Some(SocketAddr::new(ip, self.port.unwrap_or(self.usual().port())))
    }

    fn may_be_spoken_by(&self, kind: TransportKind) -> bool {
        self.transport.map_or_else(|| speaks_sip(kind), |transport| speaking(transport) == kind)
    }

    /// What it is spoken to by, what is small enough, where DNS says nothing else.
    #[must_use]
    pub fn usual(&self) -> Transport {
        self.transport.unwrap_or(Transport::Udp)
    }
}

/// No target has this port.
const NO_PORT: u16 = 0;

/// The priority of a target that says none, until its place in the list is known.
const UNSAID: u16 = 0;

fn transport(parameter: &str) -> Result<Transport, Fault> {
    let word = parameter.strip_prefix("transport=").unwrap_or_default();
    Transport::ALL.into_iter().find(|transport| word.eq_ignore_ascii_case(transport.as_str())).ok_or_else(
        || {
            Fault::mended(
                "what follows `;` is not understood",
                "write ;transport=udp, tcp or tls, or nothing",
            )
        },
    )
}

/// Reads all upstreams; they are spoken to by these listeners.
pub(crate) fn read(
    reading: &mut Reading<'_>,
    sections: &[Section<'_>],
    listeners: &[Listener],
) -> Vec<Upstream> {
    let mut names = Unique::new("upstream");
    sections.iter().filter_map(|section| Upstream::read(reading, section, listeners, &mut names)).collect()
}

/// Says which upstreams nothing is sent to.
pub(crate) fn warn_of_unused(
    reading: &mut Reading<'_>,
    sections: &[Section<'_>],
    upstreams: &[Upstream],
    domains: &[Domain],
) {
    // One that something is wrong with is not among them; then nobody reads warnings either.
    if sections.len() != upstreams.len() {
        return;
    }
    for (section, upstream) in sections.iter().zip(upstreams) {
        if domains.iter().any(|domain| domain.backend.as_ref() == Some(&upstream.name)) {
            continue;
        }
        let name = &upstream.name;
        let title = format!("no domain has the upstream `{name}` as its backend");
        reading.warning(
            Problem::new(ProblemKind::Risky, section.span.clone(), title)
                .label("requests of its servers are taken, and none go there")
                .help(format!("write backend = \"{name}\" in a [[domain]], or remove the upstream")),
        );
    }
}

impl Upstream {
    fn read(
        reading: &mut Reading<'_>,
        section: &Section<'_>,
        listeners: &[Listener],
        names: &mut Unique,
    ) -> Option<Self> {
        // A listener that something is wrong with is not among them, and that has been said.
        let all_listeners = reading.errors.is_empty();
        let name = section.required::<Name>(reading, "name", "\"pbx\"");
        if let Some(name) = &name {
            names.claim(reading, name.value.as_str(), name.span.clone());
        }
        let probe = section.unless_off(reading, "probe", |reading| section.duration(reading, "probe", PROBE));
        let timeout = section.duration(reading, "timeout", TIMEOUT);
        let unregister = section.or(reading, "unregister", Unregister::AtClose);
        let unregister_header = UnregisterHeader::read(reading, section, unregister);
        let listener = section.field::<Name>(reading, "listener");
        let ca = section.path_field(reading, "ca").given();
        let ca = ca.and_then(|at| tls::chain(reading, &at)).map(Into::into);
        let identity = TlsFiles::optional(reading, section);
        let targets = match section.set::<UpstreamTarget>(reading, "targets") {
            Field::Given(list) => list.value,
            Field::Faulty => return None,
            Field::Absent => {
                section.missing(reading, "targets", "[\"sip:10.0.0.5:5060\"]");
                return None;
            }
        };
        let listener = match listener {
            Field::Faulty => return None,
            Field::Absent => None,
            Field::Given(at) => Some(at),
        };
        if let Some(at) = &listener
            && all_listeners
            && !listeners.iter().any(|one| one.name == at.value && speaks_sip(one.transport.kind()))
        {
            let title = format!("there is no udp, tcp or tls listener `{}`", at.value.as_str());
            reading.error(
                Problem::new(ProblemKind::BadValue, at.span.clone(), title)
                    .label("upstreams are spoken to by one of these")
                    .help("name one, or leave it out"),
            );
            return None;
        }
        let mut read = Self {
            name: name?.value,
            targets: Vec::with_capacity(targets.len()),
            listener: listener.map(|at| at.value),
            probe: probe.or(Some(Duration::from_secs(10))),
            timeout: timeout.or(Duration::from_secs(4)),
            unregister,
            unregister_header,
            ca,
            identity,
        };
        for (place, At { value: target, span }) in (1..).zip(targets) {
            let transport = target.usual();
            let (family, spoken) = match target.address().map(|address| address.ip()) {
                Some(ip) => {
                    let family = if ip.is_ipv4() { " with an IPv4 address" } else { " with an IPv6 address" };
                    (family, read.spoken_to_by(listeners, transport, ip).is_some())
                }
                None => ("", listeners.iter().any(|one| target.may_be_spoken_by(one.transport.kind()))),
            };
            if all_listeners && !spoken {
                let word = transport.as_str();
                let title = "there is no such listener to speak to this target by";
                reading.error(
                    Problem::new(ProblemKind::BadValue, span, title)
                        .label(format!("this needs a `{word}` listener{family}"))
                        .help(format!("add a `[[listener]]` with `transport = \"{word}\"`")),
                );
                return None;
            }
            // Which addresses this machine has, nobody asks while the file is read: `sipway check` does.
            if let Some(listener) = target.listener_in_its_place(listeners, |_| false) {
                let title =
                    format!("this target is the listener `{}` of this server", listener.name.as_str());
                reading.error(
                    Problem::new(ProblemKind::Conflict, span, title)
                        .label("requests for it would come back here")
                        .help("name the address of the server behind, or give the listener another port"),
                );
                return None;
            }
            let priority = if target.priority == UNSAID { place } else { target.priority };
            read.targets.push(UpstreamTarget { priority, ..target });
        }
        Some(read)
    }

    /// The number of the listener that a target is spoken to by: the one that is named if it is of the
    /// transport, else the first of it. Its address is of the target's family.
    #[must_use]
    pub fn spoken_to_by(
        &self,
        listeners: &[Listener],
        transport: Transport,
        target: IpAddr,
    ) -> Option<usize> {
        let fits = |one: &Listener| {
            one.transport.kind() == speaking(transport) && one.bind.is_ipv4() == target.is_ipv4()
        };
        let named = |one: &Listener| Some(&one.name) == self.listener.as_ref();
        let place = |so: &dyn Fn(&Listener) -> bool| listeners.iter().position(so);
        place(&|one| fits(one) && named(one)).or_else(|| place(&fits))
    }
}

/// The listeners that speak a transport.
fn speaking(transport: Transport) -> TransportKind {
    match transport {
        Transport::Udp => TransportKind::Udp,
        Transport::Tcp => TransportKind::Tcp,
        Transport::Tls => TransportKind::Tls,
    }
}

fn speaks_sip(kind: TransportKind) -> bool {
    matches!(kind, TransportKind::Udp | TransportKind::Tcp | TransportKind::Tls)
}
