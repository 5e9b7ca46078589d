//! Events from a real ledger to real files and a real HTTP server.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly anywhere")]

mod file;
mod neighbours;
mod place;
mod server;
mod webhook;
