//! The world around a shard's proxy: names, routes, policy.

use std::{
    cell::Cell,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use config::Registration;
use defence::{Offence, UserCall};
use metrics::Count;
use sip_message::{Contact, HeaderId, Message, Method, Rewrite, Scheme, Uri, Via, write_address_of_record};
use sip_proxy::{Answer, Contacts, Decision, Dialog, Environment, HopGone, Notice, Owned, Target, UnderWay};
use sip_transaction::Reliability;
use smallvec::{SmallVec, smallvec};

use crate::{
    accounts::TooMuch,
    calls::hop_of,
    domains::DomainRef,
    hop::{Hop, Proves, same_peer},
    routing::{
        backend::{Registrar, forward_register, registered, registering, towards, write_contacts},
        event_state::{self, Keeper},
        flow_token::Token,
        gruu,
        register::register,
        rewritten_contact,
        sender::Sender,
        targets::{self, in_its_place, nobody_there},
    },
    shard::Shard,
    shared::Shared,
};

/// What a shard's proxy sees.
pub(crate) struct World<'s> {
    pub(crate) shard: &'s Shard,
    /// Whose request is at hand, if it is a stranger's.
    pub(crate) stranger: Option<Hop>,
    /// It is a user's that says more than it may: nothing new is begun for it.
    pub(crate) hasty: Option<TooMuch>,
    /// Where the response at hand comes from, if it came by a flow of another shard.
    pub(crate) answerer: Option<IpAddr>,
    /// The place of the call that is about to begin.
    pub(crate) call: Cell<Option<UserCall>>,
    /// Whether the request at hand has proved who sends it.
    pub(crate) proved: Cell<Proved>,
}

/// Whether a request has proved who sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proved {
    /// No, or another did before it.
    No,
    /// Yes: whoever From names.
    Yes,
}

impl<'s> World<'s> {
    pub(crate) fn new(shard: &'s Shard) -> Self {
        Self {
            shard,
            stranger: None,
            hasty: None,
            answerer: None,
            call: Cell::default(),
            proved: Cell::new(Proved::No),
        }
    }
}

