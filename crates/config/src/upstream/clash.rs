//! Targets that are this server itself: its requests would come back to it, and the PBX could not have the
//! port.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{UpstreamTarget, speaking, speaks_sip};
use crate::host::Host;
use crate::listener::Listener;

impl UpstreamTarget {
    /// The listener that is at this target's address. `is_here` says whether an address is one of this
    /// machine, for listeners at all of them; loopback addresses always are.
    #[must_use]
    pub fn listener_in_its_place<'l>(
        &self,
        listeners: &'l [Listener],
        is_here: impl Fn(IpAddr) -> bool,
    ) -> Option<&'l Listener> {
        let place = self.known_address()?;
        listeners.iter().find(|listener| {
            let kind = listener.transport.kind();
            let spoken = match self.transport {
                Some(transport) => speaking(transport) == kind,
                // By UDP, and by TCP what is large.
                None => speaks_sip(kind) && listener.transport.tls().is_none(),
            };
            spoken && listener.bind.port() == place.port() && covers(listener.bind.ip(), place.ip(), &is_here)
        })
    }

    /// Where it is, as far as that is known without DNS.
    fn known_address(&self) -> Option<SocketAddr> {
        let port = self.port.unwrap_or(self.usual().port());
        match &self.host {
            Host::Name(_) if self.host.is_loopback() => Some((Ipv4Addr::LOCALHOST, port).into()),
            Host::Name(_) => None,
            Host::V4(_) | Host::V6(_) => self.address(),
        }
    }
}

/// Whether what comes to `place` comes to a socket that is bound to `bind`.
fn covers(bind: IpAddr, place: IpAddr, is_here: impl Fn(IpAddr) -> bool) -> bool {
    let here = || place.is_loopback() || place.is_unspecified() || is_here(place);
    bind == place || bind.is_unspecified() && bind.is_ipv4() == place.is_ipv4() && here()
}
