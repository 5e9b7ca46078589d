//! A request comes in: validity, its transaction, CANCEL and ACK (RFC 3261 §16.3, §16.10, §17.2).

use std::{rc::Rc, time::Instant};

use sip_message::{HeaderId, Invalid, Message, Method, ParseError, response::ResponseBuilder};
use sip_transaction::{LegacyFacts, Received, RequestKey, ServerId, Status};
use smallvec::SmallVec;

use crate::{
    Answer, Environment, Notice, Proxy,
    branch::push_hex,
    context::{Context, Forwarding, Invite, Progress, RecordRoute},
    forward::{self, Forward},
    proxy::Waiting,
};

/// Option tags in Proxy-Require that are within our power: none needs anything of a proxy that we do not do
/// for every request anyway.
const UNDERSTOOD: &[&[u8]] = &[];

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
        self.write_stateless(env, from, &message, &Answer::new(status, reason), &mut out).then_some(out)
    }

    /// A request came.
    pub fn request<E: Environment<Hop = H>>(
        &mut self,
        env: &mut E,
        from: H,
        request: &Message<'_>,
        now: Instant,
    ) {
        if let Err(invalid) = request.check_request() {
            return self.refuse_invalid(env, from, request, invalid);
        }
        let Some(method) = request.method() else { return };
        let Some(key) = self.key(request, method) else { return };
        let invite = if method == Method::Invite { Invite::Yes } else { Invite::No };
        let context = || Context {
            from,
            request: request.bytes().into(),
            invite,
            pending: SmallVec::new(),
            waiting: Vec::new(),
            best: None,
            progress: Progress::Open,
            forwarding: Forwarding { own_routes: 0, record_route: RecordRoute::No },
        };
        match self.transactions.receive_request(key, env.reliability(from), now, context) {
            Received::New(id) => {
                self.waiting_on.insert((from, Waiting::Server(id)));
                if invite == Invite::Yes {
                    self.answer_trying(env, id, now);
                }
                self.new_request(env, id, from, request, now);
            }
            Received::NewCancel { id, invite } => {
                self.waiting_on.insert((from, Waiting::Server(id)));
                self.cancel_received(env, id, invite, request, now);
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
                self.answer_stateless(env, from, request, &Answer::of_status(503).header("Retry-After", "5"));
            }
        }
    }

    fn key(&self, request: &Message<'_>, method: Method<'_>) -> Option<RequestKey> {
        let via = request.via_top().ok()?;
        let method = method.as_bytes();
        let modern = self.keys.request(method, via.branch().unwrap_or_default(), via.sent_by(), via.port());
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
        if request.max_forwards() == Ok(Some(0)) {
            return self.answer(env, id, &Answer::new(483, "Too Many Hops"), now);
        }
        if self.branches.has_looped(request) {
            env.notice(Notice::Loop);
            return self.answer(env, id, &Answer::new(482, "Loop Detected"), now);
        }
        let mut unknown = Vec::new();
        for tag in request.option_tags(HeaderId::ProxyRequire).filter(|tag| !UNDERSTOOD.contains(tag)) {
            if !unknown.is_empty() {
                unknown.extend_from_slice(b", ");
            }
            unknown.extend_from_slice(tag);
        }
        if !unknown.is_empty() {
            return self.answer(
                env,
                id,
                &Answer::new(420, "Bad Extension").header("Unsupported", unknown),
                now,
            );
        }
        match self.route(env, from, request, now) {
            Ok(routed) => self.start_forwarding(env, id, request, routed, now),
            Err(answer) => self.answer(env, id, &answer, now),
        }
    }

    fn cancel_received<E: Environment<Hop = H>>(
        &mut self,
        env: &mut E,
        id: ServerId,
        invite: Option<ServerId>,
        request: &Message<'_>,
        now: Instant,
    ) {
        let Some(invite) = invite else {
            return self.answer(env, id, &Answer::new(481, "Call/Transaction Does Not Exist"), now);
        };
        self.answer(env, id, &Answer::new(200, "OK"), now);
        let reason = request
            .first(HeaderId::Reason)
            .is_none()
            .then_some("SIP;cause=487;text=\"Cancelled by the caller\"");
        self.cancel_all(env, invite, reason, now);
    }

    /// ACK for a 2xx: forwarded without a transaction (RFC 3261 §16.11).
    fn forward_ack<E: Environment<Hop = H>>(
        &mut self,
        env: &mut E,
        from: H,
        request: &Message<'_>,
        now: Instant,
    ) {
        let routed = match request.max_forwards() {
            Ok(Some(0)) => None,
            _ => self.route(env, from, request, now).ok(),
        };
        let Some((target, own_routes)) =
            routed.and_then(|routed| Some((routed.targets.into_iter().next()?, routed.own_routes)))
        else {
            return env.notice(Notice::StrayAck);
        };
        let forwarding = Forwarding { own_routes, record_route: RecordRoute::No };
        let number = self.branches.stateless(request);
        let forward = Forward { from, request, target: &target, forwarding, number };
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        match self.splices.write(env, &self.branches, &forward, &mut out) {
            Some(()) => drop(env.send(target.hop, &out)),
            None => env.notice(Notice::Unwritable),
        }
        self.out = out;
    }

    /// 100 Trying.
    pub(crate) fn answer_trying<E: Environment<Hop = H>>(&mut self, env: &mut E, id: ServerId, now: Instant) {
        self.respond_of_own(env, id, &Answer::new(100, "Trying"), now);
    }

    /// The final answer, by ourselves.
    pub(crate) fn answer<E: Environment<Hop = H>>(
        &mut self,
        env: &mut E,
        id: ServerId,
        answer: &Answer,
        now: Instant,
    ) {
        if let Some(context) = self.transactions.server_mut(id) {
            context.progress = Progress::Answered;
        }
        self.respond_of_own(env, id, answer, now);
    }

    fn respond_of_own<E: Environment<Hop = H>>(
        &mut self,
        env: &mut E,
        id: ServerId,
        answer: &Answer,
        now: Instant,
    ) {
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        let built = self.transactions.server(id).and_then(|context| {
            let request = Self::kept(&context.request)?;
            self.write_stateless(env, context.from, &request, answer, &mut out).then_some(context.from)
        });
        match built {
            Some(from) => self.respond(env, id, from, answer.status, &out, now),
            None => env.notice(Notice::Unwritable),
        }
        self.out = out;
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
        // A refusal means that it has its final response, or is gone: nothing more may be said.
        if self.transactions.respond(id, status, now, || Rc::from(response)).is_ok()
            && env.send(from, response).is_err()
        {
            self.transactions.server_transport_error(id);
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
        if self.write_stateless(env, from, request, answer, &mut out) {
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
    ) -> bool {
        let mut tag = Vec::with_capacity(16);
        push_hex(self.branches.tag(request), &mut tag);
        let mut builder = ResponseBuilder::new(request, answer.status, &answer.reason).to_tag(&tag);
        if let Some((received, rport)) = forward::stamp(request, env.address(from)) {
            builder = builder.stamp_via(received, rport);
        }
        for (name, value) in &answer.headers {
            builder = builder.header(name.as_bytes(), value);
        }
        builder.write(out).is_ok()
    }
}
