//! From a SIP URI to servers (RFC 3263 §4): what to ask DNS for next, and what its answers mean. Each step is
//! a function of the answers before it; the resolver goes from one to the next.

use crate::Preference;

/// How a server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
}

impl Transport {
    /// All, most wanted first where nobody has said what he wants.
    pub const ALL: [Self; 3] = [Self::Udp, Self::Tcp, Self::Tls];

    /// The word for it in a URI.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }

    /// The port where none is named.
    #[must_use]
    pub const fn port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 5060,
            Self::Tls => 5061,
        }
    }

    /// The service field of a NAPTR record for it (RFC 3263 §4.1).
    const fn service(self) -> &'static str {
        match self {
            Self::Udp => "SIP+D2U",
            Self::Tcp => "SIP+D2T",
            Self::Tls => "SIPS+D2T",
        }
    }

    /// The labels before a domain under which its SRV records stand.
    const fn labels(self) -> &'static str {
        match self {
            Self::Udp => "_sip._udp.",
            Self::Tcp => "_sip._tcp.",
            Self::Tls => "_sips._tcp.",
        }
    }
}

/// What a URI says of where it is to go. Its host is a name: an address needs no DNS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The domain.
    pub host: String,
    /// The port, if it names one.
    pub port: Option<u16>,
    /// The transport, if it names one; a `sips` URI names [`Transport::Tls`].
    pub transport: Option<Transport>,
}

/// What to ask DNS first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum First {
    /// NAPTR records of the host; their answer goes to [`services`].
    Services,
    /// SRV records under these names, in this order, all of them; their answers go to [`servers`].
    Servers(Vec<Service>),
    /// Addresses of the host, for this transport and port.
    Addresses(Transport, u16),
}

/// Where SRV records of one transport stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The name to ask for.
    pub name: String,
    /// The transport that its servers speak.
    pub transport: Transport,
}

/// A NAPTR record (RFC 3403).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Naptr {
    /// Lower ones come first, and shut out the others.
    pub order: u16,
    /// Among those of one order, lower ones come first.
    pub preference: u16,
    /// What to do with `replacement`; `s` for SRV.
    pub flags: String,
    /// What it is for, such as `SIP+D2T`.
    pub service: String,
    /// The name that it leads to.
    pub replacement: String,
}

/// An SRV record (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Srv {
    /// Lower ones come first.
    pub priority: u16,
    /// Among those of one priority, how often it is the first.
    pub weight: u16,
    /// The server's port.
    pub port: u16,
    /// The server's name; `.` says that there is none.
    pub target: String,
}

/// A server whose addresses are to be looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How much it is wanted.
    pub preference: Preference,
}

/// Where to begin (RFC 3263 §4.1, §4.2). `spoken` are the transports that we speak, most wanted first.
#[must_use]
pub fn first(place: &Place, spoken: &[Transport]) -> First {
    match (place.transport, place.port) {
        (Some(transport), Some(port)) => First::Addresses(transport, port),
        // A port and no transport: UDP.
        (None, Some(port)) => First::Addresses(Transport::Udp, port),
        (Some(transport), None) => First::Servers(vec![under(&place.host, transport)]),
        (None, None) if spoken.is_empty() => First::Servers(Vec::new()),
        (None, None) => First::Services,
    }
}

/// The SRV names that NAPTR records lead to, in the order in which to try them; where there are none that are
/// of use, those that stand under the domain itself. Only transports that are spoken are in it.
#[must_use]
pub fn services(host: &str, records: &[Naptr], spoken: &[Transport]) -> Vec<Service> {
    let mut usable: Vec<(&Naptr, Transport)> = records
        .iter()
        .filter(|record| record.flags.eq_ignore_ascii_case("s") && !record.replacement.is_empty())
        .filter_map(|record| {
            let speaks = |transport: &&Transport| record.service.eq_ignore_ascii_case(transport.service());
            Some((record, *spoken.iter().find(speaks)?))
        })
        .collect();
    usable.sort_by_key(|(record, _)| (record.order, record.preference));
    if usable.is_empty() {
        return spoken.iter().map(|&transport| under(host, transport)).collect();
    }
    let name = |record: &Naptr| record.replacement.trim_end_matches('.').to_owned();
    usable.into_iter().map(|(record, transport)| Service { name: name(record), transport }).collect()
}

/// The servers that SRV records name. `rank` is the place of their service among the services of a domain:
/// all servers of one are wanted more than those of the next. Where no service has any record, not even one
/// that says that there is no server, the host itself is the server ([`fallback`]).
#[must_use]
pub fn servers(rank: u16, records: &[Srv]) -> Vec<Server> {
    let there = |record: &&Srv| !matches!(record.target.as_str(), "" | ".");
    let server = |record: &Srv| Server {
        host: record.target.trim_end_matches('.').to_owned(),
        port: record.port,
        preference: Preference {
            priority: u32::from(rank) << 16 | u32::from(record.priority),
            weight: record.weight,
        },
    };
    records.iter().filter(there).map(server).collect()
}

