//! What the ledger records: event types and their data.

use crate::{
    AuditDiffered, BindingAdded, BindingRemoved, CallAnswered, CallEnd, CallEnded, CallHeld, CallStarted,
    FlowClosed, FlowEnd, FlowOpened, LedgerTrimmed, NodeStarted, NodeStopped, UserOffline, UserOnline,
    vocabulary::vocabulary,
};

vocabulary! {
    /// The type of an event.
    EventKind, "an event type", {
        /// A process began its work.
        NodeStarted = "node.started",
        /// A process ended in order: every flow of it is closed.
        NodeStopped = "node.stopped",
        /// Old records are dropped from the ledger: the tombstone that says which.
        LedgerTrimmed = "ledger.trimmed",
        /// The running audit found the kernel, the server and the ledger at odds.
        AuditDiffered = "audit.differed",
        /// A connection became a flow.
        FlowOpened = "flow.opened",
        /// A flow ended.
        FlowClosed = "flow.closed",
        /// An address-of-record got a new contact.
        BindingAdded = "binding.added",
        /// An address-of-record lost a contact.
        BindingRemoved = "binding.removed",
        /// An address-of-record got its first contact.
        UserOnline = "user.online",
        /// An address-of-record has had no contact for the hold-off.
        UserOffline = "user.offline",
        /// An INVITE was forwarded.
        CallStarted = "call.started",
        /// A call was answered.
        CallAnswered = "call.answered",
        /// One side put the other on hold.
        CallHeld = "call.held",
        /// One side took the other back from hold.
        CallResumed = "call.resumed",
        /// A call ended, answered or not.
        CallEnded = "call.ended",
    }
}

impl EventKind {
    /// The number in a ledger's record. Numbers stand in ledgers on disk: they are never reused.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::NodeStarted => 1,
            Self::NodeStopped => 2,
            Self::LedgerTrimmed => 3,
            Self::AuditDiffered => 4,
            Self::FlowOpened => 10,
            Self::FlowClosed => 11,
            Self::BindingAdded => 20,
            Self::BindingRemoved => 21,
            Self::UserOnline => 25,
            Self::UserOffline => 26,
            Self::CallStarted => 30,
            Self::CallAnswered => 31,
            Self::CallHeld => 32,
            Self::CallResumed => 33,
            Self::CallEnded => 34,
        }
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
    FlowClosed(FlowEnd<'a>),
    /// An address-of-record got a new contact.
    BindingAdded(BindingAdded<'a>),
    /// An address-of-record lost a contact.
    BindingRemoved(BindingRemoved<'a>),
    /// An address-of-record got its first contact.
    UserOnline(UserOnline),
    /// An address-of-record has had no contact for the hold-off.
    UserOffline(UserOffline<'a>),
    /// An INVITE was forwarded.
    CallStarted(CallStarted<'a>),
    /// A call was answered.
    CallAnswered(CallAnswered<'a>),
    /// One side put the other on hold.
    CallHeld(CallHeld<'a>),
    /// One side took the other back from hold.
    CallResumed(CallHeld<'a>),
    /// A call ended.
    CallEnded(CallEnd<'a>),
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
            Self::FlowClosed(end) => serde_json::to_vec(&FlowClosed::from(end)),
            Self::BindingAdded(data) => serde_json::to_vec(data),
            Self::BindingRemoved(data) => serde_json::to_vec(data),
            Self::UserOnline(data) => serde_json::to_vec(data),
            Self::UserOffline(data) => serde_json::to_vec(data),
            Self::CallStarted(data) => serde_json::to_vec(data),
            Self::CallAnswered(data) => serde_json::to_vec(data),
            Self::CallHeld(data) | Self::CallResumed(data) => serde_json::to_vec(data),
            Self::CallEnded(end) => serde_json::to_vec(&CallEnded::from(end)),
        };
        json.expect("plain structs with string keys always serialise")
    }
}

/// One event, as its record in the ledger has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordedEvent<'a> {
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
    /// A flow ended.
    FlowClosed(Box<FlowClosed<'a>>),
    /// An address-of-record got a new contact.
    BindingAdded(BindingAdded<'a>),
    /// An address-of-record lost a contact.
    BindingRemoved(BindingRemoved<'a>),
    /// An address-of-record got its first contact.
    UserOnline(UserOnline),
    /// An address-of-record has had no contact for the hold-off.
    UserOffline(UserOffline<'a>),
    /// An INVITE was forwarded.
    CallStarted(CallStarted<'a>),
    /// A call was answered.
    CallAnswered(CallAnswered<'a>),
    /// One side put the other on hold.
    CallHeld(CallHeld<'a>),
    /// One side took the other back from hold.
    CallResumed(CallHeld<'a>),
    /// A call ended.
    CallEnded(Box<CallEnded<'a>>),
}

impl<'a> RecordedEvent<'a> {
    /// Reads the payload of a record. A word or a field that this program does not know is no error.
    ///
    /// # Errors
    /// The payload is not what an event of this type holds.
    pub fn read(kind: EventKind, payload: &'a [u8]) -> Result<Self, serde_json::Error> {
        Ok(match kind {
            EventKind::NodeStarted => Self::NodeStarted(serde_json::from_slice(payload)?),
            EventKind::NodeStopped => Self::NodeStopped(serde_json::from_slice(payload)?),
            EventKind::LedgerTrimmed => Self::LedgerTrimmed(serde_json::from_slice(payload)?),
            EventKind::AuditDiffered => Self::AuditDiffered(serde_json::from_slice(payload)?),
            EventKind::FlowOpened => Self::FlowOpened(serde_json::from_slice(payload)?),
            EventKind::FlowClosed => Self::FlowClosed(serde_json::from_slice(payload)?),
            EventKind::BindingAdded => Self::BindingAdded(serde_json::from_slice(payload)?),
            EventKind::BindingRemoved => Self::BindingRemoved(serde_json::from_slice(payload)?),
            EventKind::UserOnline => Self::UserOnline(serde_json::from_slice(payload)?),
            EventKind::UserOffline => Self::UserOffline(serde_json::from_slice(payload)?),
            EventKind::CallStarted => Self::CallStarted(serde_json::from_slice(payload)?),
            EventKind::CallAnswered => Self::CallAnswered(serde_json::from_slice(payload)?),
            EventKind::CallHeld => Self::CallHeld(serde_json::from_slice(payload)?),
            EventKind::CallResumed => Self::CallResumed(serde_json::from_slice(payload)?),
            EventKind::CallEnded => Self::CallEnded(serde_json::from_slice(payload)?),
        })
    }
}
