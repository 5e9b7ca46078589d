//! Where to begin so that nothing since a moment is missed, without reading what came long before.

use crate::blocks::{Blocks, Verify};
use crate::error::{Fault, ReadError};
use crate::format::{Records, SegmentKey};
use crate::position::Position;
use crate::storage::Storage;
use crate::walk::ReadFrom;

/// A clock that is set back lets later records look older: as much as this, in microseconds, is allowed for.
const CLOCK_SET_BACK: u64 = 600_000_000;

/// Looks at the first record of each segment, newest first, until one is old enough. `keys` are all segments,
/// oldest first.
pub(crate) fn seek_since(
    storage: &dyn Storage,
    keys: impl DoubleEndedIterator<Item = SegmentKey>,
    since: u64,
) -> Result<ReadFrom, ReadError> {
    for key in keys.rev() {
        let at = match first_at(storage, key) {
            Ok(at) => at,
            // Retention was quicker; what it took is older than what is left.
            Err(ReadError::Fault(Fault { source, .. })) if source.kind() == std::io::ErrorKind::NotFound => {
                break;
            }
            Err(error) => return Err(error),
        };
        if at.is_some_and(|at| at.saturating_add(CLOCK_SET_BACK) < since) {
            return Ok(ReadFrom::After(Position::new(key.incarnation, key.first_seq - 1)));
        }
    }
    Ok(ReadFrom::Oldest)
}

/// When the first record of a segment was written; none if it has no record.
fn first_at(storage: &dyn Storage, key: SegmentKey) -> Result<Option<u64>, ReadError> {
    let (mut blocks, _) = Blocks::open(storage, key)?;
    let header = blocks.next(Verify::Whole)?;
    let first = header.and_then(|header| Records::of(blocks.block(), &header, key.incarnation).next());
    Ok(first.map(|record| record.at))
}
