//! Calls: what becomes of the dialogs that INVITE makes (RFC 3261 §12), and of those whose flow ended.
//!
//! [`Calls`] is a table that a proxy tells what passes through it: [`Calls::forwarded`] for each request,
//! [`Calls::answered`] for each response that goes upstream, [`Calls::hop_gone`] and [`Calls::came_back`] for
//! flows. It is pure: bytes and the time come in, and what it wants done it asks of a [`CallWriter`] there
//! and then: write this record, send this BYE.
//!
//! Each call that was started is ended exactly once: the one place that ends a call uses up the room which
//! was reserved for the record of its end.
//!
//! While a user agent whose flow ended may still come back (the hold), its leg is [`RouteOutcome::Held`];
//! when it comes back the requests of the dialog go to its new flow, though their routes name the old one
//! ([`Calls::way`]).
#![forbid(unsafe_code)]

mod agent;
mod bye;
mod call;
mod call_writer;
mod calls;
mod flows;
mod in_dialog;
mod key;
mod pending_invites;
mod refused;
mod replaces;
mod route_outcome;
mod sdp;
mod state;

pub use agent::{Agent, Registered};
pub use call::{Call, End, Party, Side};
pub use call_writer::{CallWriter, Hop, Rooms};
pub use calls::{Calls, Farewell, Settings};
pub use flows::AffectedCalls;
pub use refused::{Refusal, Sent};
pub use replaces::Replaced;
pub use route_outcome::RouteOutcome;
