//! Every reason to refuse a handshake, with the answer that tells the other side how to mend it.

use std::fmt;
use std::io::Write as _;

/// Why there is no `101`. [`examine`](super::examine) finds most of them; the last few are the caller's to
/// say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// 400: not an HTTP/1.x request line.
    BadRequestLine,
    /// 400: a header line that is none.
    BadHeader,
    /// 400: TLS came to a port that speaks plain HTTP.
    TlsOnPlainPort,
    /// 400: HTTP/1.0 cannot be upgraded.
    HttpTooOld,
    /// 400: no Host, or an empty one.
    MissingHost,
    /// 400: more than one Host.
    DuplicateHost,
    /// 400: the request announces a body.
    BodyNotAllowed,
    /// 400: WebSocket headers, but no `Upgrade: websocket`.
    MissingUpgrade,
    /// 400: no token `Upgrade` in Connection.
    MissingConnectionUpgrade,
    /// 400: no Sec-WebSocket-Key.
    MissingKey,
    /// 400: more than one Sec-WebSocket-Key.
    DuplicateKey,
    /// 400: a Sec-WebSocket-Key that is not base64 of 16 bytes.
    InvalidKey,
    /// 400: `sip` is not among the sub-protocols offered.
    NoSip,
    /// 403: the policy does not list this Origin.
    OriginNotAllowed,
    /// 403: the policy asks for an Origin and there is none.
    OriginMissing,
    /// 404: the policy does not list this path.
    PathNotFound,
    /// 405: not a GET.
    MethodNotAllowed,
    /// 421: the policy does not list this Host.
    HostNotServed,
    /// 426: no Sec-WebSocket-Version.
    MissingVersion,
    /// 426: a Sec-WebSocket-Version other than 13, or several.
    UnsupportedVersion,
    /// 431: the head is over [`Policy::max_head`](super::Policy::max_head).
    HeadTooLarge,
    /// 431: more lines than [`Policy::max_headers`](super::Policy::max_headers).
    TooManyHeaders,
    /// 401, said by the caller: no credentials, or wrong ones.
    Unauthorized {
        /// What is wrong, in words for the other side.
        why: &'static str,
    },
    /// 403, said by the caller: this address or user may not come in.
    Forbidden,
    /// 408, said by the caller: the head did not come in time.
    TooSlow,
    /// 429, said by the caller: too many attempts.
    RateLimited {
        /// Seconds until another attempt makes sense.
        retry_after: u32,
    },
    /// 503, said by the caller: no room for another connection.
    NoRoom {
        /// Seconds until another attempt makes sense.
        retry_after: u32,
    },
}

