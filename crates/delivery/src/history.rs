//! How many events lie between a cursor and the end of the ledger, across incarnations.

use std::collections::BTreeMap;

use ledger::{Ledger, Position, ReadFrom};

/// Where the incarnations before this one ended, from a cursor on.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// Last sequence by incarnation.
    ends: BTreeMap<u64, u64>,
    /// The record before the oldest there was.
    before_oldest: Position,
}

impl History {
    /// Looks up where earlier incarnations end. Reads at most one segment of each, so that a long backlog is
    /// not read twice; what cannot be read counts as little as is known of it.
    pub(crate) fn look(ledger: &Ledger, from: Position) -> Self {
        let segments = ledger.segments();
        let before = |first: Position| Position::new(first.incarnation, first.seq.saturating_sub(1));
        let before_oldest = segments.first().map_or(Position::START, |segment| before(segment.first));
        let mut last_segments = BTreeMap::new();
        for segment in &segments {
            let incarnation = segment.first.incarnation;
            if incarnation >= from.incarnation && incarnation < ledger.incarnation() {
                last_segments.insert(incarnation, before(segment.first));
            }
        }
        let ends = last_segments
            .into_iter()
            .map(|(incarnation, start)| {
                (incarnation, end_of(ledger, start.max(from_within(from, incarnation))))
            })
            .collect();
        Self { ends, before_oldest }
    }

    /// Records after `done` up to `end`.
    pub(crate) fn count(&self, done: Position, end: Position) -> u64 {
        let done = done.max(self.before_oldest);
        if done.incarnation == end.incarnation {
            return end.seq.saturating_sub(done.seq);
        }
        if done.incarnation > end.incarnation {
            return 0;
        }
        let earlier: u64 = self
            .ends
            .range(done.incarnation..end.incarnation)
            .map(|(incarnation, last)| {
                let seen = if *incarnation == done.incarnation { done.seq } else { 0 };
                last.saturating_sub(seen)
            })
            .sum();
        earlier + end.seq
    }
}

fn from_within(from: Position, incarnation: u64) -> Position {
    if from.incarnation == incarnation { from } else { Position::START }
}

/// The last sequence of the incarnation of `start`, which lies in its last segment.
fn end_of(ledger: &Ledger, start: Position) -> u64 {
    let mut reader = ledger.reader(ReadFrom::After(start));
    let mut last = start.seq;
    while let Ok(Some(block)) = reader.next_block() {
        if block.last().incarnation != start.incarnation {
            break;
        }
        last = block.last().seq;
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_across_incarnations() {
        let history = History {
            ends: [(2, 10), (3, 0), (4, 7)].into_iter().collect(),
            before_oldest: Position::new(2, 4),
        };
        let end = Position::new(5, 3);
        assert_eq!(history.count(Position::START, end), 6 + 7 + 3);
        assert_eq!(history.count(Position::new(2, 9), end), 1 + 7 + 3);
        assert_eq!(history.count(Position::new(4, 7), end), 3);
        assert_eq!(history.count(Position::new(5, 1), end), 2);
        assert_eq!(history.count(Position::new(6, 1), end), 0);
    }
}
