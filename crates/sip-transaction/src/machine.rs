//! The words the four machines share: what runs in a state, and what an event calls for.

use std::time::Duration;

/// The timers of a state, from the moment it is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Running {
    /// Timer A, E or G, or the reminder to send 100.
    pub(crate) repeat: Option<Duration>,
    /// The timer that ends the transaction; zero ends it at once, `None` leaves that to its user.
    pub(crate) end: Option<Duration>,
}

/// What a repeat timer calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beat {
    Resend { next: Duration },
    Remind,
    Nothing,
}

/// What the repeat of a request calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnRepeat {
    /// The last response again, if there was one.
    Resend,
    Absorb,
}

/// Whom an ACK is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AckMeaning {
    Absorbed,
    ForSuccess,
}

/// What a response calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnResponse {
    Pass,
    PassAndAck,
    ResendAck,
    Absorb,
}

/// Why a server transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServerEnd {
    /// It ran its course.
    Done,
    /// Timer H: no ACK came for the 3xx to 6xx sent to an INVITE.
    AckMissing,
    /// A non-INVITE request got no final response within 64*T1; none may be sent any more (RFC 4320 §4.2).
    Unanswered,
    /// Its user reported that the response could not be sent (non-INVITE only: RFC 6026 keeps INVITE
    /// transactions).
    TransportError,
}

/// Why a client transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientEnd {
    /// It ran its course.
    Done,
    /// Timer B or F, or 64*T1 after a CANCEL: no final response came. Counts as a 408 (RFC 3261 §8.1.3.1).
    Timeout,
    /// Its user reported that the request or ACK could not be sent. Counts as a 503.
    TransportError,
}

/// Why a response may not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// The transaction is gone: drop the response (RFC 6026 §7.3, RFC 4320).
    #[error("the transaction has ended")]
    Gone,
    /// A final response was sent before, and this is no further 2xx to an INVITE.
    #[error("a final response was already sent")]
    AlreadyFinal,
    /// 101 to 199 to a request other than INVITE (RFC 4320 §4.1).
    #[error("a request other than INVITE has no provisional response but 100")]
    ProvisionalToNonInvite,
    /// 100 to a request other than INVITE, over an unreliable transport, before the peer's Timer E reached
    /// T2.
    #[error("too early for a 100 to a request other than INVITE")]
    TryingTooEarly,
    /// 408 to a request other than INVITE (RFC 4320 §4.2): let the transaction expire, or abandon it.
    #[error("a request other than INVITE is never answered with 408")]
    TimeoutToNonInvite,
}
