//! What no peer can do: keep a descriptor, or keep the shard for itself.

use std::{io::Write as _, time::Duration};

use lifecycle::{Cause, Transport};
use tokio::io::AsyncWriteExt;

use crate::{
    client::{Client, ReadPriority, close_frame, frame, text_frame},
    handler::{HandshakeSlot, on_a_shard},
};

/// Writes until the connection is cut: only a peer that let go of its descriptor does that.
async fn cut_while_flooding(mut stream: impl tokio::io::AsyncWrite + Unpin) {
    let junk = [0; 4096];
    while stream.write_all(&junk).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_peer_that_never_lets_go_is_cut_off() {
    on_a_shard(async {
        let place = HandshakeSlot::with(Transport::Ws, |s| s.close_timeout = Duration::from_millis(50));
        let mut client = Client::open(&place).await;
        client.raw(&close_frame(1000, "")).await;
        assert_eq!(place.handler.ending().await.cause, Cause::CloseFrame);
        cut_while_flooding(client.stream).await;
    });
}

#[test]
fn a_peer_that_answers_our_close_with_anything_else_is_cut_off() {
    on_a_shard(async {
        let garbage = vec![0xff; 100];
        let pings = frame(0x89, b"still here");
        let messages = text_frame("and another thing");
        for answer in [garbage, pings, messages] {
            let place = HandshakeSlot::with(Transport::Ws, |s| s.close_timeout = Duration::from_millis(50));
            let mut client = Client::open(&place).await;
            client.text("end maintenance").await;
            assert_eq!(client.next().await, Some(ReadPriority::Close(Some(1000), "maintenance".into())));
            while client.stream.write_all(&answer).await.is_ok() {
                tokio::task::yield_now().await;
            }
            assert_eq!(place.handler.ending().await.cause, Cause::Admin);
            assert_eq!(
                place.handler.messages(1).await,
                [b"end maintenance"],
                "after our Close nothing is handled"
            );
        }
    });
}

#[test]
fn a_peer_that_reads_no_goodbye_is_cut_off() {
    on_a_shard(async {
        let place = HandshakeSlot::with(Transport::Ws, |s| {
            s.close_timeout = Duration::from_millis(50);
            s.outbound_queue = 1 << 30;
        });
        let mut client = Client::open(&place).await;
        let link = place.handler.links.borrow()[0].clone();
        let message = vec![b'x'; 100_000];
        while !link.has_unsent() {
            link.send(&message).unwrap();
        }
        drop(link);
        client.text("end now").await;
        assert_eq!(place.handler.ending().await.cause, Cause::Admin);
        cut_while_flooding(client.stream).await;
    });
}

#[test]
fn a_refused_peer_that_never_lets_go_is_cut_off() {
    on_a_shard(async {
        let place = HandshakeSlot::with(Transport::Ws, |s| s.close_timeout = Duration::from_millis(50));
        let mut stream = place.connect().await;
        stream.write_all(b"nonsense\r\n\r\n").await.unwrap();
        cut_while_flooding(stream).await;
    });
}

#[test]
fn a_flood_does_not_keep_others_waiting() {
    on_a_shard(async {
        let place = HandshakeSlot::ws();
        let flooding = Client::open(&place).await.stream.into_std().unwrap();
        flooding.set_nonblocking(false).unwrap();
        let mut flood = flooding.try_clone().unwrap();
        let flooder = std::thread::spawn(move || {
            let chunk = text_frame("water").repeat(8192);
            while flood.write_all(&chunk).is_ok() {}
        });
        let mut client = Client::open(&place).await;
        place.handler.messages(1000).await;
        for _ in 0..20 {
            let before = place.handler.messages.borrow().len();
            client.text("echo me too").await;
            assert_eq!(client.next().await, Some(ReadPriority::Text(b"echo me too".to_vec())));
            let between = place.handler.messages.borrow()[before..]
                .iter()
                .position(|message| message == b"echo me too")
                .unwrap();
            // A turn is one read of 32 KiB, 2979 such messages. With nothing but the runtime's own budget it
            // would be 128 reads.
            assert!(between < 10 * 2979, "{between} messages of the flood came first");
        }
        flooding.shutdown(std::net::Shutdown::Both).unwrap();
        flooder.join().unwrap();
    });
}
