//! `[[upstream]]`: SIP servers behind this one, such as a PBX, to which the requests of whole domains go.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use toml::de::DeValue;

use crate::document::{Field, Reading, Section, Shape};
use crate::host::Host;
use crate::listener::{Listener, Transport};
use crate::report::{Problem, ProblemKind};
use crate::unique::Unique;
use crate::url::host_and_port;
use crate::value::{Fault, FromToml, Keyword, Name, text};

pub(crate) const SHAPE: Shape =
    Shape { header: "[[upstream]]", keys: &["name", "targets", "listener", "probe", "unregister"] };

/// From a second to an hour.
const PROBE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);

/// Several servers that do the same, tried in turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Its name, unique among upstreams.
    pub name: Name,
    /// Where it is reached, most wanted first; never empty.
    pub targets: Vec<UpstreamTarget>,
    /// The `udp` listener that it is spoken to by; of the same address family as every target.
    pub listener: Name,
    /// How often targets are asked whether they are there; none: never.
    pub probe: Option<Duration>,
    /// What a registrar hears when a connection ends.
    pub unregister: Unregister,
}

/// A server of an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UpstreamTarget(pub SocketAddr);

/// What a registrar hears of a binding whose connection has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unregister {
    /// The binding is taken back at once.
    AtClose,
    /// Nothing: it keeps the binding until it expires.
    Never,
}

impl Keyword for Unregister {
    const CHOICES: &'static [(&'static str, Self)] = &[("at-close", Self::AtClose), ("never", Self::Never)];
}

impl FromToml for UpstreamTarget {
    fn expected() -> String {
        "a SIP URI with an IP address, such as \"sip:10.0.0.5:5060\"".to_owned()
    }

    fn from_toml(value: &DeValue<'_>) -> Result<Self, Fault> {
        let uri = text(value)?;
        let Some(rest) = uri.strip_prefix("sip:") else {
            return Err(Fault::mended("it does not begin with sip:", format!("write \"sip:{uri}\"")));
        };
        let authority = match rest.split_once(';') {
            None => rest,
            Some((authority, parameter)) if parameter.eq_ignore_ascii_case("transport=udp") => authority,
            Some(_) => {
                return Err(Fault::mended("upstreams are reached by UDP", "leave out what follows `;`"));
            }
        };
        let (host, port) = host_and_port(authority, 5060)?;
        let ip: IpAddr = match host {
            Host::V4(address) => address.into(),
            Host::V6(address) => address.into(),
            Host::Name(_) => return Err(Fault::value("a name: upstreams are reached by their IP address")),
        };
        Ok(Self(SocketAddr::new(ip, port)))
    }
}

/// Reads all upstreams; each is spoken to by one of these listeners.
pub(crate) fn read(
    reading: &mut Reading<'_>,
    sections: &[Section<'_>],
    listeners: &[Listener],
) -> Vec<Upstream> {
    let mut names = Unique::new("upstream");
    sections.iter().filter_map(|section| Upstream::read(reading, section, listeners, &mut names)).collect()
}

impl Upstream {
    fn read(
        reading: &mut Reading<'_>,
        section: &Section<'_>,
        listeners: &[Listener],
        names: &mut Unique,
    ) -> Option<Self> {
        let name = section.required::<Name>(reading, "name", "\"pbx\"");
        if let Some(name) = &name {
            names.claim(reading, name.value.as_str(), name.span.clone());
        }
        let probe = section.unless_off(reading, "probe", |reading| section.duration(reading, "probe", PROBE));
        let unregister = section.or(reading, "unregister", Unregister::AtClose);
        let listener = section.field::<Name>(reading, "listener");
        let targets = match section.set::<UpstreamTarget>(reading, "targets") {
            Field::Given(list) => list,
            Field::Faulty => return None,
            Field::Absent => {
                section.missing(reading, "targets", "[\"sip:10.0.0.5:5060\"]");
                return None;
            }
        };
        let first = targets.value.first()?;
        let family = |address: SocketAddr| address.is_ipv4();
        let wanted = family(first.value.0);
        if let Some(other) = targets.value.iter().find(|target| family(target.value.0) != wanted) {
            let title = "`upstream.targets` are of both IPv4 and IPv6";
            let problem = Problem::new(ProblemKind::BadValue, other.span.clone(), title);
            reading.error(problem.label("not like the first").help("make two upstreams of it"));
        }
        let fits =
            |listener: &&Listener| listener.transport == Transport::Udp && family(listener.bind) == wanted;
        let (found, span) = match &listener {
            Field::Faulty => return None,
            Field::Given(at) => {
                let named = listeners.iter().find(|listener| listener.name == at.value);
                (named.filter(fits), at.span.clone())
            }
            Field::Absent => (listeners.iter().find(fits), targets.span.clone()),
        };
        let Some(found) = found else {
            let title = "there is no such listener to speak to this upstream by";
            let kind = if wanted { "IPv4" } else { "IPv6" };
            reading.error(
                Problem::new(ProblemKind::BadValue, span, title)
                    .label(format!("this needs a `udp` listener with an {kind} address"))
                    .help("add a `[[listener]]` with `transport = \"udp\"`"),
            );
            return None;
        };
        Some(Self {
            name: name?.value,
            targets: targets.value.into_iter().map(|at| at.value).collect(),
            listener: found.name.clone(),
            probe: probe.or(Some(Duration::from_secs(10))),
            unregister,
        })
    }
}
