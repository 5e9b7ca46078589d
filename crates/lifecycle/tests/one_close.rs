//! An open flow gets one close, whatever happens to it (DESIGN invariants 2, 3 and 4).
#![allow(clippy::unwrap_used)]

use std::{borrow::Cow, cell::RefCell, panic::AssertUnwindSafe, rc::Rc};

use lifecycle::{
    ADDITION_RESERVE, BindingAdded, BindingRemoved, CLOSE_RESERVE, Cause, CloseBook, Direction, Ending,
    Event, EventId, EventKind, FlowClosed, FlowEnd, FlowFacts, FlowId, FlowOpened, Identity, LedgerTrimmed,
    NAMED_BINDINGS, NAMED_CALLS, NAMED_CURSORS, Node, OpenFlow, OpenState, PassedCursor, REMOVAL_RESERVE,
    RemovalCause, SnapshotError, TRIMMED_RESERVE, Text, TlsFacts, Traffic, Transport, TrimReason, Trimmed,
};
use proptest::prelude::*;

type Written = Rc<RefCell<Vec<serde_json::Value>>>;

struct Book(Written);

impl CloseBook for Book {
    type Room = ();
    fn now_micros(&self) -> u64 {
        2_000_000
    }
    fn traffic(&self) -> Traffic {
        Traffic { frames_received: 3, ..Traffic::default() }
    }
    fn identity(&self) -> Option<Identity> {
        None
    }
    fn close(&mut self, end: FlowEnd<'_>, (): ()) {
        self.0.borrow_mut().push(serde_json::to_value(FlowClosed::from(&end)).unwrap());
    }
}

fn facts() -> FlowFacts {
    FlowFacts {
        transport: Transport::Ws,
        direction: Direction::Accepted,
        listener: Text::new("ws"),
        local: "127.0.0.1:8080".parse().unwrap(),
        remote: "127.0.0.1:40000".parse().unwrap(),
        forwarded: None,
        host: Some(Text::new("localhost")),
        origin: None,
        path: Some(Text::new("/")),
        user_agent: None,
        tls: None,
    }
}

fn open(written: &Written) -> OpenFlow<Book> {
    let id = FlowId { incarnation: 1, counter: 7 };
    let name = Node::new("edge1").unwrap().flow(id).into();
    OpenFlow::new(id, name, 1_000_000, facts().into(), Book(written.clone()), ())
}

#[test]
fn closing_writes_one_record_that_is_useful_alone() {
    let written = Written::default();
    let flow = open(&written);
    assert_eq!((flow.name(), flow.opened_at()), ("edge1.1.f7", 1_000_000));
    flow.close(&Ending::of(Cause::CloseFrame).code(1001).reason("going away"));
    let written = written.borrow();
    assert_eq!(written.len(), 1);
    let closed = &written[0];
    assert_eq!(closed["flow"], "edge1.1.f7");
    assert_eq!(closed["by"], "client");
    assert_eq!(closed["cause"], "close_frame");
    assert_eq!(closed["code"], 1001);
    assert_eq!(closed["reason"], "going away");
    assert_eq!(closed["certainty"], "observed");
    assert_eq!(closed["duration_ms"], 1000);
    assert_eq!(closed["remote"], "127.0.0.1:40000");
    assert_eq!(closed["frames_received"], 3);
}

#[test]
fn a_dropped_flow_is_closed_as_our_own_fault() {
    let written = Written::default();
    drop(open(&written));
    assert_eq!(written.borrow().len(), 1);
    assert_eq!(written.borrow()[0]["cause"], "internal_error");
    assert_eq!(written.borrow()[0]["reason"], "its task was dropped");
}

#[test]
fn a_panic_closes_the_flow_once() {
    let written = Written::default();
    let flow = open(&written);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let caught = std::panic::catch_unwind(AssertUnwindSafe(move || {
        let _flow = flow;
        panic!("a handler's bug");
    }));
    std::panic::set_hook(hook);
    assert!(caught.is_err());
    assert_eq!(written.borrow().len(), 1);
    assert_eq!(written.borrow()[0]["reason"], "a handler panicked");
}

