//! The INVITE server transaction: RFC 3261 figure 7 as RFC 6026 figure 7 amends it.

use crate::machine::{AckMeaning, Beat, OnRepeat, Refusal, Running, ServerEnd};
use crate::status::{Status, StatusClass};
use crate::timers::{INVITE_TRYING_AFTER, Reliability, Timers, TryingReminder};
use std::time::Duration;

/// States of an INVITE server transaction. Terminated is having no state any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InviteServer {
    /// No final response yet.
    Proceeding,
    /// A 3xx to 6xx was sent, its ACK is awaited.
    Completed,
    /// The ACK came; late repeats of it are absorbed.
    Confirmed,
    /// A 2xx was sent; more 2xx and their ACKs pass, repeats of the INVITE do not (RFC 6026 §7.1).
    Accepted,
}

impl InviteServer {
    /// The timers that run from the entry into this state.
    pub(crate) fn running(
        self,
        timers: &Timers,
        reliability: Reliability,
        reminder: TryingReminder,
    ) -> Running {
        match self {
            InviteServer::Proceeding => Running {
                repeat: match reminder {
                    TryingReminder::Remind => Some(INVITE_TRYING_AFTER),
                    TryingReminder::Silent => None,
                },
                end: None,
            },
            // G, H
            InviteServer::Completed => {
                Running { repeat: timers.first_repeat(reliability), end: Some(timers.sixty_four_t1()) }
            }
            InviteServer::Confirmed => Running { repeat: None, end: Some(timers.i(reliability)) },
            // L
            InviteServer::Accepted => Running { repeat: None, end: Some(timers.sixty_four_t1()) },
        }
    }

    /// The INVITE came again.
    pub(crate) fn on_repeat(self) -> OnRepeat {
        match self {
            InviteServer::Proceeding | InviteServer::Completed => OnRepeat::Resend,
            InviteServer::Confirmed | InviteServer::Accepted => OnRepeat::Absorb,
        }
    }

    /// An ACK that matches the INVITE came.
    pub(crate) fn on_ack(self) -> (InviteServer, AckMeaning) {
        match self {
            // Nothing was sent yet that could be acknowledged.
            InviteServer::Proceeding => (self, AckMeaning::Absorbed),
            InviteServer::Completed | InviteServer::Confirmed => {
                (InviteServer::Confirmed, AckMeaning::Absorbed)
            }
            InviteServer::Accepted => (self, AckMeaning::ForSuccess),
        }
    }

    /// The user wants to answer.
    pub(crate) fn on_respond(self, status: Status) -> Result<InviteServer, Refusal> {
        match (self, status.class()) {
            (InviteServer::Proceeding, StatusClass::Provisional) => Ok(InviteServer::Proceeding),
            (InviteServer::Proceeding, StatusClass::Success) => Ok(InviteServer::Accepted),
            (InviteServer::Proceeding, StatusClass::Failure) => Ok(InviteServer::Completed),
            (InviteServer::Accepted, StatusClass::Success) => Ok(InviteServer::Accepted),
            _ => Err(Refusal::AlreadyFinal),
        }
    }

    /// The repeat timer fired: Timer G, or in Proceeding the reminder to send 100.
    pub(crate) fn on_beat(self, pause: Duration, timers: &Timers) -> Beat {
        match self {
            InviteServer::Proceeding => Beat::Remind,
            InviteServer::Completed => Beat::Resend { next: pause.saturating_mul(2).min(timers.t2) },
            InviteServer::Confirmed | InviteServer::Accepted => Beat::Nothing,
        }
    }

    /// What it means that the ending timer of this state fired.
    pub(crate) fn ended(self) -> ServerEnd {
        match self {
            InviteServer::Completed => ServerEnd::AckMissing,
            InviteServer::Proceeding | InviteServer::Confirmed | InviteServer::Accepted => ServerEnd::Done,
        }
    }
}
