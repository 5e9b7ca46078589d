//! How an open WebSocket can end, and the cause that is told.

use std::time::Duration;

use lifecycle::{Cause, Ending, Transport};
use tokio::io::AsyncWriteExt;

use crate::{
    client::{Client, PLAIN, ReadPriority, close_frame, frame, read_all, text_frame, upgrade},
    handler::{HandshakeSlot, on_a_shard},
};

fn code_and_reason(ending: &Ending) -> (Option<u16>, &str) {
    (ending.code, ending.reason.as_ref().map_or("", |reason| reason.as_str()))
}

#[test]
fn a_close_frame_is_answered_and_the_server_closes_first() {
    on_a_shard(async {
        let place = HandshakeSlot::ws();
        let mut client = Client::open(&place).await;
        client.raw(&close_frame(1001, "tab closed")).await;
        assert_eq!(client.next().await, Some(ReadPriority::Close(Some(1001), String::new())));
        assert_eq!(client.next().await, None);
        let ending = place.handler.ending().await;
        assert_eq!(ending.cause, Cause::CloseFrame);
        assert_eq!(code_and_reason(&ending), (Some(1001), "tab closed"));
    });
}

#[test]
fn a_close_frame_is_the_cause_whatever_follows_it() {
    on_a_shard(async {
        for reset in [false, true] {
            let place = HandshakeSlot::ws();
            let mut client = Client::open(&place).await;
            let mut bytes = text_frame("last words");
            bytes.extend(close_frame(1000, ""));
            client.raw(&bytes).await;
            if reset {
                client.reset()
            } else {
                drop(client)
            }
            assert_eq!(place.handler.ending().await.cause, Cause::CloseFrame, "reset: {reset}");
            assert_eq!(place.handler.messages(1).await, [b"last words"]);
        }
    });
}

#[test]
fn a_close_frame_is_the_cause_even_if_our_write_fails_before_it_is_read() {
    on_a_shard(async {
        let place = HandshakeSlot::ws();
        let mut client = Client::open(&place).await;
        client.text("echo warm").await;
        client.next().await;
        let link = place.handler.links.borrow()[0].clone();
        client.raw(&close_frame(1000, "done")).await;
        client.reset();
        // Nothing else runs on this thread meanwhile: the reset is known to the socket, the Close frame
        // unread.
        let mut sent = 0;
        while link.send(b"anyone there?").is_ok() {
            sent += 1;
            assert!(sent < 1000, "the reset is never seen");
            std::thread::sleep(Duration::from_millis(1));
        }
        drop(link);
        let ending = place.handler.ending().await;
        assert_eq!((ending.cause, code_and_reason(&ending)), (Cause::CloseFrame, (Some(1000), "done")));
    });
}

#[test]
fn a_close_frame_is_the_cause_even_if_an_operator_was_about_to_close() {
    on_a_shard(async {
        let place = HandshakeSlot::ws();
        let mut client = Client::open(&place).await;
        client.raw(&close_frame(1000, "")).await;
        place.handler.links.borrow()[0].close(Ending::of(Cause::Admin).code(1000));
        assert_eq!(place.handler.ending().await.cause, Cause::CloseFrame);
    });
}

#[test]
fn the_end_of_the_stream() {
    on_a_shard(async {
        for (bytes, reason) in [
            (Vec::new(), ""),
            (text_frame("whole"), ""),
            (text_frame("cut")[..5].to_vec(), "in the middle of a message"),
            (frame(0x01, b"first of two"), "in the middle of a message"),
        ] {
            let place = HandshakeSlot::ws();
            let mut client = Client::open(&place).await;
            client.raw(&bytes).await;
            client.stream.shutdown().await.unwrap();
            let ending = place.handler.ending().await;
            assert_eq!((ending.cause, code_and_reason(&ending)), (Cause::Eof, (None, reason)));
            // Half closed: the server ends its direction too.
            assert_eq!(client.next().await, None);
        }
    });
}

#[test]
fn a_whole_life_in_one_segment() {
    on_a_shard(async {
        let place = HandshakeSlot::ws();
        let mut stream = place.connect().await;
        let life =
            [upgrade(PLAIN).into_bytes(), text_frame("one"), text_frame("two"), close_frame(1001, "gone")];
        stream.write_all(&life.concat()).await.unwrap();
        stream.shutdown().await.unwrap();
        let ending = place.handler.ending().await;
        assert_eq!((ending.cause, code_and_reason(&ending)), (Cause::CloseFrame, (Some(1001), "gone")));
        assert_eq!(place.handler.messages(2).await, [b"one", b"two"]);
        let mut client = Client::answered(stream).await;
        assert_eq!(client.next().await, Some(ReadPriority::Close(Some(1001), String::new())));
        assert_eq!(client.next().await, None);
    });
}

