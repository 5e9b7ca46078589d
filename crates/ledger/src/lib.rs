//! A durable, gap-free, ordered log of opaque records.
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
