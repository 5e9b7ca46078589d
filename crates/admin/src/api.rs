//! What can be asked and ordered over HTTP: one file for each resource.

mod answer;
mod development;
mod events;
mod flows;
mod health;
mod sinks;

use std::sync::Arc;

use ::sinks::Sinks;
use axum::{Router, routing::get};
use edge::Handle;

use crate::{Live, softphone};

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
    live: Live,
    sinks: Arc<Sinks>,
}

/// Everything that is served over HTTP.
pub fn router(server: Handle, live: Live, sinks: Arc<Sinks>, development: Development) -> Router {
    let routes = Router::new()
        .route("/api/flows/{flow}", get(flows::show).delete(flows::close))
        .route("/api/events", get(events::stream))
        .route("/api/sinks", get(sinks::list))
        .route("/metrics", get(health::metrics))
        .route("/healthz", get(health::health));
    let routes = match development {
        Development::Yes => {
            let routes = routes.merge(softphone::routes()).route("/api/dev", get(development::addresses));
            routes.layer(axum::middleware::from_fn(development::only_by_address))
        }
        Development::No => routes,
    };
    routes.with_state(Arc::new(Admin { server, live, sinks }))
}
