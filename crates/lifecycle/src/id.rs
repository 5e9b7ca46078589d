//! Names that are never given twice: node, incarnation, flow and event ids.

use std::{fmt, sync::Arc};

/// One run of one node's process; grows at every start.
pub type Incarnation = u64;

/// The node's name, shared by everything that prints an id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node(Arc<str>);

/// A text that is no node name, flow id or event id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {wanted}")]
pub struct InvalidId {
    text: String,
    wanted: &'static str,
}

impl Node {
    /// A node name: 1 to 32 characters of `a-z`, `0-9` and `-`.
    ///
    /// # Errors
    /// Any other text.
    pub fn new(name: &str) -> Result<Self, InvalidId> {
        let token = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if (1..=32).contains(&name.len()) && name.bytes().all(token) {
            Ok(Self(name.into()))
        } else {
            Err(InvalidId { text: name.into(), wanted: "a node name (1 to 32 of a-z, 0-9 and -)" })
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A flow id as consumers see it: `<node>.<incarnation>.f<counter>`.
    #[must_use]
    pub fn flow(&self, flow: FlowId) -> String {
        format!("{}.{}.f{}", self.0, flow.incarnation, flow.counter)
    }

    /// A call id as consumers see it: `<node>.<incarnation>.c<counter>`. A Call-ID is its peer's choice and
    /// may come twice; this never does.
    #[must_use]
    pub fn call(&self, incarnation: Incarnation, counter: u64) -> String {
        format!("{}.{incarnation}.c{counter}", self.0)
    }

    /// An event id as consumers see it: `<node>.<incarnation>.<sequence>`.
    #[must_use]
    pub fn event(&self, event: EventId) -> String {
        format!("{}.{}.{}", self.0, event.incarnation, event.sequence)
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A flow of this node: never given twice, not even after a restart, because each incarnation counts anew
/// under a number of its own. Sorts by age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowId {
    /// The run of the process that accepted the flow.
    pub incarnation: Incarnation,
    /// Counts the flows of that run; the low bits say which shard owns the flow.
    pub counter: u64,
}

impl FlowId {
    /// Reads `<node>.<incarnation>.f<counter>`; the node's name comes back with the id.
    ///
    /// # Errors
    /// A text of another form.
    pub fn parse(text: &str) -> Result<(Node, Self), InvalidId> {
        let invalid = || InvalidId { text: text.into(), wanted: "a flow id (node.incarnation.fNUMBER)" };
        let (head, counter) = text.rsplit_once(".f").ok_or_else(invalid)?;
        let (node, incarnation) = head.rsplit_once('.').ok_or_else(invalid)?;
        Ok((
            Node::new(node)?,
            Self {
                incarnation: number(incarnation).ok_or_else(invalid)?,
                counter: number(counter).ok_or_else(invalid)?,
            },
        ))
    }
}

/// The place of one event in the ledger; the same at every delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId {
    /// The run of the process that wrote the event.
    pub incarnation: Incarnation,
    /// Counts that run's events from 1, without gaps.
    pub sequence: u64,
}

impl EventId {
    /// Reads `<node>.<incarnation>.<sequence>`; the node's name comes back with the id.
    ///
    /// # Errors
    /// A text of another form.
    pub fn parse(text: &str) -> Result<(Node, Self), InvalidId> {
        let invalid = || InvalidId { text: text.into(), wanted: "an event id (node.incarnation.NUMBER)" };
        let (head, sequence) = text.rsplit_once('.').ok_or_else(invalid)?;
        let (node, incarnation) = head.rsplit_once('.').ok_or_else(invalid)?;
        Ok((
            Node::new(node)?,
            Self {
                incarnation: number(incarnation).ok_or_else(invalid)?,
                sequence: number(sequence).ok_or_else(invalid)?,
            },
        ))
    }
}

/// Plain digits only: `+1` or `01` would make two texts for one id.
fn number(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ids_read_back_as_printed(name in "[a-z0-9-]{1,32}", incarnation: u64, number: u64) {
            let node = Node::new(&name).unwrap();
            let flow = FlowId { incarnation, counter: number };
            prop_assert_eq!(FlowId::parse(&node.flow(flow)).unwrap(), (node.clone(), flow));
            let event = EventId { incarnation, sequence: number };
            prop_assert_eq!(EventId::parse(&node.event(event)).unwrap(), (node, event));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}") {
            let _ = FlowId::parse(&text);
            let _ = EventId::parse(&text);
        }
    }

    #[test]
    fn one_id_has_one_text() {
        for text in ["edge.1.f01", "edge.+1.f1", "edge.1.f", "edge.1", "Edge.1.f1", ".1.f1"] {
            assert!(FlowId::parse(text).is_err(), "{text}");
        }
    }
}