fn fold(records: &[(EventKind, Vec<u8>)]) -> OpenState {
    let mut unfinished = OpenState::default();
    for (sequence, (kind, payload)) in (1..).zip(records) {
        unfinished.fold(EventId { incarnation: 1, sequence }, sequence, *kind, payload);
    }
    unfinished
}

fn record(event: &Event<'_>) -> (EventKind, Vec<u8>) {
    (event.kind(), event.to_json())
}

fn opened(flow: &str, facts: &FlowFacts) -> (EventKind, Vec<u8>) {
    record(&Event::FlowOpened(FlowOpened { flow, opened_at: 5_000_000, facts: Cow::Borrowed(facts) }))
}

fn added(flow: Option<&str>, aor: &str) -> (EventKind, Vec<u8>) {
    record(&Event::BindingAdded(BindingAdded {
        aor: Text::new(aor),
        contact: Text::new("sip:x@y.invalid"),
        flow,
        transport: Transport::Ws,
        remote: "127.0.0.1:40000".parse().unwrap(),
        instance: None,
        reg_id: None,
        identity: None,
        user_agent: None,
        expires_at: 9_000_000,
    }))
}

#[test]
fn what_a_crash_left_open_is_closed_once_with_its_bindings_before_it() {
    let facts = facts();
    let mut records = vec![
        opened("e.1.f1", &facts),
        opened("e.1.f2", &facts),
        added(Some("e.1.f1"), "a@x"),
        added(Some("e.1.f2"), "b@x"),
        added(Some("e.1.f1"), "a@x"),
        added(None, "udp@x"),
        record(&Event::BindingRemoved(BindingRemoved {
            aor: Text::new("b@x"),
            contact: Text::new("sip:x@y.invalid"),
            flow: Some("e.1.f2"),
            cause: RemovalCause::Unregistered.into(),
        })),
    ];
    let settle = |records: &[_]| {
        let mut settled = Vec::new();
        fold(records).settle(
            7_000_000,
            8_000_000,
            |_| Some(RemovalCause::NodeCrash),
            |event| settled.push(record(&event)),
        );
        settled
    };
    let settled = settle(&records);
    let kinds: Vec<_> = settled.iter().map(|(kind, _)| *kind).collect();
    use EventKind::{BindingRemoved as Removed, FlowClosed as Closed};
    assert_eq!(kinds, [Removed, Removed, Closed, Closed, Removed]);
    let closed: serde_json::Value = serde_json::from_slice(&settled[2].1).unwrap();
    assert_eq!(closed["flow"], "e.1.f1");
    assert_eq!(closed["by"], "node");
    assert_eq!(closed["cause"], "node_crash");
    assert_eq!(closed["certainty"], "journal_replay");
    assert_eq!(closed["closed_at_earliest"], "1970-01-01T00:00:07.000000Z");
    assert_eq!(closed["closed_at"], "1970-01-01T00:00:08.000000Z");
    assert_eq!(closed["bindings"][0], "a@x");

    records.extend(settled);
    assert!(settle(&records).is_empty(), "a second start owes nothing more");
}

