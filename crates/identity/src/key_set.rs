//! Keys of a login at a web address (JWKS, RFC 7517 §5). They are fetched at the start, at intervals, and
//! when a token names an unknown key. No handshake waits for a fetch, and good keys stay until good ones
//! replace them.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use config::{Host, Scheme, WebhookUrl};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Request, header};
use metrics::{Count, Metrics};
use sip_auth::TokenKeys;
use tls_settings::{
    http::{self, HttpClient, Reuse},
    trust::Roots,
};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use crate::Domains;

/// The longest answer, in bytes.
const LONGEST: usize = 64 << 10;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Least time between two fetches.
const PAUSE: Duration = Duration::from_secs(1);

/// After a fetch that failed, unless the next is due earlier.
const AGAIN: Duration = Duration::from_secs(15);

/// Where keys are fetched from.
#[derive(Debug)]
pub(crate) struct Remote {
    url: WebhookUrl,
    every: Duration,
    wanted: Notify,
}

impl Remote {
    pub(crate) fn new(url: WebhookUrl, every: Duration) -> Self {
        Self { url, every, wanted: Notify::new() }
    }

    /// A key is missing, or may have been taken back: they are fetched soon.
    pub(crate) fn want(&self) {
        self.wanted.notify_one();
    }
}

/// Why no keys could be had.
#[derive(Debug)]
pub struct FetchError(String);

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for FetchError {}

/// Fetches the keys at an address once.
///
/// # Errors
/// Nobody answers in 10 s, or what is answered holds no key.
pub async fn fetch_keys(url: &WebhookUrl) -> Result<TokenKeys, FetchError> {
    fetch(&client(url.scheme).await?, url).await
}

type Fetcher = HttpClient<Empty<Bytes>>;

/// Keys are fetched so rarely that no connection is kept.
const REUSE: Reuse = Reuse { connections: 0, idle: PATIENCE };

async fn client(scheme: Scheme) -> Result<Fetcher, FetchError> {
    let roots = match scheme {
        Scheme::Http => Roots::Nobody,
        Scheme::Https => Roots::System,
    };
    // What this machine trusts is read from its disk.
    let made = tokio::task::spawn_blocking(move || http::client(roots, REUSE)).await;
    made.map_err(|error| failed(&error))?.map_err(|error| failed(&error))
}

/// Redirects are not followed: who the keys come from stands in the configuration.
async fn fetch(client: &Fetcher, url: &WebhookUrl) -> Result<TokenKeys, FetchError> {
    let request = Request::get(url.to_string()).header(header::ACCEPT, "application/json");
    let request = request.body(Empty::new()).map_err(|error| failed(&error))?;
    let answered = async {
        let response = client.request(request).await.map_err(|error| failed(&error))?;
        let status = response.status();
        if !status.is_success() {
            return Err(FetchError(format!("the answer is {status}")));
        }
        let body = Limited::new(response.into_body(), LONGEST).collect().await;
        let body = body.map_err(|error| FetchError(format!("the answer is cut or too long: {error}")))?;
        TokenKeys::read_set(&body.to_bytes()).map_err(|error| failed(&error))
    };
    timeout(PATIENCE, answered).await.map_err(|_| FetchError("no answer in time".to_owned()))?
}

/// An error with what caused it.
fn failed(error: &dyn std::error::Error) -> FetchError {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    FetchError(text)
}

/// Keeps the keys of a domain fresh.
pub async fn keep_keys(domains: Arc<Domains>, metrics: Arc<Metrics>, domain: Host) {
    let Some(tokens) = domains.tokens(&domain) else { return };
    let Some(remote) = &tokens.remote else { return };
    let mut failing = false;
    loop {
        let fetched = match client(remote.url.scheme).await {
            Ok(client) => fetch(&client, &remote.url).await,
            Err(error) => Err(error),
        };
        let next = match fetched {
            Ok(keys) => {
                metrics.add(Count::KeysFetched);
                if failing {
                    tracing::info!(%domain, url = %remote.url, "the token keys can be fetched again");
                }
                failing = false;
                tokens.replace_keys(keys);
                remote.every
            }
            Err(error) => {
                metrics.add(Count::KeysFailed);
                if !failing {
                    tracing::warn!(%domain, url = %remote.url, %error, "the token keys cannot be fetched; the known keys stay in use");
                }
                failing = true;
                remote.every.min(AGAIN)
            }
        };
        sleep(PAUSE).await;
        tokio::select! {
            () = sleep(next.saturating_sub(PAUSE)) => {}
            () = remote.wanted.notified() => {}
        }
    }
}
