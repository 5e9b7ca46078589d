//! What receives the server's webhook: checks signatures, and can be out of order for a while.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::serve::Listener;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use prove::{Feed, Findings, now_micros};
use serde_json::value::RawValue;
use sha2::Sha256;
use tokio::net::{TcpListener, TcpStream};

/// How far a request's time may be off, in seconds.
const CLOCKS_DIFFER: u64 = 300;

/// The largest request.
const LARGEST: usize = 16 << 20;

/// What the consumer does with requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConsumerBehaviour {
    /// Takes them.
    Takes,
    /// Answers 503.
    Refuses,
    /// Closes connections without a word.
    HangsUp,
}

impl ConsumerBehaviour {
    const ALL: [Self; 3] = [Self::Takes, Self::Refuses, Self::HangsUp];
}

/// The consumer; it serves as long as the runtime lives.
pub(super) struct Consumer {
    pub(super) address: SocketAddr,
    pub(super) feed: Feed,
    shared: Arc<Shared>,
}

struct Shared {
    key: [u8; 32],
    mood: Arc<AtomicU8>,
    feed: Feed,
    forged: Mutex<Findings>,
}

impl Consumer {
    pub(super) async fn start(key: [u8; 32]) -> std::io::Result<Self> {
        let socket = TcpListener::bind("127.0.0.1:0").await?;
        let address = socket.local_addr()?;
        let (feed, mood) = (Feed::default(), Arc::new(AtomicU8::new(0)));
        let shared = Shared { key, mood: Arc::clone(&mood), feed: feed.clone(), forged: Mutex::default() };
        let shared = Arc::new(shared);
        let router = axum::Router::new()
            .route("/events", post(take))
            .layer(DefaultBodyLimit::max(LARGEST))
            .with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(ConsumerListener { socket, mood }, router).await });
        Ok(Self { address, feed, shared })
    }

    pub(super) fn set(&self, mood: ConsumerBehaviour) {
        let number = ConsumerBehaviour::ALL.iter().position(|each| *each == mood).unwrap_or(0);
        self.shared.mood.store(number as u8, Ordering::Relaxed);
    }

    /// Requests that were not signed as they must be.
    pub(super) fn forged(&self) -> Findings {
        self.shared.forged.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn mood(number: &AtomicU8) -> ConsumerBehaviour {
    ConsumerBehaviour::ALL
        .get(usize::from(number.load(Ordering::Relaxed)))
        .copied()
        .unwrap_or(ConsumerBehaviour::Takes)
}

/// A listening socket that can close each connection at once.
struct ConsumerListener {
    socket: TcpListener,
    mood: Arc<AtomicU8>,
}

impl Listener for ConsumerListener {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            let accepted = Listener::accept(&mut self.socket).await;
            if mood(&self.mood) != ConsumerBehaviour::HangsUp {
                return accepted;
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

async fn take(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    // A connection from before may still be open when new ones are hung up on.
    if mood(&shared.mood) != ConsumerBehaviour::Takes {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    let read_at = now_micros();
    let events = signed(&shared.key, &headers, &body).and_then(|()| {
        serde_json::from_slice::<Vec<&RawValue>>(&body)
            .map_err(|error| format!("no batch of events: {error}"))
    });
    match events {
        Ok(events) => {
            // One event has no line break in it: the server writes JSON without any.
            let lines = events.iter().map(|event| event.get()).collect::<Vec<_>>().join("\n");
            shared.feed.lines(&lines, read_at);
            StatusCode::NO_CONTENT
        }
        Err(why) => {
            shared.forged.lock().unwrap_or_else(PoisonError::into_inner).add(|| why);
            StatusCode::BAD_REQUEST
        }
    }
}

/// Standard Webhooks: the signature over id, time and body.
fn signed(key: &[u8], headers: &HeaderMap, body: &[u8]) -> Result<(), String> {
    let header = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .ok_or_else(|| format!("a request without {name}"))
    };
    let (id, time) = (header("webhook-id")?, header("webhook-timestamp")?);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    if time.parse::<u64>().map_or(u64::MAX, |time| time.abs_diff(now)) > CLOCKS_DIFFER {
        return Err(format!("request {id} is of another time: {time}"));
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(key).map_err(|error| error.to_string())?;
    mac.update(format!("{id}.{time}.").as_bytes());
    mac.update(body);
    let signature = header("webhook-signature")?.strip_prefix("v1,").unwrap_or_default();
    let signature = STANDARD.decode(signature).unwrap_or_default();
    mac.verify_slice(&signature).map_err(|_| format!("request {id} is not signed with our secret"))
}
