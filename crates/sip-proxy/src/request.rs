//! Receives a request: validity, its transaction, CANCEL and ACK (RFC 3261 §16.3, §16.10, §17.2).

use std::time::Instant;

use sip_message::{
    EditError, HeaderId, Invalid, Message, Method, ParseError, Via, response::ResponseBuilder,
};
use sip_transaction::{LegacyFacts, Received, Reliability, RequestKey, ServerId, Status};
use smallvec::SmallVec;

use crate::{
    Answer, Environment, Notice, Proxy,
    breadth::Breadth,
    context::{
        AnswerProgress, CallerPresence, Context, Forwarding, GoneOn, Invite, Reason, Resend, ReturnRoute,
    },
    forward::{self, Forward},
    proxy::Waiting,
    route::{Dialog, FLOW_FAILED},
};

impl<H: Copy + Ord + std::fmt::Debug> Proxy<H> {
    /// A message came that does not parse: answers it if that can be done, else drops it.
    pub fn unparsed<E: Environment<Hop = H>>(
        &mut self,
        env: &mut E,
        from: H,
        bytes: &[u8],
        error: ParseError,
    ) {
        env.notice(Notice::Unparsed(error));
        if let Some(answer) = self.answer_to_damaged(env, from, bytes, error) {
            let _ = env.send(from, &answer);
        }
    }

    /// The answer to a request that does not parse, if it can be answered.
    pub fn answer_to_damaged<E: Environment<Hop = H>>(
        &mut self,
        env: &E,
        from: H,
        bytes: &[u8],
        error: ParseError,
    ) -> Option<Vec<u8>> {
        let message = Message::salvage(bytes, error)?;
        let (status, reason) = error.answer()?;
        let mut out = Vec::new();
        self.write_stateless(env, from, &message, &Answer::new(status, reason), &mut out).ok()?;
        Some(out)
    }

    /// A request came.
    pub fn request<E: Environment<Hop = H>>(
        &mut self,
        env: &mut E,
        from: H,
        request: &Message<'_>,
        now: Instant,
    ) {
        match request.check_request() {
            Err(invalid) => return self.refuse_invalid(env, from, request, invalid),
            Ok(forgiven) if !forgiven.is_empty() => env.notice(Notice::Forgiven(forgiven)),
            Ok(_) => {}
        }
        let Some(method) = request.method() else { return };
        let (Ok(via), Ok(cseq)) = (request.via_top(), request.cseq()) else { return };
        let Some(key) = self.key(env.connection(from), &via, request, method) else { return };
        // From here on a strict router's request is what a loose router would have sent.
        let loosened = Self::loosened(env, from, request);
        let loosened = loosened.as_deref().and_then(|bytes| Message::parse(bytes).ok());
        let request = loosened.as_ref().unwrap_or(request);
        let invite = if method == Method::Invite { Invite::Yes } else { Invite::No };
        if !self.has_room(&key, request, method) {
            env.notice(Notice::FullOfBytes);
            return self.refuse_for_want_of_room(env, from, request, now);
        }
        let context = || Context {
            from,
            asker: CallerPresence::There,
            echo: self.branches.echo(request, &cseq, Some(&via)),
            request: Some(self.store.keep(request.bytes())),
            invite,
            pending: SmallVec::new(),
            waiting: Vec::new(),
            followed: Vec::new(),
            best: None,
            challenges: Vec::new(),
            progress: AnswerProgress::Open,
            forwarding: Forwarding {
                own_routes: 0,
                way_back: ReturnRoute::None,
                dialog: Dialog::Outside,
                breadth: Breadth::of(request),
            },
            second: Resend::Left,
            went: GoneOn::Nowhere,
            under_way: None,
        };
        match self.transactions.receive_request(key, env.reliability(from), now, context) {
            Received::New(id) => {
                self.waiting_on.insert((from, Waiting::Server(id)));
                self.new_request(env, id, from, request, now);
                if invite == Invite::Yes {
                    self.answer_trying(env, id, now);
                }
            }
            Received::NewCancel { id, cancels } => {
                self.waiting_on.insert((from, Waiting::Server(id)));
                self.cancel_received(env, id, cancels, request, now);
            }
            Received::Repeat { resend, .. } => {
                env.notice(Notice::Repeat);
                if let Some(response) = resend {
                    let _ = env.send(from, &response);
                }
            }
            Received::AckAbsorbed(_) => {}
            Received::AckForSuccess(_) | Received::AckUnmatched => self.forward_ack(env, from, request, now),
            Received::Full => {
                env.notice(Notice::Full);
                self.refuse_for_want_of_room(env, from, request, now);
            }
        }
    }

