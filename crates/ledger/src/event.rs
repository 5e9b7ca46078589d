//! What the ledger tells its observer, and how it says it is.

use std::time::Duration;

use crate::position::Position;

/// Something an operator or the caller's bookkeeping wants to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A segment was full and the next one was begun: a good time to write a checkpoint.
    Rolled {
        /// The first record of the new segment.
        first: Position,
    },
    /// Writing or syncing a segment failed; it is never written again.
    Abandoned {
        /// The file.
        file: String,
        /// The error of the operating system.
        error: String,
    },
    /// No segment can be written. Entries wait in memory; reservations are refused; new files are tried again
    /// and again.
    Failed {
        /// The last error of the operating system.
        error: String,
    },
    /// After a failure, all that waited is on disk.
    Recovered,
    /// No further segment could be prepared.
    NoRoom {
        /// The error of the operating system.
        error: String,
    },
    /// The heartbeat could not be written.
    HeartbeatLost {
        /// The error of the operating system.
        error: String,
    },
}

/// Whether the disk does its part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Everything appended becomes durable in time.
    Good,
    /// The oldest entry has waited longer than `stall_after`.
    Stalled {
        /// How long it has waited.
        waited: Duration,
    },
    /// No segment can be written; entries are kept in memory.
    Failed {
        /// The last error of the operating system.
        error: String,
    },
    /// The ledger was closed.
    Closed,
}

impl Health {
    /// One word, as APIs say it.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Stalled { .. } => "stalled",
            Self::Failed { .. } => "failed",
            Self::Closed => "closed",
        }
    }
}

impl std::fmt::Display for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())?;
        match self {
            Self::Good | Self::Closed => Ok(()),
            Self::Stalled { waited } => {
                write!(f, ": the disk has been waited for for {} ms", waited.as_millis())
            }
            Self::Failed { error } => write!(f, ": {error}"),
        }
    }
}

/// Numbers for metrics and for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// This run.
    pub incarnation: u64,
    /// The last sequence given out; 0 if none.
    pub appended: u64,
    /// The last durable sequence; 0 if none.
    pub durable: u64,
    /// Bytes that wait for the disk.
    pub pending_bytes: u64,
    /// Bytes promised to reservations.
    pub reserved_bytes: u64,
    /// Bytes that could be reserved now.
    pub available_bytes: u64,
    /// Prepared segments that lie ready, the one kept for failures included.
    pub spares: usize,
    /// Segments that hold records, the current one included.
    pub segments: usize,
    /// Segments begun because the one before was full.
    pub rolled: u64,
    /// Segments given up after a failed write or sync.
    pub abandoned: u64,
    /// Commits (one sync each) so far.
    pub commits: u64,
    /// Whether the disk does its part.
    pub health: Health,
}
