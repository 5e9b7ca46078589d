//! How a flow ended: the cause and its evidence.

use crate::{Cause, Text};

/// A cause with the evidence that was seen for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Why.
    pub cause: Cause,
    /// The WebSocket close code (RFC 6455 §7.4), received for `client` causes, sent for `server` ones.
    pub code: Option<u16>,
    /// The close reason beside the code, what an operator said, the operating system's error, or what was
    /// wrong with the peer's bytes.
    pub reason: Option<Text<123>>,
}

impl Ending {
    /// An ending with nothing to add to its cause.
    #[must_use]
    pub const fn of(cause: Cause) -> Self {
        Self { cause, code: None, reason: None }
    }

    /// The same with a WebSocket close code.
    #[must_use]
    pub fn code(mut self, code: u16) -> Self {
        self.code = Some(code);
        self
    }

    /// The same with a reason text; an empty one is none.
    #[must_use]
    pub fn reason(mut self, reason: impl AsRef<[u8]>) -> Self {
        let reason = reason.as_ref();
        self.reason = (!reason.is_empty()).then(|| Text::new(reason));
        self
    }
}
