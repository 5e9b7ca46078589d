//! The server: flows, proxy and ledger made one.
//!
//! [`Server::start`] binds every listener, opens the ledger, writes the closes that an earlier process owed, and starts
//! one thread per shard. A `shard` owns its flows and its transactions; what all shards share stands in
//! `shared`. Reading order for "what happens when a tab closes": `transport::flow` sees it, `flow` and `registry` write it,
//! `shard` fails what waited for it.
#![forbid(unsafe_code)]

mod accounts;
mod admission;
mod ask;
mod attempt;
mod audit;
mod breach;
mod calls;
mod certificate_remarks;
mod client_certificate;
mod dialling;
mod domains;
mod door;
mod draining;
mod flow;
mod flow_list;
mod handle;
mod inbox;
mod jwks;
mod ledger_config;
mod listeners;
mod passwords;
mod private;
mod registrations;
mod reload;
mod routing;
mod server;
mod shard;
mod shared;
mod start_error;
mod strangers;
mod upkeep;
mod user_database;
mod users_found;
mod view;

pub use audit::{AuditView, DifferenceView, NoAudit};
pub use certificate_remarks::{CertificateRemark, Severity, certificate_remarks};
pub use domains::UsersError;
pub use draining::{Doing, Progress, ShuttingDown};
pub use flow_list::{FlowQuery, Pinged, Remote};
pub use handle::{Answering, Handle};
pub use inbox::Closing;
pub use jwks::{FetchError, fetch_keys};
pub use listeners::Bound;
pub use reload::ReloadError;
pub use server::Server;
pub use shared::Pages;
pub use start_error::StartError;
pub use state::{LedgerSnapshot, Recovered, RecoveryError};
pub use upstream::{Health, UpstreamError, UpstreamView};
pub use user_database::DatabaseError;
pub use users_found::UsersFound;
pub use view::{BanView, BindingView, CallView, FlowView, HinderedView, RegisteredView};