    /// Whether a request may be kept. What belongs to a transaction that is there needs no room.
    fn has_room(&self, key: &RequestKey, request: &Message<'_>, method: Method<'_>) -> bool {
        let length = request.bytes().len();
        let in_dialog = request.to().is_ok_and(|to| to.tag().is_some());
        self.store.has_room_for_new(length)
            || matches!(method, Method::Ack | Method::Cancel)
            || (in_dialog && self.store.has_room(length))
            || self.transactions.has_request(key)
    }

    /// `connection` is part of it: another connection's peer may know the branch, and must not cancel with
    /// it.
    fn key(
        &self,
        connection: u64,
        via: &Via<'_>,
        request: &Message<'_>,
        method: Method<'_>,
    ) -> Option<RequestKey> {
        let method = method.as_bytes();
        let mut sent_by: SmallVec<[u8; 96]> = SmallVec::from_slice(via.sent_by());
        if connection != 0 {
            sent_by.extend_from_slice(&connection.to_be_bytes());
        }
        let modern = self.keys.request(method, via.branch().unwrap_or_default(), &sent_by, via.port());
        modern.or_else(|| {
            Some(self.keys.legacy(&LegacyFacts {
                method,
                request_uri: request.request_uri_bytes()?,
                to_tag: request.to().ok()?.tag(),
                from_tag: request.from().ok()?.tag(),
                call_id: request.call_id()?,
                cseq: request.cseq().ok()?.number,
                top_via: via.as_bytes(),
            }))
        })
    }

    fn refuse_invalid<E: Environment<Hop = H>>(
        &mut self,
        env: &mut E,
        from: H,
        request: &Message<'_>,
        why: Invalid,
    ) {
        env.notice(Notice::Invalid(why));
        if request.method() == Some(Method::Ack) {
            return;
        }
        if let Some((status, reason)) = why.answer() {
            self.answer_stateless(env, from, request, &Answer::new(status, reason));
        }
    }

    fn new_request<E: Environment<Hop = H>>(
        &mut self,
        env: &mut E,
        id: ServerId,
        from: H,
        request: &Message<'_>,
        now: Instant,
    ) {
        if self.branches.has_looped(request, env.address(from).ip()) && request.max_forwards() != Ok(Some(0))
        {
            env.notice(Notice::Loop);
            return self.answer(env, id, &Answer::new(482, "Loop Detected"), now);
        }
        let routed = Self::check_demands(request).and_then(|()| self.route(env, from, request, now));
        match routed {
            Ok(routed) => self.start_forwarding(env, id, request, routed, now),
            Err(answer) => {
                self.answer(env, id, &answer, now);
                if matches!(answer.status, 401 | 403 | 407) || request.method() == Some(Method::Options) {
                    self.forget_asked(env, id);
                }
                Self::tell_refused(env, &answer, request, from, now);
            }
        }
    }

    /// Whether a request asks no more of us than we can do (RFC 3261 §16.3, RFC 5393 §5).
    fn check_demands(request: &Message<'_>) -> Result<(), Answer> {
        if request.max_forwards() == Ok(Some(0)) {
            return Err(Answer::new(483, "Too Many Hops"));
        }
        let mut unknown = Vec::new();
        // No extension asks more of a proxy than we do for every request, so none is understood.
        for tag in request.option_tags(HeaderId::ProxyRequire) {
            if !unknown.is_empty() {
                unknown.extend_from_slice(b", ");
            }
            unknown.extend_from_slice(tag);
        }
        if !unknown.is_empty() {
            return Err(Answer::new(420, "Bad Extension").header("Unsupported", unknown));
        }
        if Breadth::of(request).branches() == 0 {
            return Err(Answer::of_status(440));
        }
        Ok(())
    }

