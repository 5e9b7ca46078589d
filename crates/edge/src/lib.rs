//! The server: flows, proxy and ledger made one.
//!
//! [`Server::start`] binds every listener, opens the ledger, writes the closes that an earlier process owed,
//! and starts one thread per shard. A `shard` owns its flows and its transactions; what all shards share
//! stands in `shared`. Reading order for "what happens when a tab closes": `transport::flow` sees it, `flow`
//! and `registry` write it, `shard` fails what waited for it.
#![forbid(unsafe_code)]

mod admission_control;
mod ask;
mod audit;
mod breach;
mod call_table;
mod calls;
mod certificate_remarks;
mod dialling;
mod drain_plan;
mod draining;
mod flow;
mod flow_list;
mod flow_query;
mod handle;
mod inbox;
mod ledger_config;
mod listeners;
mod private;
mod rate_limits;
mod registrations;
mod reload;
mod routing;
mod server;
mod shard;
mod shared;
mod start_error;
mod unregister;
mod upkeep;
mod user_quotas;
mod view;

pub use audit::{AuditView, DifferenceView, NoAudit};
pub use certificate_remarks::{CertificateRemark, Severity, certificate_remarks};
pub use draining::{DrainProgress, NodeActivity, ShuttingDown};
pub use flow_query::{FlowQuery, Pinged, Remote};
pub use handle::{Answering, Handle};
pub use identity::UsersError;
pub use inbox::Closing;
pub use listeners::BoundListener;
pub use reload::ReloadError;
pub use server::Server;
pub use shared::Pages;
pub use start_error::StartError;
pub use state::{LedgerSnapshot, Recovered, RecoveryError};
pub use upstream::{Health, UpstreamError, UpstreamView};
pub use view::{BanView, BindingView, CallView, FlowView, HinderedView, RegisteredView};
