//! What the ledger records of calls: enough for a call detail record.

use std::{borrow::Cow, net::SocketAddr};

use serde::{Deserialize, Serialize};

use crate::{Certainty, ClosedAt, Text, Transport, Word, vocabulary::vocabulary, wire::time};

/// Bytes that a `call.ended` record may take: what is reserved in the ledger before a call begins.
pub const CALL_ENDED_RESERVE: usize = 4096;

/// Bytes that a `call.answered` record may take: reserved before a call begins, too.
pub const CALL_ANSWERED_RESERVE: usize = 2304;

/// Bytes that a `call.held` or `call.resumed` record may take.
pub const CALL_HELD_RESERVE: usize = 640;

vocabulary! {
    /// The author of a call's end.
    CallBy, "an author of a call's end", {
        /// The user agent that called, or the loss of its flow.
        Caller = "caller",
        /// The user agent that was called, or the loss of its flow.
        Callee = "callee",
        /// This server, by a rule.
        Server = "server",
        /// The node that carried the call is gone.
        Node = "node",
    }
}

vocabulary! {
    /// Why a call ended: a closed vocabulary.
    CallCause, "a cause of a call's end", {
        /// One side sent BYE.
        Hangup = "hangup",
        /// The caller gave up before it was answered.
        Cancelled = "cancelled",
        /// The callee said no; `status` says how.
        Rejected = "rejected",
        /// Nobody answered in time.
        NoAnswer = "no_answer",
        /// It could not be put through; `status` says what the caller was told.
        Failed = "failed",
        /// A side's flow ended and its user agent did not come back within the hold.
        FlowLost = "flow_lost",
        /// A side's user agent does not know the call any more: it answered 481 or 408 to a request in it.
        DialogLost = "dialog_lost",
        /// Its session timer ran out (RFC 4028), or nothing was heard of it for too long.
        Expired = "expired",
        /// The process that carried it ended in order. What the two sides send each other may go on.
        Shutdown = "shutdown",
        /// The process that carried it died.
        NodeCrash = "node_crash",
    }
}

/// One side of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallParty {
    /// The address-of-record, `user@domain`, or the whole URI where that cannot be told.
    pub aor: Text<160>,
    /// The display name, without quotes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display: Option<Text<64>>,
    /// The Contact URI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<Text<160>>,
    /// The user agent's name of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<Text<96>>,
    /// The flow it is on; over UDP there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow: Option<Text<80>>,
    /// How SIP travels to it; not known of a callee that has not answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<Transport>,
    /// Its address, over UDP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<SocketAddr>,
}

/// `call.started`: an INVITE was forwarded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallStarted<'a> {
    /// The call's id, `<node>.<incarnation>.c<counter>`: a Call-ID may come twice, this never does.
    pub call: &'a str,
    /// Call-ID of its INVITE.
    pub call_id: Cow<'a, Text<128>>,
    /// When, in microseconds since the Unix epoch.
    #[serde(with = "time")]
    pub started_at: u64,
    /// The caller.
    pub caller: Cow<'a, CallParty>,
    /// The callee.
    pub callee: Cow<'a, CallParty>,
}

/// `call.answered`: the first 2xx.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallAnswered<'a> {
    /// The call's id.
    pub call: &'a str,
    /// Call-ID of its INVITE.
    pub call_id: Cow<'a, Text<128>>,
    /// When, in microseconds since the Unix epoch.
    #[serde(with = "time")]
    pub answered_at: u64,
    /// Milliseconds from its start.
    pub ring_ms: u64,
    /// The side that answered.
    pub callee: Cow<'a, CallParty>,
}

/// `call.held` and `call.resumed`: one side put the other on hold, or took it back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallHeld<'a> {
    /// The call's id.
    pub call: &'a str,
    /// Call-ID of its INVITE.
    pub call_id: Cow<'a, Text<128>>,
    /// The side that did it.
    pub by: Word<CallBy>,
    /// When, in microseconds since the Unix epoch.
    #[serde(with = "time")]
    pub at: u64,
}

/// What is known when a call ends. Its record, [`CallEnded`], follows from it.
#[derive(Clone, Debug)]
pub struct CallEnd<'a> {
    /// The call's id.
    pub call: &'a str,
    /// Call-ID of its INVITE.
    pub call_id: &'a Text<128>,
    /// The author of its end.
    pub by: CallBy,
    /// Why.
    pub cause: CallCause,
    /// The final status of its INVITE if that was no 2xx.
    pub status: Option<u16>,
    /// More about it, in words.
    pub reason: Option<&'a Text<123>>,
    /// How surely that is known.
    pub certainty: Certainty,
    /// When its INVITE went out, in microseconds since the Unix epoch.
    pub started_at: u64,
    /// When the first callee rang.
    pub ringing_at: Option<u64>,
    /// When it was answered.
    pub answered_at: Option<u64>,
    /// When a side was lost that did not come back, in microseconds since the Unix epoch: there its talk
    /// ends. After a crash, the dead process's last sign of life.
    pub lost_at: Option<u64>,
    /// When it ended.
    pub ended_at: ClosedAt,
    /// The caller.
    pub caller: &'a CallParty,
    /// The callee, or the side that answered.
    pub callee: &'a CallParty,
    /// How often one side put the other on hold; not known after a crash.
    pub holds: Option<u32>,
    /// How often a side came back on a new flow; not known after a crash.
    pub moves: Option<u32>,
}

