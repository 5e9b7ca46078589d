//! `/api/snapshot`: what is open as of one event. With the stream behind that event a reader has everything,
//! once.

use std::{borrow::Cow, io, iter::once, sync::Arc};

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
};
use edge::LedgerSnapshot;
use futures_util::stream;
use lifecycle::{Event, EventId, FlowOpened, Node, OpenCall, event_time};
use serde_json::json;

use super::{Admin, answer::Failure};

/// Bytes that are written at once.
const AT_ONCE: usize = 64 * 1024;

/// Flows as `flow.opened` told of them, bindings, who is online, and calls, as of the event under `at`.
///
/// Made from a copy of the ledger's books, which is let go as it is sent: some hundred bytes for each flow
/// and each binding.
pub(super) async fn take(State(admin): State<Arc<Admin>>) -> Result<Response, Failure> {
    let busy = |error: &str| Failure::new(StatusCode::SERVICE_UNAVAILABLE, error);
    let permit = Arc::clone(&admin.snapshots)
        .try_acquire_owned()
        .map_err(|_| busy("other snapshots are being taken; try again in a moment"))?;
    let standing = admin.server.standing().await;
    let standing =
        standing.ok_or_else(|| busy("the ledger's books cannot be had now; try again in a moment"))?;
    let parts = parts(standing, admin.server.node().clone());
    let body = stream::unfold((parts, permit), async |(mut parts, permit)| {
        let mut text = Vec::new();
        while text.len() < AT_ONCE
            && let Some(part) = parts.next()
        {
            text.extend_from_slice(&part);
        }
        (!text.is_empty()).then(|| (io::Result::Ok(Bytes::from(text)), (parts, permit)))
    });
    Ok(([(CONTENT_TYPE, "application/json")], Body::from_stream(body)).into_response())
}

/// The whole text, in small parts.
fn parts(standing: LedgerSnapshot, node: Node) -> Box<dyn Iterator<Item = Vec<u8>> + Send> {
    let at = EventId { incarnation: standing.at.incarnation, sequence: standing.at.seq };
    let head = format!("{{\"at\":{},\"flows\":[", json!(node.event(at)));
    let open = standing.unfinished.into_open();
    let flows = open.flows.into_iter().enumerate().map(|(number, (flow, left))| {
        let (opened_at, facts) = (left.opened_at, left.facts());
        let opened = Event::FlowOpened(FlowOpened { flow: &flow, opened_at, facts: Cow::Borrowed(&facts) });
        separated(number, opened.to_json())
    });
    let bindings = open.bindings.enumerate().map(|(number, (flow, left))| {
        let mut binding = json!({ "aor": left.aor, "contact": left.contact });
        if let Some(flow) = flow {
            binding["flow"] = json!(flow);
        }
        separated(number, binding.to_string().into_bytes())
    });
    let online = open.users.into_users().into_iter();
    let online = online.filter_map(|(aor, user)| Some((aor, event_time(user.online_at?), user.bindings)));
    // Without a binding: until the hold-off is over.
    let users = online.enumerate().map(|(number, (aor, online_at, bindings))| {
        let user = json!({ "aor": aor, "online_at": online_at, "bindings": bindings });
        separated(number, user.to_string().into_bytes())
    });
    let calls = open.calls.into_open().into_iter().enumerate().map(|(number, (call, left))| {
        let OpenCall { call_id, started_at, answered_at, caller, callee } = left;
        let mut told = json!({
            "call": call, "call_id": call_id, "started_at": event_time(started_at), "caller": caller, "callee": callee,
        });
        if let Some(at) = answered_at {
            told["answered_at"] = json!(event_time(at));
        }
        separated(number, told.to_string().into_bytes())
    });
    let named = |name: &str| once(format!("],\"{name}\":[").into_bytes());
    Box::new(
        once(head.into_bytes())
            .chain(flows)
            .chain(named("bindings"))
            .chain(bindings)
            .chain(named("users"))
            .chain(users)
            .chain(named("calls"))
            .chain(calls)
            .chain(once(b"]}\n".to_vec())),
    )
}

fn separated(number: usize, json: Vec<u8>) -> Vec<u8> {
    if number == 0 { json } else { [b",\n", &*json].concat() }
}
