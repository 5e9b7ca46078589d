//! Webhooks side by side: the order of each flow holds, whatever the server does.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ledger::{Batch, Ledger};
use lifecycle::EventKind;
use sinks::State;

use crate::place::{PATIENCE, Place, append, eventually, ids, start, take, webhook};
use crate::server::{Reply, Server, reply};

const FLOWS: u64 = 7;

fn append_of_flows(ledger: &Ledger, count: u64) {
    let mut batch = Batch::new();
    for number in 0..count {
        let data = format!(r#"{{"flow":"f{}","n":{number}}}"#, number % FLOWS);
        batch.push(EventKind::FlowClosed.number(), 1, data.as_bytes());
    }
    take(ledger, batch);
}

fn number(id: &str) -> u64 {
    id.rsplit('.').next().unwrap().parse().unwrap()
}

/// Fails, stalls and refuses by turns; everything arrives, per flow in order, and what was taken is not sent
/// again.
fn order_holds(name: &str, more: &str) {
    const EVENTS: u64 = 300;
    let place = Place::new(name);
    let ledger = place.ledger();
    append_of_flows(&ledger, EVENTS);
    let busy = Arc::new(AtomicUsize::new(0));
    let server = Server::start(0, move |request, _| match request % 11 {
        3 => reply(503),
        5 => Reply { headers: vec![("retry-after", "0")], ..reply(429) },
        7 => reply(422),
        _ => {
            busy.fetch_add(1, Ordering::SeqCst);
            reply(204)
        }
    });
    let sink = start(&ledger, webhook("crm", server.port, more));
    eventually("all is delivered", || sink.status().lag == 0);
    let taken = server.taken();
    let mut by_flow: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for id in &taken {
        by_flow.entry((number(id) - 1) % FLOWS).or_default().push(number(id));
    }
    for (flow, of_flow) in by_flow {
        let expected: Vec<u64> = (1..=EVENTS).filter(|number| (number - 1) % FLOWS == flow).collect();
        assert_eq!(of_flow, expected, "flow {flow}");
    }
    assert_eq!(sink.finish(PATIENCE).status.delivered, EVENTS);
}

#[test]
fn the_order_of_each_flow_holds_one_by_one() {
    order_holds("lanes-single", "concurrency = 4");
}

#[test]
fn the_order_of_each_flow_holds_in_batches() {
    order_holds("lanes-batched", "concurrency = 4\nmode = \"batched\"\nbatch_max = 5");
}

#[test]
fn a_flow_whose_request_hangs_does_not_keep_the_others() {
    let place = Place::new("lanes-slow");
    let ledger = place.ledger();
    let slow = Arc::new(Mutex::new(true));
    let is_slow = Arc::clone(&slow);
    let server = Server::start(0, move |_, ids| {
        if ids[0] == "edge1.1.1" && *is_slow.lock().unwrap() {
            return Reply { after: Duration::from_secs(60), ..reply(204) };
        }
        reply(204)
    });
    let sink = start(&ledger, webhook("crm", server.port, "concurrency = 3\ntimeout = \"5m\""));
    append_of_flows(&ledger, 1);
    eventually("it hangs", || server.received().len() == 1);
    // They come while it hangs, and go on their way at once.
    append_of_flows(&ledger, 1);
    append(&ledger, 3);
    eventually("the others are there", || server.taken().len() == 3);
    assert_eq!(server.taken(), ids(3, 3), "and the second of the flow that hangs is not");
    assert_eq!((sink.status().lag, sink.status().delivered), (5, 0), "the cursor stays before the gap");
    *slow.lock().unwrap() = false;
    drop(sink);
    let again = start(&ledger, webhook("crm", server.port, "concurrency = 3")).finish(PATIENCE);
    assert_eq!((again.status.lag, again.status.delivered), (0, 5));
}

#[test]
fn a_refused_event_goes_to_the_dead_letters_if_they_are_asked_for() {
    for (name, more) in [
        ("dead-single", ""),
        ("dead-batched", "mode = \"batched\""),
        ("dead-lanes", "concurrency = 4\nmode = \"batched\"\nbatch_max = 3"),
    ] {
        let place = Place::new(name);
        let (ledger, letters) = (place.ledger(), place.path("refused.jsonl"));
        append(&ledger, 10);
        let poison = |ids: &[String]| ids.iter().any(|id| id == "edge1.1.4");
        let server = Server::start(0, move |_, ids| if poison(ids) { reply(400) } else { reply(200) });
        let more = format!("{more}\ndead_letter = \"{}\"", letters.display());
        let sink = start(&ledger, webhook("crm", server.port, &more));
        eventually("the rest is delivered", || sink.status().lag == 0);
        let status = sink.status();
        assert_eq!((status.dead_lettered, status.delivered, status.state), (1, 9, State::Working), "{name}");
        let mut taken = server.taken();
        taken.sort_by_key(|id| number(id));
        assert_eq!(taken, [ids(1, 3), ids(5, 6)].concat(), "{name}");
        let letter: serde_json::Value =
            serde_json::from_str(std::fs::read_to_string(&letters).unwrap().trim()).unwrap();
        assert_eq!((&letter["sink"], &letter["event"]["id"]), (&"crm".into(), &"edge1.1.4".into()));
        assert_eq!(letter["error"], "HTTP 400 Bad Request");
    }
}

#[test]
fn an_address_given_up_for_good_loses_nothing_and_is_left_alone() {
    let place = Place::new("gone");
    let (ledger, letters) = (place.ledger(), place.path("refused.jsonl"));
    append(&ledger, 2);
    let server = Server::start(0, |_, _| reply(410));
    let more = format!("dead_letter = \"{}\"", letters.display());
    let sink = start(&ledger, webhook("crm", server.port, &more));
    eventually("it is blocked", || sink.status().state == State::Blocked);
    assert!(sink.status().last_error.unwrap().text.contains("given up for good"));
    let finished = sink.finish(Duration::from_millis(200));
    assert_eq!((finished.status.lag, finished.status.dead_lettered), (2, 0), "it is not the event's fault");
    assert!(!letters.exists());
}
