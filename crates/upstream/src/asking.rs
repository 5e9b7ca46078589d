//! Which server is asked, what happens to the request, and what that says about the server's health.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use sip_message::{HeaderId, Message};
use sip_proxy::SAME_SERVER;
use smallvec::SmallVec;
use targets::{Health, HealthChange, ServerState};

use crate::{
    hop::Hop,
    upstream::{Server, ServerHop, Upstream, Upstreams},
};

/// Why nobody is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unserved {
    /// No name has led to a server.
    NotFound,
    /// No server answers probes. It is worth asking again after this long.
    Silent(Duration),
}

/// A hop, and a number of the server that it leads to: [`SAME_SERVER`] is that of the first hop.
pub(crate) type Asked = (Hop, u8);

impl Upstream {
    /// The hops by which to ask, in order, for a request of so many bytes.
    ///
    /// # Errors
    /// There is nobody to ask.
    pub fn ways(&self, length: usize) -> Result<SmallVec<[Asked; 2]>, Unserved> {
        let (hops, servers) = (self.hops(length), self.servers());
        if hops.is_empty() {
            return Err(Unserved::NotFound);
        }
        let now = Instant::now();
        if servers.iter().all(|server| server.is_silent()) {
            let again = servers.iter().filter_map(|server| server.way.wanted_in(now)).min();
            // A server may know no OPTIONS. The one request that finds that out may be any.
            if !servers.iter().any(|server| server.way.change(|state| state.may_be_tried(now))) {
                return Err(Unserved::Silent(again.unwrap_or_default()));
            }
        }
        if let [only] = hops[..] {
            return Ok(SmallVec::from_slice(&[(only, SAME_SERVER)]));
        }
        let of = |hop: Hop| servers.iter().position(|server| server.ways().any(|way| way.hop == hop));
        let first = |at: usize| servers.iter().position(|server| server.is_same(&servers[at])).unwrap_or(at);
        let numbers: SmallVec<[Option<usize>; 4]> = hops.iter().map(|&hop| of(hop).map(first)).collect();
        let number = |which: &Option<usize>| {
            let at = numbers.iter().position(|known| known == which).unwrap_or(0);
            u8::try_from(at).unwrap_or(u8::MAX)
        };
        Ok(hops.iter().copied().zip(numbers.iter().map(number)).collect())
    }

    /// What the answer to a REGISTER tells of its registrar (RFC 5626 §6): one that knows flows requires
    /// `outbound` where it was asked to keep one.
    pub fn learn_outbound(&self, register: &Message<'_>, answer: &Message<'_>) {
        let shows =
            [HeaderId::Require, HeaderId::Supported].iter().any(|&id| answer.has_option_tag(id, b"outbound"));
        let asked = || {
            register.contacts().any(|(_, contact)| {
                matches!(contact, Ok(sip_message::Contact::Addr(address)) if address.reg_id().is_some())
            })
        };
        if shows || asked() {
            self.outbound.store(shows, Ordering::Relaxed);
        }
    }

    pub(crate) fn turned(&self, server: &Server, turned: HealthChange) {
        let (upstream, server) = (self.name.as_str(), server.address);
        match turned {
            HealthChange::Nothing => {}
            HealthChange::Up => tracing::info!(upstream, %server, "a server answers again"),
            HealthChange::Down => {
                tracing::warn!(upstream, %server, "a server does not answer: other servers are asked until it does");
            }
        }
    }
}

impl Server {
    /// Whether both are one server, as far as can be told: at one address, or at one host by another
    /// transport, or at the other family's address of one name. What has another port for the same transport
    /// is another process.
    fn is_same(&self, other: &Self) -> bool {
        let (one, two) = (self.address, other.address);
        let by_name = self.host.is_some() && self.host == other.host && one.is_ipv4() != two.is_ipv4();
        one == two || (one.ip() == two.ip() && self.transport != other.transport) || by_name
    }

    /// Whether probes tell that it says nothing, and it takes no large requests by a stream either.
    fn is_silent(&self) -> bool {
        let answers = |way: &ServerHop| way.health() == Health::Up;
        self.way.change(|state| state.is_silent()) && !self.large.as_ref().is_some_and(answers)
    }
}

impl ServerHop {
    pub(crate) fn wanted_in(&self, now: Instant) -> Option<Duration> {
        self.change(|state| state.wanted_in(now))
    }
}

impl Upstreams {
    /// Nothing was heard in time of what a server was asked.
    pub fn mark_failed(&self, hop: Hop) {
        self.note(hop, |state| {
            state.record_failure(Instant::now());
            HealthChange::Nothing
        });
    }

    /// Nobody is there: connections or datagrams are refused, or a connection cannot be made.
    pub fn mark_unreachable(&self, hop: Hop) {
        self.note(hop, |state| state.record_unreachable(Instant::now()));
    }

