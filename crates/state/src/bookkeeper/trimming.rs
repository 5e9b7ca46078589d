//! Drops old records. It writes the tombstone first, and removes the records once the tombstone is durable.

use std::sync::PoisonError;

use ledger::{Batch, Ledger, Position, ReadError, ReadFrom, Segment};
use lifecycle::{Event, LedgerTrimmed, NAMED_CURSORS, PassedCursor, TRIMMED_RESERVE, Text, TrimReason};

use super::{Bookkeeper, Passage, event_id};
use metrics::{Count, Gauge};

use crate::retention::{self, Facts, Plan};

impl Bookkeeper {
    /// Where the records begin that no tombstone speaks of, if any before them are still there.
    fn doomed(&self) -> Option<Position> {
        let last = self.unfinished.trimmed()?.last;
        let last = Position::new(last.incarnation, last.sequence);
        let segments = self.ledger.segments();
        let kept = segments.iter().map(|segment| segment.first).find(|first| *first > last)?;
        (segments.first()?.first < kept).then_some(kept)
    }

    /// Removes what the newest tombstone speaks of; as far as the readers are now, wherever they were when it
    /// was written.
    pub(super) fn remove(&mut self) {
        let Some(mut to) = self.doomed() else { return };
        match self.ledger.cursors() {
            Ok(cursors) => {
                if let Some((_, position)) = self.policy.slowest(&self.policy.readers(cursors)) {
                    to = to.min(*position);
                }
            }
            Err(error) => return tracing::warn!(%error, "no old records are dropped from the ledger"),
        }
        match self.ledger.remove_before(to) {
            Ok(removal) if removal.segments > 0 => {
                tracing::info!(
                    segments = removal.segments,
                    bytes = removal.bytes,
                    "old records were dropped from the ledger"
                );
                let oldest = self.ledger.segments().first().map_or(Position::START, |segment| segment.first);
                self.ended = self.ended.split_off(&oldest);
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "old records cannot be dropped from the ledger"),
        }
        if self.room.is_none() {
            self.room = self.ledger.reserve(TRIMMED_RESERVE).ok();
        }
    }

    /// Finishes what was begun, or looks for more that may go.
    pub(super) fn trim(&mut self, now: u64) {
        if self.tombstone.is_some() {
            return;
        }
        if self.doomed().is_some() {
            return self.remove();
        }
        let segments = self.ledger.segments();
        // Without a second one to fall back to, a damaged checkpoint would leave only the whole history.
        let [older, _] = self.checkpoints[..] else { return };
        let readers = match self.ledger.cursors() {
            Ok(cursors) => self.policy.readers(cursors),
            Err(error) => return tracing::warn!(%error, "no old records are dropped from the ledger"),
        };
        let facts = Facts { segments: &segments, checkpoint: older, readers: &readers, now };
        let (ledger, ended) = (&self.ledger, &mut self.ended);
        let Plan { drop, held_back } = retention::plan(&self.policy, &facts, |number| {
            let next = segments.get(number + 1)?.first;
            ended.get(&segments[number].first).copied().or_else(|| {
                let at = begun(ledger, next)?;
                ended.insert(segments[number].first, at);
                Some(at)
            })
        });
        self.metrics.set(Gauge::HeldBack, held_back.as_ref().map_or(0, |held| held.bytes));
        if let Some(held) = held_back
            && self.may_warn(now)
        {
            tracing::warn!(
                sink = held.by,
                bytes = held.bytes,
                "old records stay because this sink has not read them: give the disk room, or name the sink in `[ledger] drop_unread_of`"
            );
        }
        if let Some((count, reason)) = drop {
            self.announce(&segments[..=count], reason, &readers, now);
        }
    }

    /// Writes the tombstone of all but the last of these segments.
    fn announce(
        &mut self,
        segments: &[Segment],
        reason: TrimReason,
        readers: &[(String, Position)],
        now: u64,
    ) {
        let (Some(oldest), Some((next, dropped))) = (segments.first(), segments.split_last()) else { return };
        let (mut records, mut last) = (0, None);
        for (segment, next) in segments.iter().zip(&segments[1..]) {
            match last_of(&self.ledger, segment, next) {
                Ok(None) => {}
                Ok(Some(seq)) => {
                    records += seq + 1 - segment.first.seq;
                    last = Some(Position::new(segment.first.incarnation, seq));
                }
                Err(error) => return tracing::warn!(%error, "no old records are dropped from the ledger"),
            }
        }
        // Runs that wrote nothing go with the next record that does.
        let Some(last) = last else { return };
        let bytes = dropped.iter().map(|segment| segment.bytes).sum();
        let passed: Vec<&(String, Position)> =
            readers.iter().filter(|(_, position)| *position < last && next.first > *position).collect();
        let named: Vec<PassedCursor> = passed
            .iter()
            .take(NAMED_CURSORS)
            .map(|(sink, position)| PassedCursor {
                sink: Text::new(sink),
                read_to: (*position > Position::START)
                    .then(|| Text::new(self.node.event(event_id(*position)))),
            })
            .collect();
        let tombstone = Event::LedgerTrimmed(LedgerTrimmed {
            first: &self.node.event(event_id(oldest.first)),
            last: &self.node.event(event_id(last)),
            records,
            bytes,
            reason: reason.into(),
            passed: (&named[..]).into(),
            passed_total: passed.len(),
        });
        let (kind, json) = (tombstone.kind().number(), tombstone.to_json());
        let mut batch = Batch::new();
        match self.room.take() {
            Some(room) => {
                if let Err(error) = batch.push_reserved(room, kind, now, &json) {
                    return tracing::error!(%error, "a `ledger.trimmed` record is longer than its reservation: this is a bug, please report it");
                }
            }
            None => {
                batch.push(kind, now, &json);
            }
        }
        let passage = self.gate.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *passage == Passage::Closed {
            return;
        }
        match self.ledger.append(batch) {
            Ok(appended) => {
                self.tombstone = Some(Position::new(appended.incarnation, appended.last_seq));
                self.metrics.add_many(Count::RecordsTrimmed, records);
                for sink in named {
                    tracing::warn!(sink = %sink.sink, "this sink loses events that it had not read, because `[ledger] drop_unread_of` names it");
                }
            }
            Err(rejected) => {
                tracing::warn!(error = %rejected.why, "the ledger has no room for a `ledger.trimmed` record, so no old records are dropped");
            }
        }
    }
}

/// When a segment begins that follows another: no record of the one before is much newer. None if it has no
/// record yet.
fn begun(ledger: &Ledger, first: Position) -> Option<u64> {
    let mut reader = ledger.reader(ReadFrom::After(Position::new(first.incarnation, first.seq - 1)));
    let block = reader.next_block().ok()??;
    block.records().next().map(|record| record.at)
}

/// The last sequence in a segment; none if it has no records.
fn last_of(ledger: &Ledger, segment: &Segment, next: &Segment) -> Result<Option<u64>, ReadError> {
    let first = segment.first;
    if next.first.incarnation == first.incarnation {
        return Ok((next.first.seq > first.seq).then_some(next.first.seq - 1));
    }
    let mut reader = ledger.reader(ReadFrom::After(Position::new(first.incarnation, first.seq - 1)));
    let mut last = None;
    while let Some(block) = reader.next_block()? {
        if block.last().incarnation != first.incarnation {
            break;
        }
        last = Some(block.last().seq);
    }
    Ok(last)
}
