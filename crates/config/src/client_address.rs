//! Whether a listener knows its clients by their sockets or by what a proxy in front of it tells.

use defence::{BadNetwork, ClientAddress, Network, Networks};
use toml::de::DeValue;

use crate::document::{Field, Reading, Section};
use crate::listener::TransportKind;
use crate::report::{Problem, ProblemKind};
use crate::value::{Fault, FromToml, Keyword, text};

/// Where the address stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Socket,
    ProxyProtocol,
    XForwardedFor,
    Forwarded,
}

impl Keyword for Place {
    const CHOICES: &'static [(&'static str, Self)] = &[
        ("socket", Self::Socket),
        ("proxy-protocol", Self::ProxyProtocol),
        ("x-forwarded-for", Self::XForwardedFor),
        ("forwarded", Self::Forwarded),
    ];
}

impl FromToml for Network {
    fn expected() -> String {
        "an IP address or a range of them, such as \"10.0.0.0/8\"".to_owned()
    }

    fn from_toml(value: &DeValue<'_>) -> Result<Self, Fault> {
        text(value)?.parse().map_err(|error| match error {
            BadNetwork::Address => Fault::value("not an IP address"),
            BadNetwork::Prefix => Fault::value("the prefix must be from 0 to 32, or to 128 for IPv6"),
            BadNetwork::HostBits(network) => {
                Fault::mended("this is an address within a range", format!("write \"{network}\""))
            }
        })
    }
}

/// Reads `client_address` and `trusted_proxies` of a listener. What is wrong is noted; then none is given.
pub(crate) fn read(
    reading: &mut Reading<'_>,
    section: &Section<'_>,
    transport: Option<TransportKind>,
) -> Option<ClientAddress> {
    let place = section.field::<Place>(reading, "client_address");
    if transport == Some(TransportKind::Udp) {
        section.not_applicable(
            reading,
            &["client_address", "trusted_proxies"],
            "datagrams come from whoever sends them",
            "remove it",
        );
        return Some(ClientAddress::Socket);
    }
    let place = match place {
        Field::Faulty => return None,
        Field::Absent => Place::Socket,
        Field::Given(at) => {
            let in_handshake = matches!(at.value, Place::XForwardedFor | Place::Forwarded);
            if in_handshake && matches!(transport, Some(TransportKind::Tcp | TransportKind::Tls)) {
                let title = "`listener.client_address` has no use here";
                reading.error(
                    Problem::new(ProblemKind::NotApplicable, at.span, title)
                        .label("this stands in a WebSocket handshake")
                        .help("set it to \"proxy-protocol\""),
                );
                return None;
            }
            at.value
        }
    };
    if place == Place::Socket {
        section.not_applicable(
            reading,
            &["trusted_proxies"],
            "clients are known by their sockets",
            "remove it, or say with `client_address` how proxies tell",
        );
        return Some(ClientAddress::Socket);
    }
    let proxies: Networks = match section.set::<Network>(reading, "trusted_proxies") {
        Field::Given(list) => list.value.into_iter().map(|at| at.value).collect(),
        Field::Faulty => return None,
        Field::Absent => {
            section.missing(reading, "trusted_proxies", "[\"10.0.0.10\"]");
            return None;
        }
    };
    Some(match place {
        Place::Socket => ClientAddress::Socket,
        Place::ProxyProtocol => ClientAddress::ProxyProtocol(proxies),
        Place::XForwardedFor => ClientAddress::XForwardedFor(proxies),
        Place::Forwarded => ClientAddress::Forwarded(proxies),
    })
}
