//! A client of the HTTP API, down to the bytes: what an `EventSource` or a script would do.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::process::PATIENCE;

/// An answer whose body is still to be read.
pub(crate) struct Answer {
    pub(crate) status: u16,
    length: Option<usize>,
    reader: BufReader<TcpStream>,
}

/// What a stream of events said.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Said {
    Event {
        id: String,
        event: Value,
    },
    /// An id alone: so far it has come.
    Mark(String),
}

pub(crate) async fn ask(address: SocketAddr, method: &str, target: &str, headers: &str) -> Answer {
    ask_on(TcpSocket::new_v4().unwrap(), address, method, target, headers).await
}

/// Through a window of a few KiB: the other side is held up as soon as nothing is read here.
pub(crate) async fn ask_narrowly(address: SocketAddr, method: &str, target: &str, headers: &str) -> Answer {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    ask_on(socket, address, method, target, headers).await
}

async fn ask_on(socket: TcpSocket, address: SocketAddr, method: &str, target: &str, headers: &str) -> Answer {
    let asking = async {
        let mut stream = socket.connect(address).await.unwrap();
        let request =
            format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Answer { status: 0, length: None, reader: BufReader::new(stream) };
        let status = answer.line().await.expect("an answer");
        answer.status = status.split(' ').nth(1).unwrap().parse().unwrap();
        while let Some(line) = answer.line().await.filter(|line| !line.is_empty()) {
            if let Some(length) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
                answer.length = Some(length.parse().unwrap());
            }
        }
        answer
    };
    timeout(PATIENCE, asking).await.expect("an answer in time")
}

impl Answer {
    /// The next line; none at the end.
    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.reader.read_line(&mut line).await.unwrap();
        (read > 0).then(|| line.trim_end().to_owned())
    }

    /// The whole body.
    pub(crate) async fn body(mut self) -> Vec<u8> {
        let reading = async {
            let mut body = vec![0; self.length.unwrap_or(0)];
            self.reader.read_exact(&mut body).await.unwrap();
            while self.length.is_none() {
                let size = self.line().await.expect("goes on");
                let mut chunk = vec![0; usize::from_str_radix(&size, 16).unwrap() + 2];
                self.reader.read_exact(&mut chunk).await.unwrap();
                if chunk.len() == 2 {
                    break;
                }
                body.extend_from_slice(&chunk[..chunk.len() - 2]);
            }
            body
        };
        timeout(PATIENCE, reading).await.expect("a body in time")
    }

    pub(crate) async fn json(self) -> Value {
        serde_json::from_slice(&self.body().await).unwrap()
    }

    /// What a stream of events says next; none at its end. The sizes of chunks stand on lines of their own,
    /// between.
    pub(crate) async fn said(&mut self) -> Option<Said> {
        let hearing = async {
            let mut id = None;
            loop {
                let line = self.line().await?;
                if let Some(text) = line.strip_prefix("id: ") {
                    id = Some(text.to_owned());
                } else if let Some(json) = line.strip_prefix("data: ") {
                    let (id, event) = (id.expect("each has an id"), serde_json::from_str(json).unwrap());
                    return Some(Said::Event { id, event });
                } else if line.is_empty()
                    && let Some(id) = id.take()
                {
                    return Some(Said::Mark(id));
                }
            }
        };
        timeout(PATIENCE, hearing).await.expect("something said in time")
    }
}
