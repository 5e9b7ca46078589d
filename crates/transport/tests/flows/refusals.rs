//! Who is not let in, and what they are told.

use lifecycle::Transport;
use tokio::io::AsyncWriteExt;
use transport::{MissingOrigin, UnopenedCause};

use crate::{
    client::{Client, PLAIN, ReadPriority, read_all, read_head, text_frame, upgrade},
    handler::{FakeHandler, HandshakeSlot, on_a_shard, settings},
};

/// Sends this to a listener of the path `/ws` and the origin `https://app.example.com`; gives the answer.
async fn ask(request: &str) -> (String, std::rc::Rc<FakeHandler>) {
    let place = HandshakeSlot::new(Transport::Ws, settings(), |listener| {
        listener.paths = vec!["/ws".into()];
        listener.origins = vec!["https://app.example.com".into()];
        listener.missing_origin = MissingOrigin::Allow;
    });
    let mut stream = place.connect().await;
    stream.write_all(request.as_bytes()).await.unwrap();
    let (answer, end) = read_all(&mut stream).await;
    assert!(end.is_ok(), "a reset overtook the answer");
    (String::from_utf8(answer).unwrap(), place.handler)
}

#[test]
fn every_refusal_says_why() {
    on_a_shard(async {
        let long = format!("{PLAIN}Cookie: {}\r\n", "x".repeat(9000));
        let cases = [
            ("nonsense\r\n\r\n".to_owned(), 400, ""),
            (upgrade("Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: xmpp\r\n"), 400, "'sip'"),
            (upgrade(&format!("{PLAIN}Origin: https://evil.example\r\n")), 403, "origin"),
            (upgrade(PLAIN).replace("/ws", "/other"), 404, "path"),
            (upgrade(PLAIN).replace("GET", "POST"), 405, "\r\nAllow: GET\r\n"),
            (upgrade("Sec-WebSocket-Protocol: sip\r\n"), 426, "\r\nSec-WebSocket-Version: 13\r\n"),
            (upgrade(&PLAIN.replace("13", "8")), 426, "\r\nSec-WebSocket-Version: 13\r\n"),
            (upgrade(&long), 431, "large"),
        ];
        for (request, status, word) in cases {
            let (answer, handler) = ask(&request).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request} -> {answer}");
            assert!(answer.contains(word), "{answer}");
            handler.unopened(UnopenedCause::HandshakeRefused(status)).await;
        }
    });
}

/// RFC 9110 §9.3.2
#[test]
fn head_gets_the_same_answer_without_the_body() {
    on_a_shard(async {
        let long = format!("{PLAIN}Cookie: {}\r\n", "x".repeat(9000));
        let bare =
            "GET /ws HTTP/1.1\r\nHost: sip.example.com\r\nSec-WebSocket-Version: 13\r\n\r\n".to_owned();
        for get in [bare, upgrade(&long), "GET /ws HTTP/1.1\r\nHost\r\nx: y\r\n\r\n".to_owned()] {
            let (answer, _) = ask(&get.replacen("GET", "POST", 1)).await;
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(
                head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())) || {
                    head.ends_with(&format!("\r\nContent-Length: {}", body.len()))
                }
            );
            for before in ["", "\r\n"] {
                let (of_head, _) = ask(&format!("{before}{}", get.replacen("GET", "HEAD", 1))).await;
                assert_eq!(of_head, format!("{head}\r\n\r\n"), "{get}");
            }
        }
    });
}

#[test]
fn a_browser_without_origin_may_be_refused() {
    on_a_shard(async {
        let place = HandshakeSlot::new(Transport::Ws, settings(), |listener| {
            listener.missing_origin = MissingOrigin::Refuse;
        });
        let mut stream = place.connect().await;
        stream.write_all(upgrade(PLAIN).as_bytes()).await.unwrap();
        let (head, _) = read_head(&mut stream).await;
        assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
    });
}

#[test]
fn no_room_is_503_and_no_flow() {
    on_a_shard(async {
        let place = HandshakeSlot::ws();
        place.handler.refuses.set(true);
        let mut stream = place.connect().await;
        stream.write_all(upgrade(PLAIN).as_bytes()).await.unwrap();
        let (answer, end) = read_all(&mut stream).await;
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("\r\nRetry-After: 7\r\n"), "{answer}");
        assert!(end.is_ok());
        place.handler.unopened(UnopenedCause::HandshakeRefused(503)).await;
    });
}

