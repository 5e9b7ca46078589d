//! One plain line per event, for people at a terminal.

mod call;
mod flow;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use lifecycle::{
    BindingAdded, BindingRemoved, EventId, EventKind, LedgerTrimmed, Node, RecordedEvent, UserOffline,
    event_time,
};

pub(crate) use flow::what_happened;

use crate::{
    causes::removal_words,
    numbers::{counted, span},
};

/// The event in one line of plain words, such as
/// `13:05:12.123 flow.closed edge1.3.f42 ws 127.0.0.1:51422 by client: the client sent a Close frame (1001 "going away") after 3 m 12 s, 2 bindings (alice@localhost)`.
///
/// `at` is in microseconds since the Unix epoch and shown as the time of day in UTC. A payload that cannot be
/// read shows as the event's id. Nothing a peer wrote can steer the terminal.
#[must_use]
pub fn describe(node: &Node, id: EventId, kind: EventKind, at: u64, payload: &[u8]) -> String {
    let time = event_time(at);
    let mut line = format!("{} {kind} ", time.get(11..23).unwrap_or(&time));
    match RecordedEvent::read(kind, payload) {
        Ok(event) => line.push_str(&without_steering(&words(node, id, at, &event))),
        Err(_) => {
            let _ = write!(line, "(event {} cannot be read)", node.event(id));
        }
    }
    line
}

/// Text in which nothing steers the terminal.
pub(crate) fn without_steering(text: &str) -> String {
    text.chars().map(|c| if steers(c) { '?' } else { c }).collect()
}

/// Control characters, and those that turn the direction of writing.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2028}' | '\u{2029}' | '\u{2066}'..='\u{2069}')
}

fn words(node: &Node, id: EventId, at: u64, event: &RecordedEvent<'_>) -> String {
    let run = id.incarnation;
    match event {
        RecordedEvent::NodeStarted(started) => {
            let mut words = format!("{node} version {}, run {run}", started.version);
            if started.flows_recovered > 0 {
                let recovered = counted(started.flows_recovered, "flow");
                let _ = write!(words, ", closed {recovered} that the run before left open");
            }
            words
        }
        RecordedEvent::NodeStopped(stopped) => {
            let opened = counted(stopped.flows_opened, "flow");
            format!("{node} run {run}: {opened} opened, {} closed", stopped.flows_closed)
        }
        RecordedEvent::LedgerTrimmed(trimmed) => ledger_trimmed(trimmed),
        RecordedEvent::AuditDiffered(differed) => {
            format!("{} for {}: {}", differed.kind, span(differed.lasted_ms), differed.evidence)
        }
        RecordedEvent::FlowOpened(opened) => flow::opened(opened),
        RecordedEvent::FlowClosed(closed) => flow::closed(closed),
        RecordedEvent::BindingAdded(added) => binding_added(added, at),
        RecordedEvent::BindingRemoved(removed) => binding_removed(removed),
        RecordedEvent::UserOnline(online) => online.aor.to_string(),
        RecordedEvent::UserOffline(offline) => user_offline(offline),
        RecordedEvent::CallStarted(started) => call::started(started),
        RecordedEvent::CallAnswered(answered) => call::answered(answered),
        RecordedEvent::CallHeld(held) => call::held(held, "put the other side on hold"),
        RecordedEvent::CallResumed(held) => call::held(held, "took the other side back from hold"),
        RecordedEvent::CallEnded(ended) => call::ended(ended),
    }
}

fn ledger_trimmed(LedgerTrimmed { first, last, records, reason, passed, .. }: &LedgerTrimmed<'_>) -> String {
    let records = counted(*records, "event");
    let mut words = format!("{records} from {first} to {last} dropped from the ledger by {reason}");
    if !passed.is_empty() {
        let names: Vec<&str> = passed.iter().map(|passed| passed.sink.as_str()).collect();
        let _ = write!(words, ", unread by {}", names.join(", "));
    }
    words
}

fn binding_added(added: &BindingAdded<'_>, at: u64) -> String {
    let BindingAdded { aor, contact, transport, remote, .. } = added;
    let place = added.flow.map_or_else(|| format!("{transport} {remote}"), str::to_owned);
    let lasts = span(added.expires_at.saturating_sub(at) / 1000);
    format!("{aor} at {contact} on {place} for {lasts}")
}

fn binding_removed(BindingRemoved { aor, contact, flow, cause }: &BindingRemoved<'_>) -> String {
    let place = flow.map_or_else(String::new, |flow| format!(" on {flow}"));
    format!("{aor} at {contact}{place}: {}", removal_words(cause))
}

fn user_offline(offline: &UserOffline<'_>) -> String {
    let place = offline.last_flow.map_or_else(|| "over UDP".to_owned(), |flow| format!("on {flow}"));
    let (lasted, why) = (span(offline.duration_ms), removal_words(&offline.cause));
    format!("{} after {lasted}, last {place}: {why}", offline.aor)
}
