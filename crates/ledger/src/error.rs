//! Everything that can be refused or go wrong, each with what, where and the mend.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::position::Position;
use crate::settings::SettingsError;

/// A storage call that failed: what was being done, to which file, and what the system said.
#[derive(Debug, thiserror::Error)]
#[error("{doing} {file}: {source}")]
pub struct Fault {
    /// In words, as in "cannot sync".
    pub doing: &'static str,
    /// The file or folder, within the ledger's directory.
    pub file: String,
    /// The error of the operating system.
    pub source: io::Error,
}

pub(crate) trait Faulty<T> {
    fn fault(self, doing: &'static str, file: &str) -> Result<T, Fault>;
}

impl<T> Faulty<T> for io::Result<T> {
    fn fault(self, doing: &'static str, file: &str) -> Result<T, Fault> {
        self.map_err(|source| Fault { doing, file: file.to_owned(), source })
    }
}

/// How the log contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DamageKind {
    /// The first 4096 bytes of a segment are not what was written.
    Header,
    /// A segment's header and its file name do not agree.
    Misnamed,
    /// A block is not what was written, though later data proves that it had been durable.
    Block {
        /// The first record that cannot be read.
        expected: u64,
    },
    /// A whole block stands where another should.
    OutOfOrder {
        /// The record that should come next.
        expected: u64,
        /// The record that stands there.
        found: u64,
    },
    /// The segment ends before the next one begins.
    MissingRecords {
        /// The first missing record.
        expected: u64,
        /// The first record of the next segment.
        next: u64,
    },
    /// Records before the first of this file are missing, with the file that held them.
    MissingSegment,
    /// A heartbeat, a cursor or a checkpoint speaks of a later incarnation, of which there is no segment.
    MissingIncarnation {
        /// The latest that is spoken of.
        known: u64,
    },
    /// A later incarnation exists, so this one was sealed; the seal is gone, perhaps with records before it.
    Unsealed {
        /// The record that would come next.
        expected: u64,
    },
}

/// Damage no crash explains: the log is refused rather than read with a hole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The segment, within the ledger's directory.
    pub file: String,
    /// Where in the file.
    pub offset: u64,
    /// What is wrong there.
    pub kind: DamageKind,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is damaged at byte {}: ", self.file, self.offset)?;
        match &self.kind {
            DamageKind::Header => write!(f, "its header is not what was written")?,
            DamageKind::Misnamed => write!(f, "its header belongs to another file name")?,
            DamageKind::Block { expected } => {
                write!(f, "record {expected} was durable and cannot be read any more")?;
            }
            DamageKind::OutOfOrder { expected, found } => {
                write!(f, "record {expected} should stand here, but it is {found}")?;
            }
            DamageKind::MissingRecords { expected, next } => {
                write!(f, "records {expected} to {} are missing", next.saturating_sub(1))?;
            }
            DamageKind::MissingSegment => {
                write!(f, "the segment before it is missing")?;
            }
            DamageKind::MissingIncarnation { known } => {
                write!(
                    f,
                    "it is the newest, but there was an incarnation {known} of which no segment is left"
                )?;
            }
            DamageKind::Unsealed { expected } => {
                write!(
                    f,
                    "the end of the incarnation is missing; record {expected} or the seal should stand here"
                )?;
            }
        }
        write!(
            f,
            ". No crash leaves this; look at the disk. To mend: restore the file from a copy; or, giving up what they hold, move \
             this file and every older one out of segments/ and reset the cursors that pointed there"
        )
    }
}

impl std::error::Error for Damage {}

