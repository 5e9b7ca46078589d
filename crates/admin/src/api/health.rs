//! `/healthz` and `/metrics`: for load balancers and for those who watch.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use edge::NodeActivity;
use ledger::Health;

use super::Admin;
use crate::metrics;

/// The metrics page.
pub(super) async fn metrics(State(admin): State<Arc<Admin>>) -> Response {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let readers = super::MOST_READERS - admin.readers.available_permits();
    match metrics::page(&admin.server, &admin.sinks, readers) {
        Ok(page) => ([(CONTENT_TYPE, OPEN_METRICS)], page).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Whether new connections are taken: a load balancer sends them elsewhere if not.
pub(super) async fn health(State(admin): State<Arc<Admin>>) -> Response {
    let unwilling = match admin.server.progress().state {
        NodeActivity::Serving => None,
        NodeActivity::Disabled => Some("disabled\n"),
        NodeActivity::Draining => Some("draining\n"),
        NodeActivity::Drained => Some("drained\n"),
        NodeActivity::ShuttingDown => Some("shutting down\n"),
    };
    if let Some(unwilling) = unwilling {
        return (StatusCode::SERVICE_UNAVAILABLE, unwilling).into_response();
    }
    match admin.server.ledger().health() {
        Health::Good => match admin.server.has_room() {
            Ok(()) => "ok\n".into_response(),
            Err(full) => (StatusCode::SERVICE_UNAVAILABLE, format!("{full}\n")).into_response(),
        },
        unwell => (StatusCode::SERVICE_UNAVAILABLE, format!("the ledger is {unwell}\n")).into_response(),
    }
}
