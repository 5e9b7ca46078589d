//! Payloads of the ledger's records: nothing breaks a reader, and what an event's type read it writes again
//! so that it reads the same.
#![no_main]

use event_text::{describe, why_closed, why_open};
use libfuzzer_sys::fuzz_target;
use lifecycle::{EventFilter, EventId, EventKind, EventSubject, Node, OpenState, RecordedEvent, cloud_event};

/// The data, written by the type that read it.
fn written(event: &RecordedEvent<'_>) -> Vec<u8> {
    match event {
        RecordedEvent::NodeStarted(data) => serde_json::to_vec(data),
        RecordedEvent::NodeStopped(data) => serde_json::to_vec(data),
        RecordedEvent::LedgerTrimmed(data) => serde_json::to_vec(data),
        RecordedEvent::AuditDiffered(data) => serde_json::to_vec(data),
        RecordedEvent::FlowOpened(data) => serde_json::to_vec(data),
        RecordedEvent::FlowClosed(data) => serde_json::to_vec(data),
        RecordedEvent::BindingAdded(data) => serde_json::to_vec(data),
        RecordedEvent::BindingRemoved(data) => serde_json::to_vec(data),
        RecordedEvent::UserOnline(data) => serde_json::to_vec(data),
        RecordedEvent::UserOffline(data) => serde_json::to_vec(data),
        RecordedEvent::CallStarted(data) => serde_json::to_vec(data),
        RecordedEvent::CallAnswered(data) => serde_json::to_vec(data),
        RecordedEvent::CallHeld(data) | RecordedEvent::CallResumed(data) => serde_json::to_vec(data),
        RecordedEvent::CallEnded(data) => serde_json::to_vec(data),
    }
    .expect("plain structs with string keys always serialise")
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&first, payload)) = bytes.split_first() else { return };
    let kind = EventKind::ALL[usize::from(first) % EventKind::ALL.len()];
    let (node, id) = (Node::new("edge1").expect("a node name"), EventId { incarnation: 1, sequence: 1 });
    if let Ok(event) = RecordedEvent::read(kind, payload) {
        let again = written(&event);
        // A name with an escape in it is read by no type, since none is ever written.
        if let Ok(read) = RecordedEvent::read(kind, &again) {
            assert_eq!(read, event);
        }
    }
    let line = describe(&node, id, kind, 1_700_000_000_000_000, payload);
    assert!(!line.chars().any(char::is_control), "{line:?}");
    let _ = (why_closed(payload, 1), why_open(payload, 1), EventSubject::read(payload));
    let filter =
        EventFilter { flow: Some("edge1.1.f1".into()), aor: Some("a@x".into()), ..EventFilter::default() };
    let _ = filter.takes(kind, 1, payload);
    let event = cloud_event(&node, id, kind, 1, payload);
    assert!(serde_json::from_str::<serde::de::IgnoredAny>(&event).is_ok(), "{event}");
    let mut state = OpenState::default();
    state.fold(id, 1, kind, payload);
    let snapshot = state.snapshot();
    assert_eq!(OpenState::restore(&snapshot).expect("its own snapshot").snapshot(), snapshot);
});
