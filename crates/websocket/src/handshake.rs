//! The opening handshake of RFC 6455 §4.2, seen from the server.
//!
//! ```
//! use websocket::handshake::{Outcome, Policy, examine};
//!
//! let head = b"GET /ws HTTP/1.1\r\nHost: sip.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
//!     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
//!     Sec-WebSocket-Protocol: sip\r\n\r\n";
//! let mut out = Vec::new();
//! match examine(head, &Policy::default()) {
//!     Outcome::Accept(accepted) => accepted.write_response(&mut out, &[]),
//!     Outcome::Refuse(refused) => refused.refusal.write_response(&mut out),
//!     Outcome::Incomplete | Outcome::NotUpgrade(_) => {}
//! }
//! assert!(out.starts_with(b"HTTP/1.1 101 "));
//! ```

use base64::Engine as _;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::general_purpose::{GeneralPurpose, PAD, STANDARD};
use sha1::{Digest as _, Sha1};

mod policy;
mod refusal;
mod request;

pub use policy::{MissingOrigin, Policy, SubProtocol};
pub use refusal::Refusal;
pub use request::{HeaderValue, HttpVersion, Request};

use request::HeadError;

/// The most header lines a request may have, whatever the policy allows.
pub const MAX_HEADERS: usize = 128;

/// What the bytes so far amount to.
#[derive(Debug)]
pub enum Outcome<'a> {
    /// The head has not ended. Read more and come again with all of it; within the size limit, and a time of
    /// the caller's.
    Incomplete,
    /// An HTTP request that does not try to become a WebSocket: serve a page or refuse.
    NotUpgrade(Request<'a>),
    /// All is well.
    Accept(Accepted<'a>),
    /// It cannot be accepted.
    Refuse(Refused<'a>),
}

/// A handshake that may be accepted.
#[derive(Debug)]
pub struct Accepted<'a> {
    /// What was asked. The bytes after [`Request::head_len`] are frames already.
    pub request: Request<'a>,
    /// The sub-protocol agreed on, spelled as the client spelled it; `None` only under [`SubProtocol::Any`].
    pub sub_protocol: Option<&'a str>,
    accept: [u8; 28],
}

/// A handshake that may not be accepted.
#[derive(Debug)]
pub struct Refused<'a> {
    /// Why, and the answer to write.
    pub refusal: Refusal,
    /// What was asked, for the log; `None` if it could not be read as HTTP.
    pub request: Option<Request<'a>>,
}

