//! Connections over real loopback sockets, with an owner of paper: refusals, messages, endings, bounds.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bounds;
mod client;
mod endings;
mod handler;
mod limits;
mod lost_network;
mod messages;
mod namespace;
mod proxies;
mod refusals;
mod streams;
mod tls;
mod turns;
