//! Events in plain words.
//!
//! [`describe()`] gives one line for an event. [`why_closed`] and [`why_open`] give the sentence about a
//! connection. Nothing a peer wrote can steer the terminal. The words for causes stand in one table,
//! [`causes`], which pages get as a JavaScript module from [`causes::javascript`].
#![forbid(unsafe_code)]

pub mod causes;
mod describe;
mod explain;
mod numbers;

pub use describe::describe;
pub use explain::{why_closed, why_open};
pub use numbers::{ago, clock, counted};
