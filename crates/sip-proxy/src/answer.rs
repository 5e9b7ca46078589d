//! Answers of the proxy itself.

use std::borrow::Cow;

use smallvec::SmallVec;

/// A response of our own to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// 200 to 699.
    pub status: u16,
    /// The reason phrase.
    pub reason: Cow<'static, str>,
    /// Header fields beyond those that every response has.
    pub headers: SmallVec<[(&'static str, Vec<u8>); 2]>,
}

impl Answer {
    /// An answer without further header fields.
    #[must_use]
    pub fn new(status: u16, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { status, reason: reason.into(), headers: SmallVec::new() }
    }

    /// The same with one more header field.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The answer that RFC 3261 §21 has for a status we give because of a branch's fate.
    #[must_use]
    pub fn of_status(status: u16) -> Self {
        let reason = match status {
            408 => "Request Timeout",
            416 => "Unsupported URI Scheme",
            430 => "Flow Failed",
            440 => "Max-Breadth Exceeded",
            480 => "Temporarily Unavailable",
            487 => "Request Terminated",
            500 => "Server Internal Error",
            503 => "Service Unavailable",
            _ => "Failed",
        };
        Self::new(status, reason)
    }
}
