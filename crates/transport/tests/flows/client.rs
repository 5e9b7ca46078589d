//! A WebSocket client with nothing to hide: it sends any bytes and tells everything that comes.

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use websocket::{Connection, Event, Limits, MessageKind, Role, client};

use crate::handler::{HandshakeSlot, PATIENCE};

pub(crate) const KEY: [u8; 4] = [0x12, 0x34, 0x56, 0x78];

/// The head of an upgrade request; `more` are header lines.
pub(crate) fn upgrade(more: &str) -> String {
    format!(
        "GET /ws HTTP/1.1\r\nHost: sip.example.com\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
}

pub(crate) const PLAIN: &str = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: sip\r\n";

/// What came from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ReadPriority {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping,
    Pong(Vec<u8>),
    Close(Option<u16>, String),
}

pub(crate) struct Client<S> {
    pub(crate) stream: S,
    connection: Connection,
    unread: Vec<u8>,
}

impl Client<TcpStream> {
    pub(crate) async fn open(place: &HandshakeSlot) -> Self {
        Self::over(place.connect().await).await
    }

    /// Closes with a RST.
    pub(crate) fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) async fn over(mut stream: S) -> Self {
        stream.write_all(upgrade(PLAIN).as_bytes()).await.unwrap();
        Self::answered(stream).await
    }

    /// The request is sent already.
    pub(crate) async fn answered(mut stream: S) -> Self {
        let (head, unread) = read_head(&mut stream).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        Self { stream, connection: Connection::new(Role::Client, Limits::default()), unread }
    }

    pub(crate) async fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    pub(crate) async fn text(&mut self, text: &str) {
        self.raw(&text_frame(text)).await;
    }

    /// The next thing the server says; nothing at the end of the stream or a reset.
    pub(crate) async fn next(&mut self) -> Option<ReadPriority> {
        let next = async {
            loop {
                if !self.unread.is_empty() {
                    let received =
                        self.connection.receive(&mut self.unread).expect("the server keeps the rules");
                    let heard = received.event.map(|event| match event {
                        Event::Message(m) if m.kind == MessageKind::Text => {
                            ReadPriority::Text(m.data.to_vec())
                        }
                        Event::Message(m) => ReadPriority::Binary(m.data.to_vec()),
                        Event::Ping(_) => ReadPriority::Ping,
                        Event::Pong(payload) => ReadPriority::Pong(payload.to_vec()),
                        Event::Close(frame) => {
                            ReadPriority::Close(frame.code.map(|code| code.get()), frame.reason.into_owned())
                        }
                    });
                    let consumed = received.consumed;
                    self.unread.drain(..consumed);
                    if heard.is_some() {
                        return heard;
                    }
                    continue;
                }
                if !matches!(self.stream.read_buf(&mut self.unread).await, Ok(1..)) {
                    return None;
                }
            }
        };
        timeout(PATIENCE, next).await.expect("the server says nothing")
    }
}

pub(crate) fn text_frame(text: &str) -> Vec<u8> {
    let mut frame = Vec::new();
    client::text(text, KEY, &mut frame);
    frame
}

pub(crate) fn close_frame(code: u16, reason: &str) -> Vec<u8> {
    let mut frame = Vec::new();
    client::close(websocket::CloseCode::new(code), reason, KEY, &mut frame);
    frame
}

/// A frame made by hand: first byte, payload.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() < 126);
    let mut frame = vec![first, 0x80 | payload.len() as u8];
    frame.extend_from_slice(&KEY);
    frame.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// An HTTP head, and what came behind it.
pub(crate) async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> (String, Vec<u8>) {
    let mut bytes = Vec::new();
    let reading = async {
        loop {
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                let rest = bytes.split_off(end + 4);
                return (String::from_utf8(bytes).unwrap(), rest);
            }
            let read = stream.read_buf(&mut bytes).await.unwrap();
            assert_ne!(read, 0, "ended after {:?}", String::from_utf8_lossy(&bytes));
        }
    };
    timeout(PATIENCE, reading).await.expect("no answer")
}

/// Everything until the end. A reset is an end too, and is told apart.
pub(crate) async fn read_all(stream: &mut (impl AsyncRead + Unpin)) -> (Vec<u8>, std::io::Result<()>) {
    let mut bytes = Vec::new();
    let end = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the connection stays open");
    (bytes, end.map(drop))
}
