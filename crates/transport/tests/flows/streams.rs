//! SIP over TCP.

use std::time::Duration;

use lifecycle::{Cause, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use transport::UnopenedCause;

use crate::{
    client::read_all,
    handler::{HandshakeSlot, on_a_shard},
};

fn options(body: &str) -> String {
    format!(
        "OPTIONS sip:a@example.com SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK1\r\n\
         Max-Forwards: 70\r\nTo: <sip:a@example.com>\r\nFrom: <sip:b@example.com>;tag=1\r\nCall-ID: 1\r\n\
         CSeq: 1 OPTIONS\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn a_stream_is_a_flow_when_its_first_message_is_whole() {
    on_a_shard(async {
        let place = HandshakeSlot::with(Transport::Tcp, |_| ());
        let mut stream = place.connect().await;
        // Keep-alives are answered before there is a flow.
        stream.write_all(b"\r\n\r\n").await.unwrap();
        let mut pong = [0; 2];
        stream.read_exact(&mut pong).await.unwrap();
        assert_eq!(&pong, b"\r\n");
        assert!(place.handler.opened.borrow().is_empty());
        let (first, second, third) = (options("first"), options("second"), options("third"));
        for byte in first.as_bytes() {
            stream.write_all(&[*byte]).await.unwrap();
        }
        place.handler.until_open(1).await;
        let rest = format!("{second}\r\n\r\n{third}{first}");
        let (now, later) = rest.split_at(rest.len() - 20);
        stream.write_all(now.as_bytes()).await.unwrap();
        if let Err(error) = stream.read_exact(&mut pong).await {
            panic!("{error}: {:?}", place.handler);
        }
        assert_eq!(&pong, b"\r\n");
        place.handler.messages(3).await;
        stream.write_all(later.as_bytes()).await.unwrap();
        let messages = place.handler.messages(4).await;
        assert_eq!(messages, [&first, &second, &third, &first].map(|text| text.as_bytes().to_vec()));
        stream.write_all(&first.as_bytes()[..50]).await.unwrap();
        drop(stream);
        let ending = place.handler.ending().await;
        assert_eq!(ending.cause, Cause::Eof);
        assert_eq!(ending.reason.unwrap().as_str(), "in the middle of a message");
        let bytes = (3 * first.len() + second.len() + third.len() - first.len() + 4 + 50) as u64;
        assert_eq!(place.handler.endings.borrow()[0].1.bytes_received, bytes);
    });
}

#[test]
fn a_message_and_the_end_in_one_segment() {
    on_a_shard(async {
        let place = HandshakeSlot::with(Transport::Tcp, |_| ());
        let mut stream = place.connect().await;
        stream.write_all(options("and bye").as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(place.handler.messages(1).await.len(), 1);
        assert_eq!(place.handler.ending().await.cause, Cause::Eof);
        assert!(read_all(&mut stream).await.1.is_ok());
    });
}

#[test]
fn what_is_no_sip_never_becomes_a_flow() {
    on_a_shard(async {
        let place = HandshakeSlot::with(Transport::Tcp, |_| ());
        let mut stream = place.connect().await;
        stream.write_all(b"\x16\x03\x01\x02\x00").await.unwrap();
        let (answer, end) = read_all(&mut stream).await;
        assert_eq!(String::from_utf8(answer).unwrap(), "unframed: not SIP");
        assert!(end.is_ok());
        place.handler.unopened(UnopenedCause::NotSip).await;
    });
}

#[test]
fn framing_that_is_lost_ends_the_flow() {
    on_a_shard(async {
        let whole_but_too_big = options(&"x".repeat(99_900));
        for (next, cause) in [
            (options("").replace("Content-Length: 0", "Content-Length: 100001"), Cause::MessageTooBig),
            (whole_but_too_big, Cause::MessageTooBig),
            (options("").replace("Content-Length: 0", "Content-Length: many"), Cause::ProtocolError),
            ("\u{1}".to_owned(), Cause::ProtocolError),
        ] {
            let place = HandshakeSlot::with(Transport::Tcp, |_| ());
            let mut stream = place.connect().await;
            stream.write_all(options("").as_bytes()).await.unwrap();
            place.handler.messages(1).await;
            stream.write_all(next.as_bytes()).await.unwrap();
            let (answer, _) = read_all(&mut stream).await;
            assert!(answer.starts_with(b"unframed: "), "{}", String::from_utf8_lossy(&answer));
            assert_eq!(place.handler.ending().await.cause, cause);
            assert_eq!(place.handler.messages.borrow().len(), 1);
        }
    });
}

#[test]
fn a_stream_may_be_silent() {
    on_a_shard(async {
        let place = HandshakeSlot::with(Transport::Tcp, |s| {
            s.ping_after = Duration::from_millis(5);
            s.pong_timeout = Duration::from_millis(5);
        });
        let other = HandshakeSlot::with(Transport::Ws, |s| {
            s.ping_after = Duration::from_millis(50);
            s.pong_timeout = Duration::from_millis(50);
        });
        let mut stream = place.connect().await;
        stream.write_all(options("").as_bytes()).await.unwrap();
        place.handler.messages(1).await;
        let _silent = crate::client::Client::open(&other).await;
        assert_eq!(other.handler.ending().await.cause, Cause::PingTimeout);
        // In ten times its own limits nothing happened to the stream.
        stream.write_all(options("still here").as_bytes()).await.unwrap();
        place.handler.messages(2).await;
        assert!(place.handler.endings.borrow().is_empty());
    });
}

#[test]
fn no_room_ends_a_stream() {
    on_a_shard(async {
        let place = HandshakeSlot::with(Transport::Tcp, |_| ());
        place.handler.refuses.set(true);
        let mut stream = place.connect().await;
        stream.write_all(options("").as_bytes()).await.unwrap();
        let (answer, end) = read_all(&mut stream).await;
        assert!(answer.is_empty() && end.is_ok());
        place.handler.unopened(UnopenedCause::NoRoom).await;
    });
}
