//! `sipway why`: what became of a flow, or of a user's connections, in plain words with the evidence.

use lifecycle::{EventId, EventKind, FlowId};
use sinks::describe;

use crate::{command::Why, outcome::Outcome, speech::say};

/// Flows of a user that are told of, the newest.
const FLOWS: usize = 5;

pub(crate) fn run(why: &Why) -> Outcome {
    let (mut reader, node) = match why.place.open() {
        Ok(opened) => opened,
        Err(outcome) => return outcome,
    };
    let by_flow = FlowId::parse(&why.subject).is_ok();
    let mut found = Vec::new();
    loop {
        let block = match reader.next_block() {
            Ok(Some(block)) => block,
            Ok(None) => break,
            Err(error) => return Outcome::failed(error),
        };
        for record in block.records() {
            let Ok(kind) = EventKind::try_from(record.kind) else { continue };
            let Ok(data) = serde_json::from_slice::<serde_json::Value>(record.payload) else { continue };
            let flow = data["flow"].as_str().unwrap_or_default();
            let about = if by_flow { flow == why.subject } else { data["aor"] == *why.subject };
            if !about
                && !found
                    .iter()
                    .any(|(known, _): &(String, String)| !by_flow && known == flow && !flow.is_empty())
            {
                continue;
            }
            let id = EventId { incarnation: record.position.incarnation, sequence: record.position.seq };
            let line = describe(&node, id, kind, record.at, record.payload);
            found.push((flow.to_owned(), format!("{line}  [{}]", node.event(id))));
        }
    }
    if found.is_empty() {
        return Outcome::failed(format!(
            "the ledger knows nothing of {}; give a flow id (such as {node}.1.f4096) or an address-of-record (user@domain)",
            why.subject
        ));
    }
    let mut flows: Vec<&str> = Vec::new();
    for (flow, _) in found.iter().rev() {
        if !flows.contains(&flow.as_str()) && flows.len() < FLOWS {
            flows.push(flow);
        }
    }
    for flow in flows.iter().rev() {
        let lines: Vec<_> = found.iter().filter(|(known, _)| known == flow).map(|(_, line)| line).collect();
        let closed = lines.iter().any(|line| line.contains(EventKind::FlowClosed.as_str()));
        match (flow.is_empty(), closed) {
            (true, _) => say!("over UDP, without a connection:"),
            (false, true) => say!("{flow} is over:"),
            (false, false) => say!("{flow} is open, or its close is owed by the next start:"),
        }
        lines.iter().for_each(|line| say!("  {line}"));
    }
    Outcome::Done
}
