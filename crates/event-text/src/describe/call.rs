//! Calls in words.

use lifecycle::{CallAnswered, CallBy, CallEnded, CallHeld, CallStarted, Text, Word};

use crate::{
    causes::{call_author, call_cause, in_brackets},
    numbers::span,
};

pub(super) fn started(CallStarted { call, call_id, caller, callee, .. }: &CallStarted<'_>) -> String {
    format!("{call} {} calls {} (Call-ID {call_id})", caller.aor, callee.aor)
}

pub(super) fn answered(CallAnswered { call, callee, ring_ms, .. }: &CallAnswered<'_>) -> String {
    format!("{call} by {} after {}", callee.aor, span(*ring_ms))
}

pub(super) fn held(CallHeld { call, by, .. }: &CallHeld<'_>, what: &str) -> String {
    format!("{call}: {} {what}", author(by))
}

pub(super) fn ended(ended: &CallEnded<'_>) -> String {
    let reason = ended.reason.as_deref().map(Text::as_str);
    let detail = in_brackets(ended.status, reason, None);
    let why = match &ended.cause {
        Word::Known(cause) => {
            let who = author(&ended.by);
            let clause = call_cause(*cause).replace("{whose}", &format!("{who}'s"));
            clause.replace("{who}", who).replace("{detail}", &detail)
        }
        Word::Unknown(word) => format!("{word}{detail}"),
    };
    let bound = if ended.ended_at_earliest.is_some() { "at most " } else { "" };
    let lasted = match ended.answered_at {
        Some(_) => {
            // What a lost side and a dead process have missed is not counted.
            let bound = if ended.lost_at.is_some() { "at least " } else { bound };
            format!(" after {bound}{} of talk", span(ended.talk_ms))
        }
        None => format!(", unanswered for {bound}{}", span(ended.ring_ms)),
    };
    let CallEnded { call, caller, callee, by, .. } = ended;
    format!("{call} {} with {} by {by}: {why}{lasted}", caller.aor, callee.aor)
}

fn author(by: &Word<CallBy>) -> &str {
    match by {
        Word::Known(by) => call_author(*by),
        Word::Unknown(word) => word,
    }
}
