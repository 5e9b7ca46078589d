//! SIP transactions: RFC 3261 §17 with RFC 6026 (Accepted) and RFC 4320 (non-INVITE answers), in virtual
//! time.
//!
//! [`Transactions`] is one table with one owner. It is told what came in and what goes out as small facts
//! ([`RequestKey`], [`ClientKey`], [`Status`]), answers with what to do, and keeps a copy of a message only
//! where the RFC may want it sent again. It does no I/O and reads no clock.
//!
//! The contract with its owner:
//! - the owner sends a message first, or right after it was accepted; the table asks only for repeats;
//! - after each input, and at [`Transactions::next_deadline`], it calls [`Transactions::poll`] until that
//!   gives `None`;
//! - every transaction ends in exactly one [`Event::ServerEnded`] or [`Event::ClientEnded`], which hands back
//!   the owner's data, unless the owner abandons it and gets the data there and then;
//! - an INVITE server transaction waits for the owner's final response and an INVITE client transaction in
//!   Proceeding for the peer's, however long: a proxy bounds both by its Timer C, then
//!   [`Transactions::cancel_sent`].
#![forbid(unsafe_code)]

mod client_side;
mod invite_client;
mod invite_server;
mod key;
mod machine;
mod non_invite_client;
mod non_invite_server;
mod pace;
mod server_index;
mod server_side;
mod slots;
mod status;
mod table;
mod timers;
mod wheel;

pub use client_side::{ClientId, ClientState, ResponseFor, StartRefused};
pub use invite_client::InviteClient;
pub use invite_server::InviteServer;
pub use key::{ClientKey, KeyMaker, LegacyFacts, MethodClass, RequestKey, ServerKey};
pub use machine::{ClientEnd, Refusal, ServerEnd};
pub use non_invite_client::NonInviteClient;
pub use non_invite_server::NonInviteServer;
pub use server_side::{Received, ServerId, ServerState};
pub use status::{Status, StatusClass};
pub use table::{Event, Settings, Transactions};
pub use timers::{Reliability, Timers, TryingReminder};
pub use wheel::TimerWheel;