#[test]
fn sip_is_found_among_the_sub_protocols() {
    on_a_shard(async {
        for (offered, taken) in [("sip", "sip"), ("xmpp, SIP", "SIP"), ("Sip , msrp", "Sip")] {
            let place = HandshakeSlot::ws();
            let mut stream = place.connect().await;
            let request =
                upgrade(&format!("Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: {offered}\r\n"));
            stream.write_all(request.as_bytes()).await.unwrap();
            let (head, _) = read_head(&mut stream).await;
            assert!(head.contains(&format!("\r\nSec-WebSocket-Protocol: {taken}\r\n")), "{head}");
        }
    });
}

#[test]
fn a_head_in_single_bytes_with_frames_behind_it() {
    on_a_shard(async {
        let place = HandshakeSlot::ws();
        let mut stream = place.connect().await;
        let head = upgrade(&format!("{PLAIN}User-Agent: handler/1\r\nOrigin: https://a.example\r\n"));
        let (most, last) = head.as_bytes().split_at(head.len() - 1);
        for byte in most {
            stream.write_all(&[*byte]).await.unwrap();
        }
        // The last byte, two messages and half a third in one segment.
        let mut rest = last.to_vec();
        rest.extend(text_frame("one"));
        rest.extend(text_frame("echo two"));
        let third = text_frame("three");
        rest.extend_from_slice(&third[..4]);
        stream.write_all(&rest).await.unwrap();
        let mut client = Client::answered(stream).await;
        assert_eq!(client.next().await, Some(ReadPriority::Text(b"echo two".to_vec())));
        client.raw(&third[4..]).await;
        assert_eq!(place.handler.messages(3).await, [&b"one"[..], b"echo two", b"three"]);
        let facts = place.handler.opened.borrow()[0].clone();
        assert_eq!(facts.user_agent.unwrap().as_str(), "handler/1");
        assert_eq!(facts.origin.unwrap().as_str(), "https://a.example");
        assert_eq!(facts.path.unwrap().as_str(), "/ws");
        assert_eq!(facts.host.unwrap().as_str(), "sip.example.com");
        client.raw(&crate::client::close_frame(1000, "")).await;
        place.handler.ending().await;
        let traffic = place.handler.endings.borrow()[0].1;
        assert_eq!(traffic.bytes_received, (9 + 14 + 11 + 8) as u64, "{traffic:?}");
        assert_eq!((traffic.frames_received, traffic.frames_sent), (4, 2));
    });
}

#[test]
fn a_page_is_handed_over_with_what_was_read() {
    on_a_shard(async {
        let place = HandshakeSlot::ws();
        let mut stream = place.connect().await;
        let request = "GET /index.html HTTP/1.1\r\nHost: a\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        place.handler.until("asked for a page", |handler| !handler.pages.borrow().is_empty()).await;
        assert_eq!(place.handler.pages.borrow()[0].head, request.as_bytes());
        assert!(place.handler.unopened.borrow().is_empty());
    });
}

#[test]
fn a_slow_handshake_is_cut_and_told() {
    on_a_shard(async {
        let place = HandshakeSlot::with(Transport::Ws, |s| {
            s.handshake_timeout = std::time::Duration::from_millis(50)
        });
        let mut stream = place.connect().await;
        stream.write_all(b"GET /ws HTTP/1.1\r\nHost: a\r\n").await.unwrap();
        let (answer, _) = read_all(&mut stream).await;
        assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&answer));
        place.handler.unopened(UnopenedCause::HandshakeTimeout).await;
    });
}

#[test]
fn silence_is_cut_without_a_word() {
    on_a_shard(async {
        let place = HandshakeSlot::with(Transport::Ws, |s| {
            s.handshake_timeout = std::time::Duration::from_millis(50)
        });
        let mut stream = place.connect().await;
        assert_eq!(read_all(&mut stream).await.0, b"");
        place.handler.unopened(UnopenedCause::HandshakeTimeout).await;
    });
}

#[test]
fn who_leaves_in_the_middle_of_the_head_is_no_flow() {
    on_a_shard(async {
        let place = HandshakeSlot::ws();
        let mut stream = place.connect().await;
        stream.write_all(b"GET /ws HT").await.unwrap();
        drop(stream);
        place.handler.unopened(UnopenedCause::LeftEarly).await;
    });
}
