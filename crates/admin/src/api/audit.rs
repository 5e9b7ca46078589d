//! `/api/audit`: whether the kernel's sockets, the flows and the ledger agree.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};

use super::{Admin, answer::Failure};

/// The result of the last look.
pub(super) async fn last(State(admin): State<Arc<Admin>>) -> Result<Response, Failure> {
    let error = "the running audit has not looked yet; POST /api/audit has it look now";
    let none = || Failure::new(StatusCode::NOT_FOUND, error);
    admin.server.last_audit().map(|view| Json(&*view).into_response()).ok_or_else(none)
}

/// A look taken now.
pub(super) async fn look(State(admin): State<Arc<Admin>>) -> Result<Response, Failure> {
    let failed = |error: edge::NoAudit| Failure::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string());
    admin.server.audit().await.map(|view| Json(&*view).into_response()).map_err(failed)
}