impl Environment for World<'_> {
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
        let flow = match hop {
            Hop::Flow(number) => self.shard.remote(number),
            Hop::Udp { remote, .. } | Hop::Peer { remote, .. } => Some(remote),
        };
        flow.unwrap_or_else(|| (Ipv4Addr::UNSPECIFIED, 0).into())
    }

    fn write_via(&self, hop: Hop, out: &mut Vec<u8>) {
        if let Some(bound) = self.shard.shared.listeners.get(usize::from(hop.listener())) {
            out.extend_from_slice(&bound.via);
        }
        match hop {
            Hop::Udp { .. } => out.extend_from_slice(b";rport"),
            // RFC 5923 §5: requests to us may come over the connection that this goes over.
            Hop::Peer { proves, .. } if proves != Proves::NOTHING => out.extend_from_slice(b";alias"),
            Hop::Flow(_) | Hop::Peer { .. } => {}
        }
    }

    fn wrote_via(&self, via: &Via<'_>) -> bool {
        self.shard.shared.listeners.iter().any(|bound| bound.is_sent_by(via))
    }

    fn may_answer(&self, sent: Hop, from: Hop) -> bool {
        sent == from || self.answers_for(sent, from)
    }

    fn write_record_route(&self, hop: Hop, other: Hop, out: &mut Vec<u8>) {
        if let Some(bound) = self.shard.shared.listeners.get(usize::from(hop.listener())) {
            out.extend_from_slice(b"<sip:");
            self.shard.shared.tokens.write(hop, other, out);
            out.extend_from_slice(&bound.route_end);
        }
    }

    fn write_path(&self, request: &Message<'_>, from: Hop, to: Hop, out: &mut Vec<u8>) {
        let registrar = Registrar::for_request(&self.shard.shared, request);
        if registrar.is_some_and(|registrar| registrar.by == Registration::ContactRewrite) {
            return;
        }
        if let Some(bound) = self.shard.shared.listeners.get(usize::from(to.listener())) {
            out.extend_from_slice(b"<sip:");
            self.shard.shared.tokens.write(from, to, out);
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
        write_contacts(self.shard, request, from, out)
    }

    fn restore_contacts(&self, request: &Message<'_>, response: &Message<'_>, out: &mut Vec<u8>) {
        if let Some(registrar) = Registrar::for_request(&self.shard.shared, request)
            && registrar.by != Registration::Path
        {
            rewritten_contact::restore_all(&self.shard.shared, registrar, (request, response), out);
        }
    }

    fn registering(&mut self, request: &Message<'_>, from: Hop) -> Option<UnderWay> {
        registering(self.shard, request, from).map(UnderWay::new)
    }

    fn amend_request<'m>(
        &self,
        request: &'m Message<'m>,
        hops: (Hop, Hop),
        dialog: Dialog,
        text: &'m mut Vec<u8>,
        rewrite: &mut Rewrite<'m>,
    ) {
        self.amend(request, hops, dialog, text, rewrite);
    }

    fn amend_response<'m>(&self, response: &'m Message<'m>, hops: (Hop, Hop), rewrite: &mut Rewrite<'m>) {
        self.strip_proofs(response, rewrite);
        self.strip(response, hops, rewrite);
    }

    fn lets_challenge(&self, challenge: &[u8], from: Hop) -> bool {
        let shared = &self.shard.shared;
        shared.upstreams.knows(from) || !shared.domains.asks_as_we_do(challenge)
    }

    fn registered(&mut self, request: &Message<'_>, from: Hop, response: &Message<'_>, now: Instant) {
        let host = request.request_uri().ok().and_then(|uri| uri.host());
        if let Some(domain) = host.and_then(|host| self.shard.shared.domains.find(&host)) {
            if let Some(upstream) =
                domain.registrar().and_then(|number| self.shard.shared.upstreams.get(number))
            {
                upstream.learn_outbound(request, response);
            }
            registered(self.shard, domain, request, from, response, now);
        }
    }

    fn anew(&self, hop: Hop) -> Option<Hop> {
        self.shard.shared.upstreams.anew(hop)
    }

    fn failed(&mut self, hop: Hop) {
        if self.counts_failure(hop) {
            self.shard.shared.upstreams.failed(hop);
        }
    }

    fn unreachable(&mut self, hop: Hop) {
        if self.counts_failure(hop) {
            self.shard.shared.upstreams.unreachable(hop);
        }
    }

    fn unavailable(&mut self, hop: Hop, retry_after: Option<u32>) {
        if self.counts_failure(hop) {
            self.shard.shared.upstreams.unavailable(hop, retry_after);
        }
    }

    fn heard(&mut self, hop: Hop) {
        self.shard.shared.upstreams.heard(hop);
    }

    fn out_of_service(&self, hop: Hop) -> Option<u32> {
        self.shard.shared.upstreams.out_of_service(hop)
    }

    fn knows_outbound(&self, hop: Hop) -> bool {
        self.shard.shared.upstreams.knows_outbound(hop)
    }

    fn owns(&self, uri: &Uri<'_>, from: Hop, request: &Message<'_>) -> Owned<Hop> {
        let Some(user) = uri.user() else {
            return match self.is_here(uri) {
                true => Owned::Yes,
                false if self.is_served(uri) => Owned::Domain,
                false => Owned::No,
            };
        };
        match self.signed(uri, user) {
            Token::Ours { hop, other } => self.follow(hop, other, from, request),
            Token::Earlier { hop, .. } => self.follow_earlier(hop, from, request),
            // A name of a user of ours, or a token that was tampered with: a route has no use for the former.
            Token::NotOurs if self.is_here(uri) => Owned::Forged,
            Token::NotOurs => Owned::No,
        }
    }

    fn next_hop(
        &mut self,
        uri: &Uri<'_>,
        request: &Message<'_>,
        from: Hop,
        now: Instant,
    ) -> Result<Hop, Answer> {
        // Requests leave for other elements only along routes that we signed, and those of users whose domain has a server
        // behind us that gave them its name as a Service-Route (RFC 3608): never an open relay.
        let denied = || Answer::new(403, "Relaying Denied");
        let upstreams = &self.shard.shared.upstreams;
        let address =
            uri.host().and_then(|host| Some(SocketAddr::new(host.ip()?, uri.port().unwrap_or(5060))));
        let hop = address.and_then(|address| upstreams.at(address)).ok_or_else(denied)?;
        self.begins(request)?;
        let sender = self.sender(request, from, now)?;
        self.take_place(request, from, &sender)?;
        let (Sender::User { home, .. } | Sender::Anybody(Some(home))) = sender else { return Err(denied()) };
        let behind = home.backend().and_then(|number| upstreams.get(number)).ok_or_else(denied)?;
        // Who registers here has nothing to register there; the server behind may take all that comes from its trunk.
        if !behind.has(hop) || request.method() == Some(Method::Register) && home.registrar().is_none() {
            return Err(denied());
        }
        sender.may_call_outside(home, &self.shard.shared.metrics)?;
        Ok(hop)
    }

    fn decide(&mut self, request: &Message<'_>, from: Hop, now: Instant) -> Decision<Hop> {
        match self.begins(request).and_then(|()| self.targets(request, from, now)) {
            Ok(targets) => Decision::Forward(targets),
            Err(answer) => {
                if let Some(stranger) = self.stranger {
                    match answer.status {
                        403 | 404 => self.shard.offends(stranger, Offence::Refused),
                        401 | 407 => self.shard.offends(stranger, Offence::Unproved),
                        _ => {}
                    }
                }
                Decision::Answer(answer)
            }
        }
    }

    fn named(&self, request: &Message<'_>, from: Hop, hop: Hop, now: Instant) -> Option<Target<Hop>> {
        let mut target = gruu::target(&self.shard.shared, request.request_uri_bytes()?, hop, now)?;
        // The user agent is not where the route leads: two who are let in nowhere could call anybody, one failing for the other.
        if target.request_uri.is_none() && !self.is_let_in(request, from, now) {
            target.others.clear();
        }
        Some(target)
    }

    fn returned(&mut self, request: &Message<'_>, from: Hop, now: Instant) -> Option<Decision<Hop>> {
        self.find_returned(request, from, now)
    }

    fn instead(&mut self, request: &Message<'_>, from: Hop, now: Instant) -> Option<Decision<Hop>> {
        gruu::is_there(&self.shard.shared, request, now).then(|| self.decide(request, from, now))
    }

    fn forwarded(&mut self, request: &Message<'_>, from: Hop, to: Hop, _now: Instant) {
        self.shard.shared.call_request(request, from, to, self.call.take());
    }

    fn refused(&mut self, answer: &Answer, request: &Message<'_>, from: Hop, now: Instant) {
        // A challenge is no refusal: it comes again with a proof, or nobody has called.
        if !matches!(answer.status, 401 | 407) {
            let whose = self.whose_call(request, from, now);
            self.shard.shared.call_refused(answer, request, from, whose.as_ref());
        }
    }

    fn answered(&mut self, status: u16, head: &Message<'_>, asked: Hop, by: Option<Hop>, _now: Instant) {
        self.shard.shared.call_response(status, head, asked, by);
    }

    fn patience(&self, hop: Hop) -> Option<Duration> {
        let shared = &self.shard.shared;
        shared.upstreams.timeout(hop).or_else(|| targets::patience(shared, hop))
    }

    fn own_is_wanted(&self, own: u64) -> bool {
        self.shard.own_is_wanted(own)
    }

    fn own_answered(&mut self, own: u64, status: u16) {
        self.shard.own_answered(own, status);
    }

    fn redirected(
        &mut self,
        contact: &Uri<'_>,
        request: &Message<'_>,
        from: Hop,
        now: Instant,
    ) -> Option<SmallVec<[Target<Hop>; 1]>> {
        self.follow_redirect(contact, request, from, now)
    }

    fn random(&mut self) -> u64 {
        rand::random()
    }

    fn notice(&mut self, notice: Notice) {
        tracing::debug!(?notice, "sip");
        if let (Some(stranger), Notice::Unparsed(_) | Notice::Invalid(_)) = (self.stranger, notice) {
            self.shard.offends(stranger, Offence::Malformed);
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
            Notice::SentAnew => Count::RequestsSentAnew,
            Notice::Unwritable => Count::Unwritable,
        });
    }
}