    fn refuse_for_want_of_room<E: Environment<Hop = H>>(
        &mut self,
        env: &mut E,
        from: H,
        request: &Message<'_>,
        now: Instant,
    ) {
        let answer = Answer::of_status(503).header("Retry-After", "5");
        self.answer_stateless(env, from, request, &answer);
        Self::tell_refused(env, &answer, request, from, now);
    }

    /// Tells the observer of calls that an INVITE goes nowhere.
    pub(crate) fn tell_refused<E: Environment<Hop = H>>(
        env: &mut E,
        answer: &Answer,
        request: &Message<'_>,
        from: H,
        now: Instant,
    ) {
        let begins =
            request.method() == Some(Method::Invite) && request.to().is_ok_and(|to| to.tag().is_none());
        if begins {
            env.on_refused(answer, request, from, now);
        }
    }

    /// Who sent a datagram may have written anybody's address on it. Who is asked for a proof, is refused, or
    /// asks what we are, is told once for each that comes, and nothing is kept of it (RFC 3261 §8.2.7,
    /// §26.3.2.4): a flood of them would fill the table for everybody, and the challenge of one INVITE would
    /// be sent eleven times. An ACK of it is known by its tag.
    fn forget_asked<E: Environment<Hop = H>>(&mut self, env: &E, id: ServerId) {
        let from = self.transactions.server(id).map(|context| context.from);
        if let Some(from) = from.filter(|from| env.reliability(*from) == Reliability::Unreliable) {
            self.transactions.abandon_server(id);
            self.waiting_on.remove(&(from, Waiting::Server(id)));
        }
    }

    fn cancel_received<E: Environment<Hop = H>>(
        &mut self,
        env: &mut E,
        id: ServerId,
        cancels: Option<ServerId>,
        request: &Message<'_>,
        now: Instant,
    ) {
        // We forward nothing but ACK without a transaction, so what we do not know cannot be cancelled
        // further down.
        let Some(cancels) = cancels else {
            return self.answer(env, id, &Answer::new(481, "Call/Transaction Does Not Exist"), now);
        };
        // Of a request other than INVITE too, which goes on (RFC 3261 §9.2).
        self.answer(env, id, &Answer::new(200, "OK"), now);
        self.cancel_all(env, cancels, &reason_of(request), now);
    }

    /// ACK for a 2xx: forwarded without a transaction (RFC 3261 §16.11).
    fn forward_ack<E: Environment<Hop = H>>(
        &mut self,
        env: &mut E,
        from: H,
        request: &Message<'_>,
        now: Instant,
    ) {
        // An ACK for an answer of our own whose transaction has ended, or never was, is meant for nobody
        // else.
        if self.branches.is_for_own_answer(request) {
            return;
        }
        let stuck = request.max_forwards() == Ok(Some(0))
            || self.branches.has_looped(request, env.address(from).ip());
        let routed = if stuck { None } else { self.route(env, from, request, now).ok() };
        let Some((target, own_routes)) =
            routed.and_then(|routed| Some((routed.targets.into_iter().next()?, routed.own_routes)))
        else {
            return env.notice(Notice::StrayAck);
        };
        let (way_back, dialog) = (ReturnRoute::None, Dialog::Within);
        let forwarding = Forwarding { own_routes, way_back, dialog, breadth: Breadth::of(request) };
        let number = self.branches.stateless(request);
        let forward = Forward { from, request, target: &target, forwarding, number, among: 1 };
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        match self.splices.write(env, &self.branches, &forward, &mut out) {
            Some(()) => drop(env.send(target.hop, &out)),
            None => env.notice(Notice::Unwritable),
        }
        self.out = out;
    }

    /// 100 Trying, unless more was said already.
    pub(crate) fn answer_trying<E: Environment<Hop = H>>(&mut self, env: &mut E, id: ServerId, now: Instant) {
        let open =
            self.transactions.server(id).is_some_and(|context| context.progress != AnswerProgress::Answered);
        if open && self.respond_of_own(env, id, &Answer::new(100, "Trying"), now).is_err() {
            env.notice(Notice::Unwritable);
        }
    }

