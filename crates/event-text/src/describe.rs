//! One plain line per event, for people at a terminal.

mod call;
#[cfg(test)]
mod tests;
mod user;

use std::borrow::Cow;
use std::fmt::Write as _;

use lifecycle::{Cause, EventId, EventKind, Node, RemovalCause, Transport, event_time};
use serde::Deserialize;

/// Names of addresses-of-record that are shown; the rest is counted.
const NAMED: usize = 3;

/// The event in one line of plain words, such as
/// `13:05:12.123 flow.closed edge1.3.f42 ws 127.0.0.1:51422 by client: close frame 1001 "going away" after 3 m 12 s, 2 bindings (alice@localhost)`.
///
/// `at` is in microseconds since the Unix epoch and shown as the time of day in UTC. A payload that cannot be
/// read shows as the event's id. Nothing a peer wrote can steer the terminal.
#[must_use]
pub fn describe(node: &Node, id: EventId, kind: EventKind, at: u64, payload: &[u8]) -> String {
    let time = event_time(at);
    let mut line = format!("{} {kind} ", time.get(11..23).unwrap_or(&time));
    let words = match kind {
        EventKind::NodeStarted => node_started(node, id, payload),
        EventKind::NodeStopped => node_stopped(node, id, payload),
        EventKind::LedgerTrimmed => ledger_trimmed(payload),
        EventKind::AuditDiffered => audit_differed(payload),
        EventKind::FlowOpened => flow_opened(payload),
        EventKind::FlowClosed => flow_closed(payload),
        EventKind::BindingAdded => binding_added(at, payload),
        EventKind::BindingRemoved => binding_removed(payload),
        EventKind::UserOnline => user::online(payload),
        EventKind::UserOffline => user::offline(payload),
        EventKind::CallStarted => call::started(payload),
        EventKind::CallAnswered => call::answered(payload),
        EventKind::CallHeld => call::held(payload, "put the other side on hold"),
        EventKind::CallResumed => call::held(payload, "took the other side back from hold"),
        EventKind::CallEnded => call::ended(payload),
    };
    match words {
        Ok(words) => line.push_str(&without_steering(&words)),
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

type Words = Result<String, serde_json::Error>;

fn node_started(node: &Node, id: EventId, payload: &[u8]) -> Words {
    #[derive(Deserialize)]
    struct Data<'a> {
        #[serde(borrow)]
        version: Cow<'a, str>,
        flows_recovered: u64,
    }
    let Data { version, flows_recovered } = serde_json::from_slice(payload)?;
    let mut words = format!("{node} version {version}, run {}", id.incarnation);
    if flows_recovered > 0 {
        let _ = write!(words, ", closed {} that the run before left open", counted(flows_recovered, "flow"));
    }
    Ok(words)
}

fn node_stopped(node: &Node, id: EventId, payload: &[u8]) -> Words {
    #[derive(Deserialize)]
    struct Data {
        flows_opened: u64,
        flows_closed: u64,
    }
    let Data { flows_opened, flows_closed } = serde_json::from_slice(payload)?;
    Ok(format!(
        "{node} run {}: {} opened, {flows_closed} closed",
        id.incarnation,
        counted(flows_opened, "flow")
    ))
}

fn ledger_trimmed(payload: &[u8]) -> Words {
    #[derive(Deserialize)]
    struct Passed<'a> {
        #[serde(borrow)]
        sink: Cow<'a, str>,
    }
    #[derive(Deserialize)]
    struct Data<'a> {
        #[serde(borrow)]
        first: Cow<'a, str>,
        #[serde(borrow)]
        last: Cow<'a, str>,
        records: u64,
        #[serde(borrow)]
        reason: Cow<'a, str>,
        #[serde(borrow)]
        passed: Vec<Passed<'a>>,
    }
    let Data { first, last, records, reason, passed } = serde_json::from_slice(payload)?;
    let mut words =
        format!("{} from {first} to {last} dropped from the ledger by {reason}", counted(records, "event"));
    if !passed.is_empty() {
        let names: Vec<&str> = passed.iter().map(|passed| &*passed.sink).collect();
        let _ = write!(words, ", unread by {}", names.join(", "));
    }
    Ok(words)
}

