//! The bytes of every event, as they stand in ledgers and reach consumers.
#![allow(clippy::unwrap_used)]

use std::borrow::Cow;

use lifecycle::*;

/// 2023-11-14T22:13:20.123456Z
const AT: u64 = 1_700_000_000_123_456;

/// One line for each event: its type and its data. A field that is renamed, moved or lost changes a line.
const LINES: &str = include_str!("schema.jsonl");

fn facts() -> FlowFacts {
    FlowFacts {
        transport: Transport::Wss,
        direction: Direction::Accepted,
        listener: Text::new("browsers"),
        local: "192.0.2.1:443".parse().unwrap(),
        remote: "[2001:db8::7]:51422".parse().unwrap(),
        forwarded: Some(Text::new("198.51.100.9")),
        host: Some(Text::new("sip.example.com")),
        origin: Some(Text::new("https://app.example.com")),
        path: Some(Text::new("/ws")),
        user_agent: Some(Text::new("Firefox \"132\"")),
        tls: Some(TlsFacts { version: Text::new("TLSv1_3"), cipher: Text::new("TLS13_AES_128_GCM_SHA256") }),
    }
}

fn bare_facts() -> FlowFacts {
    FlowFacts {
        transport: Transport::Tcp,
        direction: Direction::Connected,
        listener: Text::new("trunks"),
        forwarded: None,
        host: None,
        origin: None,
        path: None,
        user_agent: None,
        tls: None,
        ..facts()
    }
}

fn party(aor: &str) -> CallParty {
    CallParty {
        aor: Text::new(aor),
        display: Some(Text::new("A \\ B")),
        contact: Some(Text::new("sip:x@y.invalid;transport=ws")),
        user_agent: Some(Text::new("JsSIP 3")),
        flow: Some(Text::new("edge1.3.f42")),
        transport: Some(Transport::Ws),
        remote: Some("192.0.2.7:5060".parse().unwrap()),
    }
}

fn bare_party(aor: &str) -> CallParty {
    let aor = Text::new(aor);
    CallParty {
        aor,
        display: None,
        contact: None,
        user_agent: None,
        flow: None,
        transport: None,
        remote: None,
    }
}

