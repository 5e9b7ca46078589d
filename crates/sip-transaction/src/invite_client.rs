//! The INVITE client transaction: RFC 3261 figure 5 as RFC 6026 figure 5 amends it.

use crate::machine::{Beat, ClientEnd, OnResponse, Running};
use crate::status::StatusClass;
use crate::timers::{Reliability, Timers};
use std::time::Duration;

/// States of an INVITE client transaction. Terminated is having no state any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InviteClient {
    /// Sent, nothing heard.
    Calling,
    /// A provisional response came. Only a final response, or its user, ends the wait (a proxy has Timer C).
    Proceeding,
    /// A 3xx to 6xx came; its repeats are acknowledged again.
    Completed,
    /// A 2xx came; more of them, repeats or from other forks, pass (RFC 6026 §7.2).
    Accepted,
}

impl InviteClient {
    /// The timers that run from the entry into this state.
    pub(crate) fn running(self, timers: &Timers, reliability: Reliability) -> Running {
        match self {
            // A, B
            InviteClient::Calling => {
                Running { repeat: timers.first_repeat(reliability), end: Some(timers.sixty_four_t1()) }
            }
            InviteClient::Proceeding => Running { repeat: None, end: None },
            InviteClient::Completed => Running { repeat: None, end: Some(timers.d(reliability)) },
            // M
            InviteClient::Accepted => Running { repeat: None, end: Some(timers.sixty_four_t1()) },
        }
    }

    /// A response came.
    pub(crate) fn on_response(self, class: StatusClass) -> (InviteClient, OnResponse) {
        match (self, class) {
            (InviteClient::Calling | InviteClient::Proceeding, StatusClass::Provisional) => {
                (InviteClient::Proceeding, OnResponse::Pass)
            }
            (InviteClient::Calling | InviteClient::Proceeding, StatusClass::Failure) => {
                (InviteClient::Completed, OnResponse::PassAndAck)
            }
            (InviteClient::Calling | InviteClient::Proceeding, StatusClass::Success) => {
                (InviteClient::Accepted, OnResponse::Pass)
            }
            (InviteClient::Completed, StatusClass::Failure) => (self, OnResponse::ResendAck),
            (InviteClient::Accepted, StatusClass::Success) => (self, OnResponse::Pass),
            // The figures name no other event: too late for anyone to act on.
            (InviteClient::Completed | InviteClient::Accepted, _) => (self, OnResponse::Absorb),
        }
    }

    /// Timer A fired.
    pub(crate) fn on_beat(self, pause: Duration) -> Beat {
        match self {
            InviteClient::Calling => Beat::Resend { next: pause.saturating_mul(2) },
            InviteClient::Proceeding | InviteClient::Completed | InviteClient::Accepted => Beat::Nothing,
        }
    }

    /// What it means that the ending timer of this state fired. In Proceeding that is the wait after a
    /// CANCEL.
    pub(crate) fn ended(self) -> ClientEnd {
        match self {
            InviteClient::Calling | InviteClient::Proceeding => ClientEnd::Timeout,
            InviteClient::Completed | InviteClient::Accepted => ClientEnd::Done,
        }
    }
}
