//! Who serves the pages.

use std::{io, net::SocketAddr, time::Duration};

use axum::{Router, serve::ListenerExt as _};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use transport::PlainHttp;

use crate::prefixed::Prefixed;

/// What was sent must be taken within so long.
const SILENCE: Duration = Duration::from_secs(60);

/// Serves on a listener of its own, for as long as the process lives.
///
/// # Errors
/// The listener failed.
pub async fn serve(listener: TcpListener, router: Router) -> io::Result<()> {
    axum::serve(listener.tap_io(|stream| give_up_on_silence(stream)), router).await
}

/// Whoever stops reading, an event stream above all, is given up by the kernel: places for readers are few.
fn give_up_on_silence(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_tcp_user_timeout(Some(SILENCE));
}

/// Serves one connection that was taken by a `ws` listener and asked for a page.
pub async fn serve_connection(
    head: Vec<u8>,
    stream: std::net::TcpStream,
    remote: SocketAddr,
    router: Router,
) {
    let Ok(stream) = TcpStream::from_std(stream) else { return };
    give_up_on_silence(&stream);
    let io = TokioIo::new(Prefixed::new(head, stream));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(io, TowerToHyperService::new(router))
        .await;
    if let Err(error) = served {
        tracing::debug!(%remote, %error, "HTTP");
    }
}

/// Takes a request apart so that another runtime can serve it.
///
/// # Errors
/// The socket cannot leave its runtime.
pub fn detach(request: PlainHttp) -> io::Result<(Vec<u8>, std::net::TcpStream, SocketAddr)> {
    Ok((request.head, request.stream.into_std()?, request.remote))
}
