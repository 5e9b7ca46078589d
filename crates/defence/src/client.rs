//! The client behind trusted proxies.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use crate::Networks;

/// The address of a client, as a proxy told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Client {
    /// Never an IPv4 address in IPv6 clothes.
    pub ip: IpAddr,
    /// Not every proxy tells it.
    pub port: Option<u16>,
}

impl Client {
    /// A client at this address.
    #[must_use]
    pub fn new(ip: IpAddr, port: Option<u16>) -> Self {
        Self { ip: ip.to_canonical(), port }
    }

    /// Reads an address with or without a port: `192.0.2.1`, `192.0.2.1:5060`, `2001:db8::1`,
    /// `[2001:db8::1]`, `[2001:db8::1]:5060`.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            // A scope is of no use to anybody but the proxy.
            return Some(Self::new(address.ip(), Some(address.port())));
        }
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let ip = match bare {
            Some(v6) => IpAddr::V6(v6.parse().ok()?),
            None => text.parse().ok()?,
        };
        Some(Self::new(ip, None))
    }
}

impl From<SocketAddr> for Client {
    fn from(address: SocketAddr) -> Self {
        Self::new(address.ip(), Some(address.port()))
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => SocketAddr::new(self.ip, port).fmt(f),
            None => self.ip.fmt(f),
        }
    }
}

/// By what a listener knows its clients. The networks are those of the proxies that are believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ClientAddress {
    /// By their sockets: nothing stands in between, or nothing that tells.
    #[default]
    Socket,
    /// By the header of the PROXY protocol that every connection begins with; any other connection is
    /// refused.
    ProxyProtocol(Networks),
    /// By `X-Forwarded-For` in the handshakes that these proxies pass on.
    XForwardedFor(Networks),
    /// By `Forwarded` (RFC 7239) in the handshakes that these proxies pass on.
    Forwarded(Networks),
}

impl ClientAddress {
    /// Whether the peer of this socket is a trusted proxy.
    #[must_use]
    pub fn trusts(&self, socket: IpAddr) -> bool {
        match self {
            Self::Socket => false,
            Self::ProxyProtocol(proxies) | Self::XForwardedFor(proxies) | Self::Forwarded(proxies) => {
                proxies.contain(socket)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_proxies_write_them() {
        for (text, shown) in [
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1:5060", "192.0.2.1:5060"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:5060", "[2001:db8::1]:5060"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("[::ffff:192.0.2.1]:80", "192.0.2.1:80"),
        ] {
            assert_eq!(Client::read(text).map(|client| client.to_string()).as_deref(), Some(shown), "{text}");
        }
        for text in [
            "",
            "unknown",
            "_hidden",
            "192.0.2",
            "192.0.2.1:",
            "192.0.2.1:99999",
            "[192.0.2.1]",
            "[::1",
            "a.com",
        ] {
            assert_eq!(Client::read(text), None, "{text}");
        }
    }
}
