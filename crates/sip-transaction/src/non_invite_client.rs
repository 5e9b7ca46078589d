//! The non-INVITE client transaction: RFC 3261 figure 6.

use crate::machine::{Beat, ClientEnd, OnResponse, Running};
use crate::status::StatusClass;
use crate::timers::{Reliability, Timers};
use std::time::Duration;

/// States of a non-INVITE client transaction. Terminated is having no state any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NonInviteClient {
    /// Sent, nothing heard.
    Trying,
    /// A provisional response came.
    Proceeding,
    /// The final response came; its repeats are absorbed.
    Completed,
}

impl NonInviteClient {
    /// The timers that run from the entry into this state. Timers of Trying go on in Proceeding.
    pub(crate) fn running(self, timers: &Timers, reliability: Reliability) -> Running {
        match self {
            // E, F
            NonInviteClient::Trying | NonInviteClient::Proceeding => {
                Running { repeat: timers.first_repeat(reliability), end: Some(timers.sixty_four_t1()) }
            }
            NonInviteClient::Completed => Running { repeat: None, end: Some(timers.k(reliability)) },
        }
    }

    /// A response came.
    pub(crate) fn on_response(self, class: StatusClass) -> (NonInviteClient, OnResponse) {
        match (self, class) {
            (NonInviteClient::Completed, _) => (self, OnResponse::Absorb),
            (_, StatusClass::Provisional) => (NonInviteClient::Proceeding, OnResponse::Pass),
            (_, StatusClass::Success | StatusClass::Failure) => {
                (NonInviteClient::Completed, OnResponse::Pass)
            }
        }
    }

    /// Timer E fired.
    pub(crate) fn on_beat(self, pause: Duration, timers: &Timers) -> Beat {
        match self {
            NonInviteClient::Trying => Beat::Resend { next: pause.saturating_mul(2).min(timers.t2) },
            NonInviteClient::Proceeding => Beat::Resend { next: timers.t2 },
            NonInviteClient::Completed => Beat::Nothing,
        }
    }

    /// What it means that the ending timer of this state fired.
    pub(crate) fn ended(self) -> ClientEnd {
        match self {
            NonInviteClient::Trying | NonInviteClient::Proceeding => ClientEnd::Timeout,
            NonInviteClient::Completed => ClientEnd::Done,
        }
    }
}
