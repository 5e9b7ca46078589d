//! What only `sipway dev` serves, and to whom.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    http::StatusCode,
    middleware::Next,
    response::{IntoResponse, Response},
};
use lifecycle::Transport;
use serde_json::{Value, json};

use super::{Admin, access::is_by_address};

/// Refuses requests that name a host by anything but an address or `localhost`: a page of another site whose
/// name leads to this machine (DNS rebinding) could otherwise read and close what is here.
pub(super) async fn only_by_address(request: Request, next: Next) -> Response {
    if is_by_address(&request) {
        return next.run(request).await;
    }
    (StatusCode::MISDIRECTED_REQUEST, "open this page by its address or as localhost\n").into_response()
}

/// How to reach this server, for the softphone page.
pub(super) async fn addresses(State(admin): State<Arc<Admin>>) -> Json<Value> {
    let hold = u64::try_from(admin.server.call_hold().as_millis()).unwrap_or(u64::MAX);
    let node = admin.server.node().as_str();
    let mut facts = json!({ "domain": "localhost", "node": node, "call_hold_ms": hold });
    for bound in admin.server.listeners() {
        let transport = bound.transport.as_str();
        let address = match bound.transport {
            Transport::Ws | Transport::Wss => format!("{transport}://{}/", bound.advertised()),
            _ => bound.advertised(),
        };
        facts[transport] = address.into();
    }
    Json(facts)
}
