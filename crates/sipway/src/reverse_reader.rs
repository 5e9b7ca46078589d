//! Reading a ledger newest first: segment by segment, so that what is recent is found soon however long the
//! history.

use std::collections::VecDeque;

use ledger::{LogReader, Position, ReadError, ReadFrom};
use lifecycle::{EventId, EventKind};

/// Records that are kept of one segment, the newest.
const KEPT: usize = 4096;

/// A record that was wanted.
#[derive(Clone, Debug)]
pub(crate) struct FoundRecord {
    pub(crate) id: EventId,
    pub(crate) kind: EventKind,
    /// Microseconds since the Unix epoch.
    pub(crate) at: u64,
    pub(crate) payload: Vec<u8>,
}

/// Whether older ones are wanted, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Go {
    On,
    Stop,
}

/// Gives each segment's beginning and what was wanted of it (oldest first), the newest segment first.
pub(crate) fn read(
    reader: &mut LogReader,
    wanted: impl Fn(EventKind, &[u8]) -> bool,
    mut take: impl FnMut(Position, VecDeque<FoundRecord>) -> Go,
) -> Result<(), ReadError> {
    let mut end = None;
    for first in reader.segments().map_err(ReadError::Fault)?.into_iter().rev() {
        let mut found = VecDeque::new();
        reader.seek(ReadFrom::After(Position::new(first.incarnation, first.seq - 1)));
        loop {
            let block = match reader.next_block() {
                Ok(Some(block)) => block,
                Ok(None) => break,
                // Retention was quicker: here is the beginning now.
                Err(ReadError::Removed { .. }) => return Ok(()),
                Err(error) => return Err(error),
            };
            if end.is_some_and(|end| block.last() >= end) {
                break;
            }
            for record in block.records() {
                let Ok(kind) = EventKind::try_from(record.kind) else { continue };
                if wanted(kind, record.payload) {
                    if found.len() == KEPT {
                        found.pop_front();
                    }
                    let (id, payload) = (id_of(record.position), record.payload.to_vec());
                    found.push_back(FoundRecord { id, kind, at: record.at, payload });
                }
            }
        }
        if take(first, found) == Go::Stop {
            return Ok(());
        }
        end = Some(first);
    }
    Ok(())
}

pub(crate) fn id_of(position: Position) -> EventId {
    EventId { incarnation: position.incarnation, sequence: position.seq }
}
