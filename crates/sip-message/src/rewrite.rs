//! Edits of a message, collected first and spliced in while it is written once.

mod edits;
mod piece;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use smallvec::SmallVec;

use crate::syntax::{has_space_or_control, is_token};
use crate::words::{below, none};
use crate::{EditError, Header, HeaderId, Leniency, Message, Params, Span, StartLine, Value};
use edits::Edits;
use piece::Piece;
pub(crate) use piece::{push_line, push_number};

/// A list of edits over a [`Message`], applied by [`Rewrite::write`]. Everything else leaves as it came.
///
/// Methods never fail: the first wrong argument (a line end in a value, a malformed name) is remembered, and
/// `write` refuses then. So no argument can end its line and smuggle in a header field. Of two edits of the
/// same place the later counts. Up to 12 edits need no allocation.
#[derive(Debug, Clone)]
pub struct Rewrite<'m> {
    message: &'m Message<'m>,
    edits: Edits<'m>,
    /// Values removed one by one.
    removed: SmallVec<[Span; 4]>,
    fault: Option<EditError>,
}

impl<'m> Rewrite<'m> {
    /// No edits yet.
    #[inline]
    pub fn new(message: &'m Message<'m>) -> Rewrite<'m> {
        let mut rewrite = Rewrite {
            message,
            edits: Edits::new(),
            removed: SmallVec::new(),
            fault: message.damage.map(|_| EditError::Damaged),
        };
        if message.leniencies.contains(Leniency::StartLineSpace) {
            rewrite.tidy_start_line();
        }
        rewrite
    }

    /// Puts another Request-URI into a request.
    pub fn set_request_uri(&mut self, uri: &'m [u8]) {
        match self.message.request_uri_bytes().map(|old| self.message.span_of(old)) {
            Some(Ok(span)) if !uri.is_empty() && !has_space_or_control(uri) => {
                self.edits.replace(span, Piece::Bytes(uri));
            }
            _ => self.fail(EditError::RequestUri),
        }
    }

    /// Puts a Via in front of all others.
    pub fn push_via(&mut self, value: &'m [u8]) {
        self.push_front(HeaderId::Via, value);
    }

    /// Puts a Route in front of all others.
    pub fn push_route(&mut self, value: &'m [u8]) {
        self.push_front(HeaderId::Route, value);
    }

    /// Puts a Record-Route in front of all others.
    pub fn push_record_route(&mut self, value: &'m [u8]) {
        self.push_front(HeaderId::RecordRoute, value);
    }

    /// Puts a Path (RFC 3327) in front of all others.
    pub fn push_path(&mut self, value: &'m [u8]) {
        self.push_front(HeaderId::Path, value);
    }

    /// Puts a header field of this id in front of the first of its kind, or, where there is none, behind the
    /// topmost Via.
    pub fn push_front(&mut self, id: HeaderId, value: &'m [u8]) {
        self.guard(value);
        if id == HeaderId::Other {
            return self.fail(EditError::HeaderName);
        }
        let at = match (self.message.first(id), self.message.first(HeaderId::Via)) {
            (Some(header), _) => header.span.start,
            (None, Some(via)) => via.span.end,
            (None, None) => self.first_header_at(),
        };
        self.edits.insert_front(at, Piece::Line(id.name(), value));
    }

    /// Sets `received`, and `rport` if a port is given, on the topmost Via (RFC 3261 §18.2.1, RFC 3581 §4).
    /// What the sender wrote there itself is overwritten. Does nothing to a message without Via.
    pub fn stamp_via(&mut self, received: IpAddr, rport: Option<u16>) {
        let Some(value) = self.message.values(HeaderId::Via).next() else { return };
        // Neither sent-protocol nor sent-by can hold a semicolon.
        let params_at = memchr::memchr(b';', value.bytes).unwrap_or(value.bytes.len());
        let mut received = Some(Piece::Received(received));
        let mut rport = rport.map(Piece::Rport);
        let sets_rport = rport.is_some();
        for param in Params::new(&value.bytes[params_at..]).iter() {
            let piece = if param.name.eq_ignore_ascii_case(b"received") {
                received.take()
            } else if sets_rport && param.name.eq_ignore_ascii_case(b"rport") {
                rport.take()
            } else {
                continue;
            };
            if let Ok(span) = self.message.span_of(param.bytes) {
                match piece {
                    Some(piece) => self.edits.replace(span, piece),
                    // A second one: it goes, its semicolon with it.
                    None => self.edits.replace(self.with_semicolon(span), Piece::Nothing),
                }
            }
        }
        if let Ok(span) = self.message.span_of(value.bytes) {
            // Neither stands there yet: each comes with a semicolon of its own.
            if let Some(Piece::Received(address)) = received {
                self.edits.insert(span.end, Piece::NewReceived(address));
            }
            if let Some(Piece::Rport(port)) = rport {
                self.edits.insert(span.end, Piece::NewRport(port));
            }
        }
    }

    /// Removes the topmost Via value that is still there, and its header field with the last value in it.
    pub fn pop_via(&mut self) {
        self.pop(HeaderId::Via);
    }

    /// Removes the first Route value that is still there, and its header field with the last value in it.
    pub fn pop_route(&mut self) {
        self.pop(HeaderId::Route);
    }

    /// Removes the first value of this id that is still there.
    pub fn pop(&mut self, id: HeaderId) {
        let message = self.message;
        let next = message
            .values(id)
            .find(|value| message.span_of(value.bytes).is_ok_and(|span| !self.removed.contains(&span)));
        if let Some(value) = next {
            self.remove_value(&value);
        }
    }

    /// Removes one value of a header field, and the header field with the last value in it.
    pub fn remove_value(&mut self, value: &Value<'m>) {
        let message = self.message;
        let Ok(span) = message.span_of(value.bytes) else { return self.fail(EditError::Span) };
        let spans = &message.index.spans;
        let header = match spans.binary_search_by_key(&value.header.start, |span| span.start) {
            Ok(at) if spans[at].end == value.header.end => message.header(&spans[at]),
            _ => return self.fail(EditError::Span),
        };
        self.removed.push(span);
        if header.value.len() == value.bytes.len() {
            return self.edits.replace(header.span, Piece::Nothing);
        }
        self.edits.retain(|edit| !edit.lies_in(header.span) || !matches!(edit.piece, Piece::Cut));
        self.cut_removed(header);
    }

    /// Removes all header fields of this id. Not for [`HeaderId::Other`]; see
    /// [`remove_header`](Rewrite::remove_header).
    pub fn remove(&mut self, id: HeaderId) {
        if id == HeaderId::Other {
            return self.fail(EditError::HeaderName);
        }
        let message = self.message;
        for header in message.all(id) {
            self.edits.replace(header.span, Piece::Nothing);
        }
    }

    /// Removes one header field.
    pub fn remove_header(&mut self, header: &Header<'m>) {
        self.replace(header.span, b"");
    }

    /// Gives the first header field of this id this value and removes the others; appends one if there is
    /// none.
    pub fn set(&mut self, id: HeaderId, value: &'m [u8]) {
        self.guard(value);
        if id == HeaderId::Other {
            return self.fail(EditError::HeaderName);
        }
        self.set_piece(id, Piece::Bytes(value), Piece::Line(id.name(), value));
    }

    /// Puts a header field behind all others.
    pub fn append(&mut self, name: &'m [u8], value: &'m [u8]) {
        self.guard(value);
        if !is_token(name) {
            return self.fail(EditError::HeaderName);
        }
        self.edits.insert(self.message.body - 2, Piece::Line(name, value));
    }

    /// Sets Max-Forwards, appending the header field if it is absent. RFC 3261 §16.6 step 3 asks for the
    /// received number less one, or 70 where there was none.
    pub fn set_max_forwards(&mut self, hops: u8) {
        let hops = u32::from(hops);
        self.set_piece(HeaderId::MaxForwards, Piece::Number(hops), Piece::NumberLine(b"Max-Forwards", hops));
    }

    /// Appends a Content-Length that fits the body, if there is none: a stream needs it (RFC 3261 §18.3).
    pub fn ensure_content_length(&mut self) {
        if self.message.first(HeaderId::ContentLength).is_none() {
            let length = self.message.body().len() as u32;
            self.edits.insert(self.message.body - 2, Piece::NumberLine(b"Content-Length", length));
        }
    }

    /// Puts other bytes in place of a stretch of the header section, see [`Message::span_of`]. What it means
    /// is the caller's; line ends are refused all the same.
    pub fn replace(&mut self, span: Span, bytes: &'m [u8]) {
        self.guard(bytes);
        if span.start > span.end || span.end > self.message.body {
            return self.fail(EditError::Span);
        }
        self.edits.replace(span, if bytes.is_empty() { Piece::Nothing } else { Piece::Bytes(bytes) });
    }

    /// Appends the edited message to `out` and returns how many bytes that took. On an error `out` is as it
    /// was.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<usize, EditError> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let bytes = self.message.bytes;
        let before = out.len();
        out.reserve(bytes.len() + self.edits.room());
        self.splice(Span { start: 0, end: bytes.len() as u32 }, out);
        Ok(out.len() - before)
    }

    /// Only the stamp on the topmost Via, for a response to `message`.
    pub(crate) fn stamp_value(message: &'m Message<'m>, received: IpAddr, rport: Option<u16>) -> Rewrite<'m> {
        let mut rewrite = Rewrite { message, edits: Edits::new(), removed: SmallVec::new(), fault: None };
        rewrite.stamp_via(received, rport);
        rewrite
    }

    /// Appends one part of the message, with the edits that lie within it.
    pub(crate) fn write_part(&self, part: &[u8], out: &mut Vec<u8>) {
        match self.message.span_of(part) {
            Ok(span) => self.splice(span, out),
            Err(_) => out.extend_from_slice(part),
        }
    }

    fn splice(&self, span: Span, out: &mut Vec<u8>) {
        let bytes = self.message.bytes;
        let mut done = span.start as usize;
        self.edits.for_each_in_order(|edit| {
            if edit.start() < span.start || edit.end() > span.end {
                return;
            }
            let (start, end) = (edit.start() as usize, edit.end() as usize);
            if start > done {
                out.extend_from_slice(&bytes[done..start]);
            }
            // What starts inside a stretch that is gone is gone with it.
            if start >= done {
                edit.piece.write(out);
            }
            done = done.max(end);
        });
        out.extend_from_slice(&bytes[done..span.end as usize]);
    }

    /// Cuts every removed value out of a header field of several, commas with them.
    fn cut_removed(&mut self, header: Header<'m>) {
        let message = self.message;
        let spans: SmallVec<[Span; 8]> = message
            .values(header.id)
            .filter(|value| value.header == header.span)
            .filter_map(|value| message.span_of(value.bytes).ok())
            .collect();
        let mut kept_end = None;
        let mut run: Option<Span> = None;
        for span in &spans {
            if self.removed.contains(span) {
                let start = run.map_or(kept_end.unwrap_or(span.start), |run| run.start);
                run = Some(Span { start, end: span.end });
                continue;
            }
            if let Some(run) = run.take() {
                // Removed at the front: up to the next value. Between two: the comma behind it stays.
                let end = if kept_end.is_none() { span.start } else { run.end };
                self.edits.replace(Span { end, ..run }, Piece::Cut);
            }
            kept_end = Some(span.end);
        }
        match (run, kept_end) {
            (Some(_), None) => self.edits.replace(header.span, Piece::Nothing),
            (Some(run), Some(_)) => self.edits.replace(run, Piece::Cut),
            (None, _) => {}
        }
    }

    fn set_piece(&mut self, id: HeaderId, in_place: Piece<'m>, line: Piece<'m>) {
        let message = self.message;
        let mut headers = message.all(id);
        let Some(first) = headers.next() else {
            let at = message.body - 2;
            self.edits.retain(|edit| edit.start() != at || edit.piece.line_name() != Some(id.name()));
            return self.edits.insert(at, line);
        };
        self.edits.clear(first.span);
        match message.span_of(first.value) {
            Ok(span) if span.start < span.end => self.edits.replace(span, in_place),
            _ => self.edits.replace(first.span, line),
        }
        for header in headers {
            self.edits.replace(header.span, Piece::Nothing);
        }
    }

    /// A parameter and the semicolon (with white space) before it.
    fn with_semicolon(&self, param: Span) -> Span {
        let before = &self.message.bytes[..param.start as usize];
        Span { start: memchr::memrchr(b';', before).unwrap_or(before.len()) as u32, end: param.end }
    }

    fn first_header_at(&self) -> u32 {
        self.message.index.spans.first().map_or(self.message.body - 2, |span| span.start)
    }

    /// RFC 4475 §3.1.2.9: what is forwarded must not have the surplus spaces.
    fn tidy_start_line(&mut self) {
        let message = self.message;
        let StartLine::Request { method, uri, version } = message.start_line else { return };
        let method_end = method.as_bytes().len() as u32;
        let (Ok(uri), Ok(version)) = (message.span_of(uri), message.span_of(version)) else { return };
        let line_end = memchr::memchr(b'\r', message.bytes).map_or(version.end, |at| at as u32);
        self.edits.replace(Span { start: method_end, end: uri.start }, Piece::Bytes(b" "));
        self.edits.replace(Span { start: uri.end, end: version.start }, Piece::Bytes(b" "));
        if version.end < line_end {
            self.edits.replace(Span { start: version.end, end: line_end }, Piece::Nothing);
        }
    }

    #[inline]
    fn guard(&mut self, text: &[u8]) {
        if !none(text, |word| below(word, b'\r' + 1)) && memchr::memchr2(b'\r', b'\n', text).is_some() {
            self.fail(EditError::LineEnd);
        }
    }

    fn fail(&mut self, fault: EditError) {
        self.fault.get_or_insert(fault);
    }
}
