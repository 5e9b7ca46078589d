//! Calls that an earlier incarnation left open, and the ends they are owed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    CallAnswered, CallBy, CallCause, CallEnd, CallParty, CallStarted, Certainty, ClosedAt, Event, EventId,
    EventKind, Findings, Text, wire::subject::text_at,
};

/// A call that was started and has not ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenCall {
    /// Call-ID.
    pub call_id: Text<128>,
    /// When it started, in microseconds since the Unix epoch.
    pub started_at: u64,
    /// When it was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_at: Option<u64>,
    /// The caller.
    pub caller: CallParty,
    /// The callee, or the side that answered.
    pub callee: CallParty,
}

/// The part of a fold that is about calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenCalls {
    pub(crate) open: BTreeMap<Box<str>, OpenCall>,
    /// `call.started` records seen.
    pub started: u64,
    /// `call.ended` records seen.
    pub ended: u64,
    /// Ends of calls that were not open: ended twice, or never started.
    pub ended_without_start: Findings<(EventId, String)>,
    /// Call ids that were started twice.
    pub started_twice: Findings<(EventId, String)>,
}

impl OpenCalls {
    /// Takes in the next record about a call; none if it cannot be read.
    pub(crate) fn fold(&mut self, id: EventId, kind: EventKind, payload: &[u8]) -> Option<()> {
        match kind {
            EventKind::CallStarted => {
                let read: CallStarted<'_> = serde_json::from_slice(payload).ok()?;
                self.started += 1;
                let open = OpenCall {
                    call_id: read.call_id.into_owned(),
                    started_at: read.started_at,
                    answered_at: None,
                    caller: read.caller.into_owned(),
                    callee: read.callee.into_owned(),
                };
                if self.open.insert(read.call.into(), open).is_some() {
                    self.started_twice.push((id, read.call.to_owned()));
                }
            }
            EventKind::CallAnswered => {
                let read: CallAnswered<'_> = serde_json::from_slice(payload).ok()?;
                if let Some(open) = self.open.get_mut(read.call) {
                    open.answered_at = Some(read.answered_at);
                    open.callee = read.callee.into_owned();
                }
            }
            EventKind::CallEnded => {
                let call = text_at(payload, "call")?;
                self.ended += 1;
                if self.open.remove(&*call).is_none() {
                    self.ended_without_start.push((id, call.into_owned()));
                }
            }
            _ => {}
        }
        Some(())
    }

    /// How many records do not fit to the others.
    #[must_use]
    pub const fn wrong(&self) -> u64 {
        self.ended_without_start.len() + self.started_twice.len()
    }

    /// Calls that are open at the end of the records, by id.
    #[must_use]
    pub const fn open(&self) -> &BTreeMap<Box<str>, OpenCall> {
        &self.open
    }

    /// Hands over the calls that are open, by id.
    #[must_use]
    pub fn into_open(self) -> BTreeMap<Box<str>, OpenCall> {
        self.open
    }

    /// Hands over the ends that are owed for a process that died.
    pub(crate) fn settle(&self, last_alive: u64, now: u64, mut write: impl FnMut(Event<'_>)) {
        for (call, left) in &self.open {
            let begun = left.answered_at.unwrap_or(left.started_at);
            let earliest = last_alive.max(begun).min(now);
            write(Event::CallEnded(CallEnd {
                call,
                call_id: &left.call_id,
                by: CallBy::Node,
                cause: CallCause::NodeCrash,
                status: None,
                reason: None,
                certainty: Certainty::JournalReplay,
                started_at: left.started_at,
                ringing_at: None,
                answered_at: left.answered_at,
                // Nobody knows how long they went on without us. The time in which no process ran is no talk.
                lost_at: left.answered_at.map(|_| earliest),
                ended_at: ClosedAt::Between { earliest, latest: now },
                caller: &left.caller,
                callee: &left.callee,
                holds: None,
                moves: None,
            }));
        }
    }

    /// The Call-IDs of open calls with a side on each flow.
    pub(crate) fn by_flow(&self) -> BTreeMap<&str, Vec<&Text<128>>> {
        let mut hurt: BTreeMap<&str, Vec<&Text<128>>> = BTreeMap::new();
        for left in self.open.values() {
            let (caller, callee) = (left.caller.flow.as_ref(), left.callee.flow.as_ref());
            for flow in caller.into_iter().chain(callee.filter(|flow| Some(*flow) != caller)) {
                hurt.entry(flow.as_str()).or_default().push(&left.call_id);
            }
        }
        hurt
    }
}