/// Why a ledger was not opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The settings cannot work.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The directory cannot be made, read or written.
    #[error(
        "cannot use {place} as a ledger: {source}. Make it a directory this user may write, or name another"
    )]
    Directory {
        /// Its path.
        place: String,
        /// The error of the operating system.
        source: io::Error,
    },
    /// Another process has this ledger open.
    #[error(
        "{place} is in use by {}. Stop it first, or give this node a directory of its own",
        pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
    )]
    Held {
        /// Its path.
        place: String,
        /// The process, if it left its number.
        pid: Option<u32>,
    },
    /// The ledger was written by a node of another name.
    #[error(
        "{place}/{file} belongs to node \"{found}\", not \"{wanted}\". Name the node as before, or give it a directory of its own"
    )]
    WrongNode {
        /// The ledger's path.
        place: String,
        /// The segment that says so.
        file: String,
        /// Whose it is.
        found: String,
        /// Who wanted it.
        wanted: String,
    },
    /// A newer release wrote this.
    #[error(
        "{place}/{file} has format {found}; this release reads up to {supported}. Start the newer release again"
    )]
    NewerFormat {
        /// The ledger's path.
        place: String,
        /// The file.
        file: String,
        /// Its format.
        found: u32,
        /// The newest this release knows.
        supported: u32,
    },
    /// Damage no crash explains.
    #[error("{place}: {damage}")]
    Damaged {
        /// The ledger's path.
        place: String,
        /// Where and what.
        damage: Damage,
    },
    /// A checkpoint describes records the log does not hold: the log is older than the checkpoint.
    #[error(
        "{place}: the checkpoint at {wanted} speaks of records the log does not hold; was segments/ restored from an older copy? To mend: restore \
         the newer segments; or, giving up what they held, remove the files in checkpoints/"
    )]
    CheckpointAhead {
        /// The ledger's path.
        place: String,
        /// What the checkpoint describes.
        wanted: Position,
    },
    /// The disk refused.
    #[error("{place}: {fault}")]
    Fault {
        /// The ledger's path.
        place: String,
        /// What, where, why.
        fault: Fault,
    },
}

/// Why a reservation or an append was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// All prepared room is promised.
    #[error("no room: {wanted} bytes wanted, {available} ready{}", cause.as_ref().map_or_else(String::new, |cause| format!("; {cause}")))]
    NoRoom {
        /// Bytes asked for, overhead included.
        wanted: u64,
        /// Bytes not promised yet.
        available: u64,
        /// Why no more is being prepared, if that failed.
        cause: Option<String>,
    },
    /// The disk has not answered for too long.
    #[error("the disk stalls: the oldest entry has waited {waited:?}")]
    Stalled {
        /// How long.
        waited: Duration,
    },
    /// No segment can be written.
    #[error("the disk fails: {error}")]
    Failed {
        /// The last error of the operating system.
        error: String,
    },
    /// Too much waits for the disk already.
    #[error("{pending} bytes wait for the disk, {limit} may")]
    Backlog {
        /// Bytes waiting.
        pending: u64,
        /// The limit set.
        limit: u64,
    },
    /// More than one block can hold.
    #[error("{bytes} bytes in one batch, a block holds {limit}")]
    TooLarge {
        /// Its weight, overhead included.
        bytes: u64,
        /// The most there can be.
        limit: u64,
    },
    /// The ledger was closed.
    #[error("the ledger is closed")]
    Closed,
}

/// Why reading stopped.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Retention took what should come next.
    #[error("records after {wanted} were removed; the oldest that is left is {oldest}")]
    Removed {
        /// Where reading should go on.
        wanted: Position,
        /// The first record still there.
        oldest: Position,
    },
    /// The place to read on from lies beyond what was ever written: the log is older than the reader that
    /// remembered the place.
    #[error("the ledger ends before {wanted}: was it restored from an older copy?")]
    Ahead {
        /// Where reading should go on.
        wanted: Position,
    },
    /// Damage no crash explains.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// A newer release wrote this.
    #[error("{file} has format {found}, newer than this release reads")]
    NewerFormat {
        /// The file.
        file: String,
        /// Its format.
        found: u32,
    },
    /// The disk refused.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why a cursor cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CursorError {
    /// Names are 1 to 64 of `a-z 0-9 - _ .`, not starting with a dot.
    #[error("{name:?} cannot name a cursor: use 1 to 64 of a-z 0-9 - _ . and do not start with a dot")]
    Name {
        /// As given.
        name: String,
    },
    /// The file is not what was written.
    #[error(
        "{file} is damaged. To mend: remove it; its reader then starts at the oldest record and delivers again what it had delivered"
    )]
    Damaged {
        /// The file, within the ledger's directory.
        file: String,
    },
    /// A cursor only moves forward.
    #[error("the cursor stands at {at} and cannot go back to {to}")]
    Backward {
        /// Where it stands.
        at: Position,
        /// Where it was asked to go.
        to: Position,
    },
    /// A cursor cannot stand where nothing durable stands.
    #[error("{to} is ahead of the durable {durable}")]
    Ahead {
        /// Where it was asked to go.
        to: Position,
        /// What is durable.
        durable: Position,
    },
    /// The disk refused.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why a checkpoint was not kept.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// It describes records a crash could still take away.
    #[error("a checkpoint at {at} is ahead of the durable {durable}")]
    Ahead {
        /// What it describes.
        at: Position,
        /// What is durable.
        durable: Position,
    },
    /// The disk refused.
    #[error(transparent)]
    Fault(#[from] Fault),
}
