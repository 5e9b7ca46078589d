//! A consumer of webhooks that checks each signature (Standard Webhooks) and keeps what it was sent.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::Sha256;
use tokio::net::TcpListener;

/// One request that came.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) content_type: String,
    pub(crate) events: Vec<Value>,
}

#[derive(Debug)]
struct Shared {
    key: Vec<u8>,
    deliveries: Mutex<Vec<Delivery>>,
    refused: Mutex<Vec<String>>,
}

/// The consumer; it serves as long as the test's runtime lives.
pub(crate) struct Consumer {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

impl Consumer {
    /// `secret` as it stands in the server's configuration: `whsec_` and base64.
    pub(crate) async fn start(secret: &str) -> Self {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let shared = Arc::new(Shared { key, deliveries: Mutex::default(), refused: Mutex::default() });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = axum::Router::new().route("/events", post(take)).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, shared }
    }

    pub(crate) fn deliveries(&self) -> Vec<Delivery> {
        assert_eq!(*self.shared.refused.lock().unwrap(), Vec::<String>::new(), "every request is signed");
        self.shared.deliveries.lock().unwrap().clone()
    }
}

async fn take(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    match read(&shared.key, &headers, &body) {
        Ok(delivery) => {
            shared.deliveries.lock().unwrap().push(delivery);
            StatusCode::NO_CONTENT
        }
        Err(why) => {
            shared.refused.lock().unwrap().push(why);
            StatusCode::BAD_REQUEST
        }
    }
}

fn read(key: &[u8], headers: &HeaderMap, body: &[u8]) -> Result<Delivery, String> {
    let header =
        |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).ok_or(format!("no {name}"));
    let (id, time) = (header("webhook-id")?, header("webhook-timestamp")?);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    if time.parse::<u64>().map_err(|error| error.to_string())?.abs_diff(now) > 300 {
        return Err(format!("the time {time} is not near"));
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(format!("{id}.{time}.").as_bytes());
    mac.update(body);
    let signature = header("webhook-signature")?
        .split(' ')
        .next()
        .and_then(|one| one.strip_prefix("v1,"))
        .ok_or("no v1 signature")?;
    let signature = STANDARD.decode(signature).map_err(|error| error.to_string())?;
    mac.verify_slice(&signature).map_err(|error| error.to_string())?;
    let content: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let events = match content {
        Value::Array(events) => events,
        event => {
            if event["id"] != id {
                return Err(format!("webhook-id {id} is not that of the event"));
            }
            vec![event]
        }
    };
    Ok(Delivery { content_type: header("content-type")?.to_owned(), events })
}
