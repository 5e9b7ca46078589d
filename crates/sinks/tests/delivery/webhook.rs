//! Webhooks: what is sent, and what becomes of every kind of answer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use sinks::{Rest, State};

use crate::place::{KEY, PATIENCE, Place, append, eventually, ids, start, webhook};
use crate::server::{Received, Reply, Server, reply};

/// HMAC as RFC 2104 spells it out.
fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    let padded = |with: u8| block.map(|byte| byte ^ with);
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize().to_vec()
}

fn assert_signed(request: &Received) {
    let (id, timestamp) = (request.header("webhook-id"), request.header("webhook-timestamp"));
    let message = [id.as_bytes(), b".", timestamp.as_bytes(), b".", &request.body].concat();
    let expected = base64::engine::general_purpose::STANDARD.encode(hmac_sha256(&KEY, &message));
    assert_eq!(request.header("webhook-signature"), format!("v1,{expected}"));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    assert!(now.abs_diff(timestamp.parse().unwrap()) <= 60);
}

#[test]
fn events_arrive_signed_and_in_order() {
    let place = Place::new("signed");
    let ledger = place.ledger();
    let server = Server::start(0, |_, _| reply(204));
    let sink = start(&ledger, webhook("crm", server.port, ""));
    append(&ledger, 20);
    eventually("all are delivered", || server.taken().len() >= 20);
    assert_eq!(server.taken(), ids(1, 20));
    for (request, id) in server.received().iter().zip(ids(1, 20)) {
        assert_eq!(request.header("webhook-id"), id);
        assert_eq!(request.header("content-type"), "application/cloudevents+json");
        assert_eq!(request.header("host"), format!("127.0.0.1:{}", server.port));
        assert_eq!(request.target, "/events?x=1");
        assert_signed(request);
    }
    eventually("the status is settled", || sink.status().lag == 0);
    let status = sink.status();
    assert_eq!((status.state, status.delivered, status.deliveries), (State::Working, 20, 20));
    assert_eq!((status.retries, status.oldest_waiting_at, status.last_error), (0, None, None));
    assert!(status.last_delivery.is_some());
    assert!(!status.target.contains("/events"));
}

#[test]
fn what_waits_goes_out_in_batches() {
    let place = Place::new("batches");
    let ledger = place.ledger();
    append(&ledger, 25);
    let server = Server::start(0, |_, _| reply(200));
    let more = "mode = \"batched\"\nbatch_max = 10";
    let finished = start(&ledger, webhook("crm", server.port, more)).finish(PATIENCE);
    assert_eq!((finished.rest, finished.status.lag), (Rest::Ended, 0));
    assert_eq!(server.taken(), ids(1, 25));
    let sizes: Vec<_> = server.received().iter().map(|request| request.ids().len()).collect();
    assert_eq!(sizes, [10, 10, 5]);
    let first = &server.received()[0];
    assert_eq!(first.header("webhook-id"), "edge1.1.1..edge1.1.10");
    assert_eq!(first.header("content-type"), "application/cloudevents-batch+json");
    assert_signed(first);
}

#[test]
fn errors_timeouts_and_large_answers_are_got_over() {
    let place = Place::new("errors");
    let ledger = place.ledger();
    let server = Server::start(0, |number, _| match number {
        1 => reply(500),
        2 => Reply { after: Duration::from_secs(20), ..reply(200) },
        3 => reply(429),
        5 => Reply { body: Bytes::from(vec![b'x'; 1 << 20]), ..reply(200) },
        6 => Reply { body: Bytes::from(vec![b'y'; 1 << 20]), ..reply(503) },
        _ => reply(200),
    });
    let sink = start(&ledger, webhook("crm", server.port, "timeout = \"300ms\""));
    append(&ledger, 6);
    eventually("all are delivered", || server.taken().len() >= 6);
    assert_eq!(server.taken(), ids(1, 6));
    eventually("the retries are counted", || {
        sink.status().retries == 4 && sink.status().state == State::Working
    });
    let error = sink.status().last_error.unwrap().text;
    assert!(error.starts_with("HTTP 503 Service Unavailable: yyy") && error.len() < 200, "{error}");
}

#[test]
fn the_server_says_when_to_come_again() {
    let place = Place::new("retry-after");
    let ledger = place.ledger();
    let server = Server::start(0, |number, _| match number {
        0 => Reply { headers: vec![("retry-after", "1")], ..reply(503) },
        _ => reply(200),
    });
    let sink = start(&ledger, webhook("crm", server.port, ""));
    append(&ledger, 1);
    eventually("it is delivered", || server.taken().len() == 1);
    let received = server.received();
    assert!(received[1].at - received[0].at >= Duration::from_secs(1));
    drop(sink);
}