impl Accepted<'_> {
    /// Appends the `101` (RFC 6455 §4.2.2) with the given extra headers. Control characters in these are left
    /// out.
    pub fn write_response(&self, out: &mut Vec<u8>, extra_headers: &[(&str, &str)]) {
        out.extend_from_slice(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ",
        );
        out.extend_from_slice(&self.accept);
        out.extend_from_slice(b"\r\n");
        if let Some(protocol) = self.sub_protocol {
            write_header(out, "Sec-WebSocket-Protocol", protocol);
        }
        for (name, value) in extra_headers {
            write_header(out, name, value);
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// Looks at the request head as far as it has come. `input` starts at the first byte of the connection.
///
/// Pure: call again with more bytes after [`Outcome::Incomplete`]. A head over the limits, or one that cannot
/// become HTTP, is refused before it is whole.
#[must_use]
pub fn examine<'a>(input: &'a [u8], policy: &Policy<'_>) -> Outcome<'a> {
    let request = match Request::read(input, policy.max_head, policy.max_headers.min(MAX_HEADERS)) {
        Ok(Some(request)) => request,
        Ok(None) => return Outcome::Incomplete,
        Err(error) => {
            let refusal = match error {
                HeadError::TooLarge => Refusal::HeadTooLarge,
                HeadError::TooManyHeaders => Refusal::TooManyHeaders,
                HeadError::RequestLine => Refusal::BadRequestLine,
                HeadError::Header => Refusal::BadHeader,
                HeadError::Tls => Refusal::TlsOnPlainPort,
            };
            return Outcome::Refuse(Refused { refusal, request: None });
        }
    };
    // A proxy that drops Upgrade leaves the Sec-WebSocket headers: its owner should hear what is missing, not
    // see a page.
    let tries = request.upgrades_to_websocket()
        || request.values("sec-websocket-key").next().is_some()
        || request.values("sec-websocket-version").next().is_some();
    if !tries {
        return Outcome::NotUpgrade(request);
    }
    match check(&request, policy) {
        Ok((accept, sub_protocol)) => Outcome::Accept(Accepted { request, sub_protocol, accept }),
        Err(refusal) => Outcome::Refuse(Refused { refusal, request: Some(request) }),
    }
}

/// The checks of RFC 6455 §4.2.1 and then those of the policy.
fn check<'a>(request: &Request<'a>, policy: &Policy<'_>) -> Result<([u8; 28], Option<&'a str>), Refusal> {
    if request.version == HttpVersion::Http10 {
        return Err(Refusal::HttpTooOld);
    }
    if request.method != "GET" {
        return Err(Refusal::MethodNotAllowed);
    }
    if request.has_body() {
        return Err(Refusal::BodyNotAllowed);
    }
    let host = single(request, "host", Refusal::MissingHost, Refusal::DuplicateHost)?;
    let host = host.as_str().filter(|host| !host.is_empty()).ok_or(Refusal::MissingHost)?;
    if !request.upgrades_to_websocket() {
        return Err(Refusal::MissingUpgrade);
    }
    if !request.list("connection").any(|token| token.eq_ignore_ascii_case("upgrade")) {
        return Err(Refusal::MissingConnectionUpgrade);
    }
    let version =
        single(request, "sec-websocket-version", Refusal::MissingVersion, Refusal::UnsupportedVersion)?;
    if version.as_bytes() != b"13" {
        return Err(Refusal::UnsupportedVersion);
    }
    let key = single(request, "sec-websocket-key", Refusal::MissingKey, Refusal::DuplicateKey)?;
    let key = key.as_bytes();
    if !is_key(key) {
        return Err(Refusal::InvalidKey);
    }
    if !policy.allows_path(request.path()) {
        return Err(Refusal::PathNotFound);
    }
    if !policy.allows_host(host) {
        return Err(Refusal::HostNotServed);
    }
    let mut origins = request.values("origin");
    match (origins.next(), origins.next()) {
        (None, _) => match policy.missing_origin {
            MissingOrigin::Allow => {}
            MissingOrigin::Refuse => return Err(Refusal::OriginMissing),
        },
        (Some(origin), None) if policy.allows_origin(origin) => {}
        (Some(_), _) => return Err(Refusal::OriginNotAllowed),
    }
    let sub_protocol = match policy.sub_protocol {
        SubProtocol::Sip => {
            Some(request.protocols().find(|name| name.eq_ignore_ascii_case("sip")).ok_or(Refusal::NoSip)?)
        }
        SubProtocol::Any => request.protocols().next(),
    };
    Ok((accept_for(key), sub_protocol))
}

/// The value of a header that must stand exactly once.
fn single<'a>(
    request: &Request<'a>,
    name: &str,
    missing: Refusal,
    duplicate: Refusal,
) -> Result<HeaderValue<'a>, Refusal> {
    let mut values = request.values(name);
    let value = values.next().ok_or(missing)?;
    match values.next() {
        None => Ok(value),
        Some(_) => Err(duplicate),
    }
}

/// Base64 of 16 bytes. Set bits after the last byte are let pass: the example in RFC 6455 §4.1 has them.
fn is_key(key: &[u8]) -> bool {
    const ENGINE: GeneralPurpose = GeneralPurpose::new(&ALPHABET, PAD.with_decode_allow_trailing_bits(true));
    let mut nonce = [0; 18];
    key.len() == 24 && matches!(ENGINE.decode_slice(key, &mut nonce), Ok(16))
}

/// The value of Sec-WebSocket-Accept (RFC 6455 §4.2.2 item 5.4).
pub(crate) fn accept_for(key: &[u8]) -> [u8; 28] {
    let digest =
        Sha1::new().chain_update(key).chain_update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").finalize();
    let mut accept = [0; 28];
    let written = STANDARD.encode_slice(digest, &mut accept);
    debug_assert_eq!(written, Ok(28), "20 bytes make 28 characters");
    accept
}

fn write_header(out: &mut Vec<u8>, name: &str, value: &str) {
    let printable = |byte: &u8| !byte.is_ascii_control();
    out.extend(name.bytes().filter(printable));
    out.extend_from_slice(b": ");
    out.extend(value.bytes().filter(printable));
    out.extend_from_slice(b"\r\n");
}
