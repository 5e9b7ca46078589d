//! The echo example as a process of its own, with tungstenite as its client.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use tungstenite::client::IntoClientRequest;
use tungstenite::http::HeaderValue;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Message, WebSocket};

/// Ends with the test.
struct Server {
    process: Child,
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    fn start() -> Self {
        // Cargo builds the examples before it runs the tests of a package, into the folder beside this
        // test's.
        let test = std::env::current_exe().expect("loopback and the example work");
        let example = test
            .parent()
            .expect("loopback and the example work")
            .parent()
            .expect("loopback and the example work")
            .join("examples/echo");
        let mut process = Command::new(example)
            .args(["--listen", "127.0.0.1:0", "--max-message", "1000000", "--max-fragments", "1000"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the example is built: run the tests of the whole package");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("loopback and the example work"))
            .read_line(&mut line)
            .expect("loopback and the example work");
        let address =
            line.trim().strip_prefix("listening on ").expect("loopback and the example work").to_owned();
        Self { process, address }
    }

    fn connect(&self, protocols: Option<&'static str>) -> (WebSocket<TcpStream>, Option<String>) {
        let mut request =
            format!("ws://{}/", self.address).into_client_request().expect("loopback and the example work");
        if let Some(protocols) = protocols {
            request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static(protocols));
        }
        let stream = TcpStream::connect(&self.address).expect("loopback and the example work");
        let (socket, response) = tungstenite::client(request, stream).expect("loopback and the example work");
        let chosen = response.headers().get("Sec-WebSocket-Protocol");
        (socket, chosen.map(|value| value.to_str().expect("loopback and the example work").to_owned()))
    }
}

#[test]
fn echoes_every_kind_and_size_and_closes_cleanly() {
    let server = Server::start();
    let (mut socket, protocol) = server.connect(Some("sip, other"));
    assert_eq!(protocol.as_deref(), Some("sip"));
    for size in [0, 1, 125, 126, 127, 65_535, 65_536, 300_000] {
        let text = Message::text("ü".repeat(size / 2));
        socket.send(text.clone()).unwrap();
        assert_eq!(socket.read().unwrap(), text, "text of {size}");
        let binary = Message::binary(vec![0xfe; size]);
        socket.send(binary.clone()).unwrap();
        assert_eq!(socket.read().unwrap(), binary, "binary of {size}");
    }
    socket.send(Message::Ping("are you there".into())).unwrap();
    assert_eq!(socket.read().unwrap(), Message::Pong("are you there".into()));

    let farewell = CloseFrame { code: CloseCode::from(4001), reason: "enough".into() };
    socket.close(Some(farewell)).unwrap();
    let answer = socket.read().unwrap();
    assert!(
        matches!(&answer, Message::Close(Some(frame)) if frame.code == CloseCode::from(4001)),
        "the code comes back: {answer:?}"
    );
    assert!(matches!(socket.read(), Err(tungstenite::Error::ConnectionClosed)), "and the server ends TCP");
}

#[test]
fn no_protocol_is_chosen_where_none_is_offered_and_a_message_over_the_limit_ends_in_1009() {
    let server = Server::start();
    let (mut socket, protocol) = server.connect(None);
    assert_eq!(protocol, None);
    socket.send(Message::binary(vec![0; 1_000_001])).unwrap();
    let answer = socket.read().unwrap();
    assert!(matches!(&answer, Message::Close(Some(frame)) if frame.code == CloseCode::Size), "{answer:?}");
}

#[test]
fn what_is_no_handshake_is_told_so() {
    let server = Server::start();
    let mut stream = TcpStream::connect(&server.address).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 8\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    stream.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 426 ") && answer.contains("Sec-WebSocket-Version: 13\r\n"),
        "{answer}"
    );
}
