//! The four machines through the public table: each state and event against the RFC figures, every timer with
//! its default, bounds, and random runs.
#![allow(clippy::unwrap_used)]

mod driver;
mod invite_client;
mod invite_server;
mod non_invite_client;
mod non_invite_server;
mod random;
mod table;
