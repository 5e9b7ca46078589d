//! Events from a real ledger to real files, a real HTTP server, a real database and real brokers.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly anywhere")]

mod broker;
mod file;
mod lanes;
mod nats;
mod neighbours;
mod place;
mod postgres;
mod redis;
mod server;
mod webhook;
