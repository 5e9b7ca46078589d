//! The response context of a request (RFC 3261 §16), kept with its server transaction. One branch for each
//! target is kept with its client transaction.

use std::{any::Any, borrow::Cow, time::Instant};

use sip_message::HeaderId;
use sip_transaction::{ClientId, MethodClass, ServerId};
use smallvec::SmallVec;

use crate::{Target, breadth::Breadth, failover::BranchProgress, retained::RetainedMessage, route::Dialog};

/// A request and what came of it so far.
#[derive(Debug)]
pub(crate) struct Context<H> {
    /// Where it came from and its answers go.
    pub(crate) from: H,
    /// As received; none once there is nothing more to make of it.
    pub(crate) request: Option<RetainedMessage>,
    pub(crate) asker: CallerPresence,
    /// What answers to it have to repeat, by [`Branches::echo`](crate::Branches).
    pub(crate) echo: u64,
    pub(crate) invite: Invite,
    /// Branches without a final response.
    pub(crate) pending: SmallVec<[ClientId; 1]>,
    /// Targets whose turn has not come: lower q.
    pub(crate) waiting: Vec<Target<H>>,
    /// Contacts of redirections that were followed.
    pub(crate) followed: Vec<Box<[u8]>>,
    pub(crate) best: Option<Best<H>>,
    /// What other branches ask of the caller than the best one, if that is a 401 or 407 (RFC 3261 §16.7 step
    /// 7).
    pub(crate) challenges: Vec<(HeaderId, Vec<u8>)>,
    pub(crate) progress: AnswerProgress,
    pub(crate) forwarding: Forwarding,
    pub(crate) second: Resend,
    pub(crate) went: GoneOn,
    /// What the environment keeps as long as a REGISTER has no final answer.
    pub(crate) under_way: Option<PendingRegister>,
}

/// Kept by the proxy from when a REGISTER is forwarded until it has its final answer, or will have none; then
/// dropped.
#[derive(Debug)]
pub struct PendingRegister {
    _guard: Box<dyn Any>,
}

impl PendingRegister {
    /// Keeps this.
    #[must_use]
    pub fn new(guard: impl Any) -> Self {
        Self { _guard: Box::new(guard) }
    }
}

/// Whether a request has gone on to anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GoneOn {
    Nowhere,
    Somewhere,
}

/// Whether the sender of the request is still there for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallerPresence {
    There,
    /// Its connection ended. What a success causes elsewhere has nobody who knows of it.
    Gone,
}

/// Whether a request may be sent once more because a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resend {
    Left,
    Had,
}

impl<H> Context<H> {
    /// Whether its answers are of interest to who follows dialogs.
    pub(crate) fn makes_or_is_in_dialog(&self) -> bool {
        self.invite == Invite::Yes || self.forwarding.dialog == Dialog::Within
    }

    /// Whether something may still be begun for a branch: the caller waits, and nobody has declined for all
    /// (RFC 3261 §16.7 step 5).
    pub(crate) fn is_open_for(&self, branch: ClientId) -> bool {
        let declined = self.best.as_ref().is_some_and(|best| best.status >= 600);
        self.progress == AnswerProgress::Open && !declined && self.pending.contains(&branch)
    }

    /// Whether a final response may not go upstream: no request other than INVITE is answered 408 (RFC 4320
    /// §4.2).
    pub(crate) fn hears_no(&self, status: u16) -> bool {
        self.invite == Invite::No && status == 408
    }

    /// Its sender hears nothing final. The request is still wanted: a 100 is made of it (RFC 4320 §4.1).
    pub(crate) fn time_out(&mut self) {
        let kept = (self.request.take(), self.under_way.take());
        self.close();
        self.progress = AnswerProgress::TimedOut;
        (self.request, self.under_way) = kept;
    }