impl Refusal {
    /// The HTTP status.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::BadRequestLine
            | Self::BadHeader
            | Self::TlsOnPlainPort
            | Self::HttpTooOld
            | Self::MissingHost
            | Self::DuplicateHost
            | Self::BodyNotAllowed
            | Self::MissingUpgrade
            | Self::MissingConnectionUpgrade
            | Self::MissingKey
            | Self::DuplicateKey
            | Self::InvalidKey
            | Self::NoSip => 400,
            Self::Unauthorized { .. } => 401,
            Self::OriginNotAllowed | Self::OriginMissing | Self::Forbidden => 403,
            Self::PathNotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::TooSlow => 408,
            Self::HostNotServed => 421,
            Self::MissingVersion | Self::UnsupportedVersion => 426,
            Self::RateLimited { .. } => 429,
            Self::HeadTooLarge | Self::TooManyHeaders => 431,
            Self::NoRoom { .. } => 503,
        }
    }

    /// What was wrong and how to mend it, for the peer's developer and the log.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::BadRequestLine => {
                "This is not an HTTP/1.1 request. Connect with a WebSocket client (ws:// or wss://)."
            }
            Self::BadHeader => {
                "A header line is malformed. Each must be a name, a colon and a value on one line, without folding."
            }
            Self::TlsOnPlainPort => {
                "TLS was spoken to a port without it. Use ws:// here, or the port that serves wss://."
            }
            Self::HttpTooOld => {
                "WebSocket needs HTTP/1.1. If a proxy stands in between, let it speak HTTP/1.1 to this server."
            }
            Self::MissingHost => "The Host header is missing or empty. HTTP/1.1 requires it.",
            Self::DuplicateHost => "There is more than one Host header. Send exactly one.",
            Self::BodyNotAllowed => {
                "A WebSocket handshake has no body. Leave out Content-Length and Transfer-Encoding."
            }
            Self::MissingUpgrade => {
                "The header 'Upgrade: websocket' is missing. If a proxy stands in between, let it pass Upgrade and Connection on."
            }
            Self::MissingConnectionUpgrade => {
                "The header 'Connection: Upgrade' is missing. If a proxy stands in between, let it pass Upgrade and Connection on."
            }
            Self::MissingKey => "The Sec-WebSocket-Key header is missing. Send base64 of 16 random bytes.",
            Self::DuplicateKey => "There is more than one Sec-WebSocket-Key header. Send exactly one.",
            Self::InvalidKey => {
                "Sec-WebSocket-Key is not base64 of 16 bytes. Send 24 characters that encode 16 random bytes."
            }
            Self::NoSip => {
                "The sub-protocol 'sip' was not offered. Send 'Sec-WebSocket-Protocol: sip'; in a browser: new WebSocket(url, 'sip')."
            }
            Self::OriginNotAllowed => {
                "Pages of this origin may not connect here. Add the origin to the server's allowed origins."
            }
            Self::OriginMissing => {
                "This server takes connections from browsers only: the Origin header is missing."
            }
            Self::PathNotFound => {
                "No WebSocket is served at this path. Compare the URL with the server's configuration."
            }
            Self::MethodNotAllowed => "A WebSocket handshake is a GET request.",
            Self::HostNotServed => {
                "This server does not serve that host name. Compare the URL with the server's configuration."
            }
            Self::MissingVersion => {
                "The Sec-WebSocket-Version header is missing. Send 'Sec-WebSocket-Version: 13'."
            }
            Self::UnsupportedVersion => {
                "Only WebSocket version 13 is spoken here. Send 'Sec-WebSocket-Version: 13', once."
            }
            Self::HeadTooLarge => "The request's headers are too large. Cookies are the usual cause.",
            Self::TooManyHeaders => "The request has too many header lines.",
            Self::Unauthorized { why } => why,
            Self::Forbidden => "Access is refused.",
            Self::TooSlow => "The request did not arrive in time.",
            Self::RateLimited { .. } => "Too many attempts. Try again after the time in Retry-After.",
            Self::NoRoom { .. } => {
                "The server has no room for another connection. Try again after the time in Retry-After."
            }
        }
    }

    /// The variant's name in snake case, for metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BadRequestLine => "bad_request_line",
            Self::BadHeader => "bad_header",
            Self::TlsOnPlainPort => "tls_on_plain_port",
            Self::HttpTooOld => "http_too_old",
            Self::MissingHost => "missing_host",
            Self::DuplicateHost => "duplicate_host",
            Self::BodyNotAllowed => "body_not_allowed",
            Self::MissingUpgrade => "missing_upgrade",
            Self::MissingConnectionUpgrade => "missing_connection_upgrade",
            Self::MissingKey => "missing_key",
            Self::DuplicateKey => "duplicate_key",
            Self::InvalidKey => "invalid_key",
            Self::NoSip => "no_sip",
            Self::OriginNotAllowed => "origin_not_allowed",
            Self::OriginMissing => "origin_missing",
            Self::PathNotFound => "path_not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::HostNotServed => "host_not_served",
            Self::MissingVersion => "missing_version",
            Self::UnsupportedVersion => "unsupported_version",
            Self::HeadTooLarge => "head_too_large",
            Self::TooManyHeaders => "too_many_headers",
            Self::Unauthorized { .. } => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::TooSlow => "too_slow",
            Self::RateLimited { .. } => "rate_limited",
            Self::NoRoom { .. } => "no_room",
        }
    }

    /// Appends the whole response. It says `Connection: close`: the caller closes after writing it.
    pub fn write_response(self, out: &mut Vec<u8>) {
        self.write_head(out);
        out.extend_from_slice(self.message().as_bytes());
        out.push(b'\n');
    }

    /// Appends the response to a HEAD: the same without the body, whose length it tells (RFC 9110 §9.3.2).
    pub fn write_head(self, out: &mut Vec<u8>) {
        let status = self.status();
        let phrase = match status {
            400 => "Bad Request",
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            408 => "Request Timeout",
            421 => "Misdirected Request",
            426 => "Upgrade Required",
            429 => "Too Many Requests",
            431 => "Request Header Fields Too Large",
            _ => "Service Unavailable",
        };
        // Writing to a Vec cannot fail.
        let _ = write!(out, "HTTP/1.1 {status} {phrase}\r\nConnection: close");
        let _ = match self {
            Self::MissingVersion | Self::UnsupportedVersion => {
                write!(out, ", Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13")
            }
            Self::MethodNotAllowed => write!(out, "\r\nAllow: GET"),
            Self::Unauthorized { .. } => write!(out, "\r\nWWW-Authenticate: Bearer"),
            Self::RateLimited { retry_after } | Self::NoRoom { retry_after } => {
                write!(out, "\r\nRetry-After: {retry_after}")
            }
            _ => Ok(()),
        };
        let _ = write!(
            out,
            "\r\nContent-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\nContent-Length: {}\r\n\r\n",
            self.message().len() + 1
        );
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status(), self.message())
    }
}

impl std::error::Error for Refusal {}
