//! Requests that an ICMP error quotes, because nothing listens at their destination.

use memchr::memmem;
use sip_transaction::{ClientKey, MethodClass};

use crate::branch::{DIGITS, PREFIX, parse};

/// The transaction of a request that came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotedRequest(pub(crate) ClientKey);

impl QuotedRequest {
    /// Reads the beginning of a request of ours, as far as it is quoted. None if that does not reach to the
    /// branch, which nobody knows who has not seen the request; or if there is no transaction for it (ACK).
    #[must_use]
    pub fn read(quoted: &[u8]) -> Option<Self> {
        let method = quoted.get(..quoted.iter().position(|&byte| byte == b' ')?)?;
        let class = match method {
            b"ACK" | b"SIP/2.0" => return None,
            b"INVITE" => MethodClass::Invite,
            _ => MethodClass::NonInvite,
        };
        // Ours is the topmost.
        let via = quoted.get(memmem::find(quoted, b"\r\nVia: ")?..)?;
        let branch = via.get(memmem::find(via, PREFIX)?..)?;
        let (number, _) = parse(branch.get(..PREFIX.len() + 2 * DIGITS)?)?;
        Some(Self(ClientKey { branch: number, class }))
    }

    /// The shard whose proxy sent the request.
    #[must_use]
    pub fn shard(&self) -> u8 {
        (self.0.branch & 0xff) as u8
    }
}
