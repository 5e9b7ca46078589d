//! What can be asked and ordered over HTTP: one file for each resource.

mod answer;
mod audit;
mod development;
mod events;
mod flows;
mod health;
mod sinks;
mod snapshot;

use std::sync::Arc;

use ::sinks::Sinks;
use axum::{Router, routing::get};
use edge::Handle;

use tokio::sync::Semaphore;

use crate::softphone;

/// Readers of events at once. Each takes at most some 2 MiB (two blocks of the ledger), and only while it is behind.
const MOST_READERS: usize = 64;

/// Snapshots at once.
const MOST_SNAPSHOTS: usize = 2;

/// Whether the softphone page and what it asks for are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Development {
    /// The page at `/`, and `/api/dev`.
    Yes,
    /// Only what an operator needs.
    No,
}

/// What every answer is made from.
struct Admin {
    server: Handle,
    sinks: Arc<Sinks>,
    readers: Arc<Semaphore>,
    snapshots: Arc<Semaphore>,
}

/// Everything that is served over HTTP.
pub fn router(server: Handle, sinks: Arc<Sinks>, development: Development) -> Router {
    let routes = Router::new()
        .route("/api/flows/{flow}", get(flows::show).delete(flows::close))
        .route("/api/events", get(events::stream))
        .route("/api/sinks", get(sinks::list))
        .route("/api/snapshot", get(snapshot::take))
        .route("/api/audit", get(audit::last).post(audit::look))
        .route("/metrics", get(health::metrics))
        .route("/healthz", get(health::health));
    let routes = match development {
        Development::Yes => {
            let routes = routes.merge(softphone::routes()).route("/api/dev", get(development::addresses));
            routes.layer(axum::middleware::from_fn(development::only_by_address))
        }
        Development::No => routes,
    };
    let (readers, snapshots) =
        (Arc::new(Semaphore::new(MOST_READERS)), Arc::new(Semaphore::new(MOST_SNAPSHOTS)));
    routes.with_state(Arc::new(Admin { server, sinks, readers, snapshots }))
}
