//! Which nonce counts were used: each at most once, in bounded memory.
//!
//! A nonce is remembered from its first good use until it expires. When there is no room the oldest issued
//! one is forgotten, and from then on no nonce issued up to that one is taken unless it is still remembered:
//! it counts as stale. So a full memory costs some clients one more round trip and never lets a replay
//! through.

use crate::nonce::NonceId;
use std::collections::BTreeMap;

/// How far behind the highest count a late one is still told from a repeated one.
const WINDOW: u32 = 64;

/// The counts seen with one nonce.
#[derive(Clone, Copy, Debug)]
struct Seen {
    highest: u32,
    /// Bit n: `highest - n` was seen.
    recent: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    First,
    /// Seen before, or too old to tell.
    Again,
}

#[derive(Debug)]
pub(crate) struct ReplayMemory {
    nonces: BTreeMap<NonceId, Seen>,
    limit: usize,
    /// The newest of those forgotten.
    forgotten: Option<NonceId>,
}

impl ReplayMemory {
    /// A limit of zero counts as one.
    pub(crate) fn new(limit: usize) -> ReplayMemory {
        ReplayMemory { nonces: BTreeMap::new(), limit: limit.max(1), forgotten: None }
    }

    /// Forgets the nonces issued before this second. None of them is taken again, even if the clock is set
    /// back.
    pub(crate) fn expire(&mut self, before: u64) {
        while let Some(first) = self.nonces.first_entry().filter(|first| first.key().issued < before) {
            self.forgotten = self.forgotten.max(Some(*first.key()));
            first.remove();
        }
    }

    /// Counts a use with `nc`, or (`None`: without qop) a use of the whole nonce.
    pub(crate) fn count(&mut self, id: NonceId, nc: Option<u32>) -> Use {
        if let Some(seen) = self.nonces.get_mut(&id) {
            return nc.map_or(Use::Again, |nc| seen.count(nc));
        }
        if self.forgotten >= Some(id) {
            return Use::Again;
        }
        if self.nonces.len() >= self.limit
            && let Some(first) = self.nonces.first_entry()
        {
            if *first.key() > id {
                return Use::Again;
            }
            self.forgotten = self.forgotten.max(Some(*first.key()));
            first.remove();
        }
        let seen = match nc {
            Some(nc) => Seen { highest: nc, recent: 1 },
            None => Seen { highest: u32::MAX, recent: u64::MAX },
        };
        self.nonces.insert(id, seen);
        Use::First
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.nonces.len()
    }
}

impl Seen {
    fn count(&mut self, nc: u32) -> Use {
        if nc > self.highest {
            let ahead = nc - self.highest;
            self.recent = if ahead >= WINDOW { 1 } else { self.recent << ahead | 1 };
            self.highest = nc;
            return Use::First;
        }
        let behind = self.highest - nc;
        if behind >= WINDOW || self.recent >> behind & 1 == 1 {
            return Use::Again;
        }
        self.recent |= 1 << behind;
        Use::First
    }
}

#[cfg(test)]
mod tests;
