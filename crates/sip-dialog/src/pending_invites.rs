//! The INVITEs of one call that its caller's hop has sent. A user agent sends one; a proxy behind that forks
//! sends one for each place (RFC 3261 §16.6), and its caller hears the best of their answers.

use std::hash::{DefaultHasher, Hasher as _};

use lifecycle::CallCause;
use sip_message::{Message, StartLine};
use smallvec::SmallVec;

use crate::End;

/// INVITEs of one call that are told apart; the answers to more do not end it.
const MOST: usize = 32;

/// Those that have no final answer, and what became of the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PendingInvite {
    open: SmallVec<[u64; 1]>,
    declined: Option<End>,
    challenged: Option<End>,
}

/// What the failure of one means.
pub(crate) enum FailureMeaning {
    /// Others are under way, or it was none of them.
    NotLast,
    /// Its caller is asked who it is, and may send it again (RFC 3261 §22.2).
    Challenged,
    /// The end of the call.
    Last(End),
}

impl PendingInvite {
    /// One went on; it goes on once for each place that it is for.
    pub(crate) fn began(&mut self, invite: &Message<'_>) {
        self.challenged = None;
        let which = which(invite);
        if !self.open.contains(&which) && self.open.len() < MOST {
            self.open.push(which);
        }
    }

    /// One has failed. The last one's end is the call's, unless another was declined by the callee for all
    /// places (6xx), so that the proxy took back what still rang. `head` is the response, or the request that
    /// was answered here.
    pub(crate) fn failed(&mut self, head: &Message<'_>, end: End) -> FailureMeaning {
        let which = which(head);
        let Some(at) = self.open.iter().position(|open| *open == which) else {
            return FailureMeaning::NotLast;
        };
        self.open.swap_remove(at);
        let rejected = end.status.filter(|_| end.cause == CallCause::Rejected);
        if rejected.is_some_and(|status| status >= 600) {
            self.declined.get_or_insert_with(|| end.clone());
        }
        if !self.open.is_empty() {
            return FailureMeaning::NotLast;
        }
        match rejected {
            Some(401 | 407) if self.declined.is_none() => {
                self.challenged = Some(end);
                FailureMeaning::Challenged
            }
            _ => FailureMeaning::Last(self.declined.take().unwrap_or(end)),
        }
    }

    /// It is over with this, unless it comes again.
    pub(crate) fn may_come_again(&mut self, end: End) {
        self.challenged = Some(end);
    }

    /// The end of a call whose caller was asked who it is, and has not sent its INVITE again.
    pub(crate) const fn challenged(&self) -> Option<&End> {
        self.challenged.as_ref()
    }
}

/// An INVITE by its sender's branch, which is below ours in a response.
fn which(head: &Message<'_>) -> u64 {
    let below = match head.start_line() {
        StartLine::Request { .. } => 0,
        StartLine::Response { .. } => 1,
    };
    let mut hasher = DefaultHasher::new();
    if let Some(Ok(via)) = head.vias().nth(below) {
        // Without a branch (RFC 2543) the sender is all there is.
        hasher.write(via.branch().unwrap_or(via.sent_by()));
    }
    hasher.finish()
}
