use std::borrow::Cow;

use lifecycle::{
    BindingAdded, BindingRemoved, CallAnswered, CallBy, CallCause, CallEnd, CallHeld, CallParty, CallStarted,
    Cause, Certainty, ClosedAt, Direction, Ending, Event, FlowEnd, FlowFacts, FlowOpened, LedgerTrimmed,
    NodeStarted, NodeStopped, PassedCursor, RemovalCause, Text, Traffic, Transport, TrimReason, UserOffline,
    UserOnline,
};

use super::*;
use crate::causes::flow_cause;

/// 2023-11-14T22:13:20.123456Z
const AT: u64 = 1_700_000_000_123_456;

fn facts() -> FlowFacts {
    FlowFacts {
        transport: Transport::Ws,
        direction: Direction::Accepted,
        listener: Text::new("browsers"),
        local: "127.0.0.1:8080".parse().unwrap(),
        remote: "127.0.0.1:51422".parse().unwrap(),
        forwarded: None,
        host: None,
        origin: None,
        path: None,
        user_agent: None,
        tls: None,
    }
}

fn line(event: &Event<'_>) -> String {
    let id = EventId { incarnation: 3, sequence: 17 };
    describe(&Node::new("edge1").unwrap(), id, event.kind(), AT, &event.to_json())
}

fn closed(ending: &Ending, lasted_ms: u64, bindings: &[Text<160>], total: usize) -> String {
    let traffic = Traffic { silence_ms: 35_200, ..Traffic::default() };
    line(&Event::FlowClosed(FlowEnd {
        flow: "edge1.3.f42",
        facts: &facts(),
        identity: None,
        opened_at: AT - lasted_ms * 1000,
        closed_at: ClosedAt::Seen(AT),
        ending,
        certainty: Certainty::Observed,
        traffic: Some(&traffic),
        bindings,
        bindings_total: total,
        calls: &[],
        calls_total: 0,
    }))
}

#[test]
fn a_close_says_who_why_and_after_how_long() {
    let ending = Ending::of(Cause::CloseFrame).code(1001).reason("going away");
    assert_eq!(
        closed(&ending, 192_000, &[Text::new("alice@localhost")], 2),
        "22:13:20.123 flow.closed edge1.3.f42 ws 127.0.0.1:51422 by client: the client sent a Close frame (1001 \"going away\") after 3 m 12 s, \
         2 bindings (alice@localhost, …)"
    );
    assert_eq!(
        closed(&Ending::of(Cause::Eof), 40, &[], 0),
        "22:13:20.123 flow.closed edge1.3.f42 ws 127.0.0.1:51422 by client: the client hung up without a Close frame, as when its process ends after 40 ms"
    );
}

#[test]
fn every_cause_has_its_words() {
    for &cause in Cause::ALL {
        let line = closed(&Ending::of(cause), 5_000, &[], 0);
        let silence = if cause == Cause::PingTimeout { ", silent for 35.2 s" } else { "" };
        let words = format!(" by {}: {}{silence} after 5.0 s", cause.by(), flow_cause(cause));
        assert!(line.ends_with(&words), "{line}");
    }
}

#[test]
fn a_close_found_after_a_crash_says_at_most() {
    let line = line(&Event::FlowClosed(FlowEnd {
        flow: "edge1.2.f1",
        facts: &facts(),
        identity: None,
        opened_at: AT - 3_700_000_000,
        closed_at: ClosedAt::Between { earliest: AT - 5_000_000, latest: AT },
        ending: &Ending::of(Cause::NodeCrash),
        certainty: Certainty::JournalReplay,
        traffic: None,
        bindings: &[],
        bindings_total: 0,
        calls: &[],
        calls_total: 0,
    }));
    assert!(line.ends_with("by node: the server's process died after at most 1 h 1 m"), "{line}");
}

