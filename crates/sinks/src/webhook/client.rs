//! One HTTP client for one server, over TCP or TLS.

use std::time::Duration;

use bytes::Bytes;
use config::Scheme;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;

use delivery::causes;

pub(crate) type Body = Full<Bytes>;

/// What of a response body is read at most.
const BODY_LIMIT: usize = 64 << 10;

/// How long an accepted request waits for the rest of its response, so that the connection can be used again.
const DRAIN: Duration = Duration::from_secs(1);

/// How long a connection is kept without use.
const IDLE: Duration = Duration::from_secs(60);

/// Whom a server's certificate must come from.
#[derive(Clone, Debug)]
pub(crate) enum Roots {
    /// Those that this machine trusts.
    System,
    /// This authority alone.
    #[cfg(test)]
    Only(rustls::pki_types::CertificateDer<'static>),
}

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
pub(crate) struct Client(Pool<HttpsConnector<HttpConnector>, Body>);

fn tls(roots: &Roots) -> Result<ClientConfig, String> {
    match roots {
        Roots::System => crate::tls::client(&[]),
        #[cfg(test)]
        Roots::Only(authority) => crate::tls::client(std::slice::from_ref(authority)),
    }
}

fn no_tls() -> Result<ClientConfig, String> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let builder = ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS: {error}"))?;
    Ok(builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth())
}

impl Client {
    pub(crate) fn new(scheme: Scheme, roots: &Roots, connections: usize) -> Result<Self, String> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(IDLE));
        let https = match scheme {
            Scheme::Https => HttpsConnectorBuilder::new()
                .with_tls_config(tls(roots)?)
                .https_only()
                .enable_http1()
                .wrap_connector(tcp),
            Scheme::Http => HttpsConnectorBuilder::new()
                .with_tls_config(no_tls()?)
                .https_or_http()
                .enable_http1()
                .wrap_connector(tcp),
        };
        let pool = Pool::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(connections)
            .build(https);
        Ok(Self(pool))
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
