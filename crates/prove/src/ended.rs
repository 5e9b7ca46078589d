//! How the other end was seen to end a connection, and why one did not come about.

use std::io;

use sip_message::FrameError;
use websocket::ProtocolError;
use websocket::client::AnswerError;

/// How the server was seen to end a connection.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Ended {
    /// By a WebSocket Close frame.
    #[error("the server said Close {} {reason}", code.map_or("without a code".to_owned(), |code| code.to_string()))]
    Closed {
        /// Its code.
        code: Option<u16>,
        /// Its text.
        reason: String,
    },
    /// By a FIN.
    #[error("the server ended the TCP stream")]
    Eof,
    /// By TLS's own close_notify.
    #[error("the server ended TLS")]
    CloseNotify,
    /// By a reset, or the network broke.
    #[error("the connection was cut: {0}")]
    Cut(io::ErrorKind),
    /// TLS failed, or the server said so.
    #[error("TLS: {0}")]
    Tls(rustls::Error),
    /// The server broke RFC 6455.
    #[error("the server broke the WebSocket protocol: {0}")]
    Breach(ProtocolError),
    /// The server's stream is no SIP.
    #[error("the server's stream: {0}")]
    Stream(FrameError),
}

impl Ended {
    pub(crate) fn of(error: &io::Error) -> Self {
        Self::Cut(error.kind())
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No TCP connection.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The target's host is no DNS name.
    #[error("the host is no DNS name")]
    HostName,
    /// No TLS.
    #[error("TLS: {0}")]
    Tls(rustls::Error),
    /// It ended in the handshake.
    #[error("in the handshake: {0}")]
    Ended(Ended),
    /// The server does not want this WebSocket now.
    #[error("the server answered {0}")]
    Refused(u16),
    /// The server's 101 is against RFC 6455.
    #[error(transparent)]
    Answer(#[from] AnswerError),
    /// The server did not agree to the sub-protocol `sip` (RFC 7118 §4).
    #[error("the server did not agree to the sub-protocol sip")]
    NoSip,
    /// No answer in time.
    #[error("no answer in time")]
    TimedOut,
}

/// Why a request got no final response.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RequestError {
    /// The connection ended first.
    #[error(transparent)]
    Ended(#[from] Ended),
    /// Nothing came in time.
    #[error("no final response in time")]
    TimedOut,
    /// The server asks for a password and there is none, or it did not help.
    #[error("the server wants other credentials")]
    Unauthorized,
    /// The server's challenge cannot be answered.
    #[error("the challenge cannot be answered: {0}")]
    Challenge(#[from] sip_auth::ChallengeError),
}