#[test]
fn every_other_kind() {
    let started = NodeStarted { version: Text::new("0.1.0"), flows_recovered: 1 };
    assert_eq!(
        line(&Event::NodeStarted(started)),
        "22:13:20.123 node.started edge1 version 0.1.0, run 3, closed 1 flow that the run before left open"
    );
    let stopped = NodeStopped { flows_opened: 2, flows_closed: 2 };
    assert_eq!(
        line(&Event::NodeStopped(stopped)),
        "22:13:20.123 node.stopped edge1 run 3: 2 flows opened, 2 closed"
    );
    let trimmed = LedgerTrimmed {
        first: "edge1.1.1",
        last: "edge1.2.17",
        records: 1234,
        bytes: 1 << 20,
        reason: TrimReason::Age.into(),
        passed: vec![PassedCursor { sink: Text::new("crm"), read_to: None }].into(),
        passed_total: 1,
    };
    assert_eq!(
        line(&Event::LedgerTrimmed(trimmed)),
        "22:13:20.123 ledger.trimmed 1234 events from edge1.1.1 to edge1.2.17 dropped from the ledger by age, unread by crm"
    );
    let facts = FlowFacts {
        origin: Some(Text::new("https://app.example.com")),
        user_agent: Some(Text::new("Firefox")),
        forwarded: Some(Text::new("192.0.2.7")),
        ..facts()
    };
    let opened = FlowOpened { flow: "edge1.3.f42", opened_at: AT, facts: Cow::Borrowed(&facts) };
    assert_eq!(
        line(&Event::FlowOpened(opened)),
        "22:13:20.123 flow.opened edge1.3.f42 ws 127.0.0.1:51422 for 192.0.2.7 on browsers from https://app.example.com (Firefox)"
    );
    let added = BindingAdded {
        aor: Text::new("alice@localhost"),
        contact: Text::new("sip:x@y.invalid;transport=ws"),
        flow: Some("edge1.3.f42"),
        transport: Transport::Ws,
        remote: "127.0.0.1:51422".parse().unwrap(),
        instance: None,
        reg_id: None,
        identity: None,
        user_agent: None,
        expires_at: AT + 600_000_000,
    };
    assert_eq!(
        line(&Event::BindingAdded(added.clone())),
        "22:13:20.123 binding.added alice@localhost at sip:x@y.invalid;transport=ws on edge1.3.f42 for 10 m 0 s"
    );
    let udp = BindingAdded { flow: None, transport: Transport::Udp, ..added };
    assert!(line(&Event::BindingAdded(udp)).contains(" on udp 127.0.0.1:51422 for "));
    for (cause, words) in [
        (RemovalCause::FlowClosed, "its connection closed"),
        (RemovalCause::Unregistered, "the client unregistered"),
        (RemovalCause::Expired, "the client did not refresh it in time"),
        (RemovalCause::Replaced, "a newer registration took its place"),
        (RemovalCause::NodeCrash, "the server's process died"),
        (RemovalCause::Shutdown, "the server was told to stop"),
    ] {
        let removed = BindingRemoved {
            aor: Text::new("alice@localhost"),
            contact: Text::new("sip:x@y"),
            flow: Some("edge1.3.f42"),
            cause: cause.into(),
        };
        let expected =
            format!("22:13:20.123 binding.removed alice@localhost at sip:x@y on edge1.3.f42: {words}");
        assert_eq!(line(&Event::BindingRemoved(removed)), expected);
    }
}

#[test]
fn who_comes_online_and_who_goes() {
    let aor = Text::new("alice@localhost");
    let online = UserOnline { aor: aor.clone(), online_at: AT };
    assert_eq!(line(&Event::UserOnline(online)), "22:13:20.123 user.online alice@localhost");
    let (cause, online_at) = (RemovalCause::Expired, AT - 192_000_000);
    let offline = UserOffline::new(aor, Some("edge1.3.f42"), cause, online_at, AT);
    assert_eq!(
        line(&Event::UserOffline(offline.clone())),
        "22:13:20.123 user.offline alice@localhost after 3 m 12 s, last on edge1.3.f42: the client did not refresh it in time"
    );
    let udp = line(&Event::UserOffline(UserOffline { last_flow: None, ..offline }));
    assert!(udp.ends_with("last over UDP: the client did not refresh it in time"), "{udp}");
}

