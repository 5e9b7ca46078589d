//! Answers that are no success: JSON with what is wrong and what to do.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;

/// What could not be done, for the one who asked.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) status: StatusCode,
    /// What is wrong, and what to do.
    pub(super) error: String,
}

impl Failure {
    pub(super) fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, error: error.into() }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.error }))).into_response()
    }
}
