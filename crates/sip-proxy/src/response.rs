//! A response comes in (RFC 3261 §16.7).

use std::{rc::Rc, time::Instant};

use sip_message::{Message, Method, Rewrite, request::ack_for_non2xx};
use sip_transaction::{ClientId, ClientKey, MethodClass, ResponseFor, ServerId, Status};

use crate::{
    Answer, Environment, Notice, Proxy, best,
    branch::number_of,
    context::{Best, Cancel, Invite, Progress, Purpose},
    forward::Tried,
};

/// Reason (RFC 3326) of a CANCEL to the branches that lost.
const ANSWERED_ELSEWHERE: &str = "SIP;cause=200;text=\"Call completed elsewhere\"";

/// Reason of a CANCEL because one branch declined for all.
const DECLINED: &str = "SIP;cause=603;text=\"Declined elsewhere\"";

impl<H: Copy + Ord + std::fmt::Debug> Proxy<H> {
    /// A response came, to a branch that this shard made.
    pub fn response<E: Environment<Hop = H>>(&mut self, env: &mut E, response: &Message<'_>, now: Instant) {
        if let Err(invalid) = response.check_response() {
            return env.notice(Notice::Invalid(invalid));
        }
        let found =
            number_of(response).zip(response.cseq().ok()).zip(response.status().and_then(Status::new));
        let Some(((branch, cseq), status)) = found else { return env.notice(Notice::StrayResponse) };
        let class = if cseq.method == Method::Invite { MethodClass::Invite } else { MethodClass::NonInvite };
        match self.transactions.receive_response(ClientKey { branch, class }, status, now) {
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
            ResponseFor::Unmatched => env.notice(Notice::StrayResponse),
        }
    }

    /// ACK for a 3xx to 6xx, hop by hop (RFC 3261 §17.1.1.3).
    fn acknowledge<E: Environment<Hop = H>>(&mut self, env: &mut E, id: ClientId, response: &Message<'_>) {
        let Some(branch) = self.transactions.client(id) else { return };
        let hop = branch.hop;
        let mut ack = Vec::new();
        let written = branch
            .sent
            .as_ref()
            .and_then(|sent| Self::kept(sent))
            .is_some_and(|invite| ack_for_non2xx(&invite, response, &mut ack).is_ok());
        if !written {
            return env.notice(Notice::Unwritable);
        }
        let _ = env.send(hop, &ack);
        self.transactions.ack_sent(id, || Rc::from(ack));
    }

    fn branch_answered<E: Environment<Hop = H>>(
        &mut self,
        env: &mut E,
        id: ClientId,
        status: u16,
        response: &Message<'_>,
        now: Instant,
    ) {
        let Some(branch) = self.transactions.client_mut(id) else { return };
        if branch.purpose == Purpose::Cancel {
            return;
        }
        let server = branch.server;
        match status {
            100..=199 => {
                if let Some(old) = branch.timer_c.as_mut()
                    && status > 100
                {
                    self.ringing.remove(&(*old, id));
                    *old = now + self.settings.timer_c;
                    self.ringing.insert((*old, id));
                }
                if let Cancel::Wanted(reason) = branch.cancel {
                    self.send_cancel(env, id, reason, now);
                }
                let open = self.transactions.server(server).is_some_and(|c| c.progress != Progress::Answered);
                if status > 100 && open {
                    self.pass_upstream(env, server, status, response, now);
                }
            }
            200..=299 => {
                self.branch_done(id);
                self.succeeded(env, server, id, status, response, now);
            }
            _ => self.branch_failed(env, server, id, status, Some(response), now),
        }
    }

    fn succeeded<E: Environment<Hop = H>>(
        &mut self,
        env: &mut E,
        server: ServerId,
        id: ClientId,
        status: u16,
        response: &Message<'_>,
        now: Instant,
    ) {
        let Some(context) = self.transactions.server_mut(server) else { return };
        context.pending.retain(|pending| *pending != id);
        context.waiting.clear();
        let first = context.progress != Progress::Answered;
        // Every 2xx to an INVITE goes upstream, each makes a dialog; of other methods the first answer counts.
        if first || context.invite == Invite::Yes {
            context.progress = Progress::Answered;
            self.pass_upstream(env, server, status, response, now);
        }
        if first {
            self.cancel_pending(env, server, Some(ANSWERED_ELSEWHERE), now);
        }
    }

