//! What became of a connection, in one plain sentence with the evidence.

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use lifecycle::{By, Cause, Certainty, Transport};
use serde::Deserialize;

use crate::describe::{counted, span, without_steering};

/// WebSocket close codes (RFC 6455 §7.4.1) as people say them.
const CODES: [(u16, &str); 10] = [
    (1000, "normal"),
    (1001, "going away"),
    (1002, "protocol error"),
    (1003, "unsupported data"),
    (1007, "invalid payload"),
    (1008, "policy"),
    (1009, "too big"),
    (1011, "internal error"),
    (1012, "service restart"),
    (1013, "try again later"),
];

/// What a `flow.closed` tells.
#[derive(Deserialize)]
struct Closed<'a> {
    #[serde(borrow)]
    flow: Cow<'a, str>,
    #[serde(borrow)]
    cause: Cow<'a, str>,
    code: Option<u16>,
    #[serde(default, borrow)]
    reason: Option<Cow<'a, str>>,
    #[serde(borrow)]
    certainty: Cow<'a, str>,
    #[serde(borrow)]
    closed_at: Cow<'a, str>,
    #[serde(default, borrow)]
    closed_at_earliest: Option<Cow<'a, str>>,
    duration_ms: u64,
    transport: Transport,
    #[serde(borrow)]
    remote: Cow<'a, str>,
    #[serde(default, borrow)]
    identity: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    bindings: Vec<Cow<'a, str>>,
    #[serde(default)]
    bindings_total: usize,
    frames_received: Option<u64>,
    frames_sent: Option<u64>,
    silence_ms: Option<u64>,
}

/// What a `flow.opened` tells.
#[derive(Deserialize)]
struct Opened<'a> {
    #[serde(borrow)]
    flow: Cow<'a, str>,
    #[serde(borrow)]
    opened_at: Cow<'a, str>,
    transport: Transport,
    #[serde(borrow)]
    remote: Cow<'a, str>,
    #[serde(default, borrow)]
    user_agent: Option<Cow<'a, str>>,
}

/// The sentence about a flow that is over, from the data of its `flow.closed`; none if that cannot be read.
/// `now` is in microseconds since the Unix epoch. Nothing a peer wrote can steer the terminal.
#[must_use]
pub fn why_closed(payload: &[u8], now: u64) -> Option<String> {
    let data: Closed<'_> = serde_json::from_slice(payload).ok()?;
    let cause = data.cause.parse::<Cause>();
    let (by, what) = match cause {
        Ok(cause) => (author(cause), account(cause, &data)),
        Err(_) => ("was closed", format!("{}{}", data.cause, said(&data))),
    };
    let lasted = span(data.duration_ms);
    let mut sentence = match &data.closed_at_earliest {
        Some(earliest) => format!(
            "{} ({} from {}) {by} between {} and {} ({}), after at most {lasted}: {what}",
            data.flow,
            data.transport,
            data.remote,
            clock(earliest),
            clock(&data.closed_at),
            ago(&data.closed_at, now)
        ),
        None => format!(
            "{} ({} from {}) {by} {} ({}), after {lasted}: {what}",
            data.flow,
            data.transport,
            data.remote,
            ago(&data.closed_at, now),
            clock(&data.closed_at)
        ),
    };
    if data.bindings_total > 0 {
        let named: Vec<&str> = data.bindings.iter().map(AsRef::as_ref).collect();
        let more = data.bindings_total - named.len().min(data.bindings_total);
        sentence.push_str(&format!("; it held {}", named.join(", ")));
        if more > 0 {
            sentence.push_str(&format!(" and {}", counted(more as u64, "more binding")));
        }
    } else if let Some(identity) = &data.identity {
        sentence.push_str(&format!("; it was {identity}'s and held no binding"));
    } else {
        sentence.push_str("; it held no binding");
    }
    if let Some(silence) = data.silence_ms {
        sentence.push_str(&format!("; last byte {} before", span(silence)));
    }
    if let (Some(received), Some(sent)) = (data.frames_received, data.frames_sent) {
        let what = if matches!(data.transport, Transport::Ws | Transport::Wss) { "frame" } else { "message" };
        sentence.push_str(&format!("; {} in, {sent} out", counted(received, what)));
    }
    if data.certainty != Certainty::Observed.as_str() && cause != Ok(Cause::NodeCrash) {
        sentence.push_str(&format!("; known by {}", data.certainty.replace('_', " ")));
    }
    Some(without_steering(&sentence))
}

