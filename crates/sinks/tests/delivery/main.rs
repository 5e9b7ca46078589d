//! Events from a real ledger to real files and a real HTTP server.

mod file;
mod neighbours;
mod place;
mod server;
mod webhook;
