//! `/api/flows`: the open flows.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use edge::{Closing, FlowView};
use lifecycle::FlowId;

use super::{Admin, answer::Failure};

/// What is known of one.
pub(super) async fn show(
    State(admin): State<Arc<Admin>>,
    Path(flow): Path<String>,
) -> Result<Json<FlowView>, Failure> {
    let id = own(&admin, &flow)?;
    admin.server.look(id).await.map(Json).ok_or_else(|| no_such_flow(&flow))
}

/// Has one closed.
pub(super) async fn close(
    State(admin): State<Arc<Admin>>,
    Path(flow): Path<String>,
) -> Result<StatusCode, Failure> {
    let id = own(&admin, &flow)?;
    match admin.server.close(id, "closed by an operator").await {
        Closing::Begun => Ok(StatusCode::ACCEPTED),
        Closing::NoSuchFlow => Err(no_such_flow(&flow)),
    }
}

fn own(admin: &Admin, flow: &str) -> Result<FlowId, Failure> {
    match FlowId::parse(flow) {
        Ok((node, id)) if node == *admin.server.node() => Ok(id),
        Ok((node, _)) => {
            let error = format!("flow {flow} belongs to node {node}; this is {}", admin.server.node());
            Err(Failure::new(StatusCode::NOT_FOUND, error))
        }
        Err(error) => Err(Failure::new(StatusCode::BAD_REQUEST, error.to_string())),
    }
}

fn no_such_flow(flow: &str) -> Failure {
    let error =
        format!("there is no open flow {flow}; `sipway events --flow {flow}` tells what became of it");
    Failure::new(StatusCode::NOT_FOUND, error)
}
