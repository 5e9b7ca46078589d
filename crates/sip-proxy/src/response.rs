//! Receives a response (RFC 3261 §16.7).

use std::time::Instant;

use sip_message::{
    EditError, HeaderId, Invalid, Message, Method, Rewrite, Via, ViaError, request::ack_for_non2xx,
};
use sip_transaction::{
    ClientId, ClientKey, InviteServer, MethodClass, ResponseFor, ServerId, ServerState, Status,
};

use crate::{
    Answer, Environment, Notice, Proxy, Target,
    branch::number_of,
    context::{
        AnswerProgress, Best, Branch, CallerPresence, Cancel, DialogOwner, GoneOn, Purpose, Rang, Reason,
        ReturnRoute,
    },
    failover::{BranchProgress, Failure, next_alternative},
    redirect::Followed,
    response_rank,
    unclaimed::MOST_DIALOGS,
};

/// Whether there was another way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailoverTried {
    /// A branch goes by it, or it counts as failed too.
    Another,
    /// There was none.
    Nothing,
}

/// Reason (RFC 3326) of a CANCEL to the branches that lost.
const ANSWERED_ELSEWHERE: Reason = Reason::Borrowed(b"SIP;cause=200;text=\"Call completed elsewhere\"");

/// Reason of a CANCEL because one branch declined for all.
const DECLINED: Reason = Reason::Borrowed(b"SIP;cause=603;text=\"Declined elsewhere\"");

/// What asks for credentials.
const CHALLENGES: [HeaderId; 2] = [HeaderId::WwwAuthenticate, HeaderId::ProxyAuthenticate];

