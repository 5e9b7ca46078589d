//! What the ledger records: event types and their data.

use std::{fmt, net::SocketAddr, str::FromStr};

use serde::{Serialize, Serializer};

use crate::{
    BindingAdded, BindingRemoved, By, CallAnswered, CallEnded, CallHeld, CallStarted, Cause, Certainty,
    Ending, FlowFacts, Text, Traffic, UserOffline, UserOnline,
    vocabulary::{UnknownWord, Vocabulary, vocabulary},
};

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $number:literal $text:literal,)*) => {
        /// The type of an event. The numbers stand in ledgers on disk: they are never reused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u16)]
        pub enum EventKind { $($(#[$doc])* $name = $number,)* }

        impl EventKind {
            /// Every type there is.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The word that consumers see.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

kinds! {
    /// A process began its work.
    NodeStarted = 1 "node.started",
    /// A process ended in order: every flow of it is closed.
    NodeStopped = 2 "node.stopped",
    /// Old records are dropped from the ledger: the tombstone that says which.
    LedgerTrimmed = 3 "ledger.trimmed",
    /// The running audit found the kernel, the server and the ledger at odds.
    AuditDiffered = 4 "audit.differed",
    /// A connection became a flow.
    FlowOpened = 10 "flow.opened",
    /// A flow ended.
    FlowClosed = 11 "flow.closed",
    /// An address-of-record got a new contact.
    BindingAdded = 20 "binding.added",
    /// An address-of-record lost a contact.
    BindingRemoved = 21 "binding.removed",
    /// An address-of-record got its first contact.
    UserOnline = 25 "user.online",
    /// An address-of-record has had no contact for the hold-off.
    UserOffline = 26 "user.offline",
    /// An INVITE went to somebody.
    CallStarted = 30 "call.started",
    /// A call was answered.
    CallAnswered = 31 "call.answered",
    /// One side put the other on hold.
    CallHeld = 32 "call.held",
    /// One side took the other back from hold.
    CallResumed = 33 "call.resumed",
    /// A call ended, answered or not.
    CallEnded = 34 "call.ended",
}

impl EventKind {
    /// The number in a ledger's record.
    #[must_use]
    pub const fn number(self) -> u16 {
        self as u16
    }
}

impl Vocabulary for EventKind {
    const NOUN: &'static str = "an event type";
    const ALL: &'static [Self] = Self::ALL;

    fn word(self) -> &'static str {
        self.as_str()
    }
}

/// A number that names no event type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is the number of no event type that this program knows")]
pub struct UnknownKind(u16);

impl TryFrom<u16> for EventKind {
    type Error = UnknownKind;

    fn try_from(number: u16) -> Result<Self, UnknownKind> {
        Self::ALL.iter().copied().find(|kind| kind.number() == number).ok_or(UnknownKind(number))
    }
}

impl FromStr for EventKind {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        Self::of_word(word)
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for EventKind {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

vocabulary! {
    /// Why old records are dropped.
    TrimReason, "a reason to drop records", {
        /// They are older than the ledger is to be kept.
        Age = "age",
        /// The ledger is larger than it is to be.
        Size = "size",
    }
}

vocabulary! {
    /// How the kernel's sockets, the server's flows, users and calls, and the ledger differ.
    DifferenceKind, "a kind of difference", {
        /// A flow is open and the kernel has no connection for it.
        FlowWithoutSocket = "flow_without_socket",
        /// A socket to a listener is held and belongs to no flow: a descriptor leaks.
        SocketWithoutFlow = "socket_without_flow",
        /// A flow is open and the ledger does not say so.
        FlowNotInLedger = "flow_not_in_ledger",
        /// The ledger says that a flow is open, and it is not: its close is missing.
        LedgerWithoutFlow = "ledger_without_flow",
        /// A user is online and the ledger does not say so.
        UserNotInLedger = "user_not_in_ledger",
        /// The ledger says that a user is online who is not.
        LedgerWithoutUser = "ledger_without_user",
        /// A call goes on and the ledger does not say so.
        CallNotInLedger = "call_not_in_ledger",
        /// The ledger says that a call goes on, and there is none: its end is missing.
        LedgerWithoutCall = "ledger_without_call",
        /// What was counted does not add up: opened, less closed, is not what is open.
        Counters = "counters",
    }
}

/// `node.started`.
#[derive(Clone, Debug, Serialize)]
pub struct NodeStarted {
    /// The program's version.
    pub version: Text<32>,
    /// Flows that an earlier incarnation left open, closed by this one.
    pub flows_recovered: u64,
}

/// `node.stopped`.
#[derive(Clone, Debug, Serialize)]
pub struct NodeStopped {
    /// Flows opened by this incarnation.
    pub flows_opened: u64,
    /// Flows closed by this incarnation (recovered ones not counted).
    pub flows_closed: u64,
}

/// Cursors that a `ledger.trimmed` names; the rest is counted.
pub const NAMED_CURSORS: usize = 16;

/// Bytes that the longest `ledger.trimmed` takes.
pub const TRIMMED_RESERVE: usize = 4096;

/// `ledger.trimmed`. It is durable before the first of the records goes.
#[derive(Clone, Debug, Serialize)]
pub struct LedgerTrimmed<'a> {
    /// The first record dropped, as an event id.
    pub first: &'a str,
    /// The last record dropped, as an event id.
    pub last: &'a str,
    /// How many records.
    pub records: u64,
    /// Bytes of their files.
    pub bytes: u64,
    /// Why.
    pub reason: TrimReason,
    /// Sinks that had not read all of it and were passed by order of the operator: the first few.
    pub passed: &'a [PassedCursor],
    /// How many such sinks there are in all.
    pub passed_total: usize,
}

/// A sink that will never see what it had not read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PassedCursor {
    /// The sink's name.
    pub sink: Text<64>,
    /// The last event it had acknowledged, as an event id; none if it never had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_to: Option<Text<80>>,
}

/// `audit.differed`: written once for each difference.
#[derive(Clone, Debug, Serialize)]
pub struct AuditDiffered<'a> {
    /// What differs.
    pub kind: DifferenceKind,
    /// The flow, where one is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow: Option<&'a str>,
    /// The socket's address here, where a socket is concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<SocketAddr>,
    /// The socket's peer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<SocketAddr>,
    /// For how long it had been seen by then, in milliseconds.
    pub lasted_ms: u64,
    /// What was seen, in words.
    pub evidence: Text<200>,
}

/// `flow.opened`.
#[derive(Clone, Debug, Serialize)]
pub struct FlowOpened<'a> {
    /// The flow id as text.
    pub flow: &'a str,
    /// When, in microseconds since the Unix epoch.
    #[serde(serialize_with = "rfc3339")]
    pub opened_at: u64,
    /// What is known of the flow.
    #[serde(flatten)]
    pub facts: &'a FlowFacts,
}

/// When a flow ended: a moment that was seen, or the interval in which it must have been.
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

/// `flow.closed`: useful alone.
#[derive(Clone, Debug)]
pub struct FlowClosed<'a> {
    /// The flow id as text.
    pub flow: &'a str,
    /// What was known at its opening.
    pub facts: &'a FlowFacts,
    /// Who the user agent proved to be, if it did.
    pub identity: Option<&'a Text<128>>,
    /// When it opened, in microseconds since the Unix epoch.
    pub opened_at: u64,
    /// When it ended.
    pub closed_at: ClosedAt,
    /// How it ended.
    pub ending: &'a Ending,
    /// How surely that is known.
    pub certainty: Certainty,
    /// What passed on it; not known after a crash.
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

impl Serialize for FlowClosed<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Wire<'a> {
            flow: &'a str,
            by: By,
            cause: Cause,
            #[serde(skip_serializing_if = "Option::is_none")]
            code: Option<u16>,
            #[serde(skip_serializing_if = "Option::is_none")]
            reason: Option<&'a Text<123>>,
            certainty: Certainty,
            #[serde(serialize_with = "rfc3339")]
            opened_at: u64,
            #[serde(serialize_with = "rfc3339")]
            closed_at: u64,
            #[serde(skip_serializing_if = "Option::is_none", serialize_with = "maybe_rfc3339")]
            closed_at_earliest: Option<u64>,
            duration_ms: u64,
            #[serde(skip_serializing_if = "Option::is_none")]
            identity: Option<&'a Text<128>>,
            #[serde(flatten)]
            traffic: Option<&'a Traffic>,
            bindings: &'a [Text<160>],
            bindings_total: usize,
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            calls: &'a [Text<128>],
            #[serde(skip_serializing_if = "is_none")]
            calls_total: usize,
            #[serde(flatten)]
            facts: &'a FlowFacts,
        }
        let (closed_at, closed_at_earliest) = match self.closed_at {
            ClosedAt::Seen(at) => (at, None),
            ClosedAt::Between { earliest, latest } => (latest, Some(earliest)),
        };
        Wire {
            flow: self.flow,
            by: self.ending.cause.by(),
            cause: self.ending.cause,
            code: self.ending.code,
            reason: self.ending.reason.as_ref(),
            certainty: self.certainty,
            opened_at: self.opened_at,
            closed_at,
            closed_at_earliest,
            duration_ms: closed_at.saturating_sub(self.opened_at) / 1000,
            identity: self.identity,
            traffic: self.traffic,
            bindings: self.bindings,
            bindings_total: self.bindings_total,
            calls: self.calls,
            calls_total: self.calls_total,
            facts: self.facts,
        }
        .serialize(s)
    }
}