/// The sentence about a flow that has no close yet, from the data of its `flow.opened`; none if that cannot
/// be read.
#[must_use]
pub fn why_open(payload: &[u8], now: u64) -> Option<String> {
    let data: Opened<'_> = serde_json::from_slice(payload).ok()?;
    let mut sentence = format!(
        "{} ({} from {}) was opened {} ({}) and is open",
        data.flow,
        data.transport,
        data.remote,
        ago(&data.opened_at, now),
        clock(&data.opened_at)
    );
    if let Some(agent) = &data.user_agent {
        sentence.push_str(&format!("; it calls itself {agent}"));
    }
    Some(without_steering(&sentence))
}

/// Who ended it, as the verb of the sentence.
const fn author(cause: Cause) -> &'static str {
    match cause.by() {
        By::Client => "was closed by the client",
        By::Server => "was closed by the server",
        By::Network => "was lost by the network",
        By::Node => "ended with the server",
    }
}

/// What happened, with the code and the words that were said.
fn account(cause: Cause, data: &Closed<'_>) -> String {
    let plain = match cause {
        Cause::CloseFrame => return format!("its page sent a Close frame{}", said(data)),
        Cause::Eof => "the client hung up without a Close frame, as when its process ends",
        Cause::Reset => "the client's host reset the connection",
        Cause::PingTimeout => "nothing came back after a ping",
        Cause::TcpTimeout => "TCP got no acknowledgement and gave up",
        Cause::WriteTimeout => "the client took no byte for the whole write timeout",
        Cause::Unreachable => "the client's host or network became unreachable",
        Cause::ProtocolError => "the client broke the protocol",
        Cause::MessageTooBig => "the client sent a message over the limit",
        Cause::InvalidPayload => "the client sent text that is not UTF-8",
        Cause::TlsError => "TLS failed",
        Cause::SlowReader => "the client read too slowly and its queue was full",
        Cause::RateLimited => "the client sent more than it may",
        Cause::AuthFailed => "the client's credentials were wrong too often",
        Cause::Banned => "the client's address is banned for what was done from it",
        Cause::Idle => "no SIP passed for longer than the idle limit allows",
        Cause::Lifetime => "it was as old as it may become",
        Cause::TokenExpired => "the credentials that it was opened with ran out",
        Cause::Admin => "an operator closed it",
        Cause::Replaced => "a newer connection of the same client took its place",
        Cause::Drain => "the node was being drained",
        Cause::Shutdown => "the server was told to stop",
        Cause::InternalError => "a fault inside the server",
        Cause::NodeCrash => return "its process died, which the next start found in the ledger".to_owned(),
        Cause::NodeLost => return "its machine was lost, which another node found".to_owned(),
    };
    format!("{plain}{}", said(data))
}

/// ` (1001 "going away")`, or nothing.
fn said(data: &Closed<'_>) -> String {
    let meaning =
        data.code.and_then(|code| CODES.iter().find(|(known, _)| *known == code)).map(|(_, words)| *words);
    match (data.code, &data.reason, meaning) {
        (None, None, _) => String::new(),
        (None, Some(reason), _) => format!(" (\"{reason}\")"),
        (Some(code), Some(reason), _) => format!(" ({code} \"{reason}\")"),
        (Some(code), None, Some(meaning)) => format!(" ({code}, {meaning})"),
        (Some(code), None, None) => format!(" ({code})"),
    }
}

/// How long before `now` a moment was.
#[must_use]
pub fn ago(moment: &str, now: u64) -> String {
    let at =
        moment.parse::<jiff::Timestamp>().map_or(now, |at| u64::try_from(at.as_microsecond()).unwrap_or(0));
    format!("{} ago", span(now.saturating_sub(at) / 1000))
}

/// Date and time in UTC to the millisecond, of a moment in RFC 3339 as events carry it.
#[must_use]
pub fn clock(moment: &str) -> String {
    match (moment.get(..10), moment.get(11..23)) {
        (Some(day), Some(time)) => format!("{day} {time}Z"),
        _ => moment.to_owned(),
    }
}