    /// A branch has its final response and it is no 2xx, or it will never have one.
    pub(crate) fn branch_failed<E: Environment<Hop = H>>(
        &mut self,
        env: &mut E,
        server: ServerId,
        id: ClientId,
        status: u16,
        response: Option<&Message<'_>>,
        now: Instant,
    ) {
        self.branch_done(id);
        let Some(context) = self.transactions.server_mut(server) else { return };
        let before = context.pending.len();
        context.pending.retain(|pending| *pending != id);
        if context.pending.len() < before {
            self.failed(env, server, status, response, now);
        }
    }

    /// One attempt failed: keeps the best, goes on with what is left, or answers.
    pub(crate) fn failed<E: Environment<Hop = H>>(
        &mut self,
        env: &mut E,
        server: ServerId,
        status: u16,
        response: Option<&Message<'_>>,
        now: Instant,
    ) {
        let Some(context) = self.transactions.server_mut(server) else { return };
        if context.progress == Progress::Answered {
            return;
        }
        if context.best.as_ref().is_none_or(|best| best::rank(status) < best::rank(best.status)) {
            context.best = Some(Best { status, response: response.map(|response| response.bytes().into()) });
        }
        if (600..700).contains(&status) {
            context.waiting.clear();
            self.cancel_pending(env, server, Some(DECLINED), now);
        }
        self.finish_if_done(env, server, now);
    }

    fn finish_if_done<E: Environment<Hop = H>>(&mut self, env: &mut E, server: ServerId, now: Instant) {
        let Some(context) = self.transactions.server_mut(server) else { return };
        if !context.pending.is_empty() {
            return;
        }
        if context.progress == Progress::Open && self.next_targets(env, server, now) == Tried::Some {
            return;
        }
        let Some(context) = self.transactions.server_mut(server) else { return };
        if context.progress == Progress::Answered {
            return;
        }
        let cancelled = context.progress == Progress::Cancelled;
        match context.best.take() {
            // A caller who cancelled hears 487, whatever the branches made of it (RFC 3261 §9.2).
            Some(Best { status, .. }) if cancelled && status != 487 => {
                self.answer(env, server, &Answer::of_status(487), now);
            }
            Some(Best { status, response: Some(bytes) }) if best::upstream(status) == status => {
                context.progress = Progress::Answered;
                match Self::kept(&bytes) {
                    Some(response) => self.pass_upstream(env, server, status, &response, now),
                    None => env.notice(Notice::Unwritable),
                }
            }
            Some(Best { status, .. }) => {
                self.answer(env, server, &Answer::of_status(best::upstream(status)), now)
            }
            None => self.answer(env, server, &Answer::of_status(408), now),
        }
    }

    /// Sends a response on towards the caller, our Via taken off.
    fn pass_upstream<E: Environment<Hop = H>>(
        &mut self,
        env: &mut E,
        server: ServerId,
        status: u16,
        response: &Message<'_>,
        now: Instant,
    ) {
        let Some(from) = self.transactions.server(server).map(|context| context.from) else { return };
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        let mut rewrite = Rewrite::new(response);
        rewrite.pop_via();
        rewrite.ensure_content_length();
        match rewrite.write(&mut out) {
            Ok(_) => self.respond(env, server, from, status, &out, now),
            Err(_) => env.notice(Notice::Unwritable),
        }
        self.out = out;
    }

    /// Its ringing time does not count any more.
    fn branch_done(&mut self, id: ClientId) {
        if let Some(branch) = self.transactions.client_mut(id)
            && let Some(at) = branch.timer_c.take()
        {
            self.ringing.remove(&(at, id));
        }
    }
}
