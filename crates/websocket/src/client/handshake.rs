//! The opening handshake of RFC 6455 §4.1, seen from the client.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::handshake::accept_for;

/// The longest response head that is read, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// What to ask a server.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    /// Host, with port where it is not the scheme's own.
    pub host: &'a str,
    /// Path with query.
    pub target: &'a str,
    /// Origin, if a browser is to be played.
    pub origin: Option<&'a str>,
    /// Sub-protocols to offer.
    pub protocols: &'a [&'a str],
    /// 16 random bytes.
    pub nonce: [u8; 16],
    /// Any further headers.
    pub extra_headers: &'a [(&'a str, &'a str)],
}

impl Opening<'_> {
    /// Appends the request.
    pub fn write(&self, out: &mut Vec<u8>) {
        let key = STANDARD.encode(self.nonce);
        let mut line = |parts: &[&str]| {
            parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
            out.extend_from_slice(b"\r\n");
        };
        line(&["GET ", self.target, " HTTP/1.1"]);
        line(&["Host: ", self.host]);
        line(&["Upgrade: websocket"]);
        line(&["Connection: Upgrade"]);
        line(&["Sec-WebSocket-Version: 13"]);
        line(&["Sec-WebSocket-Key: ", &key]);
        if !self.protocols.is_empty() {
            line(&["Sec-WebSocket-Protocol: ", &self.protocols.join(", ")]);
        }
        if let Some(origin) = self.origin {
            line(&["Origin: ", origin]);
        }
        for (name, value) in self.extra_headers {
            line(&[name, ": ", value]);
        }
        line(&[]);
    }
}

/// What the server answered so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// The head is not whole.
    Incomplete,
    /// A `101` that keeps the rules.
    Accepted {
        /// Bytes of the head; what follows are frames.
        head_len: usize,
        /// The sub-protocol agreed on.
        protocol: Option<&'a str>,
    },
    /// Another status.
    Refused {
        /// The HTTP status.
        status: u16,
        /// Bytes of the head; what follows is the body.
        head_len: usize,
    },
}

/// An answer that cannot be taken (RFC 6455 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerError {
    /// Not an HTTP/1.x response head, or one over 16 KiB or 64 lines.
    NotHttp,
    /// A `101` without `Upgrade: websocket`.
    MissingUpgrade,
    /// A `101` without `Connection: Upgrade`.
    MissingConnectionUpgrade,
    /// Sec-WebSocket-Accept is missing or does not fit the key.
    WrongAccept,
    /// A sub-protocol that was not offered.
    ProtocolNotOffered,
    /// An extension; none was offered.
    ExtensionNotOffered,
}

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotHttp => "the answer is not an HTTP/1.1 response",
            Self::MissingUpgrade => "the answer lacks 'Upgrade: websocket'",
            Self::MissingConnectionUpgrade => "the answer lacks 'Connection: Upgrade'",
            Self::WrongAccept => "Sec-WebSocket-Accept does not fit the key",
            Self::ProtocolNotOffered => "the server chose a sub-protocol that was not offered",
            Self::ExtensionNotOffered => "the server chose an extension that was not offered",
        })
    }
}

impl std::error::Error for AnswerError {}

/// Looks at the response to `opening` as far as it has come.
///
/// # Errors
/// The server's answer is against RFC 6455 §4.1: give the connection up.
pub fn read_answer<'a>(input: &'a [u8], opening: &Opening<'_>) -> Result<Answer<'a>, AnswerError> {
    let mut slots = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Response::new(&mut slots);
    let head_len = match head.parse(input) {
        Ok(httparse::Status::Complete(head_len)) => head_len,
        Ok(httparse::Status::Partial) if input.len() < MAX_HEAD => return Ok(Answer::Incomplete),
        Ok(httparse::Status::Partial) | Err(_) => return Err(AnswerError::NotHttp),
    };
    let status = head.code.ok_or(AnswerError::NotHttp)?;
    if status != 101 {
        return Ok(Answer::Refused { status, head_len });
    }
    let lines = |name: &'static str| {
        let named = head.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
        named.map(|header| std::str::from_utf8(header.value).unwrap_or_default().trim())
    };
    let has_token = |name, token: &str| {
        lines(name).flat_map(|line| line.split(',')).any(|element| element.trim().eq_ignore_ascii_case(token))
    };
    if !has_token("upgrade", "websocket") {
        return Err(AnswerError::MissingUpgrade);
    }
    if !has_token("connection", "upgrade") {
        return Err(AnswerError::MissingConnectionUpgrade);
    }
    let expected = accept_for(STANDARD.encode(opening.nonce).as_bytes());
    if !lines("sec-websocket-accept").map(str::as_bytes).eq([&expected[..]]) {
        return Err(AnswerError::WrongAccept);
    }
    if lines("sec-websocket-extensions").next().is_some() {
        return Err(AnswerError::ExtensionNotOffered);
    }
    let mut protocols = head
        .headers
        .iter()
        .filter(|header| header.name.eq_ignore_ascii_case("sec-websocket-protocol"))
        .map(|header| std::str::from_utf8(header.value).unwrap_or_default().trim());
    let protocol = protocols.next();
    if protocol.is_some_and(|chosen| !opening.protocols.contains(&chosen)) || protocols.next().is_some() {
        return Err(AnswerError::ProtocolNotOffered);
    }
    Ok(Answer::Accepted { head_len, protocol })
}
