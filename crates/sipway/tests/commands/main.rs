//! The `sipway` binary as its users meet it: exit codes, what it says when something is wrong, signals, and a server that
//! runs as the annotated configuration says.
#![allow(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

mod descriptors;
mod directory;
mod event_source;
mod events;
mod example;
mod full_disk;
mod held;
mod http;
mod mistakes;
mod namespace;
mod process;
mod prove;
mod reading;
mod signals;
mod sinks;
mod taken;
mod unread;
mod webhook;
mod why;
