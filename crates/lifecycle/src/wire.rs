//! What the ledger records of each event.

pub mod binding;
pub mod call;
pub mod user;
