//! A hostile crowd: many connections at a time, each of which does harm in one way, and comes again when it
//! is thrown out.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Addresses that it comes from.
const ADDRESSES: usize = 20;

/// How long one that is not thrown out stays at what it does.
const STAY: Duration = Duration::from_secs(30);

/// Before one that was thrown out comes again.
const PAUSE: Duration = Duration::from_secs(1);

/// What it attacks.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) ws: SocketAddr,
    pub(crate) wss: SocketAddr,
    pub(crate) tcp: SocketAddr,
}

pub(crate) struct Crowd {
    tasks: JoinSet<()>,
    connected: Arc<AtomicUsize>,
}

impl Crowd {
    /// So many, all at once.
    pub(crate) fn come(place: Place, number: usize) -> Self {
        let connected = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for each in 0..number {
            let connected = Arc::clone(&connected);
            tasks.spawn(async move {
                loop {
                    let _ = harm(place, each, &connected).await;
                    sleep(PAUSE).await;
                }
            });
        }
        Self { tasks, connected }
    }

    /// How often one of them had a connection.
    pub(crate) fn connected(&self) -> usize {
        self.connected.load(Ordering::Relaxed)
    }

    pub(crate) async fn leave(mut self) {
        self.tasks.shutdown().await;
    }
}

const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: sip\r\n\r\n";

/// The beginning of a ClientHello of 512 bytes.
const HALF_TLS: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and then nothing more of it";

async fn harm(place: Place, each: usize, connected: &AtomicUsize) -> std::io::Result<()> {
    let kind = each / ADDRESSES % 8;
    let target = match kind {
        0 | 3 | 4 => place.ws,
        1 | 2 => place.wss,
        _ => place.tcp,
    };
    let socket = TcpSocket::new_v4()?;
    let source = Ipv4Addr::new(127, 0, 1, u8::try_from(each % ADDRESSES).unwrap_or(0) + 1);
    socket.bind(SocketAddr::new(IpAddr::V4(source), 0))?;
    let mut stream = timeout(STAY, socket.connect(target)).await??;
    connected.fetch_add(1, Ordering::Relaxed);
    match kind {
        // Handshakes that never end: byte by byte, half of TLS, silence.
        0 => {
            for byte in UPGRADE {
                stream.write_all(&[*byte]).await?;
                sleep(Duration::from_secs(1)).await;
            }
        }
        1 => stream.write_all(HALF_TLS).await?,
        2 => {}
        // No frames; messages without end that nobody reads the answers to.
        3 => stream.write_all(&[UPGRADE, &[0xff; 3000]].concat()).await?,
        4 => {
            stream.write_all(UPGRADE).await?;
            let mut frame = Vec::new();
            websocket::client::text(&options(each), [1, 2, 3, 4], &mut frame);
            flood(&mut stream, &frame).await?;
        }
        5 => stream.write_all(&[b'x'; 5000]).await?,
        6 => flood(&mut stream, options(each).as_bytes()).await?,
        // A long body of which the end never comes.
        _ => {
            let head = options(each).replace("Content-Length: 0", "Content-Length: 120000");
            stream.write_all(&[head.as_bytes(), &[b'x'; 100_000]].concat()).await?;
        }
    }
    let mut said = Vec::new();
    let _ = timeout(STAY, stream.read_to_end(&mut said)).await;
    Ok(())
}

async fn flood(stream: &mut TcpStream, message: &[u8]) -> std::io::Result<()> {
    let many = message.repeat(20);
    for _ in 0..50 {
        timeout(STAY, stream.write_all(&many)).await??;
        sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

fn options(each: usize) -> String {
    format!(
        "OPTIONS sip:nobody@elsewhere.example SIP/2.0\r\nVia: SIP/2.0/TCP a.invalid;branch=z9hG4bK{each}\r\n\
         From: <sip:a@b>;tag=1\r\nTo: <sip:nobody@elsewhere.example>\r\nCall-ID: {each}\r\nCSeq: 1 OPTIONS\r\n\
         Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    )
}
