//! What leaves for consumers: CloudEvents 1.0 in JSON.

use std::fmt::Write as _;

use serde::de::IgnoredAny;

use crate::{
    EventId, EventKind, Node,
    wire::{subject::EventSubject, time::Rfc3339},
};

/// One record of the ledger as a CloudEvent in JSON (structured mode), on one line. `id` and `source`
/// together are unique for ever and the same at every delivery; `sequence` sorts as text within one
/// incarnation; `subject` is the flow or address-of-record that the data tells of.
#[must_use]
pub fn cloud_event(node: &Node, id: EventId, kind: EventKind, at: u64, data: &[u8]) -> String {
    // The payload was written by `Event::to_json`; a ledger that was tampered with shows as null, not as
    // broken JSON around it. What the subject was read from is whole JSON.
    let text = std::str::from_utf8(data).ok();
    let subject = text.and_then(|text| EventSubject::read(text.as_bytes()));
    let is_json = |text: &&str| subject.is_some() || serde_json::from_str::<IgnoredAny>(text).is_ok();
    let data = text.filter(is_json);
    let mut out = String::with_capacity(data.map_or(4, str::len) + 256);
    let _ = write!(
        out,
        r#"{{"specversion":"1.0","id":"{}","source":"/sipway/{node}","type":"{kind}","time":"{}","sequence":"{:020}","#,
        node.event(id),
        Rfc3339(at),
        id.sequence,
    );
    if let Some(name) =
        subject.as_ref().and_then(|subject| subject.aor.as_deref().or(subject.flow.as_deref()))
    {
        let _ = write!(out, r#""subject":{},"#, serde_json::Value::from(name));
    }
    let _ = write!(out, r#""datacontenttype":"application/json","data":{}}}"#, data.unwrap_or("null"));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_the_attributes_that_cloudevents_asks_for() {
        let node = Node::new("edge1").unwrap();
        let id = EventId { incarnation: 3, sequence: 17 };
        let data = br#"{"aor":"a\"b@x","flow":"edge1.3.f1"}"#;
        let text = cloud_event(&node, id, EventKind::BindingRemoved, 1_700_000_000_000_001, data);
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["specversion"], "1.0");
        assert_eq!(json["id"], "edge1.3.17");
        assert_eq!(json["source"], "/sipway/edge1");
        assert_eq!(json["type"], "binding.removed");
        assert_eq!(json["subject"], "a\"b@x");
        assert_eq!(json["time"], "2023-11-14T22:13:20.000001Z");
        assert_eq!(json["data"]["flow"], "edge1.3.f1");
        assert!(!text.contains('\n'));
    }

    #[test]
    fn a_payload_that_is_no_json_does_not_break_the_line() {
        let node = Node::new("edge1").unwrap();
        let id = EventId { incarnation: 1, sequence: 1 };
        let text = cloud_event(&node, id, EventKind::FlowOpened, 0, b"{\"flow\":");
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(json["data"].is_null());
    }

    #[test]
    fn a_payload_that_is_json_of_another_form_is_shown_as_it_is() {
        let node = Node::new("edge1").unwrap();
        let id = EventId { incarnation: 1, sequence: 1 };
        let text = cloud_event(&node, id, EventKind::FlowOpened, 0, b"[1]");
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&json["data"][0], json.get("subject")), (&1.into(), None));
    }
}
