//! Sources: what limits are counted for.

use std::{fmt, net::IpAddr};

use crate::Network;

/// An IPv6 customer has a network of this many bits to itself, and takes another address of it whenever it
/// wants.
const V6_PREFIX: u8 = 64;

/// The source that limits are counted for: an IPv4 address, or the /64 of an IPv6 one.
///
/// Datagrams are counted apart: their sender can forge any source address, and must not get others
/// banned that have connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    /// Where it is.
    pub network: Network,
    /// How it comes here.
    pub by: By,
}

/// How a client reaches this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum By {
    /// By connections, whose addresses are true.
    Connection,
    /// By datagrams, whose addresses are what the sender wrote.
    Datagram,
}

impl By {
    /// A word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Datagram => "datagram",
        }
    }
}

impl Source {
    /// The one that an address belongs to.
    #[must_use]
    pub fn of(address: IpAddr, by: By) -> Self {
        let address = address.to_canonical();
        let prefix = if address.is_ipv4() { 32 } else { V6_PREFIX };
        Self { network: Network::around(address, prefix), by }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.network.fmt(f)
    }
}
