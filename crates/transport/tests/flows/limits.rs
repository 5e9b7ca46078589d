//! Flows that are too old, have too little to say, or too much.

use std::{num::NonZeroU32, time::Duration};

use lifecycle::{Cause, FlowLimits, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    client::{Client, ReadPriority, close_frame, frame, read_all, text_frame},
    handler::{FakeHandler, HandshakeSlot, on_a_shard},
};

const SOON: Duration = Duration::from_millis(60);

fn limited(transport: Transport, limits: FlowLimits) -> HandshakeSlot {
    HandshakeSlot::with(transport, |settings| settings.limits = limits)
}

fn idle(transport: Transport) -> HandshakeSlot {
    limited(transport, FlowLimits { idle: Some(SOON), ..FlowLimits::default() })
}

fn rate(transport: Transport, rate: u32) -> HandshakeSlot {
    limited(transport, FlowLimits { message_rate: NonZeroU32::new(rate), ..FlowLimits::default() })
}

fn told(ending: &lifecycle::Ending) -> (Cause, Option<u16>, &str) {
    (ending.cause, ending.code, ending.reason.as_ref().map_or("", |reason| reason.as_str()))
}

#[test]
fn keepalives_of_every_kind_do_not_keep_an_idle_flow() {
    on_a_shard(async {
        let place = idle(Transport::Ws);
        let mut client = Client::open(&place).await;
        let keepalives = [text_frame("\r\n\r\n"), frame(0x89, b"ping"), frame(0x8a, b"")].concat();
        let heard = loop {
            if client.stream.write_all(&keepalives).await.is_err() {
                break client.next().await;
            }
            match client.next().await {
                Some(ReadPriority::Text(_) | ReadPriority::Pong(_)) => {}
                heard => break heard,
            }
        };
        assert_eq!(heard, Some(ReadPriority::Close(Some(1000), "no SIP for 60ms".into())));
        assert_eq!(told(&place.handler.ending().await), (Cause::Idle, Some(1000), "no SIP for 60ms"));

        let place = idle(Transport::Tcp);
        let mut stream = place.connect().await;
        stream.write_all(b"OPTIONS sip:a SIP/2.0\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        let mut pong = [0; 2];
        while stream.write_all(b"\r\n\r\n").await.is_ok() && matches!(stream.read(&mut pong).await, Ok(1..)) {
        }
        assert_eq!(told(&place.handler.ending().await), (Cause::Idle, Some(1000), "no SIP for 60ms"));
    });
}

#[test]
fn sip_that_lies_unread_after_a_pause_of_ours_keeps_a_flow() {
    on_a_shard(async {
        let place = idle(Transport::Ws);
        let mut client = Client::open(&place).await;
        for _ in 0..4 {
            client.text("echo").await;
            // The whole shard stands still past the deadline.
            std::thread::sleep(2 * SOON);
            assert_eq!(client.next().await, Some(ReadPriority::Text(b"echo".to_vec())));
        }
        assert!(place.handler.endings.borrow().is_empty());
        client.raw(&close_frame(1000, "")).await;
        std::thread::sleep(2 * SOON);
        assert_eq!(place.handler.ending().await.cause, Cause::CloseFrame, "so does a Close frame");
    });
}

#[test]
fn an_old_flow_ends_whether_it_is_silent_or_never_is() {
    on_a_shard(async {
        for (transport, talks) in
            [(Transport::Ws, false), (Transport::Ws, true), (Transport::Tcp, false), (Transport::Tcp, true)]
        {
            let limits = FlowLimits { lifetime: Some(SOON), ..FlowLimits::default() };
            let place = HandshakeSlot::with(transport, |settings| {
                (settings.limits, settings.close_timeout) = (limits, SOON);
            });
            let mut stream = place.connect().await;
            let options = b"OPTIONS sip:a SIP/2.0\r\nContent-Length: 0\r\n\r\n".repeat(1000);
            let chatter = if transport == Transport::Ws {
                stream = Client::over(stream).await.stream;
                frame(0x8a, b"").repeat(5000)
            } else {
                stream.write_all(&options[..44]).await.unwrap();
                options
            };
            // There is always something to read, so the timer alone would not come to its turn.
            while talks && stream.write_all(&chatter).await.is_ok() {
                tokio::task::yield_now().await;
            }
            let ending = place.handler.ending().await;
            assert_eq!((ending.cause, ending.code), (Cause::Lifetime, Some(1001)), "{transport}, {talks}");
            let _ = read_all(&mut stream).await;
        }
    });
}

/// As many as it may say at once are handled; the one too many is not.
async fn handled(handler: &FakeHandler, most: usize) {
    let ending = handler.ending().await;
    assert_eq!(told(&ending), (Cause::RateLimited, Some(1008), "more than 2 messages a second"));
    let messages = handler.messages.borrow().len();
    // A slow machine gives it a moment more.
    assert!((20..most).contains(&messages), "{messages} messages");
}

#[test]
fn a_flow_that_says_too_much_is_closed_behind_what_it_may_say() {
    on_a_shard(async {
        let place = rate(Transport::Ws, 2);
        let mut client = Client::open(&place).await;
        client.raw(&text_frame("MESSAGE").repeat(1000)).await;
        let reason = "more than 2 messages a second".to_owned();
        assert_eq!(client.next().await, Some(ReadPriority::Close(Some(1008), reason)));
        handled(&place.handler, 1000).await;

        let place = rate(Transport::Tcp, 2);
        let mut stream = place.connect().await;
        stream.write_all(&b"OPTIONS sip:a SIP/2.0\r\nContent-Length: 0\r\n\r\n".repeat(1000)).await.unwrap();
        handled(&place.handler, 1000).await;
        let _ = read_all(&mut stream).await;
    });
}

#[test]
fn keepalives_count_but_a_close_frame_never_is_one_too_many() {
    on_a_shard(async {
        for keepalive in [frame(0x89, b"ping"), text_frame("\r\n\r\n")] {
            let place = rate(Transport::Ws, 2);
            let mut client = Client::open(&place).await;
            client.raw(&keepalive.repeat(1000)).await;
            assert_eq!(place.handler.ending().await.cause, Cause::RateLimited);
        }
        let place = rate(Transport::Ws, 2);
        let mut client = Client::open(&place).await;
        client.raw(&[text_frame("MESSAGE").repeat(20), close_frame(1000, "")].concat()).await;
        assert_eq!(place.handler.ending().await.cause, Cause::CloseFrame);
        assert_eq!(place.handler.messages.borrow().len(), 20);
    });
}
