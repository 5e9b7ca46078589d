//! The status code of a response, as far as transactions look at it.

/// A status code in the range SIP knows, 100 to 699 (RFC 3261 §7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Status(u16);

/// What a status means to a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StatusClass {
    /// 1xx.
    Provisional,
    /// 2xx.
    Success,
    /// 3xx to 6xx: every final response that is not a success.
    Failure,
}

impl Status {
    /// 100 Trying, the one provisional response a non-INVITE request may have (RFC 4320 §4.1).
    pub const TRYING: Status = Status(100);
    /// 408 Request Timeout, never to be sent to a non-INVITE request (RFC 4320 §4.2).
    pub const REQUEST_TIMEOUT: Status = Status(408);

    /// The status with this code; `None` outside 100 to 699.
    pub const fn new(code: u16) -> Option<Status> {
        if code >= 100 && code <= 699 { Some(Status(code)) } else { None }
    }

    /// The number, 100 to 699.
    pub const fn code(self) -> u16 {
        self.0
    }

    /// What the number means to a transaction.
    pub const fn class(self) -> StatusClass {
        match self.0 {
            ..200 => StatusClass::Provisional,
            200..300 => StatusClass::Success,
            300.. => StatusClass::Failure,
        }
    }
}
