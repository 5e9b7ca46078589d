//! Which hop may answer a request that was sent on another one.
//!
//! Nobody can guess a branch of ours, but elements further on read it in the Vias below their own. Such an
//! element could answer a caller past the server that decides about the call.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use defence::{By, Source};
use upstream::Hop;

use crate::{
    routing::{Routing, flow_lookup::FlowLookup},
    shard::Shard,
};

/// How often the log says that a server's answers come from elsewhere.
const TELL_EVERY: Duration = Duration::from_secs(60);

impl<F: FlowLookup> Routing<'_, F> {
    /// Whether a response from one hop may answer a request that was sent on another. `address` is where the
    /// response comes from, if that is a flow of another shard.
    ///
    /// - A request on a connection is answered on that connection. A server behind us answers by any of its
    ///   connections: if the one that a request came by has ended, it makes another (RFC 3261 §18.2.2). A
    ///   server on our own machine is known by its address alone.
    /// - A NAT may change the port of a datagram, and a host with several IPv6 addresses may send from
    ///   another one of its /64. The response comes to the socket that the Via names.
    /// - A server behind us may answer from the address of another server behind us.
    pub(crate) fn answers_for(&self, sent: Hop, from: Hop, address: Option<IpAddr>) -> bool {
        let upstreams = self.tables.upstreams;
        let is_server = upstreams.is_upstream(sent);
        match (sent, from) {
            (Hop::Udp { listener, remote: sent }, Hop::Udp { listener: other, remote: from }) => {
                listener == other
                    && (same_host(sent.ip(), from.ip()) || is_server && upstreams.has(from.ip()))
            }
            (Hop::Peer { .. }, Hop::Flow(number)) if is_server => {
                let address = address.or_else(|| self.flows.remote(number).map(|remote| remote.ip()));
                address.is_some_and(|address| upstreams.has(address))
            }
            _ => is_server && upstreams.is_upstream(from),
        }
    }
}

impl Shard {
    /// Tells the operator, since calls to that server fail as if it were silent.
    pub(crate) fn tell_of_foreign_answer(&self, sent: Hop, from: Hop) {
        tracing::debug!(
            ?sent,
            ?from,
            "a response came from another address than its request was sent to; it is dropped"
        );
        if !self.shared.upstreams.is_upstream(sent) {
            return;
        }
        let now = Instant::now();
        if self.told_foreign.get().is_some_and(|told| now.duration_since(told) < TELL_EVERY) {
            return;
        }
        self.told_foreign.set(Some(now));
        tracing::warn!(
            ?sent,
            ?from,
            "an answer of an upstream came from an unknown address and was dropped: let the server answer from the address that it is asked at, or add the other address to `targets`"
        );
    }
}

fn same_host(one: IpAddr, other: IpAddr) -> bool {
    let host = |address| Source::of(address, By::Datagram);
    host(one) == host(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_an_ipv4_address_or_the_64_of_an_ipv6_one() {
        let same = |one: &str, other: &str| same_host(one.parse().unwrap(), other.parse().unwrap());
        assert!(same("192.0.2.1", "192.0.2.1"));
        assert!(same("2001:db8::1", "2001:db8::ffff:1"));
        assert!(!same("192.0.2.1", "192.0.2.2"));
        assert!(!same("2001:db8::1", "2001:db8:0:1::1"));
    }
}
