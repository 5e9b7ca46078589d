//! Which segments there are, in order.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use crate::format::SegmentKey;

#[derive(Debug, Default)]
pub(crate) struct Catalogue {
    /// Each with its mark: a file that replaced one of the same name has another.
    segments: BTreeMap<SegmentKey, Facts>,
    /// No longer shown, to be removed: oldest first.
    doomed: VecDeque<(SegmentKey, Facts)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) mark: u64,
    pub(crate) bytes: u64,
}

impl Catalogue {
    pub(crate) fn insert(&mut self, key: SegmentKey, facts: Facts) {
        self.segments.insert(key, facts);
    }

    /// Show no longer what lies before `key` as a whole. The segment `key` itself lies in stays: a cursor
    /// there is found again.
    pub(crate) fn doom_before(&mut self, key: SegmentKey) {
        while let Some((first, facts)) = self.segments.first_key_value().map(|(key, facts)| (*key, *facts))
            && self.after(first).is_some_and(|next| next <= key)
        {
            self.segments.remove(&first);
            self.doomed.push_back((first, facts));
        }
    }

    /// The next segment to remove.
    pub(crate) fn doomed(&self) -> Option<(SegmentKey, Facts)> {
        self.doomed.front().copied()
    }

    /// It was removed for good.
    pub(crate) fn removed(&mut self, key: SegmentKey) {
        self.doomed.retain(|(doomed, _)| *doomed != key);
    }

    pub(crate) fn len(&self) -> usize {
        self.segments.len()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.segments.values().map(|facts| facts.bytes).sum()
    }

    pub(crate) fn facts(&self, key: SegmentKey) -> Option<Facts> {
        self.segments.get(&key).copied()
    }

    pub(crate) fn first(&self) -> Option<SegmentKey> {
        self.segments.keys().next().copied()
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (SegmentKey, Facts)> + '_ {
        self.segments.iter().map(|(key, facts)| (*key, *facts))
    }

    /// The segment after `key`.
    pub(crate) fn after(&self, key: SegmentKey) -> Option<SegmentKey> {
        self.segments.range((Bound::Excluded(key), Bound::Unbounded)).next().map(|(key, _)| *key)
    }

    /// The last segment that starts at or before `key`.
    pub(crate) fn at_or_before(&self, key: SegmentKey) -> Option<SegmentKey> {
        self.segments.range(..=key).next_back().map(|(key, _)| *key)
    }
}
