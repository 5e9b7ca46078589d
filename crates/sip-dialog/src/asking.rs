//! The INVITEs of one call that its caller's hop has sent. A user agent sends one; a proxy behind that forks sends one for each place
//! (RFC 3261 §16.6), and its caller hears the best of their answers.

use std::hash::{DefaultHasher, Hasher as _};

use lifecycle::CallCause;
use sip_message::{Message, StartLine};
use smallvec::SmallVec;

use crate::End;

/// INVITEs of one call that are told apart; the answers to more do not end it.
const MOST: usize = 32;

/// Those that have no final answer, and what became of the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Asking {
    open: SmallVec<[u64; 1]>,
    declined: Option<End>,
}

impl Asking {
    /// One went on; it goes on once for each place that it is for.
    pub(crate) fn began(&mut self, invite: &Message<'_>) {
        let which = which(invite);
        if !self.open.contains(&which) && self.open.len() < MOST {
            self.open.push(which);
        }
    }

    /// One has failed. Gives the end of the call if it was the last: its own, unless another was declined by the callee for all
    /// places (6xx), so that the proxy took back what still rang. `head` is the response, or the request that was answered here.
    pub(crate) fn failed(&mut self, head: &Message<'_>, end: End) -> Option<End> {
        let which = which(head);
        let at = self.open.iter().position(|open| *open == which)?;
        self.open.swap_remove(at);
        if end.cause == CallCause::Rejected && end.status.is_some_and(|status| status >= 600) {
            self.declined.get_or_insert_with(|| end.clone());
        }
        self.open.is_empty().then(|| self.declined.take().unwrap_or(end))
    }
}

/// An INVITE by the branch of whoever sent it, which is below ours in a response.
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