fn audit_differed(payload: &[u8]) -> Words {
    #[derive(Deserialize)]
    struct Data<'a> {
        #[serde(borrow)]
        kind: Cow<'a, str>,
        lasted_ms: u64,
        #[serde(borrow)]
        evidence: Cow<'a, str>,
    }
    let Data { kind, lasted_ms, evidence } = serde_json::from_slice(payload)?;
    Ok(format!("{kind} for {}: {evidence}", span(lasted_ms)))
}

#[derive(Deserialize)]
struct Peer<'a> {
    #[serde(borrow)]
    flow: Cow<'a, str>,
    transport: Transport,
    #[serde(borrow)]
    remote: Cow<'a, str>,
    #[serde(default, borrow)]
    forwarded: Option<Cow<'a, str>>,
}

impl Peer<'_> {
    fn words(&self) -> String {
        let Self { flow, transport, remote, forwarded } = self;
        let mut words = format!("{flow} {transport} {remote}");
        if let Some(forwarded) = forwarded {
            let _ = write!(words, " for {forwarded}");
        }
        words
    }
}

fn flow_opened(payload: &[u8]) -> Words {
    #[derive(Deserialize)]
    struct Data<'a> {
        direction: lifecycle::Direction,
        #[serde(borrow)]
        listener: Cow<'a, str>,
        #[serde(default, borrow)]
        origin: Option<Cow<'a, str>>,
        #[serde(default, borrow)]
        user_agent: Option<Cow<'a, str>>,
    }
    let peer: Peer<'_> = serde_json::from_slice(payload)?;
    let data: Data<'_> = serde_json::from_slice(payload)?;
    let mut words = peer.words();
    match data.direction {
        lifecycle::Direction::Accepted => {
            let _ = write!(words, " on {}", data.listener);
        }
        lifecycle::Direction::Connected => words.push_str(" by us"),
    }
    if let Some(origin) = data.origin {
        let _ = write!(words, " from {origin}");
    }
    if let Some(agent) = data.user_agent {
        let _ = write!(words, " ({agent})");
    }
    Ok(words)
}

fn flow_closed(payload: &[u8]) -> Words {
    #[derive(Deserialize)]
    struct Data<'a> {
        #[serde(borrow)]
        by: Cow<'a, str>,
        #[serde(borrow)]
        cause: Cow<'a, str>,
        code: Option<u16>,
        #[serde(default, borrow)]
        reason: Option<Cow<'a, str>>,
        duration_ms: u64,
        silence_ms: Option<u64>,
        #[serde(default)]
        closed_at_earliest: Option<serde::de::IgnoredAny>,
        #[serde(default, borrow)]
        bindings: Vec<Cow<'a, str>>,
        #[serde(default)]
        bindings_total: usize,
        #[serde(default)]
        calls_total: usize,
    }
    let peer: Peer<'_> = serde_json::from_slice(payload)?;
    let data: Data<'_> = serde_json::from_slice(payload)?;
    let mut words = format!("{} by {}: ", peer.words(), data.by);
    match data.cause.parse::<Cause>() {
        Ok(Cause::PingTimeout) => {
            words.push_str("did not answer a ping");
            if let Some(silence) = data.silence_ms {
                let _ = write!(words, ", silent for {}", span(silence));
            }
        }
        Ok(cause) => words.push_str(cause_words(cause)),
        Err(_) => words.push_str(&data.cause),
    }
    if let Some(code) = data.code {
        let _ = write!(words, " {code}");
    }
    if let Some(reason) = data.reason {
        let _ = write!(words, " \"{reason}\"");
    }
    let bound = if data.closed_at_earliest.is_some() { "at most " } else { "" };
    let _ = write!(words, " after {bound}{}", span(data.duration_ms));
    if data.bindings_total > 0 {
        let _ = write!(words, ", {}", counted(data.bindings_total as u64, "binding"));
        let named: Vec<_> = data.bindings.iter().take(NAMED).map(AsRef::as_ref).collect();
        if !named.is_empty() {
            let more = if data.bindings_total > named.len() { ", …" } else { "" };
            let _ = write!(words, " ({}{more})", named.join(", "));
        }
    }
    if data.calls_total > 0 {
        let _ = write!(words, ", amid {}", counted(data.calls_total as u64, "call"));
    }
    Ok(words)
}