/// The transport and port of the host itself, where no SRV record is (RFC 3263 §4.1, §4.2).
#[must_use]
pub fn fallback(place: &Place, spoken: &[Transport]) -> Option<(Transport, u16)> {
    let transport = place.transport.or_else(|| {
        let wanted = if spoken.contains(&Transport::Udp) { Some(&Transport::Udp) } else { spoken.first() };
        wanted.copied()
    })?;
    Some((transport, place.port.unwrap_or(transport.port())))
}

fn under(host: &str, transport: Transport) -> Service {
    Service { name: format!("{}{host}", transport.labels()), transport }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPOKEN: [Transport; 3] = Transport::ALL;

    fn place(port: Option<u16>, transport: Option<Transport>) -> Place {
        Place { host: "example.com".into(), port, transport }
    }

    fn naptr(order: u16, preference: u16, service: &str, replacement: &str) -> Naptr {
        Naptr {
            order,
            preference,
            flags: "s".into(),
            service: service.into(),
            replacement: replacement.into(),
        }
    }

    fn srv(priority: u16, weight: u16, target: &str) -> Srv {
        Srv { priority, weight, port: 5070, target: target.into() }
    }

    fn names(services: &[Service]) -> Vec<(&str, Transport)> {
        services.iter().map(|service| (service.name.as_str(), service.transport)).collect()
    }

    #[test]
    fn what_the_uri_says_spares_questions() {
        use Transport::{Tcp, Tls, Udp};
        assert_eq!(first(&place(Some(7), Some(Tcp)), &SPOKEN), First::Addresses(Tcp, 7));
        assert_eq!(first(&place(Some(7), None), &SPOKEN), First::Addresses(Udp, 7));
        let tls = Service { name: "_sips._tcp.example.com".into(), transport: Tls };
        assert_eq!(first(&place(None, Some(Tls)), &SPOKEN), First::Servers(vec![tls]));
        assert_eq!(first(&place(None, None), &SPOKEN), First::Services);
    }

    /// The example of RFC 3263 §4.1.
    #[test]
    fn naptr_records_say_which_transport_is_wanted_most() {
        use Transport::{Tcp, Tls, Udp};
        let records = [
            naptr(100, 50, "SIP+D2U", "_sip._udp.example.com"),
            naptr(50, 50, "SIPS+D2T", "_sips._tcp.example.com."),
            naptr(90, 50, "sip+d2t", "_sip._tcp.example.com"),
            naptr(10, 10, "SIP+D2S", "_sip._sctp.example.com"),
            Naptr { flags: "u".into(), ..naptr(1, 1, "SIP+D2T", "elsewhere") },
        ];
        let all = services("example.com", &records, &SPOKEN);
        let [udp, tcp, tls] =
            ["_sip._udp", "_sip._tcp", "_sips._tcp"].map(|name| format!("{name}.example.com"));
        assert_eq!(names(&all), [(&*tls, Tls), (&*tcp, Tcp), (&*udp, Udp)]);
        assert_eq!(names(&services("example.com", &records, &[Udp, Tcp])), [(&*tcp, Tcp), (&*udp, Udp)]);
        // Nothing that we speak: as if there were none.
        assert_eq!(names(&services("example.com", &records[3..], &[Udp, Tcp])), [(&*udp, Udp), (&*tcp, Tcp)]);
    }

    #[test]
    fn servers_of_one_service_are_wanted_more_than_those_of_the_next_and_a_dot_is_nobody() {
        assert_eq!(servers(0, &[srv(0, 0, ".")]), []);
        let mut found = servers(1, &[srv(2, 1, "b.example.com."), srv(1, 1, "a.example.com")]);
        found.extend(servers(0, &[srv(65_535, 1, "c.example.com")]));
        found.sort_by_key(|server| server.preference.priority);
        let hosts: Vec<_> = found.iter().map(|server| (server.host.as_str(), server.port)).collect();
        assert_eq!(hosts, [("c.example.com", 5070), ("a.example.com", 5070), ("b.example.com", 5070)]);
    }

    #[test]
    fn without_srv_records_the_host_itself_is_the_server() {
        use Transport::{Tcp, Tls, Udp};
        assert_eq!(fallback(&place(None, None), &SPOKEN), Some((Udp, 5060)));
        assert_eq!(fallback(&place(None, None), &[Tcp]), Some((Tcp, 5060)));
        assert_eq!(fallback(&place(None, Some(Tls)), &SPOKEN), Some((Tls, 5061)));
        assert_eq!(fallback(&place(None, None), &[]), None);
    }
}
