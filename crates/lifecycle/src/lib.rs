//! A flow from open to close: ids, causes, liveness, the event schema.
//!
//! This crate is pure: it knows no socket, no disk and no clock. It says *what* is recorded of a flow and
//! guarantees by its types that an open flow can only be used up by closing it:
//!
//! - [`OpenFlow`] is the only way to a `flow.closed` event, and its `Drop` is the safety net (a panic or a
//!   cancelled task closes the flow with cause `internal_error`);
//! - [`Cause`], [`By`] and [`Certainty`] are the closed vocabulary of why a flow ended;
//! - [`Event`] is what goes into the ledger, and [`cloud_event`] is what leaves for consumers;
//! - [`EventFilter`] says which of them someone asks for;
//! - [`OpenState`] folds a ledger's records back into what an earlier incarnation left open, from their
//!   beginning or from a snapshot of what an earlier fold knew;
//! - [`Liveness`] judges a peer by the bytes it sent, and by nothing else; [`Usage`] holds a flow to its
//!   [`FlowLimits`].
#![forbid(unsafe_code)]

mod cause;
mod cloud_event;
mod ending;
mod event;
mod event_filter;
mod facts;
mod findings;
mod flow;
mod id;
mod identity;
mod jitter;
mod limits;
mod liveness;
mod now;
mod open_call;
mod open_state;
mod open_user;
mod snapshot;
mod text;
mod vocabulary;
mod wire;

pub use cause::{By, Cause, Certainty};
pub use cloud_event::cloud_event;
pub use ending::Ending;
pub use event::{Event, EventKind, RecordedEvent, UnknownKind};
pub use event_filter::{EventFilter, InvalidMoment, mentions, moment};
pub use facts::{Direction, FlowFacts, TlsFacts, Transport};
pub use findings::{Findings, NAMED_FINDINGS};
pub use flow::{ADDITION_RESERVE, CLOSE_RESERVE, CloseBook, OpenFlow, REMOVAL_RESERVE, Traffic};
pub use id::{EventId, FlowId, Incarnation, InvalidId, Node};
pub use identity::Identity;
pub use jitter::jittered;
pub use limits::{FlowLimits, Usage};
pub use liveness::{Liveness, LivenessStep};
pub use now::Now;
pub use open_call::{OpenCall, OpenCalls};
pub use open_state::{NAMED_BINDINGS, NAMED_CALLS, Open, OpenBinding, OpenFlowState, OpenState, Trimmed};
pub use open_user::{LastBinding, OpenUser, OpenUsers};
pub use snapshot::SnapshotError;
pub use text::Text;
pub use vocabulary::{UnknownWord, Vocabulary, Word};
pub use wire::binding::{BindingAdded, BindingRemoved, RemovalCause};
pub use wire::call::{
    CALL_ANSWERED_RESERVE, CALL_ENDED_RESERVE, CALL_HELD_RESERVE, CallAnswered, CallBy, CallCause, CallEnd,
    CallEnded, CallHeld, CallParty, CallStarted,
};
pub use wire::flow::{ClosedAt, FlowClosed, FlowEnd, FlowOpened};
pub use wire::node::{
    AuditDiffered, DifferenceKind, LedgerTrimmed, NAMED_CURSORS, NodeStarted, NodeStopped, PassedCursor,
    TRIMMED_RESERVE, TrimReason,
};
pub use wire::subject::{EventSubject, Party};
pub use wire::time::event_time;
pub use wire::user::{OFFLINE_RESERVE, ONLINE_RESERVE, UserOffline, UserOnline};
