//! The environment of a shard's proxy. It asks the rules each question of the proxy, and acts on the answer.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use config::Registration;
use defence::Offence;
use metrics::Count;
use sip_message::{Contact, Message, Rewrite, Uri, Via};
use sip_proxy::{
    Answer, Contacts, Decision, Dialog, Environment, HeaderPolicy, HopGone, Hops, Notice, Observer,
    PendingRegister, RouteResolution, Router, Target,
};
use sip_transaction::Reliability;
use upstream::{ExpectedPeer, Hop};

use crate::{
    admission_control::Trust,
    routing::{
        Incoming, RequestState, Routing, Targets, backend::Registrar, decision::Destination,
        flow_lookup::FlowLookup as _, gruu, rewritten_contact, targets,
    },
    shard::{
        Shard,
        registering::{register, registered, registering},
    },
};

/// What a shard's proxy sees while it handles one message. Built once for each.
pub(crate) struct ProxyEnvironment<'s> {
    pub(crate) shard: &'s Shard,
    routing: Routing<'s, Shard>,
    speaker: MessageSource,
    now: Instant,
    /// Findings about the request at hand.
    request: RequestState,
}

/// The source of the message that a proxy handles.
#[derive(Clone, Copy, Debug)]
pub(crate) enum MessageSource {
    /// It handles none: a timer, or news of a hop.
    Nobody,
    /// It came by this hop, from one of whom that much is known.
    Client(Hop, Trust),
    /// It is a response that came by a flow of another shard, from this address.
    AnotherShard(Option<IpAddr>),
}

impl<'s> ProxyEnvironment<'s> {
    pub(crate) fn new(shard: &'s Shard, speaker: MessageSource, now: Instant) -> Self {
        let throttled = match speaker {
            MessageSource::Client(_, Trust::Throttled(too_much)) => Some(too_much),
            MessageSource::Client(..) | MessageSource::Nobody | MessageSource::AnotherShard(_) => None,
        };
        Self {
            shard,
            routing: shard.routing(),
            speaker,
            now,
            request: RequestState { throttled, ..RequestState::default() },
        }
    }

    /// The sender of the message, if it has not proved to be a user.
    fn unauthenticated_sender(&self) -> Option<Hop> {
        match self.speaker {
            MessageSource::Client(from, Trust::Unauthenticated) => Some(from),
            MessageSource::Client(..) | MessageSource::Nobody | MessageSource::AnotherShard(_) => None,
        }
    }

    /// Whether a hop that failed a request leads to a server behind; then that is counted.
    fn counts_failure(&self, hop: Hop) -> bool {
        let tables = &self.routing.tables;
        let behind = tables.upstreams.is_upstream(hop);
        if behind {
            tables.metrics.add(Count::UpstreamFailures);
        }
        behind
    }
}

impl Environment for ProxyEnvironment<'_> {
    fn random(&mut self) -> u64 {
        rand::random()
    }
}

impl Hops for ProxyEnvironment<'_> {
    type Hop = Hop;

    fn send(&mut self, hop: Hop, message: &[u8]) -> Result<(), HopGone> {
        self.shard.send(hop, message)
    }

    fn reliability(&self, hop: Hop) -> Reliability {
        match hop {
            Hop::Flow(_) | Hop::Peer { .. } => Reliability::Reliable,
            Hop::Udp { .. } => Reliability::Unreliable,
        }
    }

    fn connection(&self, hop: Hop) -> u64 {
        match hop {
            Hop::Flow(number) => number.0,
            // A peer may come again by another connection.
            Hop::Udp { .. } | Hop::Peer { .. } => 0,
        }
    }

    fn address(&self, hop: Hop) -> SocketAddr {
        self.routing.flows.address(hop)
    }

    fn may_answer(&self, sent: Hop, from: Hop) -> bool {
        let address = match self.speaker {
            MessageSource::AnotherShard(address) => address,
            MessageSource::Client(..) | MessageSource::Nobody => None,
        };
        let answers = sent == from || self.routing.answers_for(sent, from, address);
        if !answers {
            self.shard.tell_of_foreign_answer(sent, from);
        }
        answers
    }

    fn reconnect_hop(&self, hop: Hop) -> Option<Hop> {
        self.routing.tables.upstreams.reconnect_hop(hop)
    }

    fn out_of_service(&self, hop: Hop) -> Option<u32> {
        self.routing.tables.upstreams.out_of_service(hop)
    }

    fn supports_outbound(&self, hop: Hop) -> bool {
        self.routing.tables.upstreams.knows_outbound(hop)
    }

    fn patience(&self, hop: Hop) -> Option<Duration> {
        let tables = &self.routing.tables;
        tables.upstreams.timeout(hop).or_else(|| targets::patience(tables, hop))
    }
}