/// `call.ended`: useful alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallEnded<'a> {
    /// The call's id.
    pub call: &'a str,
    /// Call-ID of its INVITE.
    pub call_id: Cow<'a, Text<128>>,
    /// The author of its end.
    pub by: Word<CallBy>,
    /// Why.
    pub cause: Word<CallCause>,
    /// The final status of its INVITE if that was no 2xx.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// More about it, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Cow<'a, Text<123>>>,
    /// How surely that is known.
    pub certainty: Word<Certainty>,
    /// When its INVITE went out, in microseconds since the Unix epoch.
    #[serde(with = "time")]
    pub started_at: u64,
    /// When the first callee rang.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "time::optional")]
    pub ringing_at: Option<u64>,
    /// When it was answered.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "time::optional")]
    pub answered_at: Option<u64>,
    /// When its talk ended because a side was lost: see [`CallEnd::lost_at`].
    #[serde(default, skip_serializing_if = "Option::is_none", with = "time::optional")]
    pub lost_at: Option<u64>,
    /// When it ended; after a crash, when that was found.
    #[serde(with = "time")]
    pub ended_at: u64,
    /// After a crash: the dead process's last sign of life.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "time::optional")]
    pub ended_at_earliest: Option<u64>,
    /// Milliseconds from its start to its answer, or to its end.
    pub ring_ms: u64,
    /// Milliseconds from its answer to its end, or to `lost_at`.
    pub talk_ms: u64,
    /// The caller.
    pub caller: Cow<'a, CallParty>,
    /// The callee, or the side that answered.
    pub callee: Cow<'a, CallParty>,
    /// How often one side put the other on hold; not known after a crash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holds: Option<u32>,
    /// How often a side came back on a new flow; not known after a crash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moves: Option<u32>,
}

impl<'a> From<&CallEnd<'a>> for CallEnded<'a> {
    fn from(end: &CallEnd<'a>) -> Self {
        let (ended_at, ended_at_earliest) = end.ended_at.latest_and_earliest();
        let rang_until = end.answered_at.unwrap_or(ended_at);
        let talked_until = end.lost_at.map_or(ended_at, |lost_at| lost_at.min(ended_at));
        Self {
            call: end.call,
            call_id: Cow::Borrowed(end.call_id),
            by: end.by.into(),
            cause: end.cause.into(),
            status: end.status,
            reason: end.reason.map(Cow::Borrowed),
            certainty: end.certainty.into(),
            started_at: end.started_at,
            ringing_at: end.ringing_at,
            answered_at: end.answered_at,
            lost_at: end.lost_at,
            ended_at,
            ended_at_earliest,
            ring_ms: rang_until.saturating_sub(end.started_at) / 1000,
            talk_ms: end.answered_at.map_or(0, |at| talked_until.saturating_sub(at) / 1000),
            caller: Cow::Borrowed(end.caller),
            callee: Cow::Borrowed(end.callee),
            holds: end.holds,
            moves: end.moves,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_room_holds_the_longest_records_of_calls() {
        // JSON doubles each of these.
        let long = "\\".repeat(400);
        let party = CallParty {
            aor: Text::new(&long),
            display: Some(Text::new(&long)),
            contact: Some(Text::new(&long)),
            user_agent: Some(Text::new(&long)),
            flow: Some(Text::new(&long)),
            transport: Some(Transport::Wss),
            remote: Some("[1111:2222:3333:4444:5555:6666:7777:8888]:65535".parse().unwrap()),
        };
        let (call, call_id, reason) = ("x".repeat(80), Text::new(&long), Text::new(&long));
        let at = u64::MAX / 2048;
        let ended = CallEnd {
            call: &call,
            call_id: &call_id,
            by: CallBy::Caller,
            cause: CallCause::NodeCrash,
            status: Some(699),
            reason: Some(&reason),
            certainty: Certainty::JournalReplay,
            started_at: at,
            ringing_at: Some(at),
            answered_at: Some(at),
            lost_at: Some(at),
            ended_at: ClosedAt::Between { earliest: at, latest: at },
            caller: &party,
            callee: &party,
            holds: Some(u32::MAX),
            moves: Some(u32::MAX),
        };
        let length = serde_json::to_vec(&CallEnded::from(&ended)).unwrap().len();
        assert!(length <= CALL_ENDED_RESERVE, "{length}");
        let answered = CallAnswered {
            call: &call,
            call_id: Cow::Borrowed(&call_id),
            answered_at: at,
            ring_ms: u64::MAX,
            callee: Cow::Borrowed(&party),
        };
        let length = serde_json::to_vec(&answered).unwrap().len();
        assert!(length <= CALL_ANSWERED_RESERVE, "{length}");
        let held = CallHeld { call: &call, call_id: Cow::Borrowed(&call_id), by: CallBy::Callee.into(), at };
        let length = serde_json::to_vec(&held).unwrap().len();
        assert!(length <= CALL_HELD_RESERVE, "{length}");
    }
}
