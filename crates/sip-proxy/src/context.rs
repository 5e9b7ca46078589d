//! What belongs to one request: the response context of RFC 3261 §16, kept with its server transaction,
//! and one branch for each place it was forwarded to, kept with its client transaction.

use std::{rc::Rc, time::Instant};

use sip_transaction::{ClientId, MethodClass, ServerId};
use smallvec::SmallVec;

use crate::Target;

/// A request and what came of it so far.
#[derive(Debug)]
pub(crate) struct Context<H> {
    /// Where it came from and its answers go.
    pub(crate) from: H,
    /// As received.
    pub(crate) request: Box<[u8]>,
    pub(crate) invite: Invite,
    /// Branches without a final response.
    pub(crate) pending: SmallVec<[ClientId; 1]>,
    /// Targets whose turn has not come: lower q.
    pub(crate) waiting: Vec<Target<H>>,
    pub(crate) best: Option<Best>,
    pub(crate) progress: Progress,
    pub(crate) forwarding: Forwarding,
}

/// Whether the request is an INVITE: its branches can be cancelled, and ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Invite {
    Yes,
    No,
}

impl Invite {
    /// The class that a client transaction for the request has.
    pub(crate) const fn class(self) -> MethodClass {
        match self {
            Self::Yes => MethodClass::Invite,
            Self::No => MethodClass::NonInvite,
        }
    }
}

/// How far the answer upstream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Branches are at work.
    Open,
    /// Cancelled: no further targets are tried.
    Cancelled,
    /// The final response went upstream; for INVITE further 2xx may follow.
    Answered,
}

/// The best final response so far that is no 2xx.
#[derive(Debug)]
pub(crate) struct Best {
    pub(crate) status: u16,
    /// As received; none if it is we who say it of a silent or vanished branch.
    pub(crate) response: Option<Box<[u8]>>,
}

/// How branches of this request are written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Forwarding {
    /// Route values of ours on top.
    pub(crate) own_routes: u8,
    pub(crate) record_route: RecordRoute,
}

/// Whether later requests of the dialog must pass here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordRoute {
    Yes,
    No,
}

/// A request as it was forwarded to one place.
#[derive(Debug)]
pub(crate) struct Branch<H> {
    pub(crate) server: ServerId,
    pub(crate) hop: H,
    /// The INVITE as sent: CANCEL and ACK are made of it.
    pub(crate) sent: Option<Rc<[u8]>>,
    pub(crate) when_gone: u16,
    pub(crate) purpose: Purpose,
    /// When a ringing branch is given up.
    pub(crate) timer_c: Option<Instant>,
    pub(crate) cancel: Cancel,
}

/// What a client transaction of ours is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// It carries the request; its final response counts.
    Forward,
    /// It cancels another branch; its final response says nothing.
    Cancel,
}

/// Whether a branch is to be cancelled; CANCEL may be sent only after a provisional response
/// (RFC 3261 §9.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cancel {
    No,
    /// With this Reason, as soon as a provisional response has come.
    Wanted(Option<&'static str>),
    Sent,
}
