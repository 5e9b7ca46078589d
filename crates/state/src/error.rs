//! Why the state of a node cannot be recovered.

use std::time::Duration;

use lifecycle::EventId;

/// The ledger does not say what is open, or what an earlier run owed cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The ledger cannot be opened.
    #[error(transparent)]
    Open(#[from] ledger::OpenError),
    /// The ledger's history cannot be read.
    #[error("the ledger's history cannot be read: {0}")]
    History(ledger::ReadError),
    /// The ledger's beginning was dropped and no checkpoint tells what was open then.
    #[error(
        "the ledger begins at {oldest} and no checkpoint can be used ({why}), so it is not known which flows were open before: restore the files in `checkpoints` from a backup, or move the ledger's directory away to begin a new one"
    )]
    NoCheckpoint {
        /// The oldest record.
        oldest: ledger::Position,
        /// Faults of the checkpoints.
        why: String,
    },
    /// The ledger holds an event of a type that this program does not know.
    #[error("event {}.{} in the ledger is of type {kind}, which this program does not know: it was written by a newer one; run that one", event.incarnation, event.sequence)]
    NewerEvents {
        /// Which.
        event: EventId,
        /// Its type's number.
        kind: u16,
    },
    /// The closes that an earlier process owed cannot be written.
    #[error(
        "there is no room in the ledger for the closes that the last process owed: {0}; free some disk and start again, nothing is lost"
    )]
    NoRoomToRecover(ledger::Refused),
    /// The disk did not take the first records in time.
    #[error("the disk under the ledger took longer than {0:?} for its first records")]
    DiskTooSlow(Duration),
}
