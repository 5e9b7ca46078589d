//! What a ledger tells of calls, and what a process that died owes of them.
#![allow(clippy::unwrap_used)]

use std::borrow::Cow;

use lifecycle::{
    CallAnswered, CallBy, CallCause, CallEnd, CallParty, CallStarted, Certainty, ClosedAt, Direction, Event,
    EventId, EventKind, FlowFacts, FlowOpened, OpenState, Text, Transport,
};
use proptest::prelude::*;

fn party(user: &str, flow: Option<&str>) -> CallParty {
    CallParty {
        aor: Text::new(format!("{user}@x")),
        display: None,
        contact: None,
        user_agent: None,
        flow: flow.map(Text::new),
        transport: flow.map(|_| Transport::Ws),
        remote: None,
    }
}

fn record(event: &Event<'_>) -> (EventKind, Vec<u8>) {
    (event.kind(), event.to_json())
}

fn opened(flow: &str) -> (EventKind, Vec<u8>) {
    let facts = FlowFacts {
        transport: Transport::Ws,
        direction: Direction::Accepted,
        listener: Text::new("ws"),
        local: "127.0.0.1:8080".parse().unwrap(),
        remote: "127.0.0.1:40000".parse().unwrap(),
        forwarded: None,
        host: None,
        origin: None,
        path: None,
        user_agent: None,
        tls: None,
    };
    record(&Event::FlowOpened(FlowOpened { flow, opened_at: 1_000_000, facts: Cow::Owned(facts) }))
}

fn started(call: &str) -> (EventKind, Vec<u8>) {
    record(&Event::CallStarted(CallStarted {
        call,
        call_id: Cow::Owned(Text::new(format!("id of {call}"))),
        started_at: 2_000_000,
        caller: Cow::Owned(party("a", Some("e.1.f1"))),
        callee: Cow::Owned(party("b", None)),
    }))
}

fn answered(call: &str) -> (EventKind, Vec<u8>) {
    record(&Event::CallAnswered(CallAnswered {
        call,
        call_id: Cow::Owned(Text::new("x")),
        answered_at: 3_000_000,
        ring_ms: 1000,
        callee: Cow::Owned(party("b", Some("e.1.f2"))),
    }))
}

fn ended(call: &str) -> (EventKind, Vec<u8>) {
    record(&Event::CallEnded(CallEnd {
        call,
        call_id: &Text::new("x"),
        by: CallBy::Caller,
        cause: CallCause::Hangup,
        status: None,
        reason: None,
        certainty: Certainty::Observed,
        started_at: 2_000_000,
        ringing_at: None,
        answered_at: None,
        lost_at: None,
        ended_at: ClosedAt::Seen(4_000_000),
        caller: &party("a", None),
        callee: &party("b", None),
        holds: Some(0),
        moves: Some(0),
    }))
}

fn fold(records: &[(EventKind, Vec<u8>)]) -> OpenState {
    let mut unfinished = OpenState::default();
    for (sequence, (kind, payload)) in (1..).zip(records) {
        unfinished.fold(EventId { incarnation: 1, sequence }, sequence, *kind, payload);
    }
    unfinished
}

fn settled(unfinished: &OpenState) -> Vec<(EventKind, serde_json::Value)> {
    let mut owed = Vec::new();
    unfinished.settle(
        9_000_000,
        12_000_000,
        |_| None,
        |event| {
            owed.push((event.kind(), serde_json::from_slice(&event.to_json()).unwrap()));
        },
    );
    owed
}

#[test]
fn a_call_that_a_crash_cut_is_ended_before_its_flows_are_closed_and_they_name_it() {
    let folded = fold(&[
        opened("e.1.f1"),
        opened("e.1.f2"),
        started("e.1.c1"),
        answered("e.1.c1"),
        started("e.1.c2"),
        ended("e.1.c2"),
    ]);
    let owed = settled(&folded);
    let kinds: Vec<_> = owed.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, [EventKind::CallEnded, EventKind::FlowClosed, EventKind::FlowClosed]);
    let call = &owed[0].1;
    assert_eq!(
        (&call["call"], &call["cause"], &call["by"]),
        (&"e.1.c1".into(), &"node_crash".into(), &"node".into())
    );
    assert_eq!(call["certainty"], "journal_replay");
    assert_eq!(call["ended_at_earliest"], "1970-01-01T00:00:09.000000Z");
    // Its talk ends with the last sign of life: for how long nothing ran is no talk.
    assert_eq!(call["lost_at"], call["ended_at_earliest"]);
    assert_eq!((&call["ring_ms"], &call["talk_ms"]), (&1000.into(), &6000.into()));
    assert_eq!((&call["caller"]["aor"], &call["callee"]["flow"]), (&"a@x".into(), &"e.1.f2".into()));
    for (_, closed) in &owed[1..] {
        assert_eq!((&closed["calls"][0], &closed["calls_total"]), (&"id of e.1.c1".into(), &1.into()));
    }
}

#[test]
fn a_snapshot_from_before_there_were_calls_is_still_good() {
    let mut old: serde_json::Value = serde_json::from_slice(&fold(&[opened("e.1.f1")]).snapshot()).unwrap();
    old["version"] = 1.into();
    old.as_object_mut().unwrap().remove("calls").unwrap();
    let restored = OpenState::restore(old.to_string().as_bytes()).unwrap();
    assert_eq!(restored, fold(&[opened("e.1.f1")]));
}

proptest! {
    /// Whatever the records say, what is left open is ended once, and nothing of it is lost by a snapshot on
    /// the way.
    #[test]
    fn each_start_without_an_end_is_settled_once(
        steps in proptest::collection::vec((0u8..4, 0u8..3), 0..30), cuts in proptest::collection::vec(any::<bool>(), 30),
    ) {
        let records: Vec<_> = steps.iter().map(|&(number, what)| {
            let call = format!("e.1.c{number}");
            match what {
                0 => started(&call),
                1 => answered(&call),
                _ => ended(&call),
            }
        }).collect();
        let mut folded = OpenState::default();
        for (sequence, ((kind, payload), cut)) in (1..).zip(records.iter().zip(&cuts)) {
            folded.fold(EventId { incarnation: 1, sequence }, sequence, *kind, payload);
            if *cut {
                folded = OpenState::restore(&folded.snapshot()).unwrap();
            }
        }
        prop_assert_eq!(&folded, &fold(&records));
        let mut open = std::collections::BTreeSet::new();
        for (number, what) in &steps {
            match what {
                0 => drop(open.insert(*number)),
                1 => {}
                _ => drop(open.remove(number)),
            }
        }
        let owed = settled(&folded);
        let told: Vec<_> = owed.iter().map(|(_, data)| data["call"].as_str().unwrap().to_owned()).collect();
        let expected: Vec<_> = open.iter().map(|number| format!("e.1.c{number}")).collect();
        prop_assert_eq!(told, expected);
    }
}