/// What happened, in words that follow "by client:" and the like.
fn cause_words(cause: Cause) -> &'static str {
    match cause {
        Cause::CloseFrame => "close frame",
        Cause::Eof => "hung up without a close frame",
        Cause::Reset => "reset the connection",
        Cause::PingTimeout => "did not answer a ping",
        Cause::TcpTimeout => "TCP got no acknowledgement",
        Cause::WriteTimeout => "nothing could be written any more",
        Cause::Unreachable => "the peer became unreachable",
        Cause::ProtocolError => "the peer broke the protocol",
        Cause::MessageTooBig => "a message was too big",
        Cause::InvalidPayload => "a text message was not UTF-8",
        Cause::TlsError => "TLS failed",
        Cause::SlowReader => "the peer read too slowly",
        Cause::RateLimited => "the peer sent too much",
        Cause::AuthFailed => "its credentials were wrong too often",
        Cause::Banned => "its address is banned",
        Cause::Idle => "no SIP for too long",
        Cause::Lifetime => "it reached the age limit",
        Cause::TokenExpired => "its credentials ran out",
        Cause::Admin => "closed by an operator",
        Cause::Replaced => "replaced by a newer flow",
        Cause::Drain => "the node is being drained",
        Cause::Shutdown => "shutdown",
        Cause::InternalError => "an internal error",
        Cause::NodeCrash => "the process died",
        Cause::NodeLost => "the machine was lost",
    }
}

fn binding_added(at: u64, payload: &[u8]) -> Words {
    #[derive(Deserialize)]
    struct Data<'a> {
        #[serde(borrow)]
        aor: Cow<'a, str>,
        #[serde(borrow)]
        contact: Cow<'a, str>,
        #[serde(default, borrow)]
        flow: Option<Cow<'a, str>>,
        transport: Transport,
        #[serde(borrow)]
        remote: Cow<'a, str>,
        #[serde(borrow)]
        expires_at: Cow<'a, str>,
    }
    let data: Data<'_> = serde_json::from_slice(payload)?;
    let place = data.flow.unwrap_or_else(|| format!("{} {}", data.transport, data.remote).into());
    let mut words = format!("{} at {} on {place}", data.aor, data.contact);
    if let Ok(expires) = data.expires_at.parse::<jiff::Timestamp>() {
        let expires = u64::try_from(expires.as_microsecond()).unwrap_or(0);
        let _ = write!(words, " for {}", span(expires.saturating_sub(at) / 1000));
    }
    Ok(words)
}

fn binding_removed(payload: &[u8]) -> Words {
    #[derive(Deserialize)]
    struct Data<'a> {
        #[serde(borrow)]
        aor: Cow<'a, str>,
        #[serde(borrow)]
        contact: Cow<'a, str>,
        #[serde(default, borrow)]
        flow: Option<Cow<'a, str>>,
        #[serde(borrow)]
        cause: Cow<'a, str>,
    }
    let data: Data<'_> = serde_json::from_slice(payload)?;
    let mut words = format!("{} at {}", data.aor, data.contact);
    if let Some(flow) = data.flow {
        let _ = write!(words, " on {flow}");
    }
    let _ = write!(words, ": {}", removal_words(&data.cause));
    Ok(words)
}

/// Why a binding went; a word that is not known, as it is.
fn removal_words(cause: &str) -> &str {
    let Ok(known) = cause.parse::<RemovalCause>() else { return cause };
    match known {
        RemovalCause::FlowClosed => "its flow closed",
        RemovalCause::Unregistered => "unregistered",
        RemovalCause::Expired => "not refreshed in time",
        RemovalCause::Replaced => "replaced by a newer registration",
        RemovalCause::NodeCrash => "the process died",
        RemovalCause::Shutdown => "shutdown",
    }
}

/// A number with its noun: `1 flow`, `2 flows`, `3 misses`.
#[must_use]
pub fn counted(count: u64, noun: &str) -> String {
    match (count, noun.ends_with('s')) {
        (1, _) => format!("1 {noun}"),
        (_, true) => format!("{count} {noun}es"),
        (_, false) => format!("{count} {noun}s"),
    }
}

/// A time span in its two largest units.
pub(crate) fn span(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0 => format!("{ms} ms"),
        1..60 => format!("{}.{} s", seconds, ms % 1000 / 100),
        60..3600 => format!("{} m {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}
