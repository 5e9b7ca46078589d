//! What comes in on an open WebSocket.

use websocket::client;

use crate::{
    client::{Client, KEY, ReadPriority, frame, text_frame},
    handler::{HandshakeSlot, on_a_shard},
};

#[test]
fn fragments_with_control_frames_between() {
    on_a_shard(async {
        let place = HandshakeSlot::ws();
        let mut client = Client::open(&place).await;
        for part in [
            frame(0x01, b"echo o"),
            frame(0x89, b"are you there"),
            frame(0x00, b"ne, t"),
            frame(0x8a, b"unasked"),
            frame(0x80, b"wo"),
        ] {
            client.raw(&part).await;
        }
        assert_eq!(client.next().await, Some(ReadPriority::Pong(b"are you there".to_vec())));
        assert_eq!(client.next().await, Some(ReadPriority::Text(b"echo one, two".to_vec())));
    });
}

#[test]
fn a_frame_in_single_bytes_and_one_with_a_64_bit_length() {
    on_a_shard(async {
        let place = HandshakeSlot::ws();
        let mut client = Client::open(&place).await;
        for byte in text_frame("drop by drop") {
            client.raw(&[byte]).await;
        }
        let big = "x".repeat(70_000);
        let bytes = text_frame(&big);
        assert_eq!(bytes[1], 0xff, "a 64-bit length");
        client.raw(&bytes).await;
        assert_eq!(place.handler.messages(2).await, [b"drop by drop".to_vec(), big.into_bytes()]);
    });
}

#[test]
fn bytes_that_are_no_text_go_and_come_as_binary() {
    on_a_shard(async {
        let place = HandshakeSlot::ws();
        let mut client = Client::open(&place).await;
        let mut bytes = Vec::new();
        client::binary(b"echo \xff", KEY, &mut bytes);
        client::binary(b"echo plain", KEY, &mut bytes);
        client.raw(&bytes).await;
        assert_eq!(client.next().await, Some(ReadPriority::Binary(b"echo \xff".to_vec())));
        assert_eq!(client.next().await, Some(ReadPriority::Text(b"echo plain".to_vec())));
    });
}

#[test]
fn keepalives_of_both_kinds_are_answered() {
    on_a_shard(async {
        let place = HandshakeSlot::ws();
        let mut client = Client::open(&place).await;
        client.text("\r\n\r\n").await;
        assert_eq!(client.next().await, Some(ReadPriority::Text(b"\r\n".to_vec())));
        // Neither a pong nor nothing at all is answered or handed on.
        client.text("\r\n").await;
        client.text("").await;
        client.raw(&frame(0x89, b"ping")).await;
        assert_eq!(client.next().await, Some(ReadPriority::Pong(b"ping".to_vec())));
        assert!(place.handler.messages.borrow().is_empty());
    });
}

#[test]
fn a_thousand_pings_are_answered_in_order() {
    on_a_shard(async {
        let place = HandshakeSlot::ws();
        let mut client = Client::open(&place).await;
        let pings: Vec<u8> = (0u16..1000).flat_map(|n| frame(0x89, &n.to_be_bytes())).collect();
        client.raw(&pings).await;
        for n in 0u16..1000 {
            assert_eq!(client.next().await, Some(ReadPriority::Pong(n.to_be_bytes().to_vec())));
        }
    });
}

#[test]
fn what_is_no_sip_is_the_owners_business() {
    on_a_shard(async {
        let place = HandshakeSlot::ws();
        let mut client = Client::open(&place).await;
        client.text("this is no SIP at all").await;
        client.text("echo still here").await;
        assert_eq!(client.next().await, Some(ReadPriority::Text(b"echo still here".to_vec())));
        assert_eq!(place.handler.messages.borrow().len(), 2);
    });
}
