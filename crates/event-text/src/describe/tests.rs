use lifecycle::{
    BindingAdded, BindingRemoved, CallAnswered, CallBy, CallCause, CallEnded, CallHeld, CallParty,
    CallStarted, Certainty, ClosedAt, Direction, Ending, Event, FlowClosed, FlowFacts, FlowOpened,
    LedgerTrimmed, NodeStarted, NodeStopped, PassedCursor, Text, Traffic, TrimReason, UserOffline,
    UserOnline,
};

use super::*;

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
    line(&Event::FlowClosed(FlowClosed {
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
        "22:13:20.123 flow.closed edge1.3.f42 ws 127.0.0.1:51422 by client: close frame 1001 \"going away\" after 3 m 12 s, \
         2 bindings (alice@localhost, …)"
    );
    assert_eq!(
        closed(&Ending::of(Cause::Eof), 40, &[], 0),
        "22:13:20.123 flow.closed edge1.3.f42 ws 127.0.0.1:51422 by client: hung up without a close frame after 40 ms"
    );
}

#[test]
fn every_cause_has_its_words() {
    let expected = [
        "by client: close frame after",
        "by client: hung up without a close frame after",
        "by client: reset the connection after",
        "by network: did not answer a ping, silent for 35.2 s after",
        "by network: TCP got no acknowledgement after",
        "by network: nothing could be written any more after",
        "by network: the peer became unreachable after",
        "by server: the peer broke the protocol after",
        "by server: a message was too big after",
        "by server: a text message was not UTF-8 after",
        "by server: TLS failed after",
        "by server: the peer read too slowly after",
        "by server: the peer sent too much after",
        "by server: its credentials were wrong too often after",
        "by server: its address is banned after",
        "by server: no SIP for too long after",
        "by server: it reached the age limit after",
        "by server: its credentials ran out after",
        "by server: closed by an operator after",
        "by server: replaced by a newer flow after",
        "by server: the node is being drained after",
        "by server: shutdown after",
        "by server: an internal error after",
        "by node: the process died after",
        "by node: the machine was lost after",
    ];
    assert_eq!(Cause::ALL.len(), expected.len());
    for (cause, words) in Cause::ALL.iter().zip(expected) {
        let line = closed(&Ending::of(*cause), 5_000, &[], 0);
        assert!(line.ends_with(&format!("{words} 5.0 s")), "{line}");
    }
}

#[test]
fn a_close_found_after_a_crash_says_at_most() {
    let line = line(&Event::FlowClosed(FlowClosed {
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
    assert!(line.ends_with("by node: the process died after at most 1 h 1 m"), "{line}");
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
        reason: TrimReason::Age,
        passed: &[PassedCursor { sink: Text::new("crm"), read_to: None }],
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
    let opened = FlowOpened { flow: "edge1.3.f42", opened_at: AT, facts: &facts };
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
        (RemovalCause::FlowClosed, "its flow closed"),
        (RemovalCause::Unregistered, "unregistered"),
        (RemovalCause::Expired, "not refreshed in time"),
        (RemovalCause::Replaced, "replaced by a newer registration"),
        (RemovalCause::NodeCrash, "the process died"),
        (RemovalCause::Shutdown, "shutdown"),
    ] {
        let removed = BindingRemoved {
            aor: Text::new("alice@localhost"),
            contact: Text::new("sip:x@y"),
            flow: Some("edge1.3.f42"),
            cause,
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
    let offline = UserOffline { aor, last_flow: Some("edge1.3.f42"), cause, online_at, offline_at: AT };
    assert_eq!(
        line(&Event::UserOffline(offline.clone())),
        "22:13:20.123 user.offline alice@localhost after 3 m 12 s, last on edge1.3.f42: not refreshed in time"
    );
    let udp = line(&Event::UserOffline(UserOffline { last_flow: None, ..offline }));
    assert!(udp.ends_with("last over UDP: not refreshed in time"), "{udp}");
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
    let (call, call_id) = ("edge1.3.c4", &call_id);
    let started = CallStarted { call, call_id, started_at: AT, caller: &alice, callee: &bob };
    assert_eq!(
        line(&Event::CallStarted(started)),
        "22:13:20.123 call.started edge1.3.c4 alice@x calls bob@x (Call-ID abc)"
    );
    let answered = CallAnswered { call, call_id, answered_at: AT, ring_ms: 2500, callee: &bob };
    assert_eq!(
        line(&Event::CallAnswered(answered)),
        "22:13:20.123 call.answered edge1.3.c4 by bob@x after 2.5 s"
    );
    let held = CallHeld { call, call_id, by: CallBy::Caller, at: AT };
    assert_eq!(
        line(&Event::CallResumed(held)),
        "22:13:20.123 call.resumed edge1.3.c4: the caller took the other side back from hold"
    );
    let ended_as = |cause, status, answered_at, lost_at| {
        line(&Event::CallEnded(CallEnded {
            call,
            call_id,
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
        "22:13:20.123 call.ended edge1.3.c4 alice@x with bob@x by callee: lost the connection and did not come back after at least 2.0 s of talk"
    );
    assert_eq!(
        ended(CallCause::Rejected, Some(486), None),
        "22:13:20.123 call.ended edge1.3.c4 alice@x with bob@x by callee: refused 486 \"Busy Here\", unanswered for 5.0 s"
    );
    assert_eq!(
        ended(CallCause::Hangup, None, Some(AT - 3_000_000)),
        "22:13:20.123 call.ended edge1.3.c4 alice@x with bob@x by callee: hung up after 3.0 s of talk"
    );
    for &cause in CallCause::ALL {
        let words = ended(cause, None, None);
        assert!(!words.contains(&format!(": {cause},")) || cause == CallCause::Shutdown, "{words}");
    }
}
