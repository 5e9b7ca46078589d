//! What a WebSocket message means under the sub-protocol `sip` (RFC 7118).

/// The content of one WebSocket message, text or binary alike (RFC 7118 §5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// CRLF CRLF, the ping of RFC 5626 §3.5.1. Some clients (SIP.js) drop the connection unless [`PONG`]
    /// comes back within seconds, though RFC 6455 has its own Ping.
    KeepAlivePing,
    /// A single CRLF: the answer to such a ping. Nothing to do.
    KeepAlivePong,
    /// No bytes at all, or only line ends, blanks and NULs that are no ping: nothing to do.
    Empty,
    /// To be parsed as exactly one SIP message; what would follow its body is an error (RFC 7118 §5.1).
    /// Without Content-Length the body reaches to the end.
    Message(&'a [u8]),
}

/// What answers [`Content::KeepAlivePing`], sent as a text message.
pub const PONG: &str = "\r\n";

/// Tells a keep-alive from a SIP message.
#[must_use]
pub fn content(message: &[u8]) -> Content<'_> {
    match message {
        b"" => Content::Empty,
        b"\r\n" => Content::KeepAlivePong,
        b"\r\n\r\n" => Content::KeepAlivePing,
        padding if padding.iter().all(|byte| matches!(byte, b'\r' | b'\n' | b' ' | b'\t' | 0)) => {
            Content::Empty
        }
        message => Content::Message(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keep_alives_are_told_from_messages() {
        assert_eq!(content(b""), Content::Empty);
        assert_eq!(content(b"\r\n"), Content::KeepAlivePong);
        assert_eq!(content(b"\r\n\r\n"), Content::KeepAlivePing);
        for padding in [&b"\r\n\r\n\r\n"[..], b"\n", b"\0\0\0\0", b" ", b"\r\n\0", b"\r"] {
            assert_eq!(content(padding), Content::Empty, "{padding:?}");
        }
        assert_eq!(content(b"\r\n\r\nOPTIONS"), Content::Message(b"\r\n\r\nOPTIONS"));
        assert_eq!(content(b"OPTIONS sip:a SIP/2.0"), Content::Message(b"OPTIONS sip:a SIP/2.0"));
    }
}