    /// The final response went upstream: lets go of what was kept for it.
    pub(crate) fn close(&mut self) {
        self.progress = AnswerProgress::Answered;
        self.request = None;
        self.waiting = Vec::new();
        self.followed = Vec::new();
        self.best = None;
        self.challenges = Vec::new();
        self.under_way = None;
    }
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
pub(crate) enum AnswerProgress {
    /// Branches are at work.
    Open,
    /// Cancelled: no further targets are tried.
    Cancelled,
    /// A request other than INVITE timed out further on. It is told nothing final (RFC 4320 §4.2): it hears a
    /// 100 in time, and then its sender gives up by itself.
    TimedOut,
    /// The final response went upstream; for INVITE further 2xx may follow.
    Answered,
}

/// The best final response so far that is no 2xx.
#[derive(Debug)]
pub(crate) struct Best<H> {
    pub(crate) status: u16,
    /// Where the branch went.
    pub(crate) hop: H,
    /// As received; none if it is we who say it of a silent or vanished branch.
    pub(crate) response: Option<RetainedMessage>,
}

/// How branches of this request are written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Forwarding {
    /// Route values of ours on top.
    pub(crate) own_routes: u8,
    pub(crate) way_back: ReturnRoute,
    pub(crate) dialog: Dialog,
    pub(crate) breadth: Breadth,
}

/// What makes later requests pass here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReturnRoute {
    /// Record-Route: those of the dialog.
    Dialog,
    /// Path: those to the binding.
    Binding,
    None,
}

/// A request as it was forwarded to one place.
#[derive(Debug)]
pub(crate) struct Branch<H> {
    /// None of a request of our own.
    pub(crate) server: Option<ServerId>,
    /// What answers to it have to repeat: that of its request, or of a request of our own.
    pub(crate) echo: u64,
    pub(crate) hop: H,
    /// The request as sent, if it is an INVITE or may be sent again; of an INVITE until its final response:
    /// CANCEL and ACK are made of it.
    pub(crate) sent: Option<RetainedMessage>,
    /// Where to send it again, once, should its connection end before anything is heard.
    pub(crate) reconnect: Option<Box<Target<H>>>,
    pub(crate) when_gone: u16,
    /// Where it went, if there is somewhere to try next should this one fail.
    pub(crate) otherwise: Option<Box<Target<H>>>,
    pub(crate) heard: BranchProgress,
    pub(crate) purpose: Purpose,
    /// Until when its hop may give no sign of life.
    pub(crate) failover_at: Option<Instant>,
    /// When a branch of an INVITE is given up: Timer C, or before if it rings too long.
    pub(crate) given_up_at: Option<Instant>,
    /// Once it rings: until when it may.
    pub(crate) rings_until: Option<Instant>,
    pub(crate) rang: Rang,
    pub(crate) cancel: Cancel,
    pub(crate) dialog: Dialog,
    /// Record-Routes that it was sent with, of an INVITE.
    pub(crate) recorded: u8,
    /// The 2xx to an INVITE that came, by their To tags, and who has them.
    pub(crate) successes: SmallVec<[(u64, DialogOwner); 1]>,
}

/// Who has a dialog that a 2xx made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DialogOwner {
    /// The sender of the INVITE.
    Asker,
    /// Nobody: we have acknowledged it, and ended what it began.
    Nobody,
}

/// Whether it was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rang {
    InTime,
    TooLong,
}

/// The value of a Reason header field (RFC 3326).
pub(crate) type Reason = Cow<'static, [u8]>;

/// What a client transaction of ours is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// It carries the request; its final response counts.
    Forward,
    /// It cancels another branch; its final response says nothing.
    Cancel,
    /// It is a request of our own; this number's owner is told of its final response.
    Own(u64),
}

/// Whether a branch is to be cancelled; CANCEL may be sent only after a provisional response
/// (RFC 3261 §9.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cancel {
    No,
    /// With this Reason, as soon as a provisional response has come.
    Wanted(Reason),
    Sent,
}
