//! Calls that this server refuses before they go anywhere. They start and end at once, so that there is a
//! record of them.

use std::{
    collections::{HashSet, VecDeque},
    hash::{DefaultHasher, Hasher as _},
    time::{Duration, Instant},
};

use lifecycle::{CallBy, CallCause, Now, Text};
use sip_message::Message;

use crate::{
    CallWriter, Calls, End, Hop,
    key::{Tags, key},
};

/// How long an INVITE that was refused is known, should it come again: for as long as it is repeated (RFC
/// 3261 §17.1.1.2).
const REPEATED: Duration = Duration::from_secs(32);

/// INVITEs that are known; beyond, the oldest is forgotten.
const MOST: usize = 8192;

/// How long a proxy behind may take to send the same INVITE to other places.
const FORKS: Duration = Duration::from_secs(2);

/// Who has sent an INVITE that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// A user agent: that was its call.
    ByUserAgent,
    /// A server, which may send it to other places too (RFC 3261 §16.6): if one takes it, the call has not
    /// failed.
    ByServer,
}

/// What was written of a call that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is a call that has ended, or will have if nothing more comes of it.
    Written,
    /// Nothing: it is known already, as a call or as one that was refused.
    Known,
    /// Nothing: there is no room, or no record is to be made of it.
    Unwritten,
}

/// INVITEs that were refused lately.
#[derive(Debug, Default)]
pub(crate) struct Refused {
    known: HashSet<u64>,
    order: VecDeque<(Instant, u64)>,
}

impl Refused {
    /// Notes one; whether it was known.
    fn note(&mut self, which: u64, now: Instant) -> Option<Refusal> {
        while let Some(&(since, oldest)) = self.order.front()
            && (now.saturating_duration_since(since) >= REPEATED || self.order.len() >= MOST)
        {
            self.order.pop_front();
            self.known.remove(&oldest);
        }
        if !self.known.insert(which) {
            return Some(Refusal::Known);
        }
        self.order.push_back((now, which));
        None
    }
}

impl<H: Hop, R> Calls<H, R> {
    /// An INVITE outside of dialogs was refused here with this status and reason phrase, and has gone to
    /// nobody. One that comes again, as a repeat or as a fork, is the same call.
    pub fn refused(
        &mut self,
        book: &mut impl CallWriter<Hop = H, Room = R>,
        (status, reason): (u16, &str),
        invite: &Message<'_>,
        (from, sent): (H, Sent),
        now: Now,
    ) -> Refusal {
        let Some(tags) = Tags::of(invite) else { return Refusal::Unwritten };
        if self.number(&key(tags.call_id, tags.from)).is_some() {
            return Refusal::Known;
        }
        let mut which = DefaultHasher::new();
        which.write(&key(tags.call_id, tags.from));
        which.write_u32(invite.cseq().map_or(0, |cseq| cseq.number));
        if let Some(known) = self.refused.note(which.finish(), now.instant) {
            return known;
        }
        let Some(number) = self.start(book, invite, from, now) else { return Refusal::Unwritten };
        let end = End {
            status: Some(status),
            reason: Some(Text::new(reason)),
            ..End::of(CallCause::Failed, CallBy::Server, now.unix_micros)
        };
        match sent {
            Sent::ByUserAgent => self.end(book, number, &end),
            Sent::ByServer => {
                if let Some(call) = self.call_mut(number) {
                    call.asking.may_come_again(end);
                    call.dead_at = now.instant + FORKS;
                    self.reschedule(number);
                }
            }
        }
        Refusal::Written
    }
}
