//! The content of a Close frame: RFC 6455 §5.5.1 and §7.4.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU16;

use crate::error::ProtocolError;

/// A status code that may stand in a Close frame: 1000-1003, 1007-1014, 3000-4999 (RFC 6455 §7.4 and the IANA
/// registry).
///
/// 1005, 1006 and 1015 are names for what happened without such a frame and cannot be made.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CloseCode(NonZeroU16);

impl CloseCode {
    /// 1000: the purpose is fulfilled.
    pub const NORMAL: Self = Self::known(1000);
    /// 1001: the endpoint goes away: a server stops, a page is left.
    pub const GOING_AWAY: Self = Self::known(1001);
    /// 1002: the peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self::known(1002);
    /// 1003: a kind of data that cannot be taken.
    pub const UNSUPPORTED_DATA: Self = Self::known(1003);
    /// 1007: the data is not what its type says, as text that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self::known(1007);
    /// 1008: against the server's policy.
    pub const POLICY_VIOLATION: Self = Self::known(1008);
    /// 1009: too big to be handled.
    pub const MESSAGE_TOO_BIG: Self = Self::known(1009);
    /// 1010: the client wanted an extension the server did not agree to.
    pub const EXTENSION_REQUIRED: Self = Self::known(1010);
    /// 1011: the server met a condition it did not expect.
    pub const INTERNAL_ERROR: Self = Self::known(1011);
    /// 1012: the service restarts.
    pub const SERVICE_RESTART: Self = Self::known(1012);
    /// 1013: overloaded; come again later.
    pub const TRY_AGAIN_LATER: Self = Self::known(1013);
    /// 1014: a gateway got a bad answer from behind.
    pub const BAD_GATEWAY: Self = Self::known(1014);

    const fn known(code: u16) -> Self {
        match NonZeroU16::new(code) {
            Some(code) => Self(code),
            None => panic!("a named code is not zero"),
        }
    }

    /// The code, if it may stand in a Close frame.
    #[must_use]
    pub const fn new(code: u16) -> Option<Self> {
        match code {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Some(Self::known(code)),
            _ => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

impl fmt::Debug for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CloseCode({})", self.0)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a peer said in its Close frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseFrame<'a> {
    /// `None` when the frame was empty (the code an application would call 1005).
    pub code: Option<CloseCode>,
    /// At most 123 bytes; empty when none was given.
    pub reason: Cow<'a, str>,
}

/// Reads the payload of a Close frame; returns the code and leaves the reason as the bytes from 2 on.
pub(crate) fn check_payload(payload: &[u8]) -> Result<Option<CloseCode>, ProtocolError> {
    match payload {
        [] => Ok(None),
        [_] => Err(ProtocolError::CloseTruncated),
        [high, low, reason @ ..] => {
            let number = u16::from_be_bytes([*high, *low]);
            let code = CloseCode::new(number).ok_or(ProtocolError::InvalidCloseCode(number))?;
            match std::str::from_utf8(reason) {
                Ok(_) => Ok(Some(code)),
                Err(_) => Err(ProtocolError::CloseReasonNotUtf8),
            }
        }
    }
}
