//! `/api/drain`: emptying the node.

use std::{sync::Arc, time::Duration};

use axum::{Json, extract::State, http::StatusCode};
use edge::DrainProgress;
use serde::Deserialize;

use super::{
    Admin,
    answer::{Asked, Failure},
};

/// Over how long flows are closed if nothing is said.
const OVER: Duration = Duration::from_secs(60);

/// The longest drain.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// How to drain.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DrainRequest {
    /// Over how long, such as `5m`.
    over: Option<String>,
}

/// How far it is.
pub(super) async fn show(State(admin): State<Arc<Admin>>) -> Json<DrainProgress> {
    Json(admin.server.progress())
}

/// Begins, or goes on with another time.
pub(super) async fn begin(
    State(admin): State<Arc<Admin>>,
    Asked(wish): Asked<DrainRequest>,
) -> Result<(StatusCode, Json<DrainProgress>), Failure> {
    let over = match wish.over.as_deref() {
        None => OVER,
        Some(text) => config::duration(text).filter(|&over| over <= LONGEST).ok_or_else(|| {
            let error = format!("over={text}: give a duration of at most 24h, such as 90s, 5m or 0s");
            Failure::new(StatusCode::BAD_REQUEST, error)
        })?,
    };
    Ok((StatusCode::ACCEPTED, Json(admin.server.drain(over)?)))
}

/// Lets new flows in again.
pub(super) async fn cancel(State(admin): State<Arc<Admin>>) -> Result<Json<DrainProgress>, Failure> {
    Ok(Json(admin.server.serve_again()?))
}
