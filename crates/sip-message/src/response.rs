//! Responses to a request (RFC 3261 §8.2.6).

use std::net::IpAddr;

use smallvec::SmallVec;

use crate::rewrite::{push_line, push_number};
use crate::syntax::is_token;
use crate::{EditError, HeaderId, Message, Rewrite};

#[cfg(test)]
mod tests;

/// The source address and port that a response's topmost Via is stamped with.
#[derive(Debug, Clone, Copy)]
struct Stamp {
    received: IpAddr,
    rport: Option<u16>,
}

#[derive(Debug, Clone, Copy)]
struct Body<'m> {
    content_type: &'m [u8],
    bytes: &'m [u8],
}

/// Builds a response to a request. A [salvaged](Message::salvage) request will do: what it lacks is left out.
#[derive(Debug, Clone)]
pub struct ResponseBuilder<'m> {
    request: &'m Message<'m>,
    status: u16,
    reason: &'m [u8],
    to_tag: Option<&'m [u8]>,
    stamp: Option<Stamp>,
    headers: SmallVec<[(&'m [u8], &'m [u8]); 6]>,
    body: Option<Body<'m>>,
}

impl<'m> ResponseBuilder<'m> {
    /// A response with this status (100 to 699) and reason phrase.
    pub fn new(request: &'m Message<'m>, status: u16, reason: &'m str) -> ResponseBuilder<'m> {
        ResponseBuilder {
            request,
            status,
            reason: reason.as_bytes(),
            to_tag: None,
            stamp: None,
            headers: SmallVec::new(),
            body: None,
        }
    }

    /// The tag for To, used unless the request's To has one or the status is 100.
    #[must_use]
    pub fn to_tag(mut self, tag: &'m [u8]) -> Self {
        self.to_tag = Some(tag);
        self
    }

    /// Sets `received`, and `rport` if a port is given, on the topmost Via, as [`Rewrite::stamp_via`] does.
    #[must_use]
    pub fn stamp_via(mut self, received: IpAddr, rport: Option<u16>) -> Self {
        self.stamp = Some(Stamp { received, rport });
        self
    }

    /// Adds a header field.
    #[must_use]
    pub fn header(mut self, name: &'m [u8], value: &'m [u8]) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Adds a body with its Content-Type.
    #[must_use]
    pub fn body(mut self, content_type: &'m [u8], bytes: &'m [u8]) -> Self {
        self.body = Some(Body { content_type, bytes });
        self
    }

    /// Appends the response to `out` and returns how many bytes that took. On an error `out` is as it was.
    ///
    /// Copied are every Via in order, From, To, Call-ID, CSeq, Timestamp into a 100, and Record-Route into a
    /// response that may set up a dialog (101 to 299, RFC 3261 §12.1.1) to any request but REGISTER.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<usize, EditError> {
        self.check()?;
        let before = out.len();
        out.reserve(512 + self.body.map_or(0, |body| body.bytes.len()));
        out.extend_from_slice(b"SIP/2.0 ");
        push_number(out, u32::from(self.status));
        out.push(b' ');
        out.extend_from_slice(self.reason);
        out.extend_from_slice(b"\r\n");
        self.push_vias(out);
        for id in [HeaderId::From, HeaderId::To, HeaderId::CallId, HeaderId::CSeq] {
            let Some(value) = self.request.value(id) else { continue };
            if id == HeaderId::To {
                self.push_to(out, value);
            } else {
                push_line(out, id.name(), value);
            }
        }
        if self.status == 100 {
            self.copy(out, HeaderId::Timestamp);
        } else if self.status < 300 && self.request.method() != Some(crate::Method::Register) {
            self.copy(out, HeaderId::RecordRoute);
        }
        for (name, value) in &self.headers {
            push_line(out, name, value);
        }
        let body = self.body.map_or(&b""[..], |body| body.bytes);
        if let Some(body) = self.body {
            push_line(out, HeaderId::ContentType.name(), body.content_type);
        }
        out.extend_from_slice(b"Content-Length: ");
        push_number(out, body.len() as u32);
        out.extend_from_slice(b"\r\n\r\n");
        out.extend_from_slice(body);
        Ok(out.len() - before)
    }

    fn check(&self) -> Result<(), EditError> {
        if !self.request.is_request() {
            return Err(EditError::WrongKind);
        }
        if !(100..700).contains(&self.status) {
            return Err(EditError::Status);
        }
        if self.request.first(HeaderId::Via).is_none() {
            return Err(EditError::NoVia);
        }
        if self.headers.iter().any(|(name, _)| !is_token(name)) {
            return Err(EditError::HeaderName);
        }
        let texts =
            [self.reason, self.to_tag.unwrap_or_default(), self.body.map_or(b"", |body| body.content_type)];
        let values = self.headers.iter().map(|&(_, value)| value);
        if texts.into_iter().chain(values).any(|text| memchr::memchr2(b'\r', b'\n', text).is_some()) {
            return Err(EditError::LineEnd);
        }
        Ok(())
    }

    fn copy(&self, out: &mut Vec<u8>, id: HeaderId) {
        for header in self.request.all(id) {
            push_line(out, id.name(), header.value);
        }
    }

    fn push_vias(&self, out: &mut Vec<u8>) {
        let vias = self.request.all(HeaderId::Via);
        let Some(stamp) = self.stamp else {
            return vias.for_each(|via| push_line(out, HeaderId::Via.name(), via.value));
        };
        // The topmost value need not be in the first header field: that may be empty.
        let stamped = Rewrite::stamp_value(self.request, stamp.received, stamp.rport);
        for via in vias {
            out.extend_from_slice(b"Via: ");
            stamped.write_part(via.value, out);
            out.extend_from_slice(b"\r\n");
        }
    }

    fn push_to(&self, out: &mut Vec<u8>, value: &[u8]) {
        out.extend_from_slice(b"To: ");
        out.extend_from_slice(value);
        let has_tag = self.request.to().is_ok_and(|to| to.tag().is_some());
        if let (Some(tag), false, true) = (self.to_tag, has_tag, self.status != 100) {
            out.extend_from_slice(b";tag=");
            out.extend_from_slice(tag);
        }
        out.extend_from_slice(b"\r\n");
    }
}