    /// The final answer, by ourselves. One that cannot be written, or is not final, becomes a 500.
    pub(crate) fn answer<E: Environment<Hop = H>>(
        &mut self,
        env: &mut E,
        id: ServerId,
        answer: &Answer,
        now: Instant,
    ) {
        let given = if (200..700).contains(&answer.status) {
            self.respond_of_own(env, id, answer, now)
        } else {
            Err(EditError::Status)
        };
        if given.is_err() {
            env.notice(Notice::Unwritable);
            let _ = self.respond_of_own(env, id, &Answer::of_status(500), now);
        }
        match self.transactions.server_mut(id) {
            Some(context) if context.hears_no(answer.status) => context.time_out(),
            Some(context) => context.close(),
            None => {}
        }
    }

    fn respond_of_own<E: Environment<Hop = H>>(
        &mut self,
        env: &mut E,
        id: ServerId,
        answer: &Answer,
        now: Instant,
    ) -> Result<(), EditError> {
        let Some(context) = self.transactions.server(id) else { return Ok(()) };
        let (from, Some(bytes)) = (context.from, context.request.clone()) else { return Ok(()) };
        let Some(request) = Self::kept(&bytes) else { return Ok(()) };
        let bye = request.method() == Some(Method::Bye);
        let unknown = answer.status == FLOW_FAILED && !env.supports_outbound(from);
        let temporarily = unknown.then(|| Answer::of_status(480));
        if (context.invite == Invite::Yes || bye) && answer.status >= 200 {
            // The observer of calls learns why a BYE reaches no side.
            let status = temporarily.as_ref().filter(|_| !bye).unwrap_or(answer).status;
            env.on_answered(status, &request, from, None, now);
        }
        let answer = temporarily.as_ref().unwrap_or(answer);
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        let written = self.write_stateless(env, from, &request, answer, &mut out);
        if written.is_ok() {
            self.respond(env, id, from, answer.status, &out, now);
        }
        self.out = out;
        written
    }

    /// Sends a response through the server transaction.
    pub(crate) fn respond<E: Environment<Hop = H>>(
        &mut self,
        env: &mut E,
        id: ServerId,
        from: H,
        status: u16,
        response: &[u8],
        now: Instant,
    ) {
        let Some(status) = Status::new(status) else { return };
        let gone = self.transactions.server(id).is_some_and(|context| context.asker == CallerPresence::Gone);
        // A refusal means that it has its final response, or is gone, or that RFC 4320 wants silence.
        if self.transactions.respond(id, status, now, || self.store.keep(response)).is_err() {
            return;
        }
        if gone {
            if status.code() >= 200 {
                self.transactions.server_transport_error(id);
            }
        } else if env.send(from, response).is_err()
            // RFC 3261 §18.2.2: where its connection is gone, by another.
            && env.reconnect_hop(from).is_none_or(|next| env.send(next, response).is_err())
        {
            self.lost.push(id);
        }
    }

    pub(crate) fn answer_stateless<E: Environment<Hop = H>>(
        &mut self,
        env: &mut E,
        from: H,
        request: &Message<'_>,
        answer: &Answer,
    ) {
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        if self.write_stateless(env, from, request, answer, &mut out).is_ok() {
            let _ = env.send(from, &out);
        }
        self.out = out;
    }

    fn write_stateless<E: Environment<Hop = H>>(
        &self,
        env: &E,
        from: H,
        request: &Message<'_>,
        answer: &Answer,
        out: &mut Vec<u8>,
    ) -> Result<(), EditError> {
        let tag = self.branches.tag(request);
        let mut builder = ResponseBuilder::new(request, answer.status, &answer.reason).to_tag(&tag);
        if let Some((received, rport)) = forward::stamp(request, env.address(from)) {
            builder = builder.stamp_via(received, rport);
        }
        for (name, value) in &answer.headers {
            builder = builder.header(name.as_bytes(), value);
        }
        builder.write(out).map(|_| ())
    }
}

/// Why a CANCEL was sent, as it says itself (RFC 3326).
fn reason_of(cancel: &Message<'_>) -> Reason {
    let mut reason = Vec::new();
    for header in cancel.all(HeaderId::Reason) {
        if !reason.is_empty() {
            reason.extend_from_slice(b", ");
        }
        header.unfold_into(&mut reason);
    }
    if reason.is_empty() { CANCELLED } else { Reason::Owned(reason) }
}

/// Reason of a CANCEL for a caller who gave none.
const CANCELLED: Reason = Reason::Borrowed(b"SIP;cause=487;text=\"Cancelled by the caller\"");
