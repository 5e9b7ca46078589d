use std::collections::HashSet;

use lifecycle::{Cause, Certainty, ClosedAt, Direction, Ending, Event, FlowEnd, FlowFacts, Traffic};

use super::*;

/// 2023-11-14T22:13:20.123456Z
const AT: u64 = 1_700_000_000_123_456;
const NOW: u64 = AT + 720_000_000;

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
        user_agent: Some(Text::new("Firefox\u{202e}")),
        tls: None,
    }
}

fn closed(ending: &Ending, closed_at: ClosedAt, certainty: Certainty, bindings: &[Text<160>]) -> String {
    let traffic = Traffic { frames_received: 3, frames_sent: 2, silence_ms: 3, ..Traffic::default() };
    let seen = certainty == Certainty::Observed;
    let event = Event::FlowClosed(FlowEnd {
        flow: "edge1.3.f8192",
        facts: &facts(),
        identity: None,
        opened_at: AT - 329_000,
        closed_at,
        ending,
        certainty,
        traffic: seen.then_some(&traffic),
        bindings,
        bindings_total: bindings.len(),
        calls: &[],
        calls_total: 0,
    });
    why_closed(&event.to_json(), NOW).unwrap()
}

#[test]
fn one_sentence_with_the_evidence() {
    let ending = Ending::of(Cause::CloseFrame).code(1001).reason("going away");
    assert_eq!(
        closed(&ending, ClosedAt::Seen(AT), Certainty::Observed, &[Text::new("carol@example.com")]),
        "edge1.3.f8192 (ws from 127.0.0.1:51422) was closed by the client 12 m 0 s ago (2023-11-14 22:13:20.123Z), after \
         329 ms: the client sent a Close frame (1001 \"going away\"); it held carol@example.com; last byte 3 ms before; 3 \
         frames in, 2 out"
    );
}

#[test]
fn a_crash_says_between_when_and_when_and_how_it_is_known() {
    let between = ClosedAt::Between { earliest: AT - 1_000_000, latest: AT };
    assert_eq!(
        closed(&Ending::of(Cause::NodeCrash), between, Certainty::JournalReplay, &[]),
        "edge1.3.f8192 (ws from 127.0.0.1:51422) ended with the server between 2023-11-14 22:13:19.123Z and 2023-11-14 \
         22:13:20.123Z (12 m 0 s ago), after at most 329 ms: the server's process died; found in the ledger at the next start; it \
         held no binding"
    );
}

#[test]
fn what_is_open_says_since_when_and_steers_no_terminal() {
    let opened = Event::FlowOpened(FlowOpened {
        flow: "edge1.3.f1",
        opened_at: AT,
        facts: std::borrow::Cow::Owned(facts()),
    });
    assert_eq!(
        why_open(&opened.to_json(), NOW).unwrap(),
        "edge1.3.f1 (ws from 127.0.0.1:51422) was opened 12 m 0 s ago (2023-11-14 22:13:20.123Z) and is open; it calls itself \
         Firefox?"
    );
    assert_eq!(why_open(b"{", NOW), None);
    assert_eq!(why_closed(b"{}", NOW), None);
}

/// Each has an author and words of its own, and carries the code and reason wherever there are any.
#[test]
fn every_cause_reads_as_a_sentence() {
    let mut seen = HashSet::new();
    for &cause in Cause::ALL {
        let ending = Ending::of(cause).code(1000).reason("so it was said");
        let sentence = closed(&ending, ClosedAt::Seen(AT), Certainty::Observed, &[]);
        let (head, rest) = sentence.split_once(", after 329 ms: ").unwrap();
        let author = match cause.by() {
            lifecycle::By::Client => "was closed by the client",
            lifecycle::By::Server => "was closed by the server",
            lifecycle::By::Network => "was lost by the network",
            lifecycle::By::Node => "ended with the server",
        };
        assert!(head.contains(author), "{sentence}");
        let (words, evidence) = rest.split_once("; ").unwrap();
        assert!(words.ends_with(" (1000 \"so it was said\")"), "{sentence}");
        assert!(!words.contains('_') && words.starts_with(|c: char| c.is_ascii_alphabetic()), "{sentence}");
        assert_eq!(evidence, "it held no binding; last byte 3 ms before; 3 frames in, 2 out");
        assert!(seen.insert(words.to_owned()), "{cause} reads like another: {sentence}");
    }
}

#[test]
fn a_cause_of_a_newer_program_is_shown_as_it_is() {
    let ending = Ending::of(Cause::Eof);
    let event = Event::FlowClosed(FlowEnd {
        flow: "edge1.3.f1",
        facts: &facts(),
        identity: None,
        opened_at: AT,
        closed_at: ClosedAt::Seen(AT),
        ending: &ending,
        certainty: Certainty::Observed,
        traffic: None,
        bindings: &[],
        bindings_total: 0,
        calls: &[],
        calls_total: 0,
    });
    let json = String::from_utf8(event.to_json()).unwrap().replace("\"eof\"", "\"swallowed\"");
    assert!(
        why_closed(json.as_bytes(), NOW).unwrap().contains("was closed by the client 12 m 0 s ago"),
        "{json}"
    );
    assert!(why_closed(json.as_bytes(), NOW).unwrap().contains(": swallowed; "));
}
