//! The table of calls without a server: what the table makes of what passes, of flows that end and of user
//! agents that come back.
#![allow(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

mod any_script;
mod behind;
mod byes;
mod claims;
mod fake_node;
mod names;
mod refused;
mod rules;
mod talk;
