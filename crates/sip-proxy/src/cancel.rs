//! Gives branches up: by the caller's CANCEL, because another branch won, or because they rang too long (RFC
//! 3261 §9, §16.8, §16.10).

use std::time::Instant;

use sip_message::request::cancel_for;
use sip_transaction::{ClientId, ClientKey, ClientState, InviteClient, MethodClass, ServerId};
use smallvec::SmallVec;

use crate::{
    Dialog, Environment, Notice, Proxy,
    context::{AnswerProgress, Branch, Cancel, Invite, Purpose, Rang, Reason},
    failover::BranchProgress,
    proxy::Waiting,
    reconnect::reconnect_target,
};

impl<H: Copy + Ord + std::fmt::Debug> Proxy<H> {
    /// The caller gives up: no further targets, and every branch is cancelled.
    pub(crate) fn cancel_all<E: Environment<Hop = H>>(
        &mut self,
        env: &mut E,
        server: ServerId,
        reason: &Reason,
        now: Instant,
    ) {
        let Some(context) = self.transactions.server_mut(server) else { return };
        if context.invite == Invite::No || context.progress != AnswerProgress::Open {
            return;
        }
        context.progress = AnswerProgress::Cancelled;
        context.waiting.clear();
        self.cancel_pending(env, server, reason, now);
    }

    /// Cancels every branch without a final response; non-INVITE requests cannot be cancelled.
    pub(crate) fn cancel_pending<E: Environment<Hop = H>>(
        &mut self,
        env: &mut E,
        server: ServerId,
        reason: &Reason,
        now: Instant,
    ) {
        let Some(context) = self.transactions.server(server) else { return };
        if context.invite == Invite::No {
            return;
        }
        for id in context.pending.clone() {
            let proceeding =
                self.transactions.client_state(id) == Some(ClientState::Invite(InviteClient::Proceeding));
            if proceeding {
                self.send_cancel(env, id, reason, now);
            } else if let Some(branch) = self.transactions.client_mut(id) {
                branch.cancel = Cancel::Wanted(reason.clone());
            }
        }
    }

    /// Sends CANCEL on one branch, in a transaction of its own.
    pub(crate) fn send_cancel<E: Environment<Hop = H>>(
        &mut self,
        env: &mut E,
        id: ClientId,
        reason: &Reason,
        now: Instant,
    ) {
        let Some(key) = self.transactions.client_key(id) else { return };
        let Some(branch) = self.transactions.client_mut(id) else { return };
        if branch.cancel == Cancel::Sent {
            return;
        }
        branch.cancel = Cancel::Sent;
        let (hop, server, sent) = (branch.hop, branch.server, branch.sent.clone());
        // Whatever becomes of the CANCEL, the branch has had its time.
        self.transactions.cancel_sent(id, now);
        let mut cancel = Vec::new();
        let written = sent
            .as_ref()
            .and_then(|sent| Self::kept(sent))
            .is_some_and(|invite| cancel_for(&invite, Some(reason), &mut cancel).is_ok());
        let Some(echo) =
            Self::kept(&cancel).filter(|_| written).map(|cancel| self.branches.echo_of_own(&cancel))
        else {
            return env.notice(Notice::Unwritable);
        };
        if env.send(hop, &cancel).is_err() {
            return self.transactions.client_transport_error(id);
        }
        // Its answer is of no interest, but over UDP it must be repeated until one comes.
        let branch = Branch {
            server,
            echo,
            hop,
            sent: env.reconnect_hop(hop).map(|_| self.store.keep(&cancel)),
            reconnect: reconnect_target(env, hop),
            when_gone: 408,
            otherwise: None,
            heard: BranchProgress::Nothing,
            purpose: Purpose::Cancel,
            failover_at: None,
            given_up_at: None,
            rings_until: None,
            rang: Rang::InTime,
            cancel: Cancel::No,
            dialog: Dialog::Outside,
            recorded: 0,
            successes: SmallVec::new(),
        };
        let key = ClientKey { branch: key.branch, class: MethodClass::NonInvite };
        let started = self
            .transactions
            .start_client(key, env.reliability(hop), now, branch, || self.store.keep(&cancel));
        match started {
            Ok(client) => {
                self.waiting_on.insert((hop, Waiting::Client(client)));
            }
            Err(_) => env.notice(Notice::Full),
        }
    }

    /// Timer C (RFC 3261 §16.8), or the end of the time that it may ring: a branch that rings is cancelled,
    /// one that said nothing is taken for a 408.
    pub(crate) fn rang_too_long<E: Environment<Hop = H>>(&mut self, env: &mut E, id: ClientId, now: Instant) {
        let reason = Reason::Borrowed(b"SIP;cause=408;text=\"Rang too long\"");
        let Some(branch) = self.transactions.client_mut(id) else { return };
        branch.given_up_at = None;
        branch.rang = Rang::TooLong;
        let (Some(server), hop) = (branch.server, branch.hop) else { return };
        match self.transactions.client_state(id) {
            Some(ClientState::Invite(InviteClient::Proceeding)) => {
                self.send_cancel(env, id, &reason, now);
            }
            _ => {
                // Should it ring after all, it is not to ring on.
                if let Some(branch) = self.transactions.client_mut(id)
                    && branch.cancel == Cancel::No
                {
                    branch.cancel = Cancel::Wanted(reason);
                }
                self.branch_failed(env, server, id, 408, (hop, None), now);
            }
        }
    }
}
