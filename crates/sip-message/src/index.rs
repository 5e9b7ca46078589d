//! The one pass over the header section that everything else rests on.

use memchr::memchr2;
use smallvec::SmallVec;

use crate::header::names;
use crate::syntax::{is_lws, is_token, trim_end};
use crate::words::{self, below, equal};
use crate::{HeaderId, Leniencies, Leniency, Limits, NumberError, ParseError, syntax};

/// Where one header field lies. Offsets are from the start line's first byte.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeaderSpan {
    pub(crate) start: u32,
    pub(crate) value_start: u32,
    pub(crate) value_end: u32,
    pub(crate) end: u32,
    pub(crate) name_len: u16,
    pub(crate) id: HeaderId,
}

/// No header field of this id.
const ABSENT: u8 = u8::MAX;

/// The header fields in order, and for each known name the first of them.
#[derive(Debug, Clone)]
pub(crate) struct Index {
    pub(crate) spans: SmallVec<[HeaderSpan; 32]>,
    first: [u8; HeaderId::COUNT],
    /// One bit for each id that stands more than once.
    repeated: u128,
}

const _: () = assert!(HeaderId::COUNT <= 128, "one bit for each id");

impl Index {
    #[inline]
    pub(crate) fn new() -> Index {
        Index { spans: SmallVec::new(), first: [ABSENT; HeaderId::COUNT], repeated: 0 }
    }

    #[inline]
    pub(crate) fn push(&mut self, span: HeaderSpan) {
        let first = &mut self.first[span.id as usize];
        if *first == ABSENT {
            // Limits::headers keeps the number of fields at or below 255, so the last position is 254.
            *first = self.spans.len() as u8;
        } else {
            self.repeated |= 1 << span.id as u8;
        }
        self.spans.push(span);
    }

    /// The position of the first field of this id.
    #[inline]
    pub(crate) fn first(&self, id: HeaderId) -> Option<usize> {
        let first = self.first[id as usize];
        (first != ABSENT).then_some(first as usize)
    }

    /// Whether more than one field of this id is there.
    #[inline]
    pub(crate) fn is_repeated(&self, id: HeaderId) -> bool {
        self.repeated & (1 << id as u8) != 0
    }

    /// A stretch of the fields that holds all of this id, the first of them in front.
    #[inline]
    pub(crate) fn all(&self, id: HeaderId) -> &[HeaderSpan] {
        match self.first(id) {
            None => &[],
            Some(first) if !self.is_repeated(id) => &self.spans[first..=first],
            Some(first) => &self.spans[first..],
        }
    }

    /// Reads header fields from `at` up to the empty line and returns the offset behind it.
    pub(crate) fn read(&mut self, bytes: &[u8], at: usize, limits: &Limits) -> Result<usize, ParseError> {
        let mut line = at;
        loop {
            // Not from the colon on, though that is less to look at: so the next line need not wait for this
            // one's name.
            let end = line_end(bytes, line)?;
            if end == line {
                return Ok(end + 2);
            }
            if end + 2 > limits.header_section as usize {
                return Err(ParseError::HeaderSectionTooLong);
            }
            match bytes[line..].first_chunk().and_then(names::leading) {
                Some((id, name_len)) => {
                    self.check_room(limits)?;
                    self.push(field(&bytes[..end], line, id, name_len, line + name_len + 1));
                }
                None => self.read_unusual(&bytes[..end], line, limits)?,
            }
            line = end + 2;
        }
    }

    /// A line that does not begin with a known name and a colon; its CRLF is behind the last of `bytes`.
    #[inline(never)]
    fn read_unusual(&mut self, bytes: &[u8], line: usize, limits: &Limits) -> Result<(), ParseError> {
        if matches!(bytes[line], b' ' | b'\t') {
            return self.continue_last(bytes, line);
        }
        self.check_room(limits)?;
        self.push(header_span(bytes, line).ok_or(ParseError::NotAHeader(line as u32))?);
        Ok(())
    }

    #[inline]
    fn check_room(&self, limits: &Limits) -> Result<(), ParseError> {
        if self.spans.len() < usize::from(limits.headers) { Ok(()) } else { Err(ParseError::TooManyHeaders) }
    }

