//! Hops: ways to peers.

use std::net::SocketAddr;

use ledger::Reservation;
use lifecycle::{FlowId, Incarnation};
use location::{Binding, BindingHop};

/// A way to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hop {
    /// An open flow of this incarnation.
    Flow(FlowNumber),
    /// Datagrams between the socket of a UDP listener and an address.
    Udp {
        /// The listener's number.
        listener: u8,
        /// The peer.
        remote: SocketAddr,
    },
    /// A stream to an address, which is connected when there is something to say. Outlives its connections:
    /// after one has ended, the next is made when it is wanted.
    Peer {
        /// The listener that the peer knows us by; its transport is the stream's.
        listener: u8,
        /// Whom the peer must prove to be.
        proves: ExpectedPeer,
        /// The peer.
        remote: SocketAddr,
    },
}

impl Hop {
    /// The way to a binding's user agent.
    #[must_use]
    pub fn of(binding: &Binding<Reservation>) -> Self {
        match binding.way() {
            BindingHop::Flow(FlowId { counter, .. }) => Self::Flow(FlowNumber(counter)),
            BindingHop::Udp { listener } => {
                Self::Udp { listener: u8::try_from(listener).unwrap_or(u8::MAX), remote: binding.remote() }
            }
        }
    }

    /// The number of the listener that its peer knows us by.
    #[must_use]
    pub fn listener(self) -> u8 {
        match self {
            Self::Flow(number) => number.listener(),
            Self::Udp { listener, .. } | Self::Peer { listener, .. } => listener,
        }
    }
}

/// Whom the peer of a connection that we make must prove to be, by a number of
/// [`Upstreams`](crate::Upstreams); 0 is nobody in particular.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExpectedPeer(pub u8);

impl ExpectedPeer {
    /// Nothing: there is no TLS.
    pub const NOTHING: Self = Self(0);
}

/// A flow's counter: who owns it and where it came in stand in its low bits, so that anyone can send there
/// without asking. What remains counts the flows of that shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowNumber(pub u64);

/// Bits for the shard, and as many for the listener.
const BITS: u32 = 6;

/// Shards and listeners that a number can name.
const MOST: usize = 1 << BITS;
const _: () = assert!(config::Shards::MOST as usize <= MOST && config::Listener::MOST <= MOST);

impl FlowNumber {
    /// The flow of this count at its shard.
    #[must_use]
    pub fn new(count: u64, shard: u8, listener: u8) -> Self {
        Self(count << (2 * BITS) | u64::from(listener) << BITS | u64::from(shard))
    }

    /// The shard that owns the flow.
    #[must_use]
    pub fn shard(self) -> usize {
        (self.0 & (MOST as u64 - 1)) as usize
    }

    /// The listener that it came in at.
    #[must_use]
    pub fn listener(self) -> u8 {
        (self.0 >> BITS & (MOST as u64 - 1)) as u8
    }

    /// The how-manieth flow of its shard it is.
    #[must_use]
    pub fn count(self) -> u64 {
        self.0 >> (2 * BITS)
    }

    /// Its id in this run of the node.
    #[must_use]
    pub fn id(self, incarnation: Incarnation) -> FlowId {
        FlowId { incarnation, counter: self.0 }
    }
}

/// The peer of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerKind {
    /// A user agent that connected to us.
    UserAgent,
    /// A server behind us, or a phone that we connected to. Others are reached by it, so it is closed after
    /// them.
    Server,
}

/// Whether two hops lead to one peer. A phone behind a NAT may change its port within a dialog.
#[must_use]
pub fn same_peer(one: Hop, other: Hop) -> bool {
    match (one, other) {
        (Hop::Udp { listener: a, remote: one }, Hop::Udp { listener: b, remote: other }) => {
            a == b && one.ip() == other.ip()
        }
        // It has registered over UDP, and wants to be reached by TCP.
        (Hop::Udp { remote: one, .. }, Hop::Peer { proves: ExpectedPeer::NOTHING, remote: other, .. })
        | (Hop::Peer { proves: ExpectedPeer::NOTHING, remote: one, .. }, Hop::Udp { remote: other, .. }) => {
            one.ip() == other.ip()
        }
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_tells_its_shard_and_listener() {
        for (count, shard, listener) in [(0, 0, 0), (1, 63, 0), (77, 5, 63), (1 << 50, 1, 2)] {
            let number = FlowNumber::new(count, shard, listener);
            assert_eq!(
                (number.count(), number.shard(), number.listener()),
                (count, usize::from(shard), listener)
            );
        }
        assert!(FlowNumber::new(2, 0, 0) > FlowNumber::new(1, 63, 63));
    }
}