#[test]
fn what_does_not_add_up_is_named() {
    let facts = facts();
    let closed = (EventKind::FlowClosed, br#"{"flow":"e.1.f1"}"#.to_vec());
    let unfinished = fold(&[
        opened("e.1.f1", &facts),
        closed.clone(),
        closed,
        opened("e.1.f2", &facts),
        opened("e.1.f2", &facts),
        (EventKind::FlowOpened, b"{}".to_vec()),
    ]);
    assert_eq!(unfinished.closed_without_open.len(), 1);
    assert_eq!(unfinished.opened_twice.len(), 1);
    assert_eq!(unfinished.unreadable.len(), 1);
}

fn longest_identity() -> Identity {
    Identity::new(&"\"".repeat(Identity::LONGEST)).unwrap()
}

fn longest<const MAX: usize>() -> Text<MAX> {
    Text::new("\"".repeat(MAX))
}

/// The worst that a peer can send still fits the room that was reserved for it.
#[test]
fn reserved_room_holds_the_longest_records() {
    let remote = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535".parse().unwrap();
    let facts = FlowFacts {
        transport: Transport::Wss,
        direction: Direction::Connected,
        listener: longest(),
        local: remote,
        remote,
        forwarded: Some(longest()),
        host: Some(longest()),
        origin: Some(longest()),
        path: Some(longest()),
        user_agent: Some(longest()),
        tls: Some(TlsFacts { version: longest(), cipher: longest() }),
    };
    let most = u64::MAX;
    let traffic = Traffic {
        frames_received: most,
        frames_sent: most,
        bytes_received: most,
        bytes_sent: most,
        silence_ms: most,
        ping_rtt_us: Some(most),
    };
    let ending = Ending::of(Cause::InternalError).code(65535).reason("\"".repeat(123));
    let name = format!("{}.{most}.f{most}", "n".repeat(32));
    let identity = longest_identity();
    let closed = Event::FlowClosed(FlowEnd {
        flow: &name,
        facts: &facts,
        identity: Some(&identity),
        opened_at: most,
        closed_at: lifecycle::ClosedAt::Between { earliest: most, latest: most },
        ending: &ending,
        certainty: lifecycle::Certainty::JournalReplay,
        traffic: Some(&traffic),
        bindings: &vec![longest(); NAMED_BINDINGS],
        bindings_total: usize::MAX,
        calls: &vec![longest(); NAMED_CALLS],
        calls_total: usize::MAX,
    });
    let longest_close = closed.to_json().len();
    assert!(longest_close <= CLOSE_RESERVE, "{longest_close} bytes");
    let removed = Event::BindingRemoved(BindingRemoved {
        aor: longest(),
        contact: longest(),
        flow: Some(&name),
        cause: RemovalCause::Unregistered.into(),
    });
    let longest_removal = removed.to_json().len();
    assert!(longest_removal <= REMOVAL_RESERVE, "{longest_removal} bytes");
    let added = Event::BindingAdded(BindingAdded {
        aor: longest(),
        contact: longest(),
        flow: Some(&name),
        transport: Transport::Wss,
        remote,
        instance: Some(longest()),
        reg_id: Some(u32::MAX),
        identity: Some(longest_identity()),
        user_agent: Some(longest()),
        expires_at: most,
    });
    let longest_addition = added.to_json().len();
    assert!(longest_addition <= ADDITION_RESERVE, "{longest_addition} bytes");
}

#[test]
fn the_longest_tombstone_fits_its_room() {
    let most = u64::MAX;
    let id = format!("{}.{most}.{most}", "n".repeat(32));
    let passed = PassedCursor { sink: Text::new("s".repeat(64)), read_to: Some(Text::new(&id)) };
    let tombstone = Event::LedgerTrimmed(LedgerTrimmed {
        first: &id,
        last: &id,
        records: most,
        bytes: most,
        reason: TrimReason::Size.into(),
        passed: vec![passed; NAMED_CURSORS].into(),
        passed_total: usize::MAX,
    });
    let length = tombstone.to_json().len();
    assert!(length <= TRIMMED_RESERVE, "{length} bytes");
}

#[test]
fn a_fold_remembers_what_was_dropped() {
    let tombstone = record(&Event::LedgerTrimmed(LedgerTrimmed {
        first: "e.1.1",
        last: "e.3.17",
        records: 1000,
        bytes: 1 << 20,
        reason: TrimReason::Age.into(),
        passed: Vec::new().into(),
        passed_total: 0,
    }));
    let id = |incarnation, sequence| EventId { incarnation, sequence };
    let trimmed = Some(Trimmed { first: id(1, 1), last: id(3, 17) });
    let folded = fold(&[tombstone]);
    assert_eq!(folded.trimmed(), trimmed);
    assert_eq!(OpenState::restore(&folded.snapshot()).unwrap().trimmed(), trimmed);
}

#[test]
fn snapshots_of_newer_programs_and_damaged_ones_are_refused() {
    let refused = OpenState::restore(br#"{"version":4}"#);
    assert!(matches!(refused, Err(SnapshotError::Newer { found: 4 })), "{refused:?}");
    let whole = fold(&[opened("e.1.f1", &facts())]).snapshot();
    for end in 0..whole.len() {
        assert!(OpenState::restore(&whole[..end]).is_err(), "{end}");
    }
    let stray = String::from_utf8(whole).unwrap().replace(r#""facts":[{"#, r#""facts":[],"was":[{"#);
    assert!(matches!(OpenState::restore(stray.as_bytes()), Err(SnapshotError::NoFacts)), "{stray}");
}

/// Flows that differ in their address alone cost little more than that.
#[test]
fn a_snapshot_tells_shared_facts_once() {
    let flows = |count: u16| -> Vec<_> {
        let facts = |port| FlowFacts { remote: ([127, 0, 0, 1], port).into(), ..facts() };
        (1..=count).map(|n| opened(&format!("e.1.f{n}"), &facts(n))).collect()
    };
    let (few, many) = (fold(&flows(1)).snapshot().len(), fold(&flows(1001)).snapshot().len());
    assert!((many - few) / 1000 < 64, "{few} and {many} bytes");
    let restored = OpenState::restore(&fold(&flows(3)).snapshot()).unwrap();
    assert_eq!(restored.flows()["e.1.f3"].facts().remote.port(), 3);
}

proptest! {
    /// A fold that was interrupted anywhere, any number of times, knows what one in a single piece knows.
    #[test]
    fn a_snapshot_loses_nothing(
        steps in proptest::collection::vec((0u8..6, 0u8..5), 0..40), cuts in proptest::collection::vec(any::<bool>(), 40),
    ) {
        let records: Vec<_> = steps.iter().map(|&(number, what)| {
            let (flow, aor) = (format!("e.1.f{number}"), format!("u{}@x", number % 2));
            let facts = FlowFacts { host: Some(Text::new(format!("h{}", number % 3))), ..facts() };
            match what {
                0 => opened(&flow, &facts),
                1 => (EventKind::FlowClosed, format!(r#"{{"flow":"{flow}"}}"#).into_bytes()),
                2 => added((number > 0).then_some(&flow), &aor),
                3 => record(&Event::BindingRemoved(BindingRemoved {
                    aor: Text::new(&aor), contact: Text::new("sip:x@y.invalid"),
                    flow: (number > 0).then_some(&flow), cause: RemovalCause::Expired.into(),
                })),
                _ => (EventKind::FlowOpened, b"{".to_vec()),
            }
        }).collect();
        let mut pieces = OpenState::default();
        for ((sequence, (kind, payload)), cut) in (1..).zip(&records).zip(cuts) {
            if cut {
                pieces = OpenState::restore(&pieces.snapshot()).unwrap();
            }
            pieces.fold(EventId { incarnation: 1, sequence }, sequence, *kind, payload);
        }
        prop_assert_eq!(pieces, fold(&records));
    }

    /// Any order of openings and closings: what settles is what was open, and after it nothing is.
    #[test]
    fn opened_minus_closed_is_what_settles(steps in proptest::collection::vec((0u8..20, any::<bool>()), 0..60)) {
        let facts = facts();
        let mut open = std::collections::BTreeSet::new();
        let mut records = Vec::new();
        for (number, opening) in steps {
            let flow = format!("e.1.f{number}");
            if opening && open.insert(number) {
                records.push(opened(&flow, &facts));
            } else if !opening && open.remove(&number) {
                records.push((EventKind::FlowClosed, format!(r#"{{"flow":"{flow}"}}"#).into_bytes()));
            }
        }
        let mut settled = Vec::new();
        let unfinished = fold(&records);
        prop_assert!(unfinished.closed_without_open.is_empty() && unfinished.opened_twice.is_empty());
        prop_assert_eq!(unfinished.opened - unfinished.closed, open.len() as u64);
        unfinished.settle(0, 1, |_| Some(RemovalCause::NodeCrash), |event| settled.push(record(&event)));
        prop_assert_eq!(settled.len(), open.len());
        records.extend(settled);
        prop_assert!(fold(&records).flows().is_empty());
    }
}
