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

#[test]
fn now_counts_in_microseconds_and_in_seconds() {
    let now = Now { instant: Instant::now(), unix_micros: 1_700_000_000_999_999 };
    assert_eq!(now.unix_seconds(), 1_700_000_000);
}

fn fold(state: &mut OpenState, sequence: u64, kind: EventKind, data: &str) {
    state.fold(EventId { incarnation: 1, sequence }, sequence * 1_000, kind, data.as_bytes());
}

fn call(name: &str) -> String {
    format!(
        r#"{{"call":"{name}","call_id":"{name}@x","started_at":"2026-01-01T00:00:00Z","caller":{{"aor":"a@x"}},"callee":{{"aor":"b@x"}}}}"#
    )
}

#[test]
fn the_fold_counts_calls_and_what_does_not_fit() {
    let mut state = OpenState::default();
    let [one, two, three] = ["e.1.c1", "e.1.c2", "e.1.c3"].map(call);
    let ended = |name: &str| format!(r#"{{"call":"{name}"}}"#);
    fold(&mut state, 1, EventKind::CallStarted, &one);
    fold(&mut state, 2, EventKind::CallStarted, &two);
    fold(&mut state, 3, EventKind::CallStarted, &three);
    fold(&mut state, 4, EventKind::CallEnded, &ended("e.1.c1"));
    fold(&mut state, 5, EventKind::CallEnded, &ended("e.1.c3"));
    assert_eq!((state.calls.started, state.calls.ended, state.calls.wrong()), (3, 2, 0));
    fold(&mut state, 6, EventKind::CallEnded, &ended("e.1.c3"));
    fold(&mut state, 7, EventKind::CallEnded, &ended("e.1.c3"));
    fold(&mut state, 8, EventKind::CallStarted, &two);
    let calls = state.calls;
    assert_eq!((calls.started, calls.ended), (4, 4));
    assert_eq!((calls.ended_without_start.len(), calls.started_twice.len(), calls.wrong()), (2, 1, 3));
    let open = calls.into_open();
    assert_eq!(open.keys().map(|name| &**name).collect::<Vec<_>>(), ["e.1.c2"]);
    assert_eq!(open["e.1.c2"].call_id.as_str(), "e.1.c2@x");
}

#[test]
fn the_fold_counts_users_and_what_does_not_fit() {
    let mut state = OpenState::default();
    let online = |aor: &str| format!(r#"{{"aor":"{aor}","online_at":"2026-01-01T00:00:00Z"}}"#);
    let offline = |aor: &str| format!(r#"{{"aor":"{aor}"}}"#);
    for (sequence, aor) in (1..).zip(["a@x", "b@x", "c@x"]) {
        fold(&mut state, sequence, EventKind::UserOnline, &online(aor));
    }
    fold(&mut state, 4, EventKind::UserOffline, &offline("a@x"));
    assert_eq!((state.users.came, state.users.went, state.users.online()), (3, 1, 2));
    assert_eq!(state.users.wrong(), 0);
    fold(&mut state, 5, EventKind::UserOnline, &online("b@x"));
    fold(&mut state, 6, EventKind::UserOffline, &offline("a@x"));
    fold(&mut state, 7, EventKind::UserOffline, &offline("a@x"));
    let users = &state.users;
    assert_eq!((users.online_twice.len(), users.offline_without_online.len(), users.wrong()), (1, 2, 3));
    let who: Vec<_> = users.who().map(|(aor, since)| (aor.to_string(), since)).collect();
    let since = 1_767_225_600_000_000;
    assert_eq!(who, [("b@x".to_owned(), since), ("c@x".to_owned(), since)]);
    assert_eq!(state.users.into_users().len(), 2);
}

/// Flows, bindings and what was dropped, as `sipway audit` and the admin API read them.
#[test]
fn the_fold_hands_over_what_is_open() {
    let mut state = OpenState::default();
    let opened = |flow: &str| {
        format!(
            r#"{{"flow":"{flow}","opened_at":"1970-01-01T00:00:05Z","transport":"ws","direction":"accepted","listener":"ws","local":"127.0.0.1:1","remote":"127.0.0.1:2"}}"#
        )
    };
    let added = r#"{"aor":"a@x","contact":"sip:c","flow":"e.1.f1","transport":"ws","remote":"127.0.0.1:2","expires_at":"2026-01-01T00:00:00Z"}"#;
    let removed = r#"{"aor":"a@x","contact":"sip:c","flow":"e.1.f1","cause":"expired"}"#;
    fold(&mut state, 1, EventKind::FlowOpened, &opened("e.1.f1"));
    fold(&mut state, 2, EventKind::FlowOpened, &opened("e.1.f2"));
    fold(&mut state, 3, EventKind::FlowClosed, r#"{"flow":"e.1.f2"}"#);
    fold(&mut state, 4, EventKind::BindingAdded, added);
    fold(&mut state, 5, EventKind::BindingAdded, added);
    fold(&mut state, 6, EventKind::BindingRemoved, removed);
    assert_eq!((state.opened, state.closed, state.unreadable.len()), (2, 1, 0));
    assert_eq!(state.flows().len(), 1);
    assert_eq!(state.flows()["e.1.f1"].opened_at, 5_000_000);
    let bindings: Vec<_> = state.bindings().map(|(flow, open)| (flow, open.aor.as_str())).collect();
    assert_eq!(bindings, [(Some("e.1.f1"), "a@x")]);
    assert_eq!(state.trimmed(), None);
    let open = state.into_open();
    assert_eq!((open.flows.len(), open.bindings.count(), open.users.online()), (1, 1, 0));
}