/// One event, ready to be written.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// A process began its work.
    NodeStarted(NodeStarted),
    /// A process ended in order.
    NodeStopped(NodeStopped),
    /// Old records are dropped from the ledger.
    LedgerTrimmed(LedgerTrimmed<'a>),
    /// The running audit found a difference.
    AuditDiffered(AuditDiffered<'a>),
    /// A connection became a flow.
    FlowOpened(FlowOpened<'a>),
    /// A flow ended. Only [`crate::OpenFlow`] and [`crate::OpenState`] make one.
    FlowClosed(FlowClosed<'a>),
    /// An address-of-record got a new contact.
    BindingAdded(BindingAdded<'a>),
    /// An address-of-record lost a contact.
    BindingRemoved(BindingRemoved<'a>),
    /// An address-of-record got its first contact.
    UserOnline(UserOnline),
    /// An address-of-record has had no contact for the hold-off.
    UserOffline(UserOffline<'a>),
    /// An INVITE went to somebody.
    CallStarted(CallStarted<'a>),
    /// A call was answered.
    CallAnswered(CallAnswered<'a>),
    /// One side put the other on hold.
    CallHeld(CallHeld<'a>),
    /// One side took the other back from hold.
    CallResumed(CallHeld<'a>),
    /// A call ended.
    CallEnded(CallEnded<'a>),
}

impl Event<'_> {
    /// Its type.
    #[must_use]
    pub const fn kind(&self) -> EventKind {
        match self {
            Self::NodeStarted(_) => EventKind::NodeStarted,
            Self::NodeStopped(_) => EventKind::NodeStopped,
            Self::LedgerTrimmed(_) => EventKind::LedgerTrimmed,
            Self::AuditDiffered(_) => EventKind::AuditDiffered,
            Self::FlowOpened(_) => EventKind::FlowOpened,
            Self::FlowClosed(_) => EventKind::FlowClosed,
            Self::BindingAdded(_) => EventKind::BindingAdded,
            Self::BindingRemoved(_) => EventKind::BindingRemoved,
            Self::UserOnline(_) => EventKind::UserOnline,
            Self::UserOffline(_) => EventKind::UserOffline,
            Self::CallStarted(_) => EventKind::CallStarted,
            Self::CallAnswered(_) => EventKind::CallAnswered,
            Self::CallHeld(_) => EventKind::CallHeld,
            Self::CallResumed(_) => EventKind::CallResumed,
            Self::CallEnded(_) => EventKind::CallEnded,
        }
    }

    /// Its data as JSON, the payload of its record in the ledger.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let json = match self {
            Self::NodeStarted(data) => serde_json::to_vec(data),
            Self::NodeStopped(data) => serde_json::to_vec(data),
            Self::LedgerTrimmed(data) => serde_json::to_vec(data),
            Self::AuditDiffered(data) => serde_json::to_vec(data),
            Self::FlowOpened(data) => serde_json::to_vec(data),
            Self::FlowClosed(data) => serde_json::to_vec(data),
            Self::BindingAdded(data) => serde_json::to_vec(data),
            Self::BindingRemoved(data) => serde_json::to_vec(data),
            Self::UserOnline(data) => serde_json::to_vec(data),
            Self::UserOffline(data) => serde_json::to_vec(data),
            Self::CallStarted(data) => serde_json::to_vec(data),
            Self::CallAnswered(data) => serde_json::to_vec(data),
            Self::CallHeld(data) | Self::CallResumed(data) => serde_json::to_vec(data),
            Self::CallEnded(data) => serde_json::to_vec(data),
        };
        json.expect("plain structs with string keys always serialise")
    }
}

/// Microseconds since the Unix epoch as RFC 3339 text in UTC.
pub(crate) struct Rfc3339(pub(crate) u64);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = i64::try_from(self.0).unwrap_or(i64::MAX);
        let time = jiff::Timestamp::from_microsecond(micros).unwrap_or(jiff::Timestamp::MAX);
        write!(f, "{time:.6}")
    }
}

fn is_none(count: &usize) -> bool {
    *count == 0
}

pub(crate) fn rfc3339<S: Serializer>(micros: &u64, s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(&Rfc3339(*micros))
}

pub(crate) fn maybe_rfc3339<S: Serializer>(micros: &Option<u64>, s: S) -> Result<S::Ok, S::Error> {
    match micros {
        Some(micros) => rfc3339(micros, s),
        None => s.serialize_none(),
    }
}
