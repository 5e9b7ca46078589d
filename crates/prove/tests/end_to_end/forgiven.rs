//! What is understood although it breaks the grammar is counted, by how.

use lifecycle::Transport;
use prove::{Client, Feed, Persona, Setup};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::server::{Directory, PATIENCE, Server};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_deviation_is_on_the_metrics_page() {
    let directory = Directory::new("forgiven");
    let mut server = Server::dev(&directory.path().join("ledger"), &Feed::default()).await;
    let target = server.target(Transport::Tcp);
    let setup = Setup { persona: Persona::Phone, ..Setup::new("alice") };
    let mut client = Client::connect(&target, &setup).await.unwrap();
    for (number, line) in ["Call-ID: plain\r\nContent-Length: 0\r\n", "Call-ID: short\r\n"].iter().enumerate()
    {
        let from = if number == 0 { "bell@home <sip:alice@localhost>" } else { "<sip:alice@localhost>" };
        let request = format!(
            "REGISTER sip:localhost SIP/2.0\r\nVia: SIP/2.0/TCP a.invalid;branch=z9hG4bK{number}\r\n\
             From: {from};tag=1\r\nTo: <sip:alice@localhost>\r\nCSeq: {number} REGISTER\r\n{line}\r\n"
        );
        client.send(request.as_bytes()).unwrap();
        client.flush().await.unwrap();
        let answer = timeout(PATIENCE, client.next()).await.expect("an answer").unwrap();
        assert_eq!(answer.message().status(), Some(200));
    }
    let mut stream = TcpStream::connect(server.target(Transport::Ws).address).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut page = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut page)).await.expect("a page").unwrap();
    for (what, count) in [("display_name", 1), ("no_content_length", 1), ("three_colons", 0)] {
        let line = format!("sipway_messages_forgiven_total{{what=\"{what}\"}} {count}");
        assert!(page.lines().any(|found| found.trim_end() == line), "{line}\n{page}");
    }
    assert!(server.terminate().await.success());
}
