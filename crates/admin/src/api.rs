//! What can be asked and ordered over HTTP.

use std::{convert::Infallible, net::IpAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Path, Request, State},
    http::{
        StatusCode,
        header::{CONTENT_TYPE, HOST},
    },
    middleware::Next,
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
    routing::get,
};
use edge::{Closing, Handle};
use futures_util::stream::{self, Stream};
use lifecycle::FlowId;
use serde_json::{Value, json};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use crate::{Live, LiveEvent, metrics, softphone};

/// Whether the softphone page and what it asks for are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Development {
    /// The page at `/`, and `/api/dev`.
    Yes,
    /// Only what an operator needs.
    No,
}

#[derive(Clone)]
struct Admin {
    server: Handle,
    live: Live,
}

/// Everything that is served over HTTP.
pub fn router(server: Handle, live: Live, development: Development) -> Router {
    let routes = Router::new()
        .route("/api/flows/{flow}", get(flow).delete(close))
        .route("/api/events", get(events))
        .route("/metrics", get(metrics_page))
        .route("/healthz", get(health));
    let routes = match development {
        Development::Yes => {
            let routes = routes.merge(softphone::routes()).route("/api/dev", get(dev));
            routes.layer(axum::middleware::from_fn(only_by_address))
        }
        Development::No => routes,
    };
    routes.with_state(Arc::new(Admin { server, live }))
}

/// Refuses requests that name a host by anything but an address or `localhost`: a page of a stranger whose name leads to
/// this machine (DNS rebinding) could otherwise read and close what is here.
async fn only_by_address(request: Request, next: Next) -> Response {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    if name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok() {
        return next.run(request).await;
    }
    (StatusCode::MISDIRECTED_REQUEST, "open this page by its address or as localhost\n").into_response()
}

/// How to reach this server, for the softphone page.
async fn dev(State(admin): State<Arc<Admin>>) -> Json<Value> {
    let mut facts = json!({ "domain": "localhost", "node": admin.server.node().as_str() });
    for bound in admin.server.listeners() {
        let transport = bound.transport.as_str();
        let address = match bound.transport {
            lifecycle::Transport::Ws | lifecycle::Transport::Wss => {
                format!("{transport}://{}/", bound.advertised())
            }
            _ => bound.advertised(),
        };
        facts[transport] = address.into();
    }
    Json(facts)
}

async fn flow(State(admin): State<Arc<Admin>>, Path(flow): Path<String>) -> Response {
    match own(&admin, &flow) {
        Ok(id) => match admin.server.look(id).await {
            Some(view) => Json(view).into_response(),
            None => no_such_flow(&flow),
        },
        Err(response) => *response,
    }
}

async fn close(State(admin): State<Arc<Admin>>, Path(flow): Path<String>) -> Response {
    match own(&admin, &flow) {
        Ok(id) => match admin.server.close(id, "closed by an operator").await {
            Closing::Begun => StatusCode::ACCEPTED.into_response(),
            Closing::NoSuchFlow => no_such_flow(&flow),
        },
        Err(response) => *response,
    }
}

fn own(admin: &Admin, flow: &str) -> Result<FlowId, Box<Response>> {
    match FlowId::parse(flow) {
        Ok((node, id)) if node == *admin.server.node() => Ok(id),
        Ok((node, _)) => {
            let error = format!("flow {flow} belongs to node {node}; this is {}", admin.server.node());
            Err(Box::new((StatusCode::NOT_FOUND, Json(json!({ "error": error }))).into_response()))
        }
        Err(error) => Err(Box::new(
            (StatusCode::BAD_REQUEST, Json(json!({ "error": error.to_string() }))).into_response(),
        )),
    }
}

fn no_such_flow(flow: &str) -> Response {
    let error =
        format!("there is no open flow {flow}; `sipway events --flow {flow}` tells what became of it");
    (StatusCode::NOT_FOUND, Json(json!({ "error": error }))).into_response()
}

/// Every event from now on, as server-sent events with a CloudEvent each.
async fn events(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    Sse::new(stream_of(admin.live.watch())).keep_alive(KeepAlive::new().interval(Duration::from_secs(15)))
}

fn stream_of(watch: Receiver<LiveEvent>) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(watch, async |mut watch| {
        let event = match watch.recv().await {
            Ok(live) => Event::default().data(&*live.json),
            Err(RecvError::Lagged(lost)) => Event::default().event("lost").data(lost.to_string()),
            Err(RecvError::Closed) => return None,
        };
        Some((Ok(event), watch))
    })
}

async fn metrics_page(State(admin): State<Arc<Admin>>) -> Response {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match metrics::page(&admin.server) {
        Ok(page) => ([(CONTENT_TYPE, OPEN_METRICS)], page).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Whether new connections can be taken.
async fn health(State(admin): State<Arc<Admin>>) -> Response {
    match admin.server.ledger().health() {
        ledger::Health::Good => "ok\n".into_response(),
        unwell => (StatusCode::SERVICE_UNAVAILABLE, format!("the ledger is {unwell:?}\n")).into_response(),
    }
}
