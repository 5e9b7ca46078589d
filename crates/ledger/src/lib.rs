//! A durable, gap-free, ordered log of opaque records: one directory for one node.
//!
//! A record is a kind, a time the caller gives, and a payload; what they mean is the caller's business. Its
//! id is its [`Position`]: the *incarnation* (one run of the node, a number that grows at every open and is
//! never used twice) and a sequence that starts at 1 in each incarnation and has no gaps.
//!
//! # What it guarantees
//!
//! 1. **Acknowledged is durable.** Once [`Ledger::durable`] resolves, the record survives a crash of the
//!    process and a loss of power ([`Durability::Disk`]).
//! 2. **In order, once, without gaps.** Readers see records by position, each once. What cannot be read is an
//!    error that names file and place; nothing is skipped in silence.
//! 3. **A reservation is room.** Bytes are promised only against zeroed, synced segment space, counted so
//!    that any mix of records fits. A full disk refuses new reservations, never a record that was paid for.
//!    One segment more than was promised is kept ready, so the failure of one file takes no promise with it.
//! 4. **Nobody waits for the disk but who asks to.** Appending and reserving touch memory only.
//! 5. **A torn end is cut, damage is refused.** The two are told apart by proof, not by guess (see
//!    *Recovery*).
//!
//! What it takes for granted: a sync that succeeds is true; overwriting part of a sector leaves the rest of
//! it alone (as SQLite assumes, too); a crash keeps a beginning of the changes made to a folder since it was
//! synced, in order (as journalling file systems do).
//!
//! # On disk
//!
//! ```text
//! LOCK                                        flock'd while open; holds the process id
//! segments/<incarnation:010>-<first:020>.seg  records, see below
//! segments/spare-<number:020>.ready           zeroed, synced, not used yet (.new: being made)
//! cursors/<name>.cursor                       how far a reader has come
//! checkpoints/<incarnation>-<seq>.ckpt        what the caller knew then; the last two
//! heartbeat                                   when the node was last alive
//! ```
//!
//! A segment is a 4096-byte header and blocks; a block is a 40-byte header and the records of one commit or a
//! part of one (the `format` module has the bytes). Each segment draws a random 64-bit *mark* that begins all
//! its blocks: neither a payload that looks like a block nor what a file held before can be mistaken for one.
//! Each block also says which sequence was durable when it was written. The last block of an incarnation is a
//! *seal*: no records, and all before it is durable.
//!
//! # Writing
//!
//! [`Ledger::append`] copies a [`Batch`] into the block being filled; a batch is never split over two blocks.
//! One thread takes all that waits, writes it, syncs once, publishes the durable position and wakes those who
//! waited for these blocks (and the followers), nobody else. While commits are large, the next one waits a
//! little ([`Settings::gather`]) to carry more. When a block does not fit, it goes with a new header into a
//! spare file, which is synced, then renamed, then its folder synced, before anything in it is acknowledged.
//! A second thread, the keeper, prepares spares and writes the heartbeat.
//!
//! After a failed write or sync nobody knows what the file holds, so it is never written again: the same
//! blocks go into a new segment whose first sequence is the first that is not durable. Readers take a segment
//! only up to where the next one begins. If no new segment can be made, the entries stay in memory,
//! reservations are refused ([`Refused::Failed`]), and new files are tried at growing intervals up to 5 s.
//!
//! # Reading
//!
//! A [`Reader`] inside the process stops at the durable position and can wait for more. A [`LogReader`] needs
//! no lock and sees every whole block, so it may be one commit ahead of what is acknowledged. Both check
//! every checksum and cross segments and incarnations.
//!
//! # Recovery
//!
//! Opening reads all blocks since the newest usable checkpoint. Within an incarnation every segment must
//! reach the next one; every incarnation but the newest must end in its seal. In the newest, where no whole
//! block stands at the expected place, the rest of the file is searched for a whole block that says the
//! missing one had been durable. If there is one, the log is damaged and refused ([`OpenError::Damaged`],
//! with a mend). If there is none, a commit was interrupted: its remains are cut and reported ([`Torn`]). A
//! bad last commit that was in fact acknowledged cannot be told from a torn one, except after a clean end,
//! whose seal proves it.
//!
//! What the search left standing may be in the system's memory only (after a kill, or a sync that failed just
//! before), so the blocks nothing proves are written again and synced before anyone reads them. Then the
//! segment is sealed and shortened, and the new incarnation begins with a durable segment of its own. A crash
//! at any point of this leaves a log that opens.
//!
//! # Retention
//!
//! [`Ledger::remove_before`] removes whole segments, oldest first, each durably before the next; never the
//! newest, never what a start from the checkpoints kept would read. When, is the caller's policy: the least
//! of all [`Ledger::cursors`], no later.
#![forbid(unsafe_code)]

mod batch;
mod blocks;
mod catalogue;
mod checkpoint;
mod cursor;
mod durable;
mod error;
mod event;
mod format;
mod heartbeat;
mod keeper;
mod ledger;
mod log_reader;
mod opening;
mod position;
mod queue;
mod reader;
mod recovery;
mod room;
mod seek_since;
mod settings;
mod shared;
mod stepped;
pub mod storage;
mod walk;
mod writer;

pub use batch::{Appended, Batch, Oversize, Rejected, Reservation};
pub use checkpoint::Checkpoint;
pub use cursor::{Cursor, Save};
pub use durable::{Durable, NotDurable};
pub use error::{CheckpointError, CursorError, Damage, DamageKind, Fault, OpenError, ReadError, Refused};
pub use event::{Event, Health, Status};
pub use format::{Record, Records};
pub use heartbeat::Beat;
pub use ledger::{Ledger, Opened, Removal, Segment, Unwritten};
pub use log_reader::{LogReader, POLL, Tail};
pub use position::Position;
pub use reader::{More, Reader};
pub use recovery::{Ended, Previous, Torn};
pub use settings::{Durability, Observer, Settings, SettingsError};
pub use stepped::{Stepped, Stepper};
pub use walk::{BlockRef, ReadFrom};