impl HeaderPolicy for ProxyEnvironment<'_> {
    fn write_via(&self, hop: Hop, out: &mut Vec<u8>) {
        if let Some(bound) = self.routing.tables.listener(hop.listener()) {
            out.extend_from_slice(&bound.via);
        }
        match hop {
            Hop::Udp { .. } => out.extend_from_slice(b";rport"),
            // RFC 5923 §5: requests to us may come over the connection that this goes over.
            Hop::Peer { proves, .. } if proves != ExpectedPeer::NOTHING => out.extend_from_slice(b";alias"),
            Hop::Flow(_) | Hop::Peer { .. } => {}
        }
    }

    fn wrote_via(&self, via: &Via<'_>) -> bool {
        self.routing.tables.listeners.iter().any(|bound| bound.is_sent_by(via))
    }

    fn write_record_route(&self, hop: Hop, other: Hop, out: &mut Vec<u8>) {
        if let Some(bound) = self.routing.tables.listener(hop.listener()) {
            out.extend_from_slice(b"<sip:");
            self.routing.tables.flow_tokens.write(hop, other, out);
            out.extend_from_slice(&bound.route_end);
        }
    }

    fn write_path(&self, request: &Message<'_>, from: Hop, to: Hop, out: &mut Vec<u8>) {
        let registrar = Registrar::for_request(self.routing.tables.domains, request);
        if registrar.is_some_and(|registrar| registrar.by == Registration::ContactRewrite) {
            return;
        }
        if let Some(bound) = self.routing.tables.listener(to.listener()) {
            out.extend_from_slice(b"<sip:");
            self.routing.tables.flow_tokens.write(from, to, out);
            out.extend_from_slice(&bound.route_end);
            // RFC 5626 §5.1: the user agent's flow is what later requests must come over.
            if request.contacts().any(
                |(_, contact)| matches!(contact, Ok(Contact::Addr(address)) if address.reg_id().is_some()),
            ) {
                out.pop();
                out.extend_from_slice(b";ob>");
            }
        }
    }

    fn write_contacts(&self, request: &Message<'_>, from: Hop, out: &mut Vec<u8>) -> Contacts {
        self.routing.write_contacts(request, from, out)
    }

    fn restore_contacts(&self, request: &Message<'_>, response: &Message<'_>, out: &mut Vec<u8>) {
        if let Some(registrar) = Registrar::for_request(self.routing.tables.domains, request)
            && registrar.by != Registration::Path
        {
            rewritten_contact::restore_all(&self.routing.tables, registrar, (request, response), out);
        }
    }

    fn amend_request<'m>(
        &self,
        request: &'m Message<'m>,
        hops: (Hop, Hop),
        dialog: Dialog,
        text: &'m mut Vec<u8>,
        rewrite: &mut Rewrite<'m>,
    ) {
        self.routing.amend(request, hops, dialog, text, rewrite);
    }

    fn amend_response<'m>(&self, response: &'m Message<'m>, hops: (Hop, Hop), rewrite: &mut Rewrite<'m>) {
        self.routing.strip_proofs(response, rewrite);
        self.routing.strip(response, hops, rewrite);
    }

    fn allows_challenge(&self, challenge: &[u8], from: Hop) -> bool {
        let tables = &self.routing.tables;
        tables.upstreams.is_upstream(from) || !tables.domains.asks_as_we_do(challenge)
    }
}

impl Router for ProxyEnvironment<'_> {
    fn resolve_route(&mut self, uri: &Uri<'_>, from: Hop, request: &Message<'_>) -> RouteResolution<Hop> {
        let incoming = Incoming { request, from, now: self.now };
        self.routing.resolve_route(uri, incoming, &mut self.request)
    }

    fn next_hop(
        &mut self,
        uri: &Uri<'_>,
        request: &Message<'_>,
        from: Hop,
        now: Instant,
    ) -> Result<Hop, Answer> {
        self.routing.next_hop(uri, Incoming { request, from, now }, &mut self.request)
    }

    fn decide(&mut self, request: &Message<'_>, from: Hop, now: Instant) -> Decision<Hop> {
        let incoming = Incoming { request, from, now };
        let answer = match self.routing.decide(incoming, &mut self.request) {
            Ok(Destination::Forward(targets)) => return Decision::Forward(targets),
            Ok(Destination::Registrar(domain)) => register(&self.routing, domain, incoming),
            Err(answer) => answer,
        };
        if let Some(sender) = self.unauthenticated_sender() {
            match answer.status {
                403 | 404 => self.shard.offends(sender, Offence::Refused),
                401 | 407 => self.shard.offends(sender, Offence::Unproved),
                _ => {}
            }
        }
        Decision::Answer(answer)
    }

    fn resolve_gruu(&self, request: &Message<'_>, from: Hop, hop: Hop, now: Instant) -> Option<Target<Hop>> {
        self.routing.named(Incoming { request, from, now }, hop)
    }

    fn reroute_returned(&mut self, request: &Message<'_>, from: Hop, now: Instant) -> Option<Decision<Hop>> {
        let found = self.routing.find_returned(Incoming { request, from, now }, &mut self.request)?;
        Some(found.map_or_else(Decision::Answer, Decision::Forward))
    }

    fn reroute_lost(&mut self, request: &Message<'_>, from: Hop, now: Instant) -> Option<Decision<Hop>> {
        gruu::is_there(&self.routing.tables, request, now).then(|| self.decide(request, from, now))
    }

    fn resolve_redirect(
        &mut self,
        contact: &Uri<'_>,
        request: &Message<'_>,
        from: Hop,
        now: Instant,
    ) -> Option<Targets> {
        self.routing.follow_redirect(contact, Incoming { request, from, now })
    }
}

