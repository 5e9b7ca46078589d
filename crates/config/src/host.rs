//! Hosts as they stand in SIP URIs and web addresses: a DNS name or an IP address.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use toml::de::DeValue;

use crate::value::{Fault, FromToml, text};

/// A DNS name (lower case, without the final dot) or an IP address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// A DNS name, in lower case. An internationalised name in its ASCII form (`xn--…`).
    Name(String),
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address; shown in brackets.
    V6(Ipv6Addr),
}

impl Host {
    /// Takes the text as a host: `example.com`, `192.0.2.1`, `[2001:db8::1]` or `2001:db8::1`.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if let Ok(address) = inner.unwrap_or(text).parse::<Ipv6Addr>() {
            return Some(Self::V6(address));
        }
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Some(Self::V4(address));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        // A last label of digits alone would be taken for an IPv4 address by others (RFC 3261 §25.1,
        // `toplabel`).
        let top_is_a_name = name
            .rsplit('.')
            .next()
            .is_some_and(|top| top.as_bytes().first().is_some_and(u8::is_ascii_alphabetic));
        (name.len() <= 253 && top_is_a_name && name.split('.').all(is_label))
            .then(|| Self::Name(name.to_ascii_lowercase()))
    }

    /// Whether the host is reached from this machine alone.
    pub(crate) fn is_loopback(&self) -> bool {
        match self {
            Self::Name(name) => name == "localhost" || name.ends_with(".localhost"),
            Self::V4(address) => address.is_loopback(),
            Self::V6(address) => address.is_loopback(),
        }
    }
}

/// A label of a DNS name, as RFC 1123 allows it, and with the underscore that is met in practice.
fn is_label(label: &str) -> bool {
    let bytes = label.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        && bytes.first() != Some(&b'-')
        && bytes.last() != Some(&b'-')
}

impl From<IpAddr> for Host {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => Self::V6(address),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::V4(address) => write!(f, "{address}"),
            Self::V6(address) => write!(f, "[{address}]"),
        }
    }
}

impl FromToml for Host {
    fn expected() -> String {
        "a domain name or an IP address".to_owned()
    }

    fn from_toml(value: &DeValue<'_>) -> Result<Self, Fault> {
        let text = text(value)?;
        Self::new(text).ok_or_else(|| match text {
            "" => Fault::value("this is empty"),
            _ if text.starts_with("sip:") || text.starts_with("sips:") => {
                Fault::mended("a name alone, not a URI", "leave `sip:` out")
            }
            _ if text.contains(':') => Fault::value("a host alone, without a port"),
            _ if !text.is_ascii() => {
                Fault::mended("not ASCII", "write an internationalised name in its `xn--` form")
            }
            _ => Fault::value("not a name that DNS allows"),
        })
    }
}

/// What others are told to reach a listener by: in `Via`, `Record-Route` and `Path`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Advertised {
    /// The host.
    pub host: Host,
    /// The port; `None` is the port that the listener is bound to.
    pub port: Option<u16>,
}

impl fmt::Display for Advertised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl FromToml for Advertised {
    fn expected() -> String {
        "a host, or a host and a port, such as \"sip.example.com:443\"".to_owned()
    }

    fn from_toml(value: &DeValue<'_>) -> Result<Self, Fault> {
        let text = text(value)?;
        let wrong = || match text {
            "" => Fault::value("this is empty"),
            _ if text.contains("://") || text.starts_with("sip:") => {
                Fault::mended("a host alone, not a URI", "leave the scheme out")
            }
            _ => Fault::value("not a host and a port"),
        };
        if let Some(host) = Host::new(text) {
            return reachable(Self { host, port: None });
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let host = Host::new(host).ok_or_else(wrong)?;
        let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        match port.parse::<u16>() {
            Ok(port) if digits && port > 0 => reachable(Self { host, port: Some(port) }),
            _ => Err(Fault::value("the port must be from 1 to 65535")),
        }
    }
}

/// Refuses addresses that mean "any": nobody can be told to send there.
fn reachable(advertised: Advertised) -> Result<Advertised, Fault> {
    let any = match &advertised.host {
        Host::Name(_) => false,
        Host::V4(address) => address.is_unspecified(),
        Host::V6(address) => address.is_unspecified(),
    };
    if any { Err(Fault::value("nobody can send to this address")) } else { Ok(advertised) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advertised(text: &str) -> Option<Advertised> {
        Advertised::from_toml(&DeValue::String(text.into())).ok()
    }

    #[test]
    fn hosts() {
        assert_eq!(Host::new("Example.COM."), Some(Host::Name("example.com".into())));
        assert_eq!(Host::new("localhost"), Some(Host::Name("localhost".into())));
        assert_eq!(Host::new("192.0.2.1"), Some(Host::V4(Ipv4Addr::new(192, 0, 2, 1))));
        let v6 = Host::new("[2001:DB8::1]");
        assert_eq!(v6, Host::new("2001:db8::1"));
        assert_eq!(v6.map(|host| host.to_string()).as_deref(), Some("[2001:db8::1]"));
        for text in
            ["", ".", "a..b", "-a.com", "a-.com", "192.0.2.256", "1.2.3", "a b", "exämple.com", "[a]", "a:1"]
        {
            assert_eq!(Host::new(text), None, "{text}");
        }
        assert_eq!(Host::new(&format!("{}.com", "a".repeat(64))), None);
        assert_eq!(Host::new(&"a.".repeat(200)), None);
    }

    #[test]
    fn advertised_addresses() {
        for (text, shown) in [
            ("sip.example.com:443", "sip.example.com:443"),
            ("SIP.example.com", "sip.example.com"),
            ("[::1]:5060", "[::1]:5060"),
            ("2001:db8::1", "[2001:db8::1]"),
            ("192.0.2.1:5060", "192.0.2.1:5060"),
        ] {
            assert_eq!(advertised(text).map(|a| a.to_string()).as_deref(), Some(shown), "{text}");
        }
        for text in
            ["", "0.0.0.0:5060", "[::]", "a.com:0", "a.com:70000", "a.com:", "a.com:+1", "sip:a.com", ":5060"]
        {
            assert_eq!(advertised(text), None, "{text}");
        }
    }
}
