//! One HTTP client for one server, over TCP or TLS.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{HeaderMap, Request, Response, StatusCode};
use tls_settings::{
    http::{self, HttpClient, Reuse},
    trust::Roots,
};

use delivery::causes;

pub(crate) type Body = Full<Bytes>;

/// What of a response body is read at most.
const BODY_LIMIT: usize = 64 << 10;

/// How long an accepted request waits for the rest of its response, so that the connection can be used again.
const DRAIN: Duration = Duration::from_secs(1);

/// How long a connection is kept without use.
const IDLE: Duration = Duration::from_secs(60);

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// The beginning of the body of an answer that is no acceptance.
    pub(crate) body: Vec<u8>,
}

/// How an attempt went.
#[derive(Debug)]
pub(crate) enum Exchange {
    /// There was an answer.
    Answered(Answer),
    /// The connection failed.
    Broken(String),
    /// The time was over.
    Late,
}

#[derive(Clone)]
pub(crate) struct Client(HttpClient<Body>);

impl Client {
    pub(crate) fn new(roots: Roots, connections: usize) -> Result<Self, String> {
        let made = http::client(roots, Reuse { connections, idle: IDLE });
        made.map(Self).map_err(|error| error.to_string())
    }

    /// Sends the request and waits for what comes back; redirects are not followed.
    pub(crate) async fn exchange(&self, request: Request<Body>, timeout: Duration) -> Exchange {
        let attempt = async {
            let response = self.0.request(request).await?;
            if response.status().is_success() {
                return Ok(Ok(response));
            }
            Ok(Err(read(response).await))
        };
        let answered: Result<Result<Response<Incoming>, Answer>, hyper_util::client::legacy::Error> =
            match tokio::time::timeout(timeout, attempt).await {
                Err(_) => return Exchange::Late,
                Ok(answered) => answered,
            };
        match answered {
            Err(error) => Exchange::Broken(causes(&error)),
            Ok(Err(answer)) => Exchange::Answered(answer),
            Ok(Ok(response)) => {
                let (status, headers) = (response.status(), response.headers().clone());
                // It is accepted whatever becomes of the rest.
                let _ = tokio::time::timeout(DRAIN, read(response)).await;
                Exchange::Answered(Answer { status, headers, body: Vec::new() })
            }
        }
    }
}

/// The answer with as much of its body as is worth reading.
async fn read(response: Response<Incoming>) -> Answer {
    let (parts, mut incoming) = response.into_parts();
    let mut body = Vec::new();
    while let Some(Ok(frame)) = incoming.frame().await {
        if let Some(data) = frame.data_ref() {
            body.extend_from_slice(&data[..data.len().min(BODY_LIMIT - body.len())]);
        }
        if body.len() >= BODY_LIMIT {
            break;
        }
    }
    Answer { status: parts.status, headers: parts.headers, body }
}
