//! Which binding ends next.

use std::collections::BTreeSet;
use std::time::Instant;

/// Slots of bindings by the time of their end.
#[derive(Debug, Default)]
pub(crate) struct Expiry {
    ends: BTreeSet<(Instant, u32)>,
}

impl Expiry {
    pub(crate) fn insert(&mut self, end: Instant, slot: u32) {
        self.ends.insert((end, slot));
    }

    pub(crate) fn remove(&mut self, end: Instant, slot: u32) {
        self.ends.remove(&(end, slot));
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.ends.first().map(|&(end, _)| end)
    }

    /// The slot that ended first, if any has by now.
    pub(crate) fn due(&self, now: Instant) -> Option<u32> {
        self.ends.first().filter(|&&(end, _)| end <= now).map(|&(_, slot)| slot)
    }

    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Instant, u32)> {
        self.ends.iter().copied()
    }
}
