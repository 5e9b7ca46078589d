//! What is asked for in a URL, and answers that are no success: JSON with what is wrong and what to do.

use axum::{
    Json,
    extract::{FromRequestParts, Query},
    http::{StatusCode, request::Parts},
    response::{IntoResponse, Response},
};
use edge::ShuttingDown;
use serde::de::DeserializeOwned;
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

impl From<ShuttingDown> for Failure {
    fn from(error: ShuttingDown) -> Self {
        Self::new(StatusCode::CONFLICT, format!("{error}: it is too late for that"))
    }
}

/// The parameters behind the `?` of a URL. One that is not known is refused, not passed over.
pub(super) struct Asked<T>(pub(super) T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(asked)) => Ok(Self(asked)),
            Err(error) => Err(Failure::new(StatusCode::BAD_REQUEST, error.body_text())),
        }
    }
}
