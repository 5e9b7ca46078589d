//! An HTTP server that answers as it is told and remembers what it got.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// One request as it came.
#[derive(Clone)]
pub(crate) struct Received {
    pub(crate) headers: HeaderMap,
    pub(crate) target: String,
    pub(crate) body: Bytes,
    pub(crate) at: Instant,
    pub(crate) status: u16,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        let json: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        let id = |event: &serde_json::Value| event["id"].as_str().unwrap().to_owned();
        json.as_array().map_or_else(|| vec![id(&json)], |events| events.iter().map(id).collect())
    }
}

pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, &'static str)>,
    pub(crate) after: Duration,
    pub(crate) body: Bytes,
}

pub(crate) fn reply(status: u16) -> Reply {
    Reply { status, headers: Vec::new(), after: Duration::ZERO, body: Bytes::new() }
}

pub(crate) struct Server {
    pub(crate) port: u16,
    received: Arc<Mutex<Vec<Received>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    /// Port 0 takes any. `answer` gets the number of the request, from 0, and the ids in it.
    pub(crate) fn start(
        port: u16,
        answer: impl Fn(usize, &[String]) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port)))).unwrap();
        let port = listener.local_addr().unwrap().port();
        let received = Arc::new(Mutex::new(Vec::new()));
        let (stop, stopped) = oneshot::channel();
        let (seen, answer) = (Arc::clone(&received), Arc::new(answer));
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    () = accept(listener, seen, answer) => {}
                }
            });
        });
        Self { port, received, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// The ids of the events it took, in order.
    pub(crate) fn taken(&self) -> Vec<String> {
        let taken = self.received().into_iter().filter(|request| request.status < 300);
        taken.flat_map(|request| request.ids()).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
        self.thread.take().unwrap().join().unwrap();
    }
}

async fn accept(
    listener: TcpListener,
    seen: Arc<Mutex<Vec<Received>>>,
    answer: Arc<impl Fn(usize, &[String]) -> Reply + Send + Sync + 'static>,
) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                async move {
                    let (parts, body) = request.into_parts();
                    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                    let mut received = Received {
                        headers: parts.headers,
                        target: parts.uri.to_string(),
                        body,
                        at: Instant::now(),
                        status: 0,
                    };
                    let reply = {
                        let mut seen = seen.lock().unwrap();
                        let reply = answer(seen.len(), &received.ids());
                        // An answer that comes too late is none.
                        received.status = if reply.after.is_zero() { reply.status } else { 599 };
                        seen.push(received);
                        reply
                    };
                    tokio::time::sleep(reply.after).await;
                    let mut response = Response::builder().status(reply.status);
                    for (name, value) in reply.headers {
                        response = response.header(name, value);
                    }
                    Ok::<_, Infallible>(response.body(Full::new(reply.body)).unwrap())
                }
            });
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}