    fn continue_last(&mut self, bytes: &[u8], line: usize) -> Result<(), ParseError> {
        let last = self.spans.last_mut().ok_or(ParseError::NothingToContinue(line as u32))?;
        last.end = bytes.len() as u32 + 2;
        // Only the new line is looked at: a value of many lines must not be trimmed anew for each of them.
        let text = trim_end(&bytes[line..]);
        let Some(blank) = text.iter().position(|&byte| !is_lws(byte)) else { return Ok(()) };
        if last.value_start == last.value_end {
            last.value_start = (line + blank) as u32;
        }
        last.value_end = (line + text.len()) as u32;
        Ok(())
    }

    /// The one Content-Length that all fields of that name agree on.
    pub(crate) fn content_length(
        &self,
        bytes: &[u8],
        seen: &mut Leniencies,
    ) -> Result<Option<u32>, ParseError> {
        let mut length = None;
        for span in self.all(HeaderId::ContentLength).iter().filter(|span| span.id == HeaderId::ContentLength)
        {
            let value = &bytes[span.value_start as usize..span.value_end as usize];
            let number = syntax::decimal(value).map_err(|error| match (error, value.split_first()) {
                (NumberError::TooLarge, _) => ParseError::ContentLengthTooLarge,
                (NumberError::NotANumber, Some((b'-', digits))) if digits.iter().all(u8::is_ascii_digit) => {
                    ParseError::ContentLengthNegative
                }
                (NumberError::NotANumber, _) => ParseError::ContentLengthNotANumber,
            })?;
            match length {
                None => length = Some(number),
                Some(earlier) if earlier == number => seen.insert(Leniency::RepeatedContentLength),
                Some(_) => return Err(ParseError::ContentLengthContradicting),
            }
        }
        Ok(length)
    }
}

/// Where the line that `from` is in ends: the offset of its CRLF.
#[inline(always)]
pub(crate) fn line_end(bytes: &[u8], from: usize) -> Result<usize, ParseError> {
    // Most lines are short and hold no control character before their end.
    if let Some(near) = bytes[from..].first_chunk::<64>()
        && let Some(at) = words::find(near, |word| below(word, b'\r' + 1))
        && let Some(b"\r\n") = near.get(at..at + 2)
    {
        return Ok(from + at);
    }
    any_line_end(bytes, from)
}

#[inline(never)]
fn any_line_end(bytes: &[u8], from: usize) -> Result<usize, ParseError> {
    let at = from + memchr2(b'\r', b'\n', &bytes[from..]).ok_or(ParseError::Unterminated)?;
    match (bytes[at], bytes.get(at + 1)) {
        (b'\r', Some(b'\n')) => Ok(at),
        (b'\r', None) => Err(ParseError::Unterminated),
        (b'\r', Some(_)) => Err(ParseError::BareCr(at as u32)),
        _ => Err(ParseError::BareLf(at as u32)),
    }
}

/// The header field on the line that begins at `start` and whose CRLF is behind the last of `bytes`.
pub(crate) fn header_span(bytes: &[u8], start: usize) -> Option<HeaderSpan> {
    let line = bytes.get(start..)?;
    let colon = words::find(line, |word| equal(word, b':'))?;
    let name = trim_blank_end(&line[..colon]);
    let id = HeaderId::from_name(name);
    // A known name is a token; only the others need a look at every byte.
    if name.len() > usize::from(u16::MAX) || (id == HeaderId::Other && !is_token(name)) {
        return None;
    }
    Some(field(bytes, start, id, name.len(), start + colon + 1))
}

/// A field whose value begins at `value_start`, white space around it included.
#[inline]
fn field(bytes: &[u8], start: usize, id: HeaderId, name_len: usize, mut value_start: usize) -> HeaderSpan {
    while let Some(b' ' | b'\t') = bytes.get(value_start) {
        value_start += 1;
    }
    let mut value_end = bytes.len();
    while let Some(b' ' | b'\t') = bytes.get(value_start..value_end).and_then(<[u8]>::last) {
        value_end -= 1;
    }
    HeaderSpan {
        start: start as u32,
        value_start: value_start as u32,
        value_end: value_end as u32,
        end: bytes.len() as u32 + 2,
        name_len: name_len as u16,
        id,
    }
}

#[inline]
fn trim_blank_end(mut text: &[u8]) -> &[u8] {
    while let [before @ .., b' ' | b'\t'] = text {
        text = before;
    }
    text
}
