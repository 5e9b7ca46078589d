//! What is sent in the last moment of a connection.

use lifecycle::{Cause, EventKind, Transport};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use websocket::{CloseCode, client};

use crate::test_server::TestServer;

const KEY: [u8; 4] = [1, 2, 3, 4];

fn upgrade() -> Vec<u8> {
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
      Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: sip\r\n\r\n"
        .to_vec()
}

fn register(user: &str, cseq: u32, expires: u32) -> String {
    format!(
        "REGISTER sip:localhost SIP/2.0\r\nVia: SIP/2.0/WS x.invalid;branch=z9hG4bK{user}{cseq}\r\nMax-Forwards: 70\r\n\
         To: <sip:{user}@localhost>\r\nFrom: <sip:{user}@localhost>;tag=1\r\nCall-ID: {user}\r\n\
         CSeq: {cseq} REGISTER\r\nExpires: {expires}\r\nContact: <sip:{user}@x.invalid;transport=ws>\r\n\
         Content-Length: 0\r\n\r\n"
    )
}

fn text(message: &str) -> Vec<u8> {
    let mut frame = Vec::new();
    client::text(message, KEY, &mut frame);
    frame
}

fn close() -> Vec<u8> {
    let mut frame = Vec::new();
    client::close(Some(CloseCode::GOING_AWAY), "", KEY, &mut frame);
    frame
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registration_and_its_end_in_one_segment() {
    let removed = |cause: &'static str| {
        vec![(EventKind::FlowOpened, ""), (EventKind::BindingAdded, ""), (EventKind::BindingRemoved, cause)]
    };
    let tcp = |message: String| message.replace("SIP/2.0/WS", "SIP/2.0/TCP").into_bytes();
    let (whole, one, two) = (upgrade(), register("ada", 1, 600), register("ada", 2, 0));
    let cases = [
        // The binding is still there when the connection ends, or was taken back in the same breath.
        (
            Transport::Ws,
            [&whole[..], &text(&one), &close()].concat(),
            removed("flow_closed"),
            Cause::CloseFrame,
        ),
        (
            Transport::Ws,
            [&whole[..], &text(&one), &text(&two), &close()].concat(),
            removed("unregistered"),
            Cause::CloseFrame,
        ),
        (Transport::Ws, [&whole[..], &text(&one), &text(&two)].concat(), removed("unregistered"), Cause::Eof),
        (Transport::Tcp, tcp(one.clone() + &two), removed("unregistered"), Cause::Eof),
        (Transport::Tcp, tcp(one), removed("flow_closed"), Cause::Eof),
    ];
    for (n, (transport, bytes, expected, cause)) in cases.into_iter().enumerate() {
        let sipway = TestServer::new(&format!("segment-{n}"), "");
        let mut stream = TcpStream::connect(sipway.target(transport).address).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answers = Vec::new();
        stream.read_to_end(&mut answers).await.unwrap();
        let answers = String::from_utf8_lossy(&answers).into_owned();
        assert!(answers.contains("SIP/2.0 200 OK"), "it is answered: {answers}");
        sipway.until("closed", |_| sipway.log().closed_count() == 1).await;
        let events = sipway.events();
        let other = |kind: EventKind| matches!(kind, EventKind::NodeStarted | EventKind::UserOnline);
        let mut told = events.iter().filter(|(kind, _)| !other(*kind));
        for (kind, cause) in expected {
            let (seen, text) = told.next().unwrap();
            assert!(*seen == kind && (cause.is_empty() || text.contains(cause)), "case {n}: {text}");
        }
        let (last, text) = told.next().unwrap();
        assert!(*last == EventKind::FlowClosed && text.contains(cause.as_str()), "case {n}: {text}");
        assert!(told.next().is_none());
        sipway.end().await;
    }
}
