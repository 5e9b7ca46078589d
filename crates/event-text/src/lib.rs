//! Events in plain words, for people at a terminal.
//!
//! [`describe()`] gives one line for an event. [`why_closed`] and [`why_open`] give the sentence about a
//! connection. Nothing a peer wrote can steer the terminal.
#![forbid(unsafe_code)]

mod describe;
mod explain;

pub use describe::{counted, describe};
pub use explain::{ago, clock, why_closed, why_open};