fn poison_blocks_and_shows(name: &str, more: &str) {
    let place = Place::new(name);
    let ledger = place.ledger();
    append(&ledger, 10);
    let mended = Arc::new(AtomicUsize::new(0));
    let mend = Arc::clone(&mended);
    let server = Server::start(0, move |_, ids| {
        let poisoned = ids.iter().any(|id| id == "edge1.1.4") && mend.load(Ordering::SeqCst) == 0;
        if poisoned { Reply { body: "no f3 please".into(), ..reply(422) } } else { reply(200) }
    });
    let sink = start(&ledger, webhook("crm", server.port, more));
    eventually("it is blocked", || sink.status().blocked.is_some());
    let status = sink.status();
    let blocked = status.blocked.unwrap();
    assert_eq!((status.state, blocked.event.as_str()), (State::Blocked, "edge1.1.4"));
    assert_eq!(blocked.error, "HTTP 422 Unprocessable Entity: no f3 please");
    assert_eq!((status.lag, status.oldest_waiting_at), (7, Some(1_700_000_000_000_000)));
    eventually("it is tried again", || sink.status().retries > 2);
    assert_eq!(server.taken(), ids(1, 3), "nothing overtakes it");
    assert_eq!(sink.status().blocked.unwrap().since, blocked.since);

    mended.store(1, Ordering::SeqCst);
    eventually("the rest follows", || server.taken().len() >= 10);
    assert_eq!(server.taken(), ids(1, 10));
    eventually("it is no longer blocked", || sink.status().state == State::Working);
    assert_eq!(sink.status().blocked, None);
}

#[test]
fn a_refused_event_blocks_and_shows() {
    poison_blocks_and_shows("poison", "");
}

#[test]
fn a_refused_event_is_singled_out_of_its_batch() {
    poison_blocks_and_shows("poison-batch", "mode = \"batched\"");
}

#[test]
fn a_redirect_is_refused_and_says_where_it_points() {
    let place = Place::new("redirect");
    let ledger = place.ledger();
    append(&ledger, 1);
    let elsewhere = ("location", "https://elsewhere.example/");
    let server = Server::start(0, move |_, _| Reply { headers: vec![elsewhere], ..reply(302) });
    let sink = start(&ledger, webhook("crm", server.port, ""));
    eventually("it is blocked", || sink.status().blocked.is_some());
    let error = sink.status().blocked.unwrap().error;
    assert_eq!(error, "HTTP 302 Found: redirects are not followed; it points to https://elsewhere.example/");
}

#[test]
fn a_server_that_restarts_misses_nothing() {
    let place = Place::new("server-restart");
    let ledger = place.ledger();
    let taken = Arc::new(Mutex::new(Vec::new()));
    let serve = |port| {
        let taken = Arc::clone(&taken);
        Server::start(port, move |_, ids| {
            taken.lock().unwrap().extend_from_slice(ids);
            reply(200)
        })
    };
    let mut server = serve(0);
    let port = server.port;
    let sink = start(&ledger, webhook("crm", port, ""));
    for _ in 0..3 {
        append(&ledger, 10);
        eventually("some arrive", || !server.received().is_empty());
        // In the middle of whatever it does: an answer may get lost on its way.
        drop(server);
        append(&ledger, 5);
        eventually("the outage shows", || sink.status().state == State::Retrying);
        server = serve(port);
    }
    eventually("all is delivered", || sink.status().lag == 0);
    let mut taken = taken.lock().unwrap().clone();
    // The one whose answer was lost came twice, and the two stand together.
    taken.dedup();
    assert_eq!(taken, ids(1, 45));
}

#[test]
fn a_sink_that_starts_again_goes_on_where_it_was() {
    let place = Place::new("resume");
    let server = Server::start(0, |_, _| reply(200));
    let ledger = place.ledger();
    append(&ledger, 5);
    let finished = start(&ledger, webhook("crm", server.port, "")).finish(PATIENCE);
    assert_eq!((finished.status.lag, finished.status.cursor.seq), (0, 5));
    append(&ledger, 3);
    ledger.close(PATIENCE).unwrap();
    drop(ledger);

    let ledger = place.ledger();
    append(&ledger, 2);
    let finished = start(&ledger, webhook("crm", server.port, "")).finish(PATIENCE);
    assert_eq!(finished.status.lag, 0);
    let mut expected = ids(1, 8);
    expected.extend(["edge1.2.1".to_owned(), "edge1.2.2".to_owned()]);
    assert_eq!(server.taken(), expected);

    // A crash before the cursor was saved: the same ids come again.
    ledger.cursor("crm").unwrap().reset(ledger::Position::new(1, 6), ledger::Save::Now).unwrap();
    let finished = start(&ledger, webhook("crm", server.port, "")).finish(PATIENCE);
    assert_eq!(finished.status.delivered, 4);
    assert_eq!(server.taken()[10..], expected[6..]);
}

#[test]
fn finishing_takes_no_longer_than_the_patience_and_says_what_is_left() {
    let place = Place::new("finish");
    let ledger = place.ledger();
    append(&ledger, 4);
    ledger.close(PATIENCE).unwrap();
    drop(ledger);
    let ledger = place.ledger();
    append(&ledger, 3);
    let server = Server::start(0, |_, _| Reply { after: Duration::from_secs(60), ..reply(200) });
    let sink = start(&ledger, webhook("crm", server.port, ""));
    eventually("a request hangs", || !server.received().is_empty());
    let began = Instant::now();
    let finished = sink.finish(Duration::from_millis(300));
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(finished.rest, Rest::Ended);
    assert_eq!((finished.status.state, finished.status.lag), (State::Stopped, 7));
    assert_eq!(ledger.cursor("crm").unwrap().position(), ledger::Position::START);
}
