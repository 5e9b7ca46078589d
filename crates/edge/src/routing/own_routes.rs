//! Routes of this server: what a URI in a Route means, and which senders it leads on (RFC 3261 §16.4).

use std::time::Instant;

use sip_message::Uri;
use sip_proxy::{RouteResolution, Target};
use upstream::{Hop, same_peer};

use crate::routing::{
    Incoming, RequestState, Routing,
    flow_lookup::{FlowLookup, SenderProof},
    flow_token::Token,
    gruu,
};

impl<F: FlowLookup + SenderProof> Routing<'_, F> {
    /// What a URI in a Route is to us, or a Request-URI that looks like a route of ours.
    pub(crate) fn resolve_route(
        &self,
        uri: &Uri<'_>,
        incoming: Incoming<'_>,
        state: &mut RequestState,
    ) -> RouteResolution<Hop> {
        let Some(user) = uri.user() else {
            return match self.is_here(uri) {
                true => RouteResolution::Ours,
                false if self.is_served(uri) => RouteResolution::Domain,
                false => RouteResolution::Foreign,
            };
        };
        match self.signed(uri, user) {
            Token::Ours { hop, other } => self.follow((hop, other), incoming, state),
            Token::Earlier { hop, .. } => self.follow_earlier(hop, incoming, state),
            // The name of a user of ours, or a token that was tampered with. A route has no use for either.
            Token::NotOurs if self.is_here(uri) => RouteResolution::Forged,
            Token::NotOurs => RouteResolution::Foreign,
        }
    }

    /// Where a route of ours leads. It was made for one hop, and for requests that come over the other.
    fn follow(
        &self,
        (hop, other): (Hop, Hop),
        incoming: Incoming<'_>,
        state: &mut RequestState,
    ) -> RouteResolution<Hop> {
        let (tables, Incoming { request, from, .. }) = (&self.tables, incoming);
        // A side of the call may have moved since.
        let moved = hop != from && request.to().is_ok_and(|to| to.tag().is_some());
        // A server's own connection may have ended, while the server is still there.
        let now = |hop| tables.upstreams.current_hop(hop, Some(request));
        match if moved {
            tables.calls.way(tables.upstreams, request, hop, from)
        } else {
            sip_dialog::RouteOutcome::Unknown
        } {
            sip_dialog::RouteOutcome::To(hop) if self.is_gone(now(hop)) => return RouteResolution::Gone,
            sip_dialog::RouteOutcome::To(hop) => return RouteResolution::Flow(now(hop)),
            sip_dialog::RouteOutcome::Held => return RouteResolution::Held,
            sip_dialog::RouteOutcome::Gone => return RouteResolution::Over,
            sip_dialog::RouteOutcome::NotAParty => return RouteResolution::Forged,
            sip_dialog::RouteOutcome::Unknown if moved && !self.may_begin(incoming, now(hop), state) => {
                return RouteResolution::Forged;
            }
            sip_dialog::RouteOutcome::Unknown => {}
        }
        let (hop, other) = (now(hop), now(other));
        // Each side of a dialog holds both routes: its own, and the one to the other side.
        let sender = |one| same_peer(one, from) || self.is_at(one, from);
        let came_back = || moved && tables.calls.has_moved(request, other, from);
        if !(sender(hop) || sender(other) || self.same_upstream(other, from) || came_back()) {
            let ended = |hop| match hop {
                Hop::Flow(number) => !tables.location().is_open(number.id(tables.registry.incarnation())),
                Hop::Udp { .. } | Hop::Peer { .. } => false,
            };
            // The sender seems to have come back too late.
            return if ended(hop) || ended(other) { RouteResolution::Over } else { RouteResolution::Forged };
        }
        if self.is_gone(hop) { RouteResolution::Gone } else { RouteResolution::Flow(hop) }
    }

    /// How a user agent is reached that a request within a dialog names by a GRUU of ours. The route leads to
    /// `hop`.
    pub(crate) fn named(&self, incoming: Incoming<'_>, hop: Hop) -> Option<Target<Hop>> {
        let uri = incoming.request.request_uri_bytes()?;
        let mut target = gruu::target(&self.tables, uri, hop, incoming.now)?;
        // The user agent is not at that hop. Two clients that no domain accepts could otherwise call
        // anybody: one would let the other's request fail.
        if target.request_uri.is_none() && !self.is_authorized(incoming) {
            target.alternatives.clear();
        }
        Some(target)
    }

    /// Whether both are servers behind us. Any of them may send along a Path that another has stored.
    pub(crate) fn same_upstream(&self, one: Hop, other: Hop) -> bool {
        let upstreams = self.tables.upstreams;
        upstreams.is_upstream(one) && upstreams.is_upstream(other)
    }

    /// Whether a flow comes from the address at which we connect to a peer. The peer may open connections to
    /// us, too.
    pub(crate) fn is_at(&self, peer: Hop, from: Hop) -> bool {
        match (peer, from) {
            (Hop::Peer { remote, .. }, Hop::Flow(number)) => {
                self.flows.remote(number).is_some_and(|from| from.ip() == remote.ip())
            }
            _ => false,
        }
    }

    /// Whether an address-of-record is registered over this hop.
    pub(crate) fn is_bound(&self, aor: &str, from: Hop, now: Instant) -> bool {
        self.tables
            .location()
            .bindings(aor, now)
            .any(|binding| self.flows.current_flow(from).map_or(from, Hop::Flow) == Hop::of(binding))
    }

    /// Whether a URI's host and port are those of a listener of ours. Scheme and transport do not matter.
    pub(crate) fn is_here(&self, uri: &Uri<'_>) -> bool {
        let Some(host) = uri.host() else { return false };
        self.tables.listeners.iter().any(|bound| bound.is_at(&host) && bound.has_port(uri.port()))
    }

    /// Whether a URI names a domain of ours without a user, at a port of ours or without one (RFC 3261
    /// §16.4).
    fn is_served(&self, uri: &Uri<'_>) -> bool {
        let tables = &self.tables;
        uri.is_sip()
            && uri.host().is_some_and(|host| tables.domains.find(&host).is_some())
            && tables.listeners.iter().any(|bound| bound.has_port(uri.port()))
    }

    /// Whether a token of ours counts at the host of a URI. Any address will do, since servers and NAT
    /// helpers replace the address and port that we wrote by those they saw (`rewrite_contact` of Asterisk).
    /// The signature says that the URI is ours. No element puts in another name, so a name must be one of
    /// ours.
    pub(crate) fn may_be_signed(&self, uri: &Uri<'_>) -> bool {
        let tables = &self.tables;
        uri.host().is_some_and(|host| {
            host.ip().is_some()
                || tables.listeners.iter().any(|bound| bound.is_at(&host))
                || tables.domains.find(&host).is_some()
        })
    }

    /// What the user part of a URI means, if the URI may be ours.
    fn signed(&self, uri: &Uri<'_>, user: &[u8]) -> Token {
        if self.may_be_signed(uri) { self.tables.flow_tokens.read(user) } else { Token::NotOurs }
    }

    /// Whether a hop is surely gone. Flows of other shards report it when something is sent to them.
    fn is_gone(&self, hop: Hop) -> bool {
        match hop {
            Hop::Flow(number) => self.flows.is_gone(number),
            Hop::Udp { .. } | Hop::Peer { .. } => false,
        }
    }
}
