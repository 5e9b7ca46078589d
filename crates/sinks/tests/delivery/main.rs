//! Events from a real ledger to real files, a real HTTP server and a real database.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly anywhere")]

mod file;
mod lanes;
mod neighbours;
mod place;
mod postgres;
mod server;
mod webhook;