    /// A server answered 503. That is about one request, unless it asks to be left alone.
    pub fn mark_unavailable(&self, hop: Hop, retry_after: Option<u32>) {
        self.note(hop, |_| HealthChange::Nothing);
        // It is the server that asks for it, by whatever transport it was asked.
        if let (Some(seconds), Some((_, server))) = (retry_after, self.server(hop)) {
            let (wait, now) = (Duration::from_secs(seconds.into()), Instant::now());
            server.ways().for_each(|way| way.change(|state| state.record_retry_after(wait, now)));
        }
    }

    /// A server failed a request.
    fn note(&self, hop: Hop, change: impl FnOnce(&mut ServerState) -> HealthChange) {
        let Some((upstream, server)) = self.server(hop) else { return };
        server.failures.fetch_add(1, Ordering::Relaxed);
        if let Some(way) = server.ways().find(|way| way.hop == hop) {
            let turned = way.change(change);
            // That nobody takes connections for large requests is no news of the server.
            if way.hop == server.way.hop {
                upstream.turned(&server, turned);
            }
        }
        let (upstream, server) = (upstream.name.as_str(), server.address);
        tracing::debug!(upstream, %server, ?hop, "a server failed a request");
    }

    /// A server said something.
    pub fn mark_answering(&self, hop: Hop) {
        if matches!(hop, Hop::Flow(_)) {
            return;
        }
        let Some((upstream, server)) = self.server(hop) else { return };
        if let Some(way) = server.ways().find(|way| way.hop == hop) {
            upstream.turned(&server, way.change(ServerState::record_sign_of_life));
        }
    }

    /// Whole seconds until a server of this one's upstream is worth asking, if none is now.
    pub fn out_of_service(&self, hop: Hop) -> Option<u32> {
        let (upstream, _) = self.server(hop)?;
        let (now, mut soonest) = (Instant::now(), Duration::MAX);
        for server in upstream.servers().iter() {
            soonest = soonest.min(server.way.wanted_in(now)?);
        }
        Some(whole_seconds(soonest))
    }

    /// Whether the server that a hop leads to has shown that it knows flows (RFC 5626).
    pub fn knows_outbound(&self, hop: Hop) -> bool {
        let hop = self.reconnect_hop(hop).unwrap_or(hop);
        self.server(hop).is_some_and(|(upstream, _)| upstream.outbound.load(Ordering::Relaxed))
    }
}

/// As `Retry-After` says it; at least one.
pub fn whole_seconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis().div_ceil(1000)).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use config::{Config, FakeEnvironment};

    use super::*;

    fn upstreams(targets: &str) -> Upstreams {
        let text = format!(
            "[[listener]]\ntransport = \"udp\"\nbind = \"127.0.0.1:5060\"\n\
             [[listener]]\ntransport = \"tcp\"\nbind = \"127.0.0.1:5060\"\n\
             [[upstream]]\nname = \"pbx\"\ntargets = [{targets}]\n"
        );
        let config = Config::parse(&text, Path::new("sipway.toml"), &FakeEnvironment::new()).unwrap();
        Upstreams::new(&config.upstreams, &config.listeners).unwrap()
    }

    fn servers(upstreams: &Upstreams, length: usize) -> Vec<u8> {
        let mut ways = upstreams.all[0].ways(length).unwrap();
        // Those of one priority are drawn: as they stand in the configuration.
        ways.sort_by_key(|(hop, _)| *hop);
        ways.into_iter().map(|(_, server)| server).collect()
    }

    #[test]
    fn a_server_is_one_by_whatever_transport_and_two_at_two_ports_of_one_transport() {
        let large = servers(&upstreams("\"sip:192.0.2.7\""), 5000);
        assert_eq!(large, [SAME_SERVER, SAME_SERVER], "by TCP and by UDP");
        let same = upstreams("\"sip:192.0.2.7:5070;transport=tcp\", \"sip:192.0.2.7;transport=udp\"");
        assert_eq!(servers(&same, 1), [SAME_SERVER, SAME_SERVER]);
        for other in ["sip:192.0.2.7:5070;transport=tcp", "sip:192.0.2.8:5060;transport=tcp"] {
            let two = servers(&upstreams(&format!("\"sip:192.0.2.7;transport=tcp\", \"{other}\"")), 1);
            assert_ne!(two[0], two[1], "{other}");
            assert!(two.contains(&SAME_SERVER));
        }
    }

    #[test]
    fn who_asks_to_be_left_alone_by_one_transport_is_by_all() {
        let upstreams = upstreams("\"sip:192.0.2.7\"");
        let ways = upstreams.all[0].ways(5000).unwrap();
        assert_eq!(ways.len(), 2);
        upstreams.mark_unavailable(ways[0].0, None);
        assert_eq!(upstreams.out_of_service(ways[0].0), None);
        upstreams.mark_unavailable(ways[0].0, Some(7));
        for (hop, _) in ways {
            assert_eq!(upstreams.out_of_service(hop), Some(7));
        }
        assert_eq!(upstreams.views().next().map(|view| view.health), Some(Health::Resting));
        // Alone it is asked all the same.
        assert!(upstreams.all[0].ways(1).is_ok());
    }
}
