//! Calls on paper: what the table makes of what passes, of flows that end and of user agents that come back.
#![allow(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

mod any_script;
mod behind;
mod byes;
mod claims;
mod names;
mod paper;
mod refused;
mod rules;
mod talk;
