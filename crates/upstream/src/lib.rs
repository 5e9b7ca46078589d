//! The SIP servers behind this one: where they are, by which [`Hop`] they are reached, and whether they
//! answer.
//!
//! [`Upstreams`] is made from the configuration. [`look_up`] keeps the addresses of named servers up to date
//! by DNS (RFC 3263), and [`probe`] asks each server whether it is there. What requests meet is told by
//! [`Upstreams::mark_failed`], [`Upstreams::mark_unreachable`], [`Upstreams::mark_unavailable`] and
//! [`Upstreams::mark_answering`]; [`Upstream::ways`] gives the hops for the next request, servers that answer
//! first. Connections that servers open by themselves are known by their address ([`Upstreams::connected`]).
//!
//! Who may be sent there is not decided here.
#![forbid(unsafe_code)]

mod asking;
mod connections;
mod error;
mod hop;
mod request;
mod resolve;
mod unregisters;
mod upstream;
mod watch;

pub use asking::{Unserved, whole_seconds};
pub use connections::Remembered;
pub use error::UpstreamError;
pub use hop::{ExpectedPeer, FlowNumber, Hop, PeerKind, same_peer};
pub use request::{Ask, ServerPlace, ask_whether_there, find_servers};
pub use resolve::{Unresolved, resolver};
pub use targets::Health;
pub use unregisters::Unregisters;
pub use upstream::{Number, Upstream, UpstreamView, Upstreams, same_family};
pub use watch::{LookedUp, LookingUp, look_up, probe};