#[test]
fn what_cannot_be_read_and_what_steers_a_terminal() {
    let node = Node::new("edge1").unwrap();
    let id = EventId { incarnation: 3, sequence: 17 };
    for &kind in EventKind::ALL {
        let line = describe(&node, id, kind, AT, b"{\"flow\":");
        assert_eq!(line, format!("22:13:20.123 {kind} (event edge1.3.17 cannot be read)"));
    }
    let data = br#"{"aor":"a\u001b[2J\u202eb","contact":"c\nd","cause":"new\u0007"}"#;
    let line = describe(&node, id, EventKind::BindingRemoved, AT, data);
    assert_eq!(line, "22:13:20.123 binding.removed a?[2J?b at c?d: new?");
}

fn party(aor: &str) -> CallParty {
    CallParty {
        aor: Text::new(aor),
        display: None,
        contact: None,
        user_agent: None,
        flow: None,
        transport: None,
        remote: None,
    }
}

#[test]
fn a_call_is_told_from_its_start_to_its_end() {
    let (alice, bob, call_id) = (party("alice@x"), party("bob@x"), Text::new("abc"));
    let call = "edge1.3.c4";
    let started = CallStarted {
        call,
        call_id: Cow::Borrowed(&call_id),
        started_at: AT,
        caller: Cow::Borrowed(&alice),
        callee: Cow::Borrowed(&bob),
    };
    assert_eq!(
        line(&Event::CallStarted(started)),
        "22:13:20.123 call.started edge1.3.c4 alice@x calls bob@x (Call-ID abc)"
    );
    let answered = CallAnswered {
        call,
        call_id: Cow::Borrowed(&call_id),
        answered_at: AT,
        ring_ms: 2500,
        callee: Cow::Borrowed(&bob),
    };
    assert_eq!(
        line(&Event::CallAnswered(answered)),
        "22:13:20.123 call.answered edge1.3.c4 by bob@x after 2.5 s"
    );
    let held = CallHeld { call, call_id: Cow::Borrowed(&call_id), by: CallBy::Caller.into(), at: AT };
    assert_eq!(
        line(&Event::CallResumed(held)),
        "22:13:20.123 call.resumed edge1.3.c4: the caller took the other side back from hold"
    );
    let ended_as = |cause, status, answered_at, lost_at| {
        line(&Event::CallEnded(CallEnd {
            call,
            call_id: &call_id,
            by: CallBy::Callee,
            cause,
            status,
            reason: status.map(|_| Text::new("Busy Here")).as_ref(),
            certainty: Certainty::Observed,
            started_at: AT - 5_000_000,
            ringing_at: None,
            answered_at,
            lost_at,
            ended_at: ClosedAt::Seen(AT),
            caller: &alice,
            callee: &bob,
            holds: Some(0),
            moves: Some(0),
        }))
    };
    let ended = |cause, status, answered_at| ended_as(cause, status, answered_at, None);
    assert_eq!(
        ended_as(CallCause::FlowLost, None, Some(AT - 32_000_000), Some(AT - 30_000_000)),
        "22:13:20.123 call.ended edge1.3.c4 alice@x with bob@x by callee: the callee's connection was lost and the callee did not come back in time after at least 2.0 s of talk"
    );
    assert_eq!(
        ended(CallCause::Rejected, Some(486), None),
        "22:13:20.123 call.ended edge1.3.c4 alice@x with bob@x by callee: the callee refused it (486 \"Busy Here\"), unanswered for 5.0 s"
    );
    assert_eq!(
        ended(CallCause::Hangup, None, Some(AT - 3_000_000)),
        "22:13:20.123 call.ended edge1.3.c4 alice@x with bob@x by callee: the callee hung up after 3.0 s of talk"
    );
    for &cause in CallCause::ALL {
        let words = ended(cause, Some(486), None);
        assert!(words.contains(" (486 \"Busy Here\")") && !words.contains(['{', '}', '_']), "{words}");
    }
}