impl World<'_> {
    /// Whether a hop that failed a request leads to a server behind; then that is counted.
    fn counts_failure(&self, hop: Hop) -> bool {
        let shared = &self.shard.shared;
        let behind = shared.upstreams.knows(hop);
        if behind {
            shared.metrics.add(Count::UpstreamFailures);
        }
        behind
    }

    /// Where a route of ours leads that was made for one hop and for requests that come over the other.
    fn follow(&self, hop: Hop, other: Hop, from: Hop, request: &Message<'_>) -> Owned<Hop> {
        let shared = &self.shard.shared;
        // A side of a call may have moved since.
        let moved = hop != from && request.to().is_ok_and(|to| to.tag().is_some());
        // A server's own connection may be over: the server is not.
        let now = |hop| shared.upstreams.now(hop, Some(request));
        match if moved { shared.call_way(request, hop, from) } else { sip_dialog::Way::Unknown } {
            sip_dialog::Way::To(hop) if self.is_gone(now(hop)) => return Owned::Gone,
            sip_dialog::Way::To(hop) => return Owned::Flow(now(hop)),
            sip_dialog::Way::Held => return Owned::Held,
            sip_dialog::Way::Gone => return Owned::Over,
            sip_dialog::Way::Stranger => return Owned::Forged,
            sip_dialog::Way::Unknown if moved && !self.may_begin(request, from, hop) => return Owned::Forged,
            sip_dialog::Way::Unknown => {}
        }
        let (hop, other) = (now(hop), now(other));
        // Each side of a dialog holds both routes: its own, and the one that leads to the other side.
        let sender = |one| same_peer(one, from) || self.is_at(one, from);
        let came_back = || moved && shared.call_has_moved(request, other, from);
        if !(sender(hop) || sender(other) || self.same_upstream(other, from) || came_back()) {
            let ended = |hop| match hop {
                Hop::Flow(number) => !shared.location().is_open(number.id(shared.incarnation)),
                Hop::Udp { .. } | Hop::Peer { .. } => false,
            };
            // Somebody who came back too late, as far as can be told.
            return if ended(hop) || ended(other) { Owned::Over } else { Owned::Forged };
        }
        if self.is_gone(hop) { Owned::Gone } else { Owned::Flow(hop) }
    }

    /// Where a request goes that no route leads on, or the answer to it.
    fn targets(
        &self,
        request: &Message<'_>,
        from: Hop,
        now: Instant,
    ) -> Result<SmallVec<[Target<Hop>; 1]>, Answer> {
        let uri = request.request_uri().map_err(|_| Answer::new(400, "Malformed Request-URI"))?;
        if !matches!(uri.scheme(), Scheme::Sip | Scheme::Sips) {
            return Err(Answer::new(416, "Unsupported URI Scheme"));
        }
        let shared = &*self.shard.shared;
        let method = request.method();
        if shared.upstreams.knows(from)
            && let Some(way) = self.to_contact(&uri, now).or_else(|| self.along_path(request, from))
        {
            return way;
        }
        if method == Some(Method::Invite)
            && let Some((domain, replaced)) = self.replaced(request, from)
        {
            let sender = self.let_in(request, from, domain, now)?;
            if domain.registrar().is_none() && replaced.hop.is_some_and(|hop| shared.upstreams.knows(hop)) {
                sender.may_call_outside(domain, &shared.metrics)?;
            }
            return in_its_place(shared, replaced, now);
        }
        let domain = uri.host().and_then(|host| shared.domains.find(&host));
        let Some(domain) = domain else {
            if let Some(targets) = self.over_trunk(&uri, request, from, now) {
                return targets;
            }
            return Err(match method {
                Some(Method::Register) => Answer::new(403, "Domain Not Served"),
                Some(Method::Options) if self.is_here(&uri) => about_ourselves(shared, None),
                _ => Answer::new(403, "Relaying Denied"),
            });
        };
        match (method, uri.user()) {
            (Some(Method::Register), _) => {
                return match domain.registrar() {
                    Some(upstream) => forward_register(self.shard, upstream, request, from),
                    None => Err(register(self.shard, domain, request, from, now)),
                };
            }
            (Some(Method::Options), None) => return Err(about_ourselves(shared, Some(domain))),
            (_, None) => return Err(Answer::new(404, "No User In Request-URI")),
            (_, Some(_)) => {}
        }
        let sender = self.let_in(request, from, domain, now)?;
        let from_upstream = matches!(sender, Sender::Behind);
        // What comes from a backend is never sent back to it.
        let backend = domain.backend().filter(|_| !from_upstream && method != Some(Method::Ack));
        if let Some(upstream) = backend.filter(|_| domain.registrar().is_some()) {
            return towards(shared, upstream, request);
        }
        let Some(aor) = uri.address_of_record() else { return Err(Answer::new(404, "Not Found")) };
        let instance = gruu::instance(shared, domain, &uri);
        // A server behind may ask whom it likes.
        if instance.is_none() && !from_upstream && event_state::is_asked_for(request) {
            if let Some(upstream) = backend {
                sender.may_call_outside(domain, &shared.metrics)?;
                return towards(shared, upstream, request);
            }
            if let Some(answer) = event_state::refuse(request) {
                return Err(answer);
            }
        }
        let targets = targets::targets(shared, &aor, instance.as_deref(), now);
        match backend.filter(|_| instance.is_none()) {
            _ if !targets.is_empty() => Ok(targets),
            Some(upstream) => {
                sender.may_call_outside(domain, &shared.metrics)?;
                towards(shared, upstream, request)
            }
            None => Err(nobody_there(domain, &uri, &sender)),
        }
    }

    /// Where a request goes that a server behind sends to a user at our address, as PBXs do that know a trunk by its address alone:
    /// `sip:alice@10.0.0.1` is alice of the domain that has a trunk. None if it is no such request, or several domains have one.
    fn over_trunk(
        &self,
        uri: &Uri<'_>,
        request: &Message<'_>,
        from: Hop,
        now: Instant,
    ) -> Option<Result<SmallVec<[Target<Hop>; 1]>, Answer>> {
        let shared = &*self.shard.shared;
        let user = uri.user().filter(|_| request.method() != Some(Method::Register))?;
        if !shared.upstreams.knows(from) || !self.is_here(uri) {
            return None;
        }
        let (host, domain) = shared.domains.with_trunk()?;
        let mut meant = b"sip:".to_vec();
        meant.extend_from_slice(user);
        meant.extend_from_slice(format!("@{host}").as_bytes());
        let meant = Uri::parse(&meant).ok()?;
        let targets = targets::targets(shared, &meant.address_of_record()?, None, now);
        Some(if targets.is_empty() {
            Err(nobody_there(domain, &meant, &Sender::Behind))
        } else {
            Ok(targets)
        })
    }

    /// Whose call an INVITE is to take the place of, and the domain of that user: he is called there, on that device, and by whatever
    /// name. Where a server behind us decides about calls, only its own side of a call is reached this way.
    fn replaced(
        &self,
        invite: &Message<'_>,
        from: Hop,
    ) -> Option<(DomainRef<'_>, sip_dialog::Replaced<Hop>)> {
        let shared = &self.shard.shared;
        let replaced = invite.value(HeaderId::Replaces).and_then(|_| shared.call_replaced(invite))?;
        let mut uri = Vec::new();
        write_address_of_record(&replaced.aor, &mut uri)?;
        let domain = shared.domains.find(&Uri::parse(&uri).ok()?.host()?)?;
        let knows = |hop| shared.upstreams.knows(hop);
        let may = domain.backend().is_none() || replaced.hop.is_some_and(knows) && !knows(from);
        may.then_some((domain, replaced))
    }

    /// Where a request goes that a server behind us sends to a Contact that stands for a device; none if this is none.
    pub(crate) fn to_contact(
        &self,
        uri: &Uri<'_>,
        now: Instant,
    ) -> Option<Result<SmallVec<[Target<Hop>; 1]>, Answer>> {
        if !self.may_be_signed(uri) {
            return None;
        }
        let device = rewritten_contact::read(&self.shard.shared.tokens, uri)?;
        let target = targets::device(&self.shard.shared, device, now);
        Some(target.map(|target| smallvec![target]).ok_or_else(|| Answer::of_status(480)))
    }

    /// Where a request goes that a server behind us sends along a Path of ours; none if there is none in it.
    fn along_path(
        &self,
        request: &Message<'_>,
        from: Hop,
    ) -> Option<Result<SmallVec<[Target<Hop>; 1]>, Answer>> {
        let uri = request.routes().find_map(|(_, route)| {
            let route = route.ok()?;
            route.uri().ok().filter(|uri| uri.user().is_some())
        })?;
        match self.owns(&uri, from, request) {
            Owned::Flow(hop) => Some(Ok(smallvec![Target {
                hop,
                request_uri: None,
                routes: SmallVec::new(),
                q: 1000,
                others: SmallVec::new(),
                when_gone: 430,
            }])),
            Owned::Gone => Some(Err(Answer::of_status(430))),
            Owned::Held | Owned::Over | Owned::No | Owned::Yes | Owned::Domain | Owned::Forged => None,
        }
    }

    /// Whether both are servers behind us: any of them may send along a Path that another has stored.
    pub(crate) fn same_upstream(&self, one: Hop, other: Hop) -> bool {
        let upstreams = &self.shard.shared.upstreams;
        upstreams.knows(one) && upstreams.knows(other)
    }

    /// Whether a flow comes from the address that we speak to a peer at: it may open connections to us, too.
    pub(crate) fn is_at(&self, peer: Hop, from: Hop) -> bool {
        match (peer, from) {
            (Hop::Peer { remote, .. }, Hop::Flow(number)) => {
                self.shard.remote(number).is_some_and(|from| from.ip() == remote.ip())
            }
            _ => false,
        }
    }

    /// Whether an address-of-record is registered over this way.
    pub(crate) fn is_bound(&self, aor: &str, from: Hop, now: Instant) -> bool {
        self.shard
            .shared
            .location()
            .bindings(aor, now)
            .any(|binding| self.shard.flow_of(from).map_or(from, Hop::Flow) == hop_of(binding))
    }

    /// Whether a URI's host and port are those of a listener of ours. Scheme and transport are not looked at: a listener is
    /// named by what its address is, however a peer means to get there.
    fn is_here(&self, uri: &Uri<'_>) -> bool {
        let Some(host) = uri.host() else { return false };
        self.shard.shared.listeners.iter().any(|bound| bound.is_at(&host) && bound.has_port(uri.port()))
    }

    /// Whether a URI names a domain of ours and no user of it, at a port of ours or at none (RFC 3261 §16.4).
    fn is_served(&self, uri: &Uri<'_>) -> bool {
        let shared = &self.shard.shared;
        uri.is_sip()
            && uri.host().is_some_and(|host| shared.domains.find(&host).is_some())
            && shared.listeners.iter().any(|bound| bound.has_port(uri.port()))
    }

    /// Whether the host of a URI is one at which a token of ours counts. A server may put the address and port that it saw a
    /// request come from in the place of those that we wrote (`rewrite_contact` of Asterisk, NAT helpers). That is the port of a
    /// connection, and behind a NAT an address that we do not know, so any address will do: the signature says that the URI is
    /// ours. Nobody puts in another name, so a name must be one of ours.
    fn may_be_signed(&self, uri: &Uri<'_>) -> bool {
        let shared = &self.shard.shared;
        uri.host().is_some_and(|host| {
            host.ip().is_some()
                || shared.listeners.iter().any(|bound| bound.is_at(&host))
                || shared.domains.find(&host).is_some()
        })
    }

    /// What the user part of a URI says, if the URI may be ours.
    fn signed(&self, uri: &Uri<'_>, user: &[u8]) -> Token {
        if self.may_be_signed(uri) { self.shard.shared.tokens.read(user) } else { Token::NotOurs }
    }

    /// Only flows of this shard are surely known to be gone; others say so when they are sent to.
    fn is_gone(&self, hop: Hop) -> bool {
        match hop {
            Hop::Flow(number) => {
                number.shard() == usize::from(self.shard.index) && !self.shard.has_flow(number)
            }
            Hop::Udp { .. } | Hop::Peer { .. } => false,
        }
    }
}

/// The answer to OPTIONS for the server itself, or for one domain of it (RFC 3261 §11.2).
fn about_ourselves(shared: &Shared, domain: Option<DomainRef<'_>>) -> Answer {
    let behind = match domain {
        Some(domain) => domain.backend().is_some(),
        None => shared.domains.have_backend(),
    };
    let keeper = if behind { Keeper::ServerBehind } else { Keeper::Nobody };
    event_state::allowing(Answer::new(200, "OK"), keeper)
        .header("Accept", "application/sdp")
        .header("Supported", sip_registrar::supported(shared.policy.gruu))
}
