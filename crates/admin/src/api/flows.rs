//! `/api/flows`: the open flows.

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use edge::{Closing, FlowQuery, FlowView, Handle, Pinged, Remote};
use lifecycle::FlowId;
use serde::{Deserialize, Serialize};

use super::{
    Admin,
    answer::{Asked, Failure},
};

/// Flows on a page if nothing is said, and at most.
const PAGE: (usize, usize) = (100, 1000);

/// How long a ping is waited for if nothing is said, and at most.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));

/// Which flows.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Filter {
    limit: Option<usize>,
    after: Option<String>,
    aor: Option<String>,
    remote: Option<String>,
    listener: Option<String>,
    user_agent: Option<String>,
}

/// Some flows, in the order of their ids within a shard.
#[derive(Debug, Serialize)]
pub(super) struct Page {
    flows: Vec<FlowView>,
    /// What to give as `after` for more, if there may be more.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// How to close.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CloseRequest {
    reason: Option<String>,
}

/// How to ping.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PingWish {
    timeout: Option<String>,
}

/// The result of a ping.
#[derive(Debug, Serialize)]
pub(super) struct Pong {
    flow: String,
    rtt_us: u64,
}

pub(super) async fn list(
    State(admin): State<Arc<Admin>>,
    Asked(filter): Asked<Filter>,
) -> Result<Json<Page>, Failure> {
    page(&admin.server, filter).await.map(Json)
}

pub(super) async fn show(
    State(admin): State<Arc<Admin>>,
    Path(flow): Path<String>,
) -> Result<Json<FlowView>, Failure> {
    let id = own(&admin.server, &flow)?;
    admin.server.look(id).await.map(Json).ok_or_else(|| no_such_flow(&flow))
}

pub(super) async fn close(
    State(admin): State<Arc<Admin>>,
    Path(flow): Path<String>,
    Asked(wish): Asked<CloseRequest>,
) -> Result<StatusCode, Failure> {
    close_one(&admin.server, &flow, wish.reason.as_deref()).await.map(|()| StatusCode::ACCEPTED)
}

pub(super) async fn ping(
    State(admin): State<Arc<Admin>>,
    Path(flow): Path<String>,
    Asked(wish): Asked<PingWish>,
) -> Result<Json<Pong>, Failure> {
    ping_one(&admin.server, &flow, wish.timeout.as_deref()).await.map(Json)
}

/// A page of the flows that fit.
pub(super) async fn page(server: &Handle, filter: Filter) -> Result<Page, Failure> {
    let bad = |error: String| Failure::new(StatusCode::BAD_REQUEST, error);
    let limit = filter.limit.unwrap_or(PAGE.0);
    if !(1..=PAGE.1).contains(&limit) {
        return Err(bad(format!("limit={limit}: give 1 to {}, and ask for more with `after`", PAGE.1)));
    }
    let remote = filter.remote.as_deref().map(|text| {
        let host = text.parse::<IpAddr>().map(Remote::Host);
        host.or_else(|_| text.parse().map(Remote::Socket))
            .map_err(|_| bad(format!("remote={text}: give an IP address, or one with a port")))
    });
    let query = FlowQuery {
        limit,
        after: filter.after.as_deref().map(|after| own(server, after)).transpose()?,
        aor: filter.aor,
        remote: remote.transpose()?,
        listener: filter.listener,
        user_agent: filter.user_agent,
    };
    let flows = server.flows(query).await;
    let next = flows.last().filter(|_| flows.len() == limit).map(|last| last.flow.clone());
    Ok(Page { flows, next })
}

/// Has a flow closed.
pub(super) async fn close_one(server: &Handle, flow: &str, reason: Option<&str>) -> Result<(), Failure> {
    let id = own(server, flow)?;
    match server.close(id, reason.unwrap_or("closed by an operator")).await {
        Closing::Begun => Ok(()),
        Closing::NoSuchFlow => Err(no_such_flow(flow)),
    }
}

/// Pings a flow's peer.
pub(super) async fn ping_one(server: &Handle, flow: &str, timeout: Option<&str>) -> Result<Pong, Failure> {
    let id = own(server, flow)?;
    let patience = match timeout {
        None => PATIENCE.0,
        Some(text) => config::duration(text).filter(|&time| time <= PATIENCE.1).ok_or_else(|| {
            let error = format!("timeout={text}: give a duration of 1ms to 60s, such as 500ms or 5s");
            Failure::new(StatusCode::BAD_REQUEST, error)
        })?,
    };
    match server.ping(id, patience).await {
        Pinged::Answered(time) => {
            let rtt_us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
            Ok(Pong { flow: flow.to_owned(), rtt_us })
        }
        Pinged::Late => {
            let error = format!(
                "flow {flow} did not answer within {patience:?}; it stays open until its own deadline"
            );
            Err(Failure::new(StatusCode::GATEWAY_TIMEOUT, error))
        }
        Pinged::UnderWay => {
            let error = format!("another ping of flow {flow} is on its way; try again in a moment");
            Err(Failure::new(StatusCode::CONFLICT, error))
        }
        Pinged::NoSuchFlow => Err(no_such_flow(flow)),
    }
}

fn own(server: &Handle, flow: &str) -> Result<FlowId, Failure> {
    match FlowId::parse(flow) {
        Ok((node, id)) if node == *server.node() => Ok(id),
        Ok((node, _)) => {
            let error = format!("flow {flow} belongs to node {node}; this is {}", server.node());
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
