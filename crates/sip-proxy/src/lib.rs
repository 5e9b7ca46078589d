//! RFC 3261 §16: what becomes of a request and of its responses.
//!
//! A [`Proxy`] is one shard's transactions and what they belong to. It is pure: bytes and the time come in,
//! and everything it wants done it asks of an [`Environment`] there and then: send these bytes on that hop,
//! say where this request should go. So it can run in virtual time against a simulated network.
//!
//! The contract with its owner:
//! - [`Proxy::request`] and [`Proxy::response`] for each message that came, [`Proxy::connection_lost`] when a
//!   connection ended and [`Proxy::hop_gone`] when none can be had;
//! - after each of these, and at [`Proxy::next_deadline`], [`Proxy::expire`];
//! - a response whose branch another shard made (see [`shard_of`]) belongs to that shard's proxy.
#![forbid(unsafe_code)]

mod answer;
mod branch;
mod breadth;
mod cancel;
mod context;
mod environment;
mod failover;
mod forward;
mod icmp_quote;
mod no_response;
mod proxy;
mod reconnect;
mod redirect;
mod request;
mod response;
mod response_rank;
mod retained;
mod route;
mod unclaimed;

pub use answer::Answer;
pub use branch::{Branches, shard_of};
pub use context::PendingRegister;
pub use environment::{
    Alternative, Contacts, Decision, Environment, HeaderPolicy, HopGone, Hops, Notice, Observer,
    RouteResolution, Router, SAME_SERVER, Target,
};
#[doc(hidden)]
pub use forward::Splicer;
pub use icmp_quote::QuotedRequest;
pub use proxy::{Proxy, Settings};
pub use route::Dialog;