/// Why a response is no answer to the request of the branch that it names, if it is none.
fn disbelieved<E: Environment>(
    env: &E,
    branch: &Branch<E::Hop>,
    from: E::Hop,
    (sender, echo): (Option<&Via<'_>>, u64),
) -> Option<Notice> {
    if sender.is_none() && branch.purpose == Purpose::Forward {
        // It has nowhere to go (RFC 3261 §16.7 step 3).
        Some(Notice::Invalid(Invalid::Via(ViaError::Missing)))
    } else if branch.echo != echo {
        // Nor is one with another Via for us (§8.1.3.3).
        Some(Notice::StrayResponse)
    } else if !env.may_answer(branch.hop, from) {
        Some(Notice::ForeignResponse)
    } else {
        None
    }
}

/// The seconds of a Retry-After (RFC 3261 §20.33), without its comment and parameters.
fn retry_after(response: &Message<'_>) -> Option<u32> {
    let value = response.value(HeaderId::RetryAfter)?.trim_ascii();
    let digits = value.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(value.len());
    let seconds = std::str::from_utf8(value.get(..digits)?).ok()?;
    (!seconds.is_empty()).then(|| seconds.parse().unwrap_or(u32::MAX))
}

impl<H: Copy + Ord + std::fmt::Debug> Proxy<H> {
    /// A response came from a hop, to a branch that this shard made.
    ///
    /// It is believed if its topmost Via is one of ours, it repeats of a request what a response has to
    /// repeat, it has as many Vias as it needs, and comes from where the request went. Anything else is
    /// dropped and changes nothing.
    pub fn response<E: Environment<Hop = H>>(
        &mut self,
        env: &mut E,
        from: H,
        response: &Message<'_>,
        now: Instant,
    ) {
        match response.check_response() {
            Err(invalid) => return env.notice(Notice::Invalid(invalid)),
            Ok(forgiven) if !forgiven.is_empty() => env.notice(Notice::Forgiven(forgiven)),
            Ok(_) => {}
        }
        let via = response.via_top().ok().filter(|via| env.wrote_via(via));
        let branch = via.and_then(|via| number_of(&via));
        let found = branch.zip(response.cseq().ok()).zip(response.status().and_then(Status::new));
        let Some(((branch, cseq), status)) = found else { return env.notice(Notice::StrayResponse) };
        let class = if cseq.method == Method::Invite { MethodClass::Invite } else { MethodClass::NonInvite };
        let below = response.values(HeaderId::Via).nth(1).map(|value| Via::parse(value.bytes));
        let sender = match &below {
            Some(Err(malformed)) => return env.notice(Notice::Invalid(Invalid::Via(*malformed))),
            Some(Ok(via)) => Some(via),
            None => None,
        };
        let echo = self.branches.echo(response, &cseq, sender);
        let mut disbelief = Notice::StrayResponse;
        let believed = |branch: &Branch<H>| match disbelieved(env, branch, from, (sender, echo)) {
            Some(notice) => {
                disbelief = notice;
                false
            }
            None => true,
        };
        match self.transactions.receive_response(ClientKey { branch, class }, status, now, believed) {
            ResponseFor::Pass(id) => self.branch_answered(env, id, status.code(), response, now),
            ResponseFor::PassAndAck(id) => {
                self.acknowledge(env, id, response);
                self.branch_answered(env, id, status.code(), response, now);
            }
            ResponseFor::ResendAck { id, message } => {
                if let Some(branch) = self.transactions.client(id) {
                    let _ = env.send(branch.hop, &message);
                }
            }
            ResponseFor::Absorb(_) => {}
            ResponseFor::Unmatched => env.notice(disbelief),
        }
    }

    /// ACK for a 3xx to 6xx, hop by hop (RFC 3261 §17.1.1.3).
    fn acknowledge<E: Environment<Hop = H>>(&mut self, env: &mut E, id: ClientId, response: &Message<'_>) {
        let Some(branch) = self.transactions.client_mut(id) else { return };
        let (hop, sent) = (branch.hop, branch.sent.take());
        self.ack.clear();
        let written = sent
            .as_ref()
            .and_then(|sent| Self::kept(sent))
            .is_some_and(|invite| ack_for_non2xx(&invite, response, &mut self.ack).is_ok());
        if !written {
            return env.notice(Notice::Unwritable);
        }
        let _ = env.send(hop, &self.ack);
        let ack = &self.ack[..];
        self.transactions.ack_sent(id, || self.store.keep(ack));
    }

    fn branch_answered<E: Environment<Hop = H>>(
        &mut self,
        env: &mut E,
        id: ClientId,
        status: u16,
        response: &Message<'_>,
        now: Instant,
    ) {
        self.clear_no_response(id);
        let Some(branch) = self.transactions.client_mut(id) else { return };
        if branch.heard == BranchProgress::Nothing {
            env.on_first_response(branch.hop);
        }
        branch.heard = branch.heard.max(if (101..200).contains(&status) {
            BranchProgress::Progress
        } else {
            BranchProgress::Trying
        });
        if let (Purpose::Own(own), 200..) = (branch.purpose, status) {
            return env.on_own_answered(own, status, Some(response));
        }
        let (Purpose::Forward, Some(server)) = (branch.purpose, branch.server) else { return };
        let hop = branch.hop;
        match status {
            100..=199 => {
                if let Some(old) = branch.given_up_at.as_mut()
                    && status > 100
                {
                    self.ringing.remove(&(*old, id));
                    let rings_until = *branch.rings_until.get_or_insert(now + self.settings.ring_timeout);
                    *old = rings_until.min(now + self.settings.timer_c);
                    self.ringing.insert((*old, id));
                }
                if let Cancel::Wanted(reason) = branch.cancel.clone() {
                    self.send_cancel(env, id, &reason, now);
                }
                let open =
                    self.transactions.server(server).is_some_and(|c| c.progress != AnswerProgress::Answered);
                if status > 100 && open {
                    self.tell_answer(env, server, status, response, hop, now);
                }
                if status > 100
                    && open
                    && self.pass_upstream(env, server, status, (response, hop), now).is_err()
                {
                    env.notice(Notice::Unwritable);
                }
            }
            200..=299 => {
                branch.sent = None;
                self.tell_registered(env, server, response, now);
                self.undo(env, server, (response, hop), now);
                self.branch_done(id);
                self.succeeded(env, server, id, status, (response, hop), now);
            }
            // It confirms that we gave it up: it has not said more than a silent one.
            487 if branch.rang == Rang::TooLong => self.branch_failed(env, server, id, 408, (hop, None), now),
            _ => {
                let (otherwise, heard) = (branch.otherwise.take(), branch.heard);
                let next =
                    otherwise.and_then(|target| next_alternative(&target, Failure::Answered(status), heard));
                if status == 503 {
                    env.on_unavailable(hop, retry_after(response));
                }
                if self.try_alternative(env, server, id, next, now) == FailoverTried::Nothing
                    && self.follow(env, server, id, (status, response), now) == Followed::No
                {
                    self.branch_failed(env, server, id, status, (hop, Some(response)), now);
                }
            }
        }
    }

    /// A registrar further on has done what was asked of it.
    fn tell_registered<E: Environment<Hop = H>>(
        &self,
        env: &mut E,
        server: ServerId,
        response: &Message<'_>,
        now: Instant,
    ) {
        if let Some(context) = self.transactions.server(server)
            && context.forwarding.way_back == ReturnRoute::Binding
            && let Some(request) = context.request.as_deref().and_then(Self::kept)
        {
            env.on_registered(&request, context.from, response, now);
        }
    }

    /// A branch failed in a way that says nothing about where it was meant to go: goes there by another way.
    pub(crate) fn try_alternative<E: Environment<Hop = H>>(
        &mut self,
        env: &mut E,
        server: ServerId,
        id: ClientId,
        next: Option<Target<H>>,
        now: Instant,
    ) -> FailoverTried {
        let (Some(next), Some(context)) = (next, self.transactions.server_mut(server)) else {
            return FailoverTried::Nothing;
        };
        // A branch that was given up, or whose caller has left, is not tried again.
        if !context.is_open_for(id) {
            return FailoverTried::Nothing;
        }
        let Some(bytes) = context.request.clone() else { return FailoverTried::Nothing };
        let Some(request) = Self::kept(&bytes) else { return FailoverTried::Nothing };
        context.pending.retain(|pending| *pending != id);
        self.branch_done(id);
        self.fork(env, server, &[next], &request, now);
        self.advance(env, server, now);
        FailoverTried::Another
    }

    fn succeeded<E: Environment<Hop = H>>(
        &mut self,
        env: &mut E,
        server: ServerId,
        id: ClientId,
        status: u16,
        (response, hop): (&Message<'_>, H),
        now: Instant,
    ) {
        let invite = self.transactions.client_key(id).is_some_and(|key| key.class == MethodClass::Invite);
        if invite && !self.is_waited_for(server, id, response) {
            if let Some(context) = self.transactions.server_mut(server) {
                context.pending.retain(|pending| *pending != id);
            }
            self.turn_away(env, id, response, now);
            return self.advance(env, server, now);
        }
        let Some(context) = self.transactions.server_mut(server) else { return };
        context.pending.retain(|pending| *pending != id);
        let first = context.progress != AnswerProgress::Answered;
        if invite && self.claim(id, response).is_none() {
            self.give(id, response, DialogOwner::Asker);
        }
        // Every 2xx to an INVITE goes upstream, each makes a dialog; of other methods the first answer
        // counts.
        if first {
            self.finish_with(env, server, status, (response, hop), now);
            self.cancel_pending(env, server, &ANSWERED_ELSEWHERE, now);
        } else if invite {
            self.tell_answer(env, server, status, response, hop, now);
            if self.pass_upstream(env, server, status, (response, hop), now).is_err() {
                env.notice(Notice::Unwritable);
            }
        }
    }

    /// Whether the caller waits for this 2xx to an INVITE: it is there, and has not been told that it
    /// failed.
    fn is_waited_for(&self, server: ServerId, id: ClientId, response: &Message<'_>) -> bool {
        let there =
            self.transactions.server(server).is_some_and(|context| context.asker == CallerPresence::There);
        let may_be_told = matches!(
            self.transactions.server_state(server),
            Some(ServerState::Invite(InviteServer::Proceeding | InviteServer::Accepted))
        );
        let room = self.transactions.client(id).is_some_and(|branch| branch.successes.len() < MOST_DIALOGS);
        there && may_be_told && (room || self.claim(id, response) == Some(DialogOwner::Asker))
    }

    /// A branch has its final response and it is no 2xx, or it will never have one.
    pub(crate) fn branch_failed<E: Environment<Hop = H>>(
        &mut self,
        env: &mut E,
        server: ServerId,
        id: ClientId,
        status: u16,
        by: (H, Option<&Message<'_>>),
        now: Instant,
    ) {
        self.branch_done(id);
        let Some(context) = self.transactions.server_mut(server) else { return };
        let before = context.pending.len();
        context.pending.retain(|pending| *pending != id);
        if context.pending.len() < before {
            self.failed(env, server, status, by, now);
        }
    }

    /// One attempt failed: goes on with what is left, or answers.
    fn failed<E: Environment<Hop = H>>(
        &mut self,
        env: &mut E,
        server: ServerId,
        status: u16,
        (hop, response): (H, Option<&Message<'_>>),
        now: Instant,
    ) {
        let Some(context) = self.transactions.server(server) else { return };
        let last = context.pending.is_empty()
            && context.waiting.is_empty()
            && context.progress == AnswerProgress::Open;
        match response {
            // There is nothing to wait for and nothing to choose from: no copy is needed.
            Some(response) if last && context.best.is_none() && !matches!(status, 430 | 503) => {
                self.finish_with(env, server, status, (response, hop), now);
            }
            _ => {
                self.weigh(env, server, status, (hop, response), now);
                self.advance(env, server, now);
            }
        }
    }

    /// Keeps a failure if it is the best so far (RFC 3261 §16.7 steps 5 to 7).
    pub(crate) fn weigh<E: Environment<Hop = H>>(
        &mut self,
        env: &mut E,
        server: ServerId,
        status: u16,
        (hop, response): (H, Option<&Message<'_>>),
        now: Instant,
    ) {
        let Some(context) = self.transactions.server_mut(server) else { return };
        if context.progress == AnswerProgress::Answered {
            return;
        }
        let rank = |status| response_rank::rank(status, context.invite);
        if context.best.as_ref().is_none_or(|best| rank(status) < rank(best.status)) {
            let response = response.map(|response| self.store.keep(response.bytes()));
            context.best = Some(Best { status, hop, response });
        } else if let (401 | 407, Some(response)) = (status, response) {
            for id in CHALLENGES {
                for header in response.all(id) {
                    let mut challenge = Vec::new();
                    header.unfold_into(&mut challenge);
                    if env.allows_challenge(&challenge, hop) {
                        context.challenges.push((id, challenge));
                    }
                }
            }
        }
        if (600..700).contains(&status) {
            context.waiting.clear();
            self.cancel_pending(env, server, &DECLINED, now);
        }
    }

    /// No branch is at work and no target left: the best answer goes upstream.
    pub(crate) fn conclude<E: Environment<Hop = H>>(&mut self, env: &mut E, server: ServerId, now: Instant) {
        let Some(context) = self.transactions.server_mut(server) else { return };
        let (best, from) = (context.best.take(), context.from);
        // A caller who cancelled hears 487, whatever the branches made of it (RFC 3261 §9.2). Without any
        // target it is 480 (§16.5).
        let cancelled = context.progress == AnswerProgress::Cancelled;
        let Some(Best { status, hop, response }) = best.filter(|best| !cancelled || best.status == 487)
        else {
            let status = if cancelled { 487 } else { 480 };
            return self.answer_in_the_end(env, server, &Answer::of_status(status), now);
        };
        let response = response.as_ref().and_then(|bytes| Self::kept(bytes));
        let ours = match status {
            503 => {
                let again = env.out_of_service(hop);
                // Another element's 503 says nothing about us, unless nobody else can serve what comes next.
                let status = if again.is_some() { 503 } else { 500 };
                let said = response.as_ref().and_then(|response| retry_after(response));
                let told = response.is_some() && status == 503;
                let seconds = said.or(again);
                (!told).then(|| match seconds {
                    Some(seconds) => Answer::of_status(status).header("Retry-After", seconds.to_string()),
                    None => Answer::of_status(status),
                })
            }
            430 if !env.supports_outbound(from) => Some(Answer::of_status(430)),
            _ => None,
        };
        match (ours, response) {
            (Some(answer), _) => self.answer_in_the_end(env, server, &answer, now),
            (None, Some(response)) => self.finish_with(env, server, status, (&response, hop), now),
            (None, None) => self.answer_in_the_end(env, server, &Answer::of_status(status), now),
        }
    }

    /// The final answer of our own to a request that has no other. An INVITE that has gone nowhere, since
    /// there was no room to send it, was refused.
    fn answer_in_the_end<E: Environment<Hop = H>>(
        &mut self,
        env: &mut E,
        server: ServerId,
        answer: &Answer,
        now: Instant,
    ) {
        let nowhere = self.transactions.server(server).filter(|context| context.went == GoneOn::Nowhere);
        let nowhere = nowhere.and_then(|context| Some((context.from, context.request.clone()?)));
        self.answer(env, server, answer, now);
        if let Some((from, request)) = nowhere
            && let Some(request) = Self::kept(&request)
        {
            Self::tell_refused(env, answer, &request, from, now);
        }
    }

    /// A branch's final response becomes ours.
    fn finish_with<E: Environment<Hop = H>>(
        &mut self,
        env: &mut E,
        server: ServerId,
        status: u16,
        (response, hop): (&Message<'_>, H),
        now: Instant,
    ) {
        self.tell_answer(env, server, status, response, hop, now);
        if let Some(context) = self.transactions.server_mut(server).filter(|context| context.hears_no(status))
        {
            return context.time_out();
        }
        if self.pass_upstream(env, server, status, (response, hop), now).is_err() {
            env.notice(Notice::Unwritable);
            return self.answer(env, server, &Answer::of_status(500), now);
        }
        if let Some(context) = self.transactions.server_mut(server) {
            context.close();
        }
    }

    /// Tells the observer of dialogs what goes upstream.
    fn tell_answer<E: Environment<Hop = H>>(
        &self,
        env: &mut E,
        server: ServerId,
        status: u16,
        response: &Message<'_>,
        hop: H,
        now: Instant,
    ) {
        if let Some(context) =
            self.transactions.server(server).filter(|context| context.makes_or_is_in_dialog())
        {
            env.on_answered(status, response, context.from, Some(hop), now);
        }
    }

    /// Sends a response on towards the caller, our Via taken off.
    fn pass_upstream<E: Environment<Hop = H>>(
        &mut self,
        env: &mut E,
        server: ServerId,
        status: u16,
        response: (&Message<'_>, H),
        now: Instant,
    ) -> Result<(), EditError> {
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        let written = self.write_upstream(env, server, status, response, &mut out);
        if let Ok(Some(from)) = written {
            self.respond(env, server, from, status, &out, now);
        }
        self.out = out;
        written.map(|_| ())
    }

    /// Appends the response as it goes on, and tells where to; nothing if nobody waits for it.
    fn write_upstream<E: Environment<Hop = H>>(
        &self,
        env: &E,
        server: ServerId,
        status: u16,
        (response, hop): (&Message<'_>, H),
        out: &mut Vec<u8>,
    ) -> Result<Option<H>, EditError> {
        let Some(context) = self.transactions.server(server) else { return Ok(None) };
        let mut contacts = Vec::new();
        let mut rewrite = Rewrite::new(response);
        rewrite.pop_via();
        if context.forwarding.way_back == ReturnRoute::Binding {
            let request = context.request.as_deref().and_then(Self::kept);
            if let Some(request) = request {
                env.restore_contacts(&request, response, &mut contacts);
            }
            if !contacts.is_empty() {
                rewrite.remove(HeaderId::Contact);
                rewrite.append(HeaderId::Contact.name(), &contacts);
            }
        }
        if let 401 | 407 = status {
            for header in CHALLENGES.into_iter().flat_map(|id| response.all(id)) {
                if !env.allows_challenge(header.value, hop) {
                    rewrite.remove_header(&header);
                }
            }
            for (id, challenge) in &context.challenges {
                rewrite.append(id.name(), challenge);
            }
        }
        rewrite.ensure_content_length();
        env.amend_response(response, (hop, context.from), &mut rewrite);
        rewrite.write(out)?;
        Ok(Some(context.from))
    }

    /// Its ringing time does not count any more.
    pub(crate) fn branch_done(&mut self, id: ClientId) {
        if let Some(branch) = self.transactions.client_mut(id)
            && let Some(at) = branch.given_up_at.take()
        {
            self.ringing.remove(&(at, id));
        }
    }
}
