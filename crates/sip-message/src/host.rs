//! Hosts as URIs and Via name them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{Leniencies, Leniency, syntax};

/// A host name or address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Host<'b> {
    /// A host name as received; compare it without case. Never a valid IPv4 address.
    Name(&'b [u8]),
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address; it stands in brackets.
    V6(Ipv6Addr),
}

const fn name_table() -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        // The underscore is no letter of a host name, but internal names use it.
        table[byte] = (byte as u8).is_ascii_alphanumeric() || matches!(byte as u8, b'-' | b'.' | b'_');
        byte += 1;
    }
    table
}

static NAME: [bool; 256] = name_table();

impl<'b> Host<'b> {
    /// Reads a host, an IPv6 address in brackets. Nothing if it is malformed.
    pub fn parse(bytes: &'b [u8]) -> Option<Host<'b>> {
        Host::parse_noting(bytes, &mut Leniencies::NONE.clone())
    }

    /// The host that `bytes` begin with, and what comes after it.
    #[inline]
    pub(crate) fn leading(bytes: &'b [u8], seen: &mut Leniencies) -> Option<(Host<'b>, &'b [u8])> {
        let len = match bytes {
            [b'[', ..] => memchr::memchr(b']', bytes)? + 1,
            _ => bytes.iter().position(|&byte| !NAME[byte as usize]).unwrap_or(bytes.len()),
        };
        let (host, rest) = bytes.split_at(len);
        match host {
            [] => None,
            [b'[', inner @ .., b']'] => Some((Host::V6(parse_v6(inner, seen)?), rest)),
            // The label that names a top level domain begins with a letter, so only what ends in a digit can
            // be an address.
            [.., b'0'..=b'9'] => Some((parse_v4(host).map_or(Host::Name(host), Host::V4), rest)),
            _ => Some((Host::Name(host), rest)),
        }
    }

    #[inline]
    fn parse_noting(bytes: &'b [u8], seen: &mut Leniencies) -> Option<Host<'b>> {
        Host::leading(bytes, seen).and_then(|(host, rest)| rest.is_empty().then_some(host))
    }

    /// The address, if this is one.
    pub fn ip(&self) -> Option<IpAddr> {
        match *self {
            Host::Name(_) => None,
            Host::V4(address) => Some(address.into()),
            Host::V6(address) => Some(address.into()),
        }
    }

    /// Whether both name the same host, as far as names and addresses tell (RFC 3261 §19.1.4).
    pub fn same(&self, other: &Host<'_>) -> bool {
        match (self, other) {
            (Host::Name(one), Host::Name(other)) => one.eq_ignore_ascii_case(other),
            _ => self == other,
        }
    }
}

impl fmt::Display for Host<'_> {
    /// As it stands in a URI; a name in lower case.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(&String::from_utf8_lossy(name).to_ascii_lowercase()),
            Host::V4(address) => address.fmt(f),
            Host::V6(address) => write!(f, "[{address}]"),
        }
    }
}

/// An address as `received` and `maddr` give it: IPv6 with brackets or without (RFC 5118 §4.5).
pub(crate) fn parse_ip(bytes: &[u8]) -> Option<IpAddr> {
    let inner = bytes.strip_prefix(b"[").and_then(|bytes| bytes.strip_suffix(b"]")).unwrap_or(bytes);
    parse_v4(bytes).map(IpAddr::V4).or_else(|| parse_v6(inner, &mut Leniencies::NONE.clone()).map(IpAddr::V6))
}

#[inline]
fn parse_v4(bytes: &[u8]) -> Option<Ipv4Addr> {
    let mut octets = [0u8; 4];
    let mut parts = bytes.split(|&byte| byte == b'.');
    for octet in &mut octets {
        let part = parts
            .next()
            .filter(|part| part.len() <= 3 && (part.len() == 1 || part.first() != Some(&b'0')))?;
        *octet = u8::try_from(syntax::decimal(part).ok()?).ok()?;
    }
    parts.next().is_none().then(|| Ipv4Addr::from(octets))
}

fn parse_v6(inner: &[u8], seen: &mut Leniencies) -> Option<Ipv6Addr> {
    let text = std::str::from_utf8(inner).ok()?;
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    // An error in RFC 3261's grammar made some write three colons before an embedded IPv4 address.
    let (before, after) = text.split_once(":::")?;
    let mut room = [0u8; 48];
    let len = before.len() + 2 + after.len();
    let fixed = room.get_mut(..len)?;
    fixed[..before.len()].copy_from_slice(before.as_bytes());
    fixed[before.len()..before.len() + 2].copy_from_slice(b"::");
    fixed[before.len() + 2..].copy_from_slice(after.as_bytes());
    let address = std::str::from_utf8(fixed).ok()?.parse().ok()?;
    seen.insert(Leniency::ThreeColons);
    Some(address)
}

/// A port: 1 to 5 digits, up to 65535.
#[inline]
pub(crate) fn parse_port(digits: &[u8]) -> Option<u16> {
    if digits.len() > 5 {
        return None;
    }
    u16::try_from(syntax::decimal(digits).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_host() {
        assert_eq!(Host::parse(b"192.0.2.1"), Some(Host::V4(Ipv4Addr::new(192, 0, 2, 1))));
        assert_eq!(Host::parse(b"[2001:db8::1]"), Some(Host::V6("2001:db8::1".parse().unwrap())));
        assert_eq!(Host::parse(b"a-b.example"), Some(Host::Name(b"a-b.example")));
        assert_eq!(Host::parse(b"256.0.0.1"), Some(Host::Name(b"256.0.0.1")));
        assert_eq!(Host::parse(b"010.0.0.1"), Some(Host::Name(b"010.0.0.1")));
        for bad in [&b""[..], b"[::1", b"[]", b"[1.2.3.4]", b"a b", b"a/b", b"::1", b"[fe80::1%25eth0]"] {
            assert_eq!(Host::parse(bad), None, "{}", String::from_utf8_lossy(bad));
        }
        let mut seen = Leniencies::NONE;
        let address = Host::parse_noting(b"[2001:db8:::192.0.2.1]", &mut seen).and_then(|host| host.ip());
        assert_eq!(address, "2001:db8::192.0.2.1".parse().ok());
        assert!(seen.contains(Leniency::ThreeColons));
        assert_eq!(parse_ip(b"[::1]"), parse_ip(b"::1"));
        assert_eq!(parse_port(b"65536"), None);
        assert_eq!(parse_port(b"05060"), Some(5060));
    }
}
