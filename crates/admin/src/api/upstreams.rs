//! `/api/upstreams`: the servers behind this one, and whether they answer.

use std::sync::Arc;

use axum::{Json, extract::State};
use edge::UpstreamView;
use serde_json::{Value, json};

use super::Admin;

/// The servers of all upstreams, in the order of the configuration.
pub(super) async fn list(State(admin): State<Arc<Admin>>) -> Json<Vec<Value>> {
    let shown = |view: UpstreamView| {
        json!({
            "upstream": view.upstream,
            "target": view.target.to_string(),
            "transport": view.transport,
            "health": view.health.as_str(),
            "failures": view.failures,
            "unregisters_failed": view.unregisters_failed,
            "unregister_status": view.unregister_status,
        })
    };
    Json(admin.server.upstreams().into_iter().map(shown).collect())
}