#[test]
fn who_leaves_while_the_flow_is_being_opened_has_a_flow_all_the_same() {
    on_a_shard(async {
        for reset in [false, true] {
            let place = HandshakeSlot::ws();
            place.handler.opens_slowly.set(true);
            let mut stream = place.connect().await;
            stream.write_all(&[upgrade(PLAIN).as_bytes(), &text_frame("one")].concat()).await.unwrap();
            place.handler.until_open(1).await;
            if reset {
                stream.set_zero_linger().unwrap();
            }
            drop(stream);
            place.handler.opens_slowly.set(false);
            let ending = place.handler.ending().await;
            assert_eq!(ending.cause, if reset { Cause::Reset } else { Cause::Eof });
            assert_eq!(place.handler.messages(1).await, [b"one"]);
        }
    });
}

#[test]
fn a_reset_in_the_middle_of_a_frame() {
    on_a_shard(async {
        let place = HandshakeSlot::ws();
        let mut client = Client::open(&place).await;
        client.raw(&[text_frame("whole"), text_frame("cut")[..5].to_vec()].concat()).await;
        place.handler.messages(1).await;
        client.reset();
        let ending = place.handler.ending().await;
        assert_eq!(ending.cause, Cause::Reset);
        assert!(code_and_reason(&ending).1.starts_with("Connection reset by peer"), "{ending:?}");
    });
}

#[test]
fn half_closed_peers_get_what_is_theirs_before_the_end() {
    on_a_shard(async {
        let place = HandshakeSlot::ws();
        let mut client = Client::open(&place).await;
        client.text("echo one last thing").await;
        client.stream.shutdown().await.unwrap();
        assert_eq!(client.next().await, Some(ReadPriority::Text(b"echo one last thing".to_vec())));
        assert_eq!(client.next().await, None);
        assert_eq!(place.handler.ending().await, Ending::of(Cause::Eof));
    });
}

#[test]
fn a_reset() {
    on_a_shard(async {
        let place = HandshakeSlot::ws();
        let client = Client::open(&place).await;
        client.reset();
        assert_eq!(place.handler.ending().await.cause, Cause::Reset);
    });
}

