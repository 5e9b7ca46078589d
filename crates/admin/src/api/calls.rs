//! `/api/calls`: the calls under way.

use std::sync::Arc;

use axum::{Json, extract::State};
use edge::CallView;

use super::Admin;

/// Calls in one answer.
const MOST: usize = 1000;

/// The calls, the oldest first; the oldest thousand.
pub(super) async fn list(State(admin): State<Arc<Admin>>) -> Json<Vec<CallView>> {
    Json(admin.server.calls(MOST))
}
