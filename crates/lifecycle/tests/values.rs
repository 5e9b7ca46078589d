//! Values that other programs, or ledgers on disk, rely on.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use lifecycle::*;

/// The numbers stand in ledgers on disk. One that changes makes every older ledger unreadable.
#[test]
fn the_numbers_of_event_types_never_change() {
    let numbers = [
        (1, "node.started"),
        (2, "node.stopped"),
        (3, "ledger.trimmed"),
        (4, "audit.differed"),
        (10, "flow.opened"),
        (11, "flow.closed"),
        (20, "binding.added"),
        (21, "binding.removed"),
        (25, "user.online"),
        (26, "user.offline"),
        (30, "call.started"),
        (31, "call.answered"),
        (32, "call.held"),
        (33, "call.resumed"),
        (34, "call.ended"),
    ];
    assert_eq!(numbers.len(), EventKind::ALL.len());
    for (number, word) in numbers {
        let kind: EventKind = word.parse().unwrap();
        assert_eq!(kind.number(), number, "{word}");
        assert_eq!(EventKind::try_from(number), Ok(kind));
    }
    let unknown = EventKind::try_from(5).unwrap_err().to_string();
    assert_eq!(unknown, "5 is the number of no event type that this program knows");
}

#[test]
fn a_transport_has_its_word_of_via() {
    let words = Transport::ALL.iter().map(|transport| transport.via());
    assert_eq!(words.collect::<Vec<_>>(), ["WS", "WSS", "TCP", "TLS", "UDP"]);
}

#[test]
fn names_carry_the_node_and_its_run() {
    let node = Node::new("edge-1").unwrap();
    assert_eq!(node.as_str(), "edge-1");
    assert_eq!(node.flow(FlowId { incarnation: 3, counter: 42 }), "edge-1.3.f42");
    assert_eq!(node.call(3, 42), "edge-1.3.c42");
    assert_eq!(node.event(EventId { incarnation: 3, sequence: 42 }), "edge-1.3.42");
    assert_eq!(Identity::new("alice@x").unwrap().to_string(), "alice@x");
}

#[test]
fn moments_are_read_in_every_unit() {
    let now = 100 * 86_400 * 1_000_000;
    for (text, seconds) in [("7s", 7), ("7m", 7 * 60), ("7h", 7 * 3_600), ("7d", 7 * 86_400)] {
        assert_eq!(moment(text, now), Ok(now - seconds * 1_000_000), "{text}");
    }
}

/// A search that is fast must still find names that JSON writes with escapes.
#[test]
fn a_name_with_escapes_is_not_ruled_out() {
    let payload = br#"{"aor":"ada@x"}"#;
    assert!(mentions(payload, "ada@x"));
    assert!(!mentions(payload, "bob@x"));
    for escaped in ["b\"b@x", "b\\b@x", "b\nb@x"] {
        assert!(mentions(payload, escaped), "{escaped:?}");
    }
    let choice =
        EventFilter { aor: Some("ada@x".into()), flow: Some("e.1.f1".into()), ..EventFilter::default() };
    assert!(choice.takes(EventKind::FlowClosed, 1, br#"{"flow":"e.1.f1","bindings":["ada@x"]}"#));
    assert!(!choice.takes(EventKind::FlowClosed, 1, br#"{"flow":"e.1.f2","bindings":["ada@x"]}"#));
    assert!(!choice.takes(EventKind::FlowClosed, 1, br#"{"flow":"e.1.f1","bindings":["bob@x"]}"#));
}

/// What is found wrong is named up to a bound, and counted beyond it.
#[test]
fn findings_are_bounded_and_counted() {
    let mut state = OpenState::default();
    assert!(state.closed_without_open.is_empty());
    let closes = NAMED_FINDINGS as u64 + 5;
    for sequence in 1..=closes {
        let id = EventId { incarnation: 1, sequence };
        state.fold(id, sequence, EventKind::FlowClosed, br#"{"flow":"e.1.f1"}"#);
    }
    let found = &state.closed_without_open;
    assert!(!found.is_empty());
    assert_eq!((found.len(), found.iter().count()), (closes, NAMED_FINDINGS));
}

#[test]
fn a_flow_is_pinged_after_its_own_time() {
    let (start, second) = (Instant::now(), Duration::from_secs(1));
    let liveness = Liveness::new(start, 25 * second, 10 * second);
    assert_eq!(liveness.with_ping_after(20 * second).deadline(), start + 20 * second);
    assert_eq!(liveness.deadline(), start + 25 * second);
}

#[test]
fn a_flow_knows_when_its_credentials_run_out() {
    let start = Instant::now();
    let usage = Usage::new(start, 1, &FlowLimits::default());
    assert_eq!(usage.vouched(), None);
    let until = start + Duration::from_secs(60);
    assert_eq!(usage.vouched_until(until).vouched(), Some(until));
}