/// Every event, with every field and with as few as there can be.
fn written() -> Vec<String> {
    let (facts, bare_facts) = (facts(), bare_facts());
    let traffic = Traffic {
        frames_received: 3,
        frames_sent: 2,
        bytes_received: 1_200,
        bytes_sent: 800,
        silence_ms: 15,
        ping_rtt_us: Some(2_100),
    };
    let still = Traffic { ping_rtt_us: None, ..traffic };
    let (alice, bob) = (party("alice@x"), bare_party("bob@x"));
    let (aor, contact) = (Text::new("alice@x"), Text::new("sip:x@y.invalid;transport=ws"));
    let (flow, call, call_id) = ("edge1.3.f42", "edge1.3.c4", Text::new("a84b4c76e66710"));
    let (identity, reason) = (Identity::new("alice").unwrap(), Text::new("going away"));
    let (bindings, calls) = ([Text::new("alice@x"), Text::new("b\"b@x")], [call_id.clone()]);
    let said = Ending::of(Cause::CloseFrame).code(1001).reason("going away");
    let crash = Ending::of(Cause::NodeCrash);
    let passed = [
        PassedCursor { sink: Text::new("crm"), read_to: Some(Text::new("edge1.1.7")) },
        PassedCursor { sink: Text::new("billing"), read_to: None },
    ];
    let trimmed = LedgerTrimmed {
        first: "edge1.1.1",
        last: "edge1.2.17",
        records: 1_234,
        bytes: 1 << 20,
        reason: TrimReason::Age.into(),
        passed: (&passed[..]).into(),
        passed_total: 3,
    };
    let whole_trimmed = LedgerTrimmed {
        reason: TrimReason::Size.into(),
        passed: (&[][..]).into(),
        passed_total: 0,
        ..trimmed.clone()
    };
    let differed = AuditDiffered {
        kind: DifferenceKind::SocketWithoutFlow.into(),
        flow: Some(flow),
        local: Some("192.0.2.1:443".parse().unwrap()),
        remote: Some("192.0.2.7:50000".parse().unwrap()),
        lasted_ms: 12_000,
        evidence: Text::new("socket 17 is held"),
    };
    let counters = AuditDiffered {
        kind: DifferenceKind::Counters.into(),
        flow: None,
        local: None,
        remote: None,
        ..differed.clone()
    };
    let closed = FlowEnd {
        flow,
        facts: &facts,
        identity: Some(&identity),
        opened_at: AT - 192_500_000,
        closed_at: ClosedAt::Seen(AT),
        ending: &said,
        certainty: Certainty::Observed,
        traffic: Some(&traffic),
        bindings: &bindings,
        bindings_total: 5,
        calls: &calls,
        calls_total: 1,
    };
    let crashed = FlowEnd {
        facts: &bare_facts,
        identity: None,
        closed_at: ClosedAt::Between { earliest: AT - 5_000_000, latest: AT },
        ending: &crash,
        certainty: Certainty::JournalReplay,
        traffic: None,
        bindings: &[],
        bindings_total: 0,
        calls: &[],
        calls_total: 0,
        ..closed.clone()
    };
    let silent = FlowEnd { ending: &Ending::of(Cause::PingTimeout), traffic: Some(&still), ..closed.clone() };
    let added = BindingAdded {
        aor: aor.clone(),
        contact: contact.clone(),
        flow: Some(flow),
        transport: Transport::Ws,
        remote: "192.0.2.7:51422".parse().unwrap(),
        instance: Some(Text::new("<urn:uuid:0>")),
        reg_id: Some(1),
        identity: Some(identity.clone()),
        user_agent: Some(Text::new("JsSIP 3")),
        expires_at: AT + 600_000_000,
    };
    let added_udp = BindingAdded {
        flow: None,
        transport: Transport::Udp,
        instance: None,
        reg_id: None,
        identity: None,
        user_agent: None,
        ..added.clone()
    };
    let removed = BindingRemoved {
        aor: aor.clone(),
        contact: contact.clone(),
        flow: Some(flow),
        cause: RemovalCause::FlowClosed.into(),
    };
    let removed_udp = BindingRemoved { flow: None, cause: RemovalCause::Expired.into(), ..removed.clone() };
    let offline = UserOffline::new(aor.clone(), Some(flow), RemovalCause::Unregistered, AT - 61_000_000, AT);
    let offline_udp =
        UserOffline { last_flow: None, cause: RemovalCause::NodeCrash.into(), ..offline.clone() };
    let ended = CallEnd {
        call,
        call_id: &call_id,
        by: CallBy::Callee,
        cause: CallCause::Rejected,
        status: Some(486),
        reason: Some(&reason),
        certainty: Certainty::Observed,
        started_at: AT - 12_000_000,
        ringing_at: Some(AT - 11_000_000),
        answered_at: Some(AT - 10_000_000),
        lost_at: Some(AT - 4_000_000),
        ended_at: ClosedAt::Seen(AT),
        caller: &alice,
        callee: &bob,
        holds: Some(2),
        moves: Some(1),
    };
    let ended_crash = CallEnd {
        by: CallBy::Node,
        cause: CallCause::NodeCrash,
        status: None,
        reason: None,
        certainty: Certainty::JournalReplay,
        ringing_at: None,
        answered_at: None,
        lost_at: None,
        ended_at: ClosedAt::Between { earliest: AT - 5_000_000, latest: AT },
        holds: None,
        moves: None,
        ..ended.clone()
    };
    let held = CallHeld { call, call_id: Cow::Borrowed(&call_id), by: CallBy::Caller.into(), at: AT };
    [
        Event::NodeStarted(NodeStarted { version: Text::new("0.1.0"), flows_recovered: 2 }),
        Event::NodeStopped(NodeStopped { flows_opened: 7, flows_closed: 6 }),
        Event::LedgerTrimmed(trimmed),
        Event::LedgerTrimmed(whole_trimmed),
        Event::AuditDiffered(differed),
        Event::AuditDiffered(counters),
        Event::FlowOpened(FlowOpened { flow, opened_at: AT, facts: Cow::Borrowed(&facts) }),
        Event::FlowOpened(FlowOpened { flow, opened_at: AT, facts: Cow::Borrowed(&bare_facts) }),
        Event::FlowClosed(closed),
        Event::FlowClosed(crashed),
        Event::FlowClosed(silent),
        Event::BindingAdded(added),
        Event::BindingAdded(added_udp),
        Event::BindingRemoved(removed),
        Event::BindingRemoved(removed_udp),
        Event::UserOnline(UserOnline { aor: aor.clone(), online_at: AT }),
        Event::UserOffline(offline),
        Event::UserOffline(offline_udp),
        Event::CallStarted(CallStarted {
            call,
            call_id: Cow::Borrowed(&call_id),
            started_at: AT,
            caller: Cow::Borrowed(&alice),
            callee: Cow::Borrowed(&bob),
        }),
        Event::CallAnswered(CallAnswered {
            call,
            call_id: Cow::Borrowed(&call_id),
            answered_at: AT,
            ring_ms: 2_500,
            callee: Cow::Borrowed(&bob),
        }),
        Event::CallHeld(held.clone()),
        Event::CallResumed(held),
        Event::CallEnded(ended),
        Event::CallEnded(ended_crash),
    ]
    .iter()
    .map(|event| format!("{} {}", event.kind(), String::from_utf8(event.to_json()).unwrap()))
    .collect()
}

