//! What a sink does next, whatever its destination: which events it hands over, when, what a failure means,
//! and where its cursor stands.
//!
//! [`SinkProgress`] decides; it has the time as an argument, and waits for nothing. A worker (`crates/sinks`)
//! does what it says, and the simulation drives it in virtual time. A cursor moves only after the destination
//! has acknowledged (DESIGN invariant 7).
#![forbid(unsafe_code)]

mod backoff;
mod dead_letters;
mod destination;
mod feed;
mod history;
mod outage;
mod progress;
mod rate;
mod status;
mod tail;

pub use dead_letters::DeadLetters;
pub use destination::{BatchLimit, Failure, FailureKind, Outgoing, causes};
pub use progress::{Moment, Pace, SinkProgress, Work};
pub use rate::Rate;
pub use status::{Blocked, Board, State, Status, Trouble};
pub use tail::{EVENT_BEGINS, LONGEST_LINE, end_line, mend_end, sync_folder};
