//! What became of a connection, in one plain sentence with the evidence.

#[cfg(test)]
mod tests;

use lifecycle::{FlowClosed, FlowOpened, Text, Transport, Word};

use crate::{
    causes::{certainty, flow_author},
    describe::{what_happened, without_steering},
    numbers::{ago, clock, counted, span},
};

/// The sentence about a flow that is over, from the data of its `flow.closed`; none if that cannot be read.
/// `now` is in microseconds since the Unix epoch. Nothing a peer wrote can steer the terminal.
#[must_use]
pub fn why_closed(payload: &[u8], now: u64) -> Option<String> {
    let closed: FlowClosed<'_> = serde_json::from_slice(payload).ok()?;
    let facts = &closed.facts;
    let by = closed.by.known().map_or("was closed", flow_author);
    let (ago, at) = (ago(closed.closed_at, now), clock(closed.closed_at));
    let (when, bound) = match closed.closed_at_earliest {
        Some(earliest) => (format!("between {} and {at} ({ago})", clock(earliest)), "at most "),
        None => (format!("{ago} ({at})"), ""),
    };
    let mut sentence = format!(
        "{} ({} from {}) {by} {when}, after {bound}{}: {}",
        closed.flow,
        facts.transport,
        facts.remote,
        span(closed.duration_ms),
        what_happened(&closed)
    );
    match &closed.certainty {
        Word::Known(known) if certainty(*known).is_empty() => {}
        Word::Known(known) => sentence.push_str(&format!("; {}", certainty(*known))),
        Word::Unknown(word) => sentence.push_str(&format!("; known by {}", word.replace('_', " "))),
    }
    if closed.bindings_total > 0 {
        let named: Vec<&str> = closed.bindings.iter().map(Text::as_str).collect();
        let more = closed.bindings_total - named.len().min(closed.bindings_total);
        sentence.push_str(&format!("; it held {}", named.join(", ")));
        if more > 0 {
            sentence.push_str(&format!(" and {}", counted(more as u64, "more binding")));
        }
    } else if let Some(identity) = &closed.identity {
        sentence.push_str(&format!("; it was {identity}'s and held no binding"));
    } else {
        sentence.push_str("; it held no binding");
    }
    if let Some(traffic) = closed.traffic {
        let what =
            if matches!(facts.transport, Transport::Ws | Transport::Wss) { "frame" } else { "message" };
        let received = counted(traffic.frames_received, what);
        let silence = span(traffic.silence_ms);
        sentence
            .push_str(&format!("; last byte {silence} before; {received} in, {} out", traffic.frames_sent));
    }
    Some(without_steering(&sentence))
}

/// The sentence about a flow that has no close yet, from the data of its `flow.opened`; none if that cannot
/// be read.
#[must_use]
pub fn why_open(payload: &[u8], now: u64) -> Option<String> {
    let FlowOpened { flow, opened_at, facts } = serde_json::from_slice(payload).ok()?;
    let (ago, at) = (ago(opened_at, now), clock(opened_at));
    let mut sentence =
        format!("{flow} ({} from {}) was opened {ago} ({at}) and is open", facts.transport, facts.remote);
    if let Some(agent) = &facts.user_agent {
        sentence.push_str(&format!("; it calls itself {agent}"));
    }
    Some(without_steering(&sentence))
}