#[test]
fn the_bytes_of_every_event_stay_as_they_are() {
    let written = written();
    for (line, expected) in written.iter().zip(LINES.lines()) {
        assert_eq!(line, expected);
    }
    assert_eq!(written.len(), LINES.lines().count());
    for kind in EventKind::ALL {
        assert!(written.iter().any(|line| line.starts_with(kind.as_str())), "{kind} is not among them");
    }
}

/// Every line, with its type.
fn lines() -> impl Iterator<Item = (EventKind, &'static str)> {
    LINES.lines().map(|line| line.split_once(' ').unwrap()).map(|(kind, data)| (kind.parse().unwrap(), data))
}

/// The data of a record, written again by the type that read it.
fn again(event: &RecordedEvent<'_>) -> String {
    match event {
        RecordedEvent::NodeStarted(data) => serde_json::to_string(data),
        RecordedEvent::NodeStopped(data) => serde_json::to_string(data),
        RecordedEvent::LedgerTrimmed(data) => serde_json::to_string(data),
        RecordedEvent::AuditDiffered(data) => serde_json::to_string(data),
        RecordedEvent::FlowOpened(data) => serde_json::to_string(data),
        RecordedEvent::FlowClosed(data) => serde_json::to_string(data),
        RecordedEvent::BindingAdded(data) => serde_json::to_string(data),
        RecordedEvent::BindingRemoved(data) => serde_json::to_string(data),
        RecordedEvent::UserOnline(data) => serde_json::to_string(data),
        RecordedEvent::UserOffline(data) => serde_json::to_string(data),
        RecordedEvent::CallStarted(data) => serde_json::to_string(data),
        RecordedEvent::CallAnswered(data) => serde_json::to_string(data),
        RecordedEvent::CallHeld(data) | RecordedEvent::CallResumed(data) => serde_json::to_string(data),
        RecordedEvent::CallEnded(data) => serde_json::to_string(data),
    }
    .unwrap()
}

#[test]
fn what_is_written_reads_back_whole() {
    for (kind, data) in lines() {
        let event =
            RecordedEvent::read(kind, data.as_bytes()).unwrap_or_else(|error| panic!("{data}: {error}"));
        assert_eq!(again(&event), data);
    }
}

/// A ledger outlives the program that wrote it, in both directions.
#[test]
fn fields_and_words_of_a_newer_program_are_no_error() {
    for (kind, data) in lines() {
        let mut json: serde_json::Value = serde_json::from_str(data).unwrap();
        json["added_later"] = serde_json::json!({ "deep": [1, 2] });
        for word in ["by", "cause", "certainty", "reason"] {
            // The reason of a close is a text; that of a tombstone is a word.
            if json.get(word).is_some() {
                json[word] = "coined_later".into();
            }
        }
        let newer = json.to_string();
        let event =
            RecordedEvent::read(kind, newer.as_bytes()).unwrap_or_else(|error| panic!("{newer}: {error}"));
        let mut again: serde_json::Value = serde_json::from_str(&again(&event)).unwrap();
        again["added_later"] = json["added_later"].clone();
        assert_eq!(again, json);
    }
}

#[test]
fn a_record_that_lacks_what_it_must_have_is_an_error() {
    for (kind, data) in lines() {
        assert!(RecordedEvent::read(kind, b"{}").is_err(), "{kind}");
        assert!(RecordedEvent::read(kind, &data.as_bytes()[..data.len() - 1]).is_err(), "{kind}");
    }
}
