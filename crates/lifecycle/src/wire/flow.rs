//! What the ledger records of flows.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::{By, Cause, Certainty, Ending, FlowFacts, Identity, Text, Traffic, Word, wire::time};

/// `flow.opened`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowOpened<'a> {
    /// The flow id as text.
    pub flow: &'a str,
    /// When, in microseconds since the Unix epoch.
    #[serde(with = "time")]
    pub opened_at: u64,
    /// What is known of the flow.
    #[serde(flatten)]
    pub facts: Cow<'a, FlowFacts>,
}

/// When a flow or a call ended: a moment that was seen, or the interval in which it must have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosedAt {
    /// Seen, in microseconds since the Unix epoch.
    Seen(u64),
    /// Not seen: between the dead process's last sign of life and the start of the next.
    Between {
        /// Microseconds since the Unix epoch.
        earliest: u64,
        /// Microseconds since the Unix epoch.
        latest: u64,
    },
}

impl ClosedAt {
    /// The moment, or the end of the interval; and the interval's beginning.
    pub(crate) const fn latest_and_earliest(self) -> (u64, Option<u64>) {
        match self {
            Self::Seen(at) => (at, None),
            Self::Between { earliest, latest } => (latest, Some(earliest)),
        }
    }
}

/// What is known when a flow ends. Its record, [`FlowClosed`], follows from it.
#[derive(Clone, Debug)]
pub struct FlowEnd<'a> {
    /// The flow id as text.
    pub flow: &'a str,
    /// The facts known at its opening.
    pub facts: &'a FlowFacts,
    /// The identity that the user agent proved, if it did.
    pub identity: Option<&'a Identity>,
    /// When it opened, in microseconds since the Unix epoch.
    pub opened_at: u64,
    /// When it ended.
    pub closed_at: ClosedAt,
    /// How it ended.
    pub ending: &'a Ending,
    /// How surely that is known.
    pub certainty: Certainty,
    /// The traffic on it; unknown after a crash.
    pub traffic: Option<&'a Traffic>,
    /// Addresses-of-record it held bindings for: the first few.
    pub bindings: &'a [Text<160>],
    /// How many bindings it held in all.
    pub bindings_total: usize,
    /// Call-IDs of calls that had a side on it: the first few.
    pub calls: &'a [Text<128>],
    /// How many such calls there were in all.
    pub calls_total: usize,
}

/// `flow.closed`: useful alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowClosed<'a> {
    /// The flow id as text.
    pub flow: &'a str,
    /// The author of its end, which follows from the cause.
    pub by: Word<By>,
    /// Why.
    pub cause: Word<Cause>,
    /// The WebSocket close code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    /// The evidence: see [`Ending::reason`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Cow<'a, Text<123>>>,
    /// How surely that is known.
    pub certainty: Word<Certainty>,
    /// When it opened, in microseconds since the Unix epoch.
    #[serde(with = "time")]
    pub opened_at: u64,
    /// When it ended; after a crash, when that was found.
    #[serde(with = "time")]
    pub closed_at: u64,
    /// After a crash: the dead process's last sign of life.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "time::optional")]
    pub closed_at_earliest: Option<u64>,
    /// Milliseconds from its opening to `closed_at`.
    pub duration_ms: u64,
    /// The identity that the user agent proved, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Cow<'a, Identity>>,
    /// The traffic on it; unknown after a crash.
    #[serde(flatten)]
    pub traffic: Option<Traffic>,
    /// Addresses-of-record it held bindings for: the first few.
    #[serde(default)]
    pub bindings: Cow<'a, [Text<160>]>,
    /// How many bindings it held in all.
    #[serde(default)]
    pub bindings_total: usize,
    /// Call-IDs of calls that had a side on it: the first few.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub calls: Cow<'a, [Text<128>]>,
    /// How many such calls there were in all.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub calls_total: usize,
    /// The facts known at its opening.
    #[serde(flatten)]
    pub facts: Cow<'a, FlowFacts>,
}

impl<'a> From<&FlowEnd<'a>> for FlowClosed<'a> {
    fn from(end: &FlowEnd<'a>) -> Self {
        let (closed_at, closed_at_earliest) = end.closed_at.latest_and_earliest();
        Self {
            flow: end.flow,
            by: end.ending.cause.by().into(),
            cause: end.ending.cause.into(),
            code: end.ending.code,
            reason: end.ending.reason.as_ref().map(Cow::Borrowed),
            certainty: end.certainty.into(),
            opened_at: end.opened_at,
            closed_at,
            closed_at_earliest,
            duration_ms: closed_at.saturating_sub(end.opened_at) / 1000,
            identity: end.identity.map(Cow::Borrowed),
            traffic: end.traffic.copied(),
            bindings: Cow::Borrowed(end.bindings),
            bindings_total: end.bindings_total,
            calls: Cow::Borrowed(end.calls),
            calls_total: end.calls_total,
            facts: Cow::Borrowed(end.facts),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
const fn is_zero(count: &usize) -> bool {
    *count == 0
}