impl Observer for ProxyEnvironment<'_> {
    fn on_register(&mut self, request: &Message<'_>, from: Hop) -> Option<PendingRegister> {
        registering(self.shard, request, from).map(PendingRegister::new)
    }

    fn on_registered(&mut self, request: &Message<'_>, from: Hop, response: &Message<'_>, now: Instant) {
        let host = request.request_uri().ok().and_then(|uri| uri.host());
        if let Some(domain) = host.and_then(|host| self.shard.shared.domains.find(&host)) {
            if let Some(upstream) =
                domain.registrar().and_then(|number| self.routing.tables.upstreams.get(number))
            {
                upstream.learn_outbound(request, response);
            }
            registered(self.shard, domain, request, from, response, now);
        }
    }

    fn on_no_response(&mut self, hop: Hop) {
        if self.counts_failure(hop) {
            self.routing.tables.upstreams.mark_failed(hop);
        }
    }

    fn on_unreachable(&mut self, hop: Hop) {
        if self.counts_failure(hop) {
            self.routing.tables.upstreams.mark_unreachable(hop);
        }
    }

    fn on_unavailable(&mut self, hop: Hop, retry_after: Option<u32>) {
        if self.counts_failure(hop) {
            self.routing.tables.upstreams.mark_unavailable(hop, retry_after);
        }
    }

    fn on_first_response(&mut self, hop: Hop) {
        self.routing.tables.upstreams.mark_answering(hop);
    }

    fn on_forwarded(&mut self, request: &Message<'_>, from: Hop, to: Hop, _now: Instant) {
        self.shard.shared.call_request(request, from, to, self.request.call.take());
    }

    fn on_refused(&mut self, answer: &Answer, request: &Message<'_>, from: Hop, now: Instant) {
        // A challenge is no refusal: it comes again with a proof, or nobody has called.
        if !matches!(answer.status, 401 | 407) {
            let whose = self.routing.whose_call(Incoming { request, from, now }, self.request.proved);
            self.shard.shared.call_refused(answer, request, from, whose.as_ref());
        }
    }

    fn on_answered(&mut self, status: u16, head: &Message<'_>, asked: Hop, by: Option<Hop>, _now: Instant) {
        self.shard.shared.call_response(status, head, asked, by);
    }

    fn is_own_awaited(&self, own: u64) -> bool {
        self.shard.own_is_wanted(own)
    }

    fn on_own_answered(&mut self, own: u64, status: u16, response: Option<&Message<'_>>) {
        self.shard.own_answered(own, status, response);
    }

    fn notice(&mut self, notice: Notice) {
        tracing::debug!(?notice, "sip");
        if let (Some(sender), Notice::Unparsed(_) | Notice::Invalid(_)) =
            (self.unauthenticated_sender(), notice)
        {
            self.shard.offends(sender, Offence::Malformed);
        }
        self.shard.shared.metrics.add(match notice {
            Notice::Unparsed(_) => Count::MessagesUnparsed,
            Notice::Invalid(_) => Count::MessagesInvalid,
            Notice::Forgiven(what) => return self.shard.shared.metrics.forgive(what),
            Notice::StrayResponse => Count::ResponsesStray,
            Notice::ForeignResponse => Count::ResponsesForeign,
            Notice::StrayAck => Count::AcksStray,
            Notice::Repeat => Count::RequestsRepeated,
            Notice::Loop => Count::Loops,
            Notice::Full => Count::TransactionsFull,
            Notice::FullOfBytes => Count::TransactionMemoryFull,
            Notice::Resent => Count::RequestsSentAnew,
            Notice::Unwritable => Count::Unwritable,
        });
    }
}
