//! Which old segments may be dropped: by age and by size, and never past a reader unless the operator named
//! it.

use std::{collections::BTreeSet, time::Duration};

use ledger::{Position, Segment};
use lifecycle::TrimReason;

#[cfg(test)]
mod tests;

/// How long the ledger is kept, and for whom.
#[derive(Clone, Debug)]
pub struct Retention {
    /// How old a segment's newest record may become.
    pub keep_for: Duration,
    /// Bytes of all segments.
    pub keep_size: u64,
    /// Every sink that is configured: one that has acknowledged nothing yet has no cursor.
    pub sinks: Vec<String>,
    /// Sinks that are not waited for.
    pub drop_unread_of: BTreeSet<String>,
}

impl Retention {
    /// The cursors there are, and those of sinks that never saved one: they have everything before them.
    pub(crate) fn readers(&self, mut cursors: Vec<(String, Position)>) -> Vec<(String, Position)> {
        for sink in &self.sinks {
            if !cursors.iter().any(|(name, _)| name == sink) {
                cursors.push((sink.clone(), Position::START));
            }
        }
        cursors
    }

    /// The reader that has come least far among those that are waited for.
    pub(crate) fn slowest<'a>(&self, readers: &'a [(String, Position)]) -> Option<&'a (String, Position)> {
        let waited_for = readers.iter().filter(|(name, _)| !self.drop_unread_of.contains(name));
        waited_for.min_by_key(|(_, position)| *position)
    }
}

/// The facts for the decision.
pub(crate) struct Facts<'a> {
    /// All segments, oldest first; the last one is being written.
    pub(crate) segments: &'a [Segment],
    /// The older of the two newest checkpoints: a start may read on from there.
    pub(crate) checkpoint: Position,
    pub(crate) readers: &'a [(String, Position)],
    /// Microseconds since the Unix epoch.
    pub(crate) now: u64,
}

/// Old segments that are kept only because a sink has not read them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeldBack {
    /// The sink that has come least far.
    pub(crate) by: String,
    pub(crate) bytes: u64,
}

/// The actions to take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// How many segments go, from the oldest, and why the last of them does.
    pub(crate) drop: Option<(usize, TrimReason)>,
    pub(crate) held_back: Option<HeldBack>,
}

/// Decides. `ended` tells when the newest record of a segment (given by its number) was written, in
/// microseconds since the Unix epoch; it is asked for as few as need be.
pub(crate) fn plan(
    policy: &Retention,
    facts: &Facts<'_>,
    mut ended: impl FnMut(usize) -> Option<u64>,
) -> Plan {
    let segments = facts.segments;
    let too_old = facts.now.saturating_sub(u64::try_from(policy.keep_for.as_micros()).unwrap_or(u64::MAX));
    let mut total: u64 = segments.iter().map(|segment| segment.bytes).sum();
    let slowest = policy.slowest(facts.readers);
    let mut plan = Plan { drop: None, held_back: None };
    for (number, pair) in segments.windows(2).enumerate() {
        let [segment, next] = pair else { break };
        let reason = if total > policy.keep_size {
            TrimReason::Size
        } else if ended(number).is_some_and(|at| at < too_old) {
            TrimReason::Age
        } else {
            break;
        };
        // The ledger goes by the same rule: the segment a position lies in stays.
        if next.first > facts.checkpoint {
            break;
        }
        match slowest {
            Some((name, position)) if next.first > *position => {
                let held = plan.held_back.get_or_insert_with(|| HeldBack { by: name.clone(), bytes: 0 });
                held.bytes += segment.bytes;
            }
            _ => plan.drop = Some((number + 1, reason)),
        }
        total -= segment.bytes;
    }
    plan
}
