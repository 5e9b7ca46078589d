//! `/rpc`: JSON-RPC 2.0 with method names that operators of other SIP servers have in their scripts.
//!
//! Each does what the resource does whose file is named beside it; the answers are those of the resource.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use edge::Handle;
use lifecycle::event_time;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{Admin, answer::Failure, flows};

/// Calls in one request.
const BATCH: usize = 100;

/// Bindings in one answer.
const BINDINGS: usize = 1000;

/// Errors of JSON-RPC itself; others bear the HTTP status that the resource would have answered.
const UNREADABLE: i64 = -32700;
const NO_CALL: i64 = -32600;
const NO_SUCH_METHOD: i64 = -32601;
const BAD_PARAMETERS: i64 = -32602;

/// Makes the list of procedures, each with its name in a call.
macro_rules! procedures {
    ($($variant:ident = $name:literal,)+) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        enum Procedure { $($variant,)+ }

        impl Procedure {
            /// Every one, by its name.
            const ALL: &[(&'static str, Self)] = &[$(($name, Self::$variant),)+];
        }
    };
}

procedures! {
    Uptime = "core.uptime",
    Version = "core.version",
    ListFlows = "ws.dump",
    CloseFlow = "ws.close",
    PingFlow = "ws.ping",
    RefuseNew = "ws.disable",
    ServeAgain = "ws.enable",
    ListBindings = "ul.dump",
    LookUp = "ul.lookup",
}

impl Procedure {
    fn named(name: &str) -> Result<Self, Refused> {
        let found = Self::ALL.iter().find(|(known, _)| *known == name);
        found.map(|(_, procedure)| *procedure).ok_or_else(|| {
            let known = Self::ALL.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
            Refused { code: NO_SUCH_METHOD, message: format!("there is no {name}; there are {known}") }
        })
    }
}

#[derive(Debug, Deserialize)]
struct Call {
    jsonrpc: String,
    method: String,
    #[serde(default)]
    params: Value,
    /// Without one, no answer is wanted.
    #[serde(default, deserialize_with = "given")]
    id: Option<Value>,
}

/// `null` is an id too.
fn given<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

struct Refused {
    code: i64,
    message: String,
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        let code = match failure.status {
            StatusCode::BAD_REQUEST => BAD_PARAMETERS,
            status => i64::from(status.as_u16()),
        };
        Self { code, message: failure.error }
    }
}

impl From<edge::ShuttingDown> for Refused {
    fn from(error: edge::ShuttingDown) -> Self {
        Failure::from(error).into()
    }
}

pub(super) async fn call(State(admin): State<Arc<Admin>>, body: Bytes) -> Response {
    let refuse =
        |code, message: String| Json(answer(&Value::Null, Err(Refused { code, message }))).into_response();
    match serde_json::from_slice(&body) {
        Err(error) => refuse(UNREADABLE, format!("this is no JSON: {error}")),
        Ok(Value::Array(calls)) if calls.is_empty() || calls.len() > BATCH => {
            refuse(NO_CALL, format!("give 1 to {BATCH} calls"))
        }
        Ok(Value::Array(calls)) => {
            let mut answers = Vec::new();
            for call in calls {
                answers.extend(one(&admin.server, call).await);
            }
            if answers.is_empty() {
                StatusCode::NO_CONTENT.into_response()
            } else {
                Json(answers).into_response()
            }
        }
        Ok(call) => match one(&admin.server, call).await {
            Some(answer) => Json(answer).into_response(),
            None => StatusCode::NO_CONTENT.into_response(),
        },
    }
}

async fn one(server: &Handle, call: Value) -> Option<Value> {
    let id = call.get("id").filter(|id| id.is_string() || id.is_number()).cloned().unwrap_or_default();
    let call = match serde_json::from_value::<Call>(call) {
        Ok(call) if call.jsonrpc == "2.0" => call,
        _ => {
            let message = "this is no call: it needs \"jsonrpc\": \"2.0\" and a \"method\"".to_owned();
            return Some(answer(&id, Err(Refused { code: NO_CALL, message })));
        }
    };
    let outcome = perform(server, &call.method, call.params).await;
    call.id.map(|id| answer(&id, outcome))
}

fn answer(id: &Value, outcome: Result<Value, Refused>) -> Value {
    match outcome {
        Ok(result) => json!({ "jsonrpc": "2.0", "result": result, "id": id }),
        Err(Refused { code, message }) => {
            json!({ "jsonrpc": "2.0", "error": { "code": code, "message": message }, "id": id })
        }
    }
}

async fn perform(server: &Handle, method: &str, params: Value) -> Result<Value, Refused> {
    match Procedure::named(method)? {
        Procedure::Uptime => Ok(json!({
            "up_since": event_time(server.started_at()),
            "uptime": server.uptime().as_secs(),
        })),
        Procedure::Version => Ok(json!(concat!("sipway ", env!("CARGO_PKG_VERSION")))),
        Procedure::ListFlows => {
            let filter = if params.is_object() { read(params)? } else { flows::Filter::default() };
            Ok(json!(flows::page(server, filter).await?))
        }
        Procedure::CloseFlow => {
            let (flow, reason) = flow_and(params, "reason")?;
            flows::close_one(server, &flow, reason.as_deref()).await?;
            Ok(json!("closing"))
        }
        Procedure::PingFlow => {
            let (flow, timeout) = flow_and(params, "timeout")?;
            Ok(json!(flows::ping_one(server, &flow, timeout.as_deref()).await?))
        }
        Procedure::RefuseNew => Ok(json!(server.refuse_new()?)),
        Procedure::ServeAgain => Ok(json!(server.serve_again()?)),
        Procedure::ListBindings => {
            let (bindings, left_off) = server.some_bindings(BINDINGS);
            Ok(json!({ "bindings": bindings, "left_off": left_off }))
        }
        Procedure::LookUp => {
            let aor = match &params {
                // Scripts name a table before the address.
                Value::Array(given) => given.last().and_then(Value::as_str),
                given => given["aor"].as_str(),
            };
            let Some(aor) = aor else {
                let message = "give an address-of-record: [\"alice@example.com\"] or {\"aor\": …}".to_owned();
                return Err(Refused { code: BAD_PARAMETERS, message });
            };
            let bindings = server.look_up(aor);
            if bindings.is_empty() {
                return Err(Refused { code: 404, message: format!("{aor} has no binding") });
            }
            Ok(json!({ "aor": aor, "bindings": bindings }))
        }
    }
}

fn read<T: DeserializeOwned>(params: Value) -> Result<T, Refused> {
    serde_json::from_value(params)
        .map_err(|error| Refused { code: BAD_PARAMETERS, message: format!("the parameters: {error}") })
}

/// A flow and one thing more: `[flow, more]`, or an object with `flow` and that name.
fn flow_and(params: Value, more: &str) -> Result<(String, Option<String>), Refused> {
    let (flow, more) = match &params {
        Value::Array(given) => (given.first(), given.get(1)),
        given => (given.get("flow"), given.get(more)),
    };
    let text = |value: &Value| value.as_str().map(str::to_owned);
    match flow.and_then(text) {
        Some(flow) => Ok((flow, more.and_then(text))),
        None => Err(Refused {
            code: BAD_PARAMETERS,
            message: "give a flow id: [\"edge1.3.f8192\"] or {\"flow\": …}".to_owned(),
        }),
    }
}
