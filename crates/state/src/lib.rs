//! What is open on a node, and what its ledger says of it.
//!
//! [`Registry`] holds flows, bindings and users, and writes a record for each change before anybody is told
//! of it. A record that closes something is paid for when that thing opens: a reservation is kept with it, so
//! a full disk loses no close. [`recover`] folds the ledger of an earlier run, and writes the closes that it
//! owed. The [`BookkeeperThread`] follows the ledger, writes checkpoints, and drops segments that retention
//! gives up. [`ManualNode`] drives the same code by hand, for the simulation.
#![forbid(unsafe_code)]

mod binding_store;
mod bookkeeper;
pub mod clock;
mod error;
mod manual_node;
mod presence;
mod recovery;
mod registry;
mod retention;

pub use binding_store::{RestoredBinding, StoredBindings, TooMuch, open as open_kept};
pub use bookkeeper::{BookkeeperThread, LedgerSnapshot, Orders, Step};
pub use error::RecoveryError;
pub use manual_node::ManualNode;
pub use recovery::{LedgerFold, Recovered, recover};
pub use registry::{Changed, Registry};
pub use retention::Retention;
