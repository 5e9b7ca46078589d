//! A hop that gives no response while there is another way (RFC 3263 §4.3). Its transaction alone would take
//! half a minute.

use std::time::Instant;

use sip_transaction::{ClientId, MethodClass};

use crate::{
    Environment, Proxy,
    context::{Cancel, Reason},
    failover::{Failure, next_alternative},
};

/// Reason (RFC 3326) of a CANCEL to a hop that does answer, when another has been asked already.
const ASKED_ANOTHER: Reason = Reason::Borrowed(b"SIP;cause=408;text=\"Another server was asked\"");

impl<H: Copy + Ord + std::fmt::Debug> Proxy<H> {
    /// A branch gave a sign of life, or is over.
    pub(crate) fn clear_no_response(&mut self, id: ClientId) {
        if let Some(branch) = self.transactions.client_mut(id)
            && let Some(at) = branch.failover_at.take()
        {
            self.failover_timers.remove(&(at, id));
        }
    }

    /// A branch was silent for as long as its hop may be: the next way is tried. Its transaction goes on;
    /// should it be answered with success before the other, that counts.
    pub(crate) fn on_branch_silent<E: Environment<Hop = H>>(
        &mut self,
        env: &mut E,
        id: ClientId,
        now: Instant,
    ) {
        let invite = self.transactions.client_key(id).is_some_and(|key| key.class == MethodClass::Invite);
        let Some(branch) = self.transactions.client_mut(id) else { return };
        branch.failover_at = None;
        let hop = branch.hop;
        let next = branch
            .otherwise
            .take()
            .and_then(|target| next_alternative(&target, Failure::NoResponse, branch.heard));
        if invite && branch.sent.is_some() && branch.cancel == Cancel::No {
            branch.cancel = Cancel::Wanted(ASKED_ANOTHER);
        }
        let Some(server) = branch.server else { return };
        env.on_no_response(hop);
        self.try_alternative(env, server, id, next, now);
    }
}
