//! The task that serves the pages.

use std::{io, time::Duration};

use axum::{Router, serve::ListenerExt as _};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use transport::DetachedHttp;

/// What was sent must be taken within so long.
const SILENCE: Duration = Duration::from_secs(60);

/// Serves on a listener of its own, for as long as the process lives.
///
/// # Errors
/// The listener failed.
pub async fn serve(listener: TcpListener, router: Router) -> io::Result<()> {
    axum::serve(listener.tap_io(|stream| give_up_on_silence(stream)), router).await
}

/// A client that stops reading, above all of an event stream, loses its connection: places for readers are
/// few.
fn give_up_on_silence(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_tcp_user_timeout(Some(SILENCE));
}

/// Serves one connection that was taken by a `ws` or `wss` listener and asked for a page.
pub async fn serve_connection(connection: DetachedHttp, router: Router) {
    let remote = connection.remote();
    let Ok(stream) = connection.attach() else { return };
    give_up_on_silence(stream.socket());
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .await;
    if let Err(error) = served {
        tracing::debug!(%remote, %error, "HTTP");
    }
}
