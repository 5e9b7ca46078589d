//! The non-INVITE server transaction: RFC 3261 figure 8, with the answers RFC 4320 forbids.

use crate::machine::{Beat, OnRepeat, Refusal, Running, ServerEnd};
use crate::status::{Status, StatusClass};
use crate::timers::{Reliability, Timers, TryingReminder};

/// States of a non-INVITE server transaction. Terminated is having no state any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NonInviteServer {
    /// Nothing was answered yet.
    Trying,
    /// A 100 was sent.
    Proceeding,
    /// The final response was sent and is repeated when the request is.
    Completed,
}

/// Whether the peer of a non-INVITE transaction has waited long enough for a 100 to make sense (RFC 4320
/// §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TryingAllowed {
    Yes,
    NotYet,
}

impl NonInviteServer {
    /// The timers that run from the entry into this state. Timers of Trying go on in Proceeding.
    pub(crate) fn running(
        self,
        timers: &Timers,
        reliability: Reliability,
        reminder: TryingReminder,
    ) -> Running {
        match self {
            // After 64*T1 the client has given up (its Timer F), and RFC 4320 §4.2 leaves nothing to be sent.
            NonInviteServer::Trying | NonInviteServer::Proceeding => Running {
                repeat: match (self, reminder) {
                    (NonInviteServer::Trying, TryingReminder::Remind) => {
                        Some(timers.non_invite_trying_after())
                    }
                    _ => None,
                },
                end: Some(timers.sixty_four_t1()),
            },
            NonInviteServer::Completed => Running { repeat: None, end: Some(timers.j(reliability)) },
        }
    }

    /// The request came again.
    pub(crate) fn on_repeat(self) -> OnRepeat {
        match self {
            NonInviteServer::Trying => OnRepeat::Absorb,
            NonInviteServer::Proceeding | NonInviteServer::Completed => OnRepeat::Resend,
        }
    }

    /// The user wants to answer.
    pub(crate) fn on_respond(
        self,
        status: Status,
        trying: TryingAllowed,
    ) -> Result<NonInviteServer, Refusal> {
        if self == NonInviteServer::Completed {
            return Err(Refusal::AlreadyFinal);
        }
        match (status.class(), trying) {
            (StatusClass::Provisional, _) if status != Status::TRYING => Err(Refusal::ProvisionalToNonInvite),
            (StatusClass::Provisional, TryingAllowed::NotYet) => Err(Refusal::TryingTooEarly),
            (StatusClass::Provisional, TryingAllowed::Yes) => Ok(NonInviteServer::Proceeding),
            _ if status == Status::REQUEST_TIMEOUT => Err(Refusal::TimeoutToNonInvite),
            _ => Ok(NonInviteServer::Completed),
        }
    }

    /// The repeat timer fired, which here only reminds of the 100.
    pub(crate) fn on_beat(self) -> Beat {
        match self {
            NonInviteServer::Trying => Beat::Remind,
            NonInviteServer::Proceeding | NonInviteServer::Completed => Beat::Nothing,
        }
    }

    /// What it means that the ending timer of this state fired.
    pub(crate) fn ended(self) -> ServerEnd {
        match self {
            NonInviteServer::Trying | NonInviteServer::Proceeding => ServerEnd::Unanswered,
            NonInviteServer::Completed => ServerEnd::Done,
        }
    }
}
