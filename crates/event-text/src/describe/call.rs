//! Calls in words.

use std::borrow::Cow;
use std::fmt::Write as _;

use lifecycle::CallCause;
use serde::Deserialize;

use super::{Words, span};

#[derive(Deserialize)]
struct Party<'a> {
    #[serde(borrow)]
    aor: Cow<'a, str>,
}

pub(super) fn started(payload: &[u8]) -> Words {
    #[derive(Deserialize)]
    struct Data<'a> {
        #[serde(borrow)]
        call: Cow<'a, str>,
        #[serde(borrow)]
        call_id: Cow<'a, str>,
        #[serde(borrow)]
        caller: Party<'a>,
        #[serde(borrow)]
        callee: Party<'a>,
    }
    let Data { call, call_id, caller, callee } = serde_json::from_slice(payload)?;
    Ok(format!("{call} {} calls {} (Call-ID {call_id})", caller.aor, callee.aor))
}

pub(super) fn answered(payload: &[u8]) -> Words {
    #[derive(Deserialize)]
    struct Data<'a> {
        #[serde(borrow)]
        call: Cow<'a, str>,
        #[serde(borrow)]
        callee: Party<'a>,
        ring_ms: u64,
    }
    let Data { call, callee, ring_ms } = serde_json::from_slice(payload)?;
    Ok(format!("{call} by {} after {}", callee.aor, span(ring_ms)))
}

pub(super) fn held(payload: &[u8], what: &str) -> Words {
    #[derive(Deserialize)]
    struct Data<'a> {
        #[serde(borrow)]
        call: Cow<'a, str>,
        #[serde(borrow)]
        by: Cow<'a, str>,
    }
    let Data { call, by } = serde_json::from_slice(payload)?;
    Ok(format!("{call}: the {by} {what}"))
}

pub(super) fn ended(payload: &[u8]) -> Words {
    #[derive(Deserialize)]
    struct Data<'a> {
        #[serde(borrow)]
        call: Cow<'a, str>,
        #[serde(borrow)]
        by: Cow<'a, str>,
        #[serde(borrow)]
        cause: Cow<'a, str>,
        status: Option<u16>,
        #[serde(default, borrow)]
        reason: Option<Cow<'a, str>>,
        #[serde(default)]
        answered_at: Option<serde::de::IgnoredAny>,
        #[serde(default)]
        lost_at: Option<serde::de::IgnoredAny>,
        #[serde(default)]
        ended_at_earliest: Option<serde::de::IgnoredAny>,
        ring_ms: u64,
        talk_ms: u64,
        #[serde(borrow)]
        caller: Party<'a>,
        #[serde(borrow)]
        callee: Party<'a>,
    }
    let data: Data<'_> = serde_json::from_slice(payload)?;
    let mut words = format!("{} {} with {} by {}: ", data.call, data.caller.aor, data.callee.aor, data.by);
    match data.cause.parse() {
        Ok(cause) => words.push_str(cause_words(cause)),
        Err(_) => words.push_str(&data.cause),
    }
    if let Some(status) = data.status {
        let _ = write!(words, " {status}");
    }
    if let Some(reason) = data.reason {
        let _ = write!(words, " \"{reason}\"");
    }
    let bound = if data.ended_at_earliest.is_some() { "at most " } else { "" };
    let _ = match data.answered_at {
        Some(_) => {
            // What a lost side and a dead process have missed is not counted.
            let bound = if data.lost_at.is_some() { "at least " } else { bound };
            write!(words, " after {bound}{} of talk", span(data.talk_ms))
        }
        None => write!(words, ", unanswered for {bound}{}", span(data.ring_ms)),
    };
    Ok(words)
}

/// What happened, in words that follow "by caller:" and the like.
fn cause_words(cause: CallCause) -> &'static str {
    match cause {
        CallCause::Hangup => "hung up",
        CallCause::Cancelled => "gave up",
        CallCause::Rejected => "refused",
        CallCause::NoAnswer => "nobody answered in time",
        CallCause::Failed => "it could not be put through",
        CallCause::FlowLost => "lost the connection and did not come back",
        CallCause::DialogLost => "did not know the call any more",
        CallCause::Expired => "nothing was heard of it any more",
        CallCause::Shutdown => "shutdown",
        CallCause::NodeCrash => "the process died",
    }
}
