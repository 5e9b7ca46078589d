//! Flows in words.

use std::fmt::Write as _;

use lifecycle::{Cause, Direction, FlowClosed, FlowFacts, FlowOpened, Text, Word};

use crate::{
    causes::{close_code, flow_cause, in_brackets},
    numbers::{counted, span},
};

/// Names of addresses-of-record that are shown; the rest is counted.
const NAMED: usize = 3;

fn peer(flow: &str, facts: &FlowFacts) -> String {
    let mut words = format!("{flow} {} {}", facts.transport, facts.remote);
    if let Some(forwarded) = &facts.forwarded {
        let _ = write!(words, " for {forwarded}");
    }
    words
}

pub(super) fn opened(FlowOpened { flow, facts, .. }: &FlowOpened<'_>) -> String {
    let mut words = peer(flow, facts);
    match facts.direction {
        Direction::Accepted => {
            let _ = write!(words, " on {}", facts.listener);
        }
        Direction::Connected => words.push_str(" by us"),
    }
    if let Some(origin) = &facts.origin {
        let _ = write!(words, " from {origin}");
    }
    if let Some(agent) = &facts.user_agent {
        let _ = write!(words, " ({agent})");
    }
    words
}

pub(super) fn closed(closed: &FlowClosed<'_>) -> String {
    let mut words =
        format!("{} by {}: {}", peer(closed.flow, &closed.facts), closed.by, what_happened(closed));
    if closed.cause == Word::Known(Cause::PingTimeout)
        && let Some(traffic) = closed.traffic
    {
        let _ = write!(words, ", silent for {}", span(traffic.silence_ms));
    }
    let bound = if closed.closed_at_earliest.is_some() { "at most " } else { "" };
    let _ = write!(words, " after {bound}{}", span(closed.duration_ms));
    if closed.bindings_total > 0 {
        let _ = write!(words, ", {}", counted(closed.bindings_total as u64, "binding"));
        let named: Vec<_> = closed.bindings.iter().take(NAMED).map(Text::as_str).collect();
        if !named.is_empty() {
            let more = if closed.bindings_total > named.len() { ", …" } else { "" };
            let _ = write!(words, " ({}{more})", named.join(", "));
        }
    }
    if closed.calls_total > 0 {
        let _ = write!(words, ", amid {}", counted(closed.calls_total as u64, "call"));
    }
    words
}

/// The cause as a clause, with the code and the reason that were seen.
pub(crate) fn what_happened(closed: &FlowClosed<'_>) -> String {
    let clause = match &closed.cause {
        Word::Known(cause) => flow_cause(*cause),
        Word::Unknown(word) => word,
    };
    let reason = closed.reason.as_deref().map(Text::as_str);
    format!("{clause}{}", in_brackets(closed.code, reason, closed.code.and_then(close_code)))
}
