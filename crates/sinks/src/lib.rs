//! The ledger's events delivered to consumers: files, standard output, webhooks, streams of NATS and Redis.
//!
//! Each [`Sink`] works on a thread of its own, reads the ledger forward from its own cursor, and moves the
//! cursor only after the destination has acknowledged. So every event arrives at least once, in order, with
//! the same id every time; after a crash the events since the cursor was last saved are delivered again, and
//! what can read back what it holds (a file, PostgreSQL, NATS, Redis) has them once. A destination that is
//! down, slow or refusing costs disk, and shows in [`Status`]; it costs nobody else anything.
//!
//! One delivery is under way at a time per sink, unless the destination keeps the order of each flow by
//! itself (`webhook::lanes`).
//!
//! To add a kind of destination, implement `destination::Destination` and start it in `sink.rs`; order,
//! retries, cursors and status are [`SinkProgress`]'s, which the worker asks what to do.
#![forbid(unsafe_code)]

mod destination;
mod file;
mod nats;
mod postgres;
mod redis;
mod sink;
mod stdout;
mod webhook;
mod worker;

pub use delivery::{Blocked, State, Status, Trouble};
pub use postgres::postgres_schema;
pub use sink::{Finished, Rest, Settings, Sink, Sinks, StartError};
