//! `/api/node`: what runs here.

use std::sync::Arc;

use ::metrics::Count;
use axum::{Json, extract::State};
use edge::Handle;
use lifecycle::event_time;
use serde_json::{Value, json};

use super::Admin;

pub(super) async fn show(State(admin): State<Arc<Admin>>) -> Json<Value> {
    Json(facts(&admin.server))
}

/// Name, age and numbers.
fn facts(server: &Handle) -> Value {
    let (bindings, users) = server.bindings();
    let listeners = server.listeners().iter().map(|bound| {
        json!({ "name": bound.name, "transport": bound.transport, "address": bound.local, "advertised": bound.advertised() })
    });
    json!({
        "node": server.node().as_str(),
        "incarnation": server.ledger().incarnation(),
        "version": env!("CARGO_PKG_VERSION"),
        "started_at": event_time(server.started_at()),
        "uptime_s": server.uptime().as_secs(),
        "state": server.progress().state,
        "ledger": server.ledger().health().as_str(),
        "flows": {
            "open": server.live(),
            "max": server.max_flows(),
            "opened": server.metrics().get(Count::FlowsOpened),
            "closed": server.metrics().get(Count::FlowsClosed),
            "refused": server.metrics().get(Count::FlowsRefused),
        },
        "bindings": bindings,
        "users": users,
        "listeners": listeners.collect::<Vec<_>>(),
    })
}