#[test]
fn what_is_sent_to_a_peer_that_left_does_not_make_a_reset_of_its_leaving() {
    on_a_shard(async {
        let place = HandshakeSlot::ws();
        let client = Client::open(&place).await;
        let link = place.handler.links.borrow()[0].clone();
        drop(client);
        // The FIN is there, unread; what is sent now is answered with a reset.
        let mut sent = 0;
        while link.send(b"anyone there?").is_ok() {
            sent += 1;
            assert!(sent < 1000, "the reset is never seen");
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(place.handler.ending().await.cause, Cause::Eof);
    });
}

#[test]
fn broken_frames_have_their_codes() {
    on_a_shard(async {
        let unmasked = vec![0x81, 2, b'h', b'i'];
        let cases = [
            (unmasked, Cause::ProtocolError, 1002),
            (frame(0xc1, b"reserved bit"), Cause::ProtocolError, 1002),
            (frame(0x80, b"continues nothing"), Cause::ProtocolError, 1002),
            (frame(0x81, b"\xff\xfe"), Cause::InvalidPayload, 1007),
            (vec![0x81, 0xff, 0, 0, 0, 0, 0, 1, 0x86, 0xa1, 0, 0, 0, 0], Cause::MessageTooBig, 1009),
        ];
        for (bytes, cause, code) in cases {
            let place = HandshakeSlot::ws();
            let mut client = Client::open(&place).await;
            // What came before it still counts.
            client.raw(&[text_frame("before"), bytes].concat()).await;
            let heard = client.next().await;
            assert!(
                matches!(heard, Some(ReadPriority::Close(Some(c), _)) if c == code),
                "{cause}: {heard:?}"
            );
            assert_eq!(client.next().await, None);
            let ending = place.handler.ending().await;
            assert_eq!((ending.cause, ending.code), (cause, Some(code)));
            assert_eq!(place.handler.messages(1).await, [b"before"]);
        }
    });
}

#[test]
fn an_operators_close_reaches_the_peer() {
    on_a_shard(async {
        let place = HandshakeSlot::ws();
        let mut client = Client::open(&place).await;
        client.text("end maintenance").await;
        assert_eq!(client.next().await, Some(ReadPriority::Close(Some(1000), "maintenance".into())));
        client.raw(&close_frame(1000, "")).await;
        assert_eq!(client.next().await, None);
        let ending = place.handler.ending().await;
        assert_eq!((ending.cause, code_and_reason(&ending)), (Cause::Admin, (Some(1000), "maintenance")));
    });
}

#[test]
fn a_panic_takes_only_its_own_flow() {
    on_a_shard(async {
        let place = HandshakeSlot::ws();
        let mut good = Client::open(&place).await;
        let mut bad = Client::open(&place).await;
        bad.text("panic").await;
        place.handler.until("lost", |handler| handler.lost.get() == 1).await;
        assert_eq!(bad.next().await, Some(ReadPriority::Close(Some(1011), "internal error".into())));
        assert_eq!(bad.next().await, None);
        good.text("echo alive").await;
        assert_eq!(good.next().await, Some(ReadPriority::Text(b"echo alive".to_vec())));
        assert!(place.handler.endings.borrow().is_empty());
    });
}

#[test]
fn a_silent_peer_is_pinged_and_given_up() {
    on_a_shard(async {
        let place = HandshakeSlot::with(Transport::Ws, |s| {
            s.ping_after = Duration::from_millis(40);
            s.pong_timeout = Duration::from_millis(40);
        });
        let mut client = Client::open(&place).await;
        // Answered pings keep it, and so does half a frame.
        for _ in 0..3 {
            assert_eq!(client.next().await, Some(ReadPriority::Ping));
            client.raw(&frame(0x8a, b"")).await;
        }
        for byte in &text_frame("slowly")[..4] {
            assert_eq!(client.next().await, Some(ReadPriority::Ping));
            client.raw(&[*byte]).await;
        }
        let ending = place.handler.ending().await;
        assert_eq!(ending.cause, Cause::PingTimeout);
        let traffic = place.handler.endings.borrow()[0].1;
        assert!(traffic.ping_rtt_us.is_some() && traffic.silence_ms >= 40, "{traffic:?}");
        // Cut off: no Close frame, no waiting.
        assert_eq!(read_all(&mut client.stream).await.0, [0x89, 0]);
    });
}

#[test]
fn an_answer_that_lies_unread_counts_after_a_pause_of_ours() {
    on_a_shard(async {
        let place = HandshakeSlot::with(Transport::Ws, |s| {
            s.ping_after = Duration::from_millis(30);
            s.pong_timeout = Duration::from_millis(30);
        });
        let mut client = Client::open(&place).await;
        for _ in 0..4 {
            assert_eq!(client.next().await, Some(ReadPriority::Ping));
            client.raw(&frame(0x8a, b"")).await;
            // The whole shard stands still past the deadline.
            std::thread::sleep(Duration::from_millis(70));
        }
        assert!(place.handler.endings.borrow().is_empty());
    });
}

/// A peer that reads nothing: how much the kernel takes for it is the kernel's business.
async fn not_reading(place: &HandshakeSlot) -> Client<tokio::net::TcpStream> {
    let client = Client::open(place).await;
    place.handler.until_open(1).await;
    client
}

#[test]
fn a_slow_reader_is_cut_off_when_its_queue_is_full() {
    on_a_shard(async {
        let place = HandshakeSlot::with(Transport::Ws, |s| s.outbound_queue = 50_000);
        let mut client = not_reading(&place).await;
        let link = place.handler.links.borrow()[0].clone();
        let message = [b'x'; 10_000];
        let mut sent = 0;
        while link.send(&message).is_ok() {
            sent += 1;
            assert!(sent < 100_000, "no end to the queue");
        }
        assert!(link.send(b"short").is_err(), "nothing may follow a frame that was cut");
        drop(link);
        let ending = place.handler.ending().await;
        assert_eq!((ending.cause, ending.code), (Cause::SlowReader, Some(1008)));
        assert!(read_all(&mut client.stream).await.1.is_err(), "it is reset");
    });
}

#[test]
fn a_peer_that_takes_nothing_is_given_up() {
    on_a_shard(async {
        for talks in [false, true] {
            let place = HandshakeSlot::with(Transport::Ws, |s| {
                s.outbound_queue = 1 << 30;
                s.write_timeout = Duration::from_millis(60);
            });
            let mut client = not_reading(&place).await;
            let link = place.handler.links.borrow()[0].clone();
            let message = vec![b'x'; 100_000];
            while !link.has_unsent() {
                link.send(&message).unwrap();
            }
            // Whoever holds a link holds the socket.
            drop(link);
            if talks {
                // It says something all the time, and still reads nothing.
                let chatter: Vec<u8> = (0..2000).flat_map(|_| frame(0x8a, b"")).collect();
                while client.stream.write_all(&chatter).await.is_ok() {
                    // The kernel's buffer may have grown.
                    if let Some(link) = place.handler.links.borrow().first() {
                        while !link.has_unsent() && link.send(&message).is_ok() {}
                    }
                    tokio::task::yield_now().await;
                }
            }
            assert_eq!(place.handler.ending().await.cause, Cause::WriteTimeout, "talks: {talks}");
            let _ = read_all(&mut client.stream).await;
        }
    });
}

#[test]
fn a_queue_is_written_when_the_peer_reads_again() {
    on_a_shard(async {
        let place = HandshakeSlot::with(Transport::Ws, |s| s.outbound_queue = 1 << 30);
        let mut client = not_reading(&place).await;
        let link = place.handler.links.borrow()[0].clone();
        let message = vec![b'x'; 60_000];
        let mut sent = 0;
        while !link.has_unsent() || sent % 10 != 0 {
            link.send(&message).unwrap();
            sent += 1;
        }
        link.close(Ending::of(Cause::Admin).code(1000).reason("enough"));
        drop(link);
        for n in 0..sent {
            assert_eq!(client.next().await, Some(ReadPriority::Text(message.clone())), "message {n}");
        }
        assert_eq!(client.next().await, Some(ReadPriority::Close(Some(1000), "enough".into())));
        assert_eq!(client.next().await, None);
        assert_eq!(place.handler.ending().await.cause, Cause::Admin);
    });
}
