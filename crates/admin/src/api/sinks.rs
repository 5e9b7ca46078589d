//! `/api/sinks`: how far every sink has come, and what keeps it.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{Json, extract::State};
use serde_json::{Value, json};
use sinks::Status;

use super::Admin;

/// All sinks, in the order of the configuration.
pub(super) async fn list(State(admin): State<Arc<Admin>>) -> Json<Vec<Value>> {
    let now = SystemTime::now();
    Json(admin.sinks.status().iter().map(|status| shown(status, now)).collect())
}

fn shown(status: &Status, now: SystemTime) -> Value {
    json!({
        "name": status.name,
        "target": status.target,
        "state": status.state.as_str(),
        "cursor": status.cursor.to_string(),
        "lag_events": status.lag,
        "lag_seconds": status.delay(now).as_secs_f64(),
        "last_delivery": status.last_delivery.map(time),
        "last_error": status.last_error.as_ref().map(|error| json!({ "at": time(error.at), "error": error.text })),
        "blocked": status.blocked.as_ref().map(|blocked| {
            json!({ "event": blocked.event, "since": time(blocked.since), "error": blocked.error })
        }),
        "delivered": status.delivered,
        "deliveries": status.deliveries,
        "retries": status.retries,
        "dead_lettered": status.dead_lettered,
        "gaps": status.gaps,
    })
}

fn time(at: SystemTime) -> String {
    let micros = at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
    lifecycle::event_time(u64::try_from(micros).unwrap_or(u64::MAX))
}
