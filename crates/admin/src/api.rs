//! What can be asked and ordered over HTTP: one file for each resource.

mod access;
mod answer;
mod audit;
mod bans;
mod calls;
mod development;
mod drain;
mod events;
mod flows;
mod health;
mod node;
mod rpc;
mod sinks;
mod snapshot;
mod upstreams;

use std::sync::Arc;

use ::sinks::Sinks;
use axum::{
    Router,
    http::{Method, StatusCode, Uri},
    middleware::{from_fn, from_fn_with_state},
    routing::{delete, get, post},
};
use edge::Handle;

use tokio::sync::Semaphore;

use crate::softphone;
use answer::Failure;

pub use access::Access;

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

/// Everything that is served over HTTP, to whom `access` lets in.
pub fn router(server: Handle, sinks: Arc<Sinks>, development: Development, access: Access) -> Router {
    let routes = Router::new()
        .route("/api/node", get(node::show))
        .route("/api/flows", get(flows::list))
        .route("/api/flows/{flow}", get(flows::show).delete(flows::close))
        .route("/api/flows/{flow}/ping", post(flows::ping))
        .route("/api/drain", get(drain::show).post(drain::begin).delete(drain::cancel))
        .route("/api/calls", get(calls::list))
        .route("/api/bans", get(bans::list))
        .route("/api/bans/{address}", delete(bans::lift))
        .route("/api/hindered", get(bans::hindered))
        .route("/api/events", get(events::stream))
        .route("/api/sinks", get(sinks::list))
        .route("/api/upstreams", get(upstreams::list))
        .route("/api/snapshot", get(snapshot::take))
        .route("/api/audit", get(audit::last).post(audit::look))
        .route("/rpc", post(rpc::call))
        .route("/metrics", get(health::metrics));
    let routes = match development {
        Development::Yes => {
            let routes = routes.merge(softphone::routes()).route("/api/dev", get(development::addresses));
            routes.layer(from_fn(development::only_by_address))
        }
        Development::No => routes,
    };
    let (readers, snapshots) =
        (Arc::new(Semaphore::new(MOST_READERS)), Arc::new(Semaphore::new(MOST_SNAPSHOTS)));
    routes
        .fallback(nothing_there)
        .method_not_allowed_fallback(not_that_way)
        .layer(from_fn_with_state(Arc::new(access), access::check))
        // Load balancers have no token, and learn nothing else.
        .route("/healthz", get(health::health))
        .layer(from_fn(access::no_strange_pages))
        .with_state(Arc::new(Admin { server, sinks, readers, snapshots }))
}

async fn nothing_there(uri: Uri) -> Failure {
    let path = uri.path();
    let error = format!(
        "there is nothing at {path}; there are /api/node, /api/flows, /api/drain, /api/events, /api/snapshot, /api/audit, /api/sinks, /api/upstreams, /api/bans, /api/hindered, /rpc, /metrics and /healthz"
    );
    Failure::new(StatusCode::NOT_FOUND, error)
}

async fn not_that_way(method: Method, uri: Uri) -> Failure {
    let error = format!("{} does not know {method}; the header Allow says what it knows", uri.path());
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, error)
}
