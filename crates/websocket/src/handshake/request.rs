//! A request head, as a view over the bytes it came in.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::MAX_HEADERS;

/// An HTTP request head. Everything borrows from the input.
#[derive(Debug)]
pub struct Request<'a> {
    /// As sent; methods are case-sensitive.
    pub method: &'a str,
    /// The request target as sent: path with query, or a whole URI.
    pub target: &'a str,
    /// 1.0 or 1.1.
    pub version: HttpVersion,
    /// Bytes of the head with the empty line that ends it. What follows is not HTTP's any more after an
    /// upgrade.
    pub head_len: usize,
    headers: SmallVec<[httparse::Header<'a>; 16]>,
}

/// The versions of HTTP in which a request head has this form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpVersion {
    /// Cannot be upgraded.
    Http10,
    /// The one RFC 6455 asks for.
    Http11,
}

/// A header value without the blanks around it. HTTP does not promise UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderValue<'a>(&'a [u8]);

impl<'a> HeaderValue<'a> {
    /// The bytes.
    #[must_use]
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// The text, if it is UTF-8.
    #[must_use]
    pub fn as_str(self) -> Option<&'a str> {
        std::str::from_utf8(self.0).ok()
    }

    /// The text, with U+FFFD for what is not UTF-8: for logs and events.
    #[must_use]
    pub fn to_text(self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.0)
    }
}

/// Why the bytes cannot be a request head, or may not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeadError {
    TooLarge,
    TooManyHeaders,
    RequestLine,
    Header,
    Tls,
}

impl<'a> Request<'a> {
    pub(super) fn read(
        input: &'a [u8],
        max_head: usize,
        max_headers: usize,
    ) -> Result<Option<Self>, HeadError> {
        // The first two bytes of every TLS connection: a handshake record, major version 3.
        if matches!(input, [0x16] | [0x16, 0x03, ..]) {
            return if input.len() < 2 { Ok(None) } else { Err(HeadError::Tls) };
        }
        let mut slots = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut head = httparse::Request::new(&mut slots[..max_headers]);
        // Never looks past the limit, so the answer does not depend on how much came in one read.
        let seen = &input[..input.len().min(max_head)];
        let head_len = match head.parse(seen) {
            Ok(httparse::Status::Complete(head_len)) => head_len,
            Ok(httparse::Status::Partial) if input.len() >= max_head => return Err(HeadError::TooLarge),
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TooManyHeaders),
            Err(httparse::Error::HeaderName | httparse::Error::HeaderValue) => return Err(HeadError::Header),
            Err(httparse::Error::NewLine) if head.version.is_some() => return Err(HeadError::Header),
            Err(_) => return Err(HeadError::RequestLine),
        };
        let (Some(method), Some(target), Some(minor)) = (head.method, head.path, head.version) else {
            return Err(HeadError::RequestLine);
        };
        let version = if minor == 0 { HttpVersion::Http10 } else { HttpVersion::Http11 };
        Ok(Some(Self { method, target, version, head_len, headers: SmallVec::from_slice(head.headers) }))
    }

    /// The path without query, and without scheme and authority if the target is a whole URI.
    #[must_use]
    pub fn path(&self) -> &'a str {
        let path_and_query = self.path_and_query();
        path_and_query.split(['?', '#']).next().unwrap_or(path_and_query)
    }

    /// The query without its question mark.
    #[must_use]
    pub fn query(&self) -> Option<&'a str> {
        self.path_and_query().split_once('?').map(|(_, query)| query)
    }

    fn path_and_query(&self) -> &'a str {
        match self.target.split_once("://") {
            Some((scheme, rest)) if !scheme.contains(['/', '?']) => match rest.find(['/', '?']) {
                Some(at) if rest.as_bytes()[at] == b'/' => &rest[at..],
                _ => "/",
            },
            _ => self.target,
        }
    }

    /// Every header line of this name, in order. The name's letter case does not matter.
    pub fn values<'n>(&self, name: &'n str) -> impl Iterator<Item = HeaderValue<'a>> + use<'_, 'a, 'n> {
        self.headers
            .iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(name))
            .map(|header| HeaderValue(header.value.trim_ascii()))
    }

    /// The first header line of this name.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<HeaderValue<'a>> {
        self.values(name).next()
    }

    /// The elements of a comma-separated header, over all its lines, in order; empty ones and lines that are
    /// not UTF-8 left out. For headers whose elements hold no quoted commas.
    pub fn list<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a str> + use<'_, 'a, 'n> {
        self.values(name)
            .filter_map(HeaderValue::as_str)
            .flat_map(|line| line.split(','))
            .map(|element| element.trim_matches([' ', '\t']))
            .filter(|element| !element.is_empty())
    }

    /// Host.
    #[must_use]
    pub fn host(&self) -> Option<HeaderValue<'a>> {
        self.value("host")
    }

    /// Origin.
    #[must_use]
    pub fn origin(&self) -> Option<HeaderValue<'a>> {
        self.value("origin")
    }

    /// User-Agent.
    #[must_use]
    pub fn user_agent(&self) -> Option<HeaderValue<'a>> {
        self.value("user-agent")
    }

    /// Authorization.
    #[must_use]
    pub fn authorization(&self) -> Option<HeaderValue<'a>> {
        self.value("authorization")
    }

    /// Every Cookie line.
    pub fn cookies(&self) -> impl Iterator<Item = HeaderValue<'a>> + use<'_, 'a> {
        self.values("cookie")
    }

    /// Sec-WebSocket-Key.
    #[must_use]
    pub fn key(&self) -> Option<HeaderValue<'a>> {
        self.value("sec-websocket-key")
    }

    /// The sub-protocols offered, over all lines, in the client's order of preference; what is no token is
    /// left out.
    pub fn protocols(&self) -> impl Iterator<Item = &'a str> + use<'_, 'a> {
        self.list("sec-websocket-protocol").filter(|name| name.bytes().all(is_token))
    }

    pub(super) fn upgrades_to_websocket(&self) -> bool {
        self.list("upgrade").any(|token| token.eq_ignore_ascii_case("websocket"))
    }

    /// A body would be read as frames: by the next hop as part of this request, by us as the client's first
    /// words.
    pub(super) fn has_body(&self) -> bool {
        self.values("transfer-encoding").next().is_some()
            || self.values("content-length").any(|length| length.as_bytes() != b"0")
    }
}

/// RFC 9110 §5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
