//! One HTTP request and its answer.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::process::PATIENCE;

/// Asks, and gives the whole answer. `UPGRADE` asks for a WebSocket.
pub(crate) async fn ask(address: SocketAddr, method: &str, path: &str) -> String {
    let (method, headers) = match method {
        "UPGRADE" => (
            "GET",
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: sip\r\n",
        ),
        method => (method, "Connection: close\r\n"),
    };
    exchange(address, &format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\n{headers}\r\n")).await
}

/// Sends this, and gives all that comes until the server ends the connection.
pub(crate) async fn exchange(address: SocketAddr, text: &str) -> String {
    let asking = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    };
    timeout(PATIENCE, asking).await.expect("an answer")
}
