//! HTTP/1.1 clients, over TCP or TLS.

use std::{sync::Arc, time::Duration};

use hyper::body::Body;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};

use crate::{
    certificate::CertificateError,
    trust::{self, Roots},
};

/// An HTTP client that keeps connections to be used again.
pub type HttpClient<B> = Client<HttpsConnector<HttpConnector>, B>;

/// Which connections are kept for the next request.
#[derive(Clone, Copy, Debug)]
pub struct Reuse {
    /// How many to each server; 0 keeps none.
    pub connections: usize,
    /// How long each is kept without use.
    pub idle: Duration,
}

/// A client that believes servers by these roots; with [`Roots::Nobody`] it speaks plain HTTP, and otherwise
/// HTTPS alone. It follows no redirection. It may read the system's certificates from disk.
///
/// # Errors
/// There is no root that can be used.
pub fn client<B>(roots: Roots, reuse: Reuse) -> Result<HttpClient<B>, CertificateError>
where
    B: Body + Send + 'static + Unpin,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let plain = matches!(roots, Roots::Nobody);
    let tls = Arc::unwrap_or_clone(trust::client(roots, None)?);
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(reuse.idle));
    let https = HttpsConnectorBuilder::new().with_tls_config(tls);
    let https = if plain { https.https_or_http() } else { https.https_only() };
    Ok(Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(reuse.idle)
        .pool_max_idle_per_host(reuse.connections)
        .build(https.enable_http1().wrap_connector(tcp)))
}
