//! Request-Line and Status-Line (RFC 3261 §7.1, §7.2).

use crate::syntax::{is_token, token_len, trim};
use crate::words::{equal, find};
use crate::{Leniencies, Leniency, Method, StartLineError};

/// The first line of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartLine<'b> {
    /// A request.
    Request {
        /// What is asked.
        method: Method<'b>,
        /// The Request-URI as received; not yet checked to be a URI.
        uri: &'b [u8],
        /// The protocol version as received, `SIP/2.0` as a rule.
        version: &'b [u8],
    },
    /// A response.
    Response {
        /// 100 to 699.
        status: u16,
        /// Any octets, perhaps none.
        reason: &'b [u8],
        /// The protocol version as received.
        version: &'b [u8],
    },
}

impl<'b> StartLine<'b> {
    /// The protocol version as received.
    pub fn version(&self) -> &'b [u8] {
        match *self {
            StartLine::Request { version, .. } | StartLine::Response { version, .. } => version,
        }
    }

    /// Whether this is the one version there is, in any case of letters.
    #[inline]
    pub fn is_version_2_0(&self) -> bool {
        let version = self.version();
        version == b"SIP/2.0" || version.eq_ignore_ascii_case(b"SIP/2.0")
    }

    #[inline]
    pub(crate) fn parse(line: &'b [u8], seen: &mut Leniencies) -> Result<StartLine<'b>, StartLineError> {
        let first_len = find(line, |word| equal(word, b' ')).ok_or(StartLineError::NotSip)?;
        let (first, rest) = (&line[..first_len], &line[first_len + 1..]);
        if is_version(first) {
            return Self::parse_status(first, rest, seen);
        }
        let mut rest = rest;
        if let Some(b' ' | b'\t') = rest.last() {
            seen.insert(Leniency::StartLineSpace);
            rest = trim(rest);
        }
        let (mut uri, version) = match rest.split_last_chunk() {
            Some((uri, b" SIP/2.0")) => (uri, &rest[uri.len() + 1..]),
            _ => {
                let gap = memchr::memrchr(b' ', rest).ok_or(StartLineError::NotSip)?;
                (&rest[..gap], &rest[gap + 1..])
            }
        };
        if !is_version(version) {
            return Err(StartLineError::NotSip);
        }
        if let (Some(b' ' | b'\t'), _) | (_, Some(b' ' | b'\t')) = (uri.first(), uri.last()) {
            seen.insert(Leniency::StartLineSpace);
            uri = trim(uri);
        }
        let method = Method::from_bytes(first);
        if let Method::Other(name) = method
            && !is_token(name)
        {
            return Err(StartLineError::Method);
        }
        if uri.is_empty() {
            return Err(StartLineError::NoRequestUri);
        }
        Ok(StartLine::Request { method, uri, version })
    }

    fn parse_status(
        version: &'b [u8],
        rest: &'b [u8],
        seen: &mut Leniencies,
    ) -> Result<StartLine<'b>, StartLineError> {
        let code_len = token_len(rest);
        let (code, after) = (&rest[..code_len], &rest[code_len..]);
        let status = match code {
            [h @ b'1'..=b'6', t @ b'0'..=b'9', u @ b'0'..=b'9'] => {
                u16::from(h - b'0') * 100 + u16::from(t - b'0') * 10 + u16::from(u - b'0')
            }
            _ => return Err(StartLineError::Status),
        };
        let reason = match after {
            [b' ', reason @ ..] => reason,
            [] => {
                seen.insert(Leniency::NoReasonSpace);
                after
            }
            _ => return Err(StartLineError::Status),
        };
        Ok(StartLine::Response { status, reason, version })
    }
}

/// `SIP/` and a version number, whichever it is: another version is answered with 505, another protocol not
/// at all.
fn is_version(bytes: &[u8]) -> bool {
    if bytes == b"SIP/2.0" {
        return true;
    }
    let Some((name, number)) = bytes.split_at_checked(4) else { return false };
    if !name.eq_ignore_ascii_case(b"SIP/") {
        return false;
    }
    let Some(dot) = memchr::memchr(b'.', number) else { return false };
    let number_ok = |digits: &[u8]| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    number_ok(&number[..dot]) && number_ok(&number[dot + 1..])
}
