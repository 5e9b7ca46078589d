//! The one pass over the header section that everything else rests on.

use memchr::memchr2;
use smallvec::SmallVec;

use crate::syntax::{is_lws, token_len, trim_end};
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
}

impl Index {
    #[inline]
    pub(crate) fn new() -> Index {
        Index { spans: SmallVec::new(), first: [ABSENT; HeaderId::COUNT] }
    }

    #[inline]
    pub(crate) fn push(&mut self, span: HeaderSpan) {
        let first = &mut self.first[span.id as usize];
        if *first == ABSENT {
            // Limits::headers keeps the number of fields at or below 255, so the last position is 254.
            *first = self.spans.len() as u8;
        }
        self.spans.push(span);
    }

    /// The position of the first field of this id.
    #[inline]
    pub(crate) fn first(&self, id: HeaderId) -> Option<usize> {
        let first = self.first[id as usize];
        (first != ABSENT).then_some(first as usize)
    }

    /// Reads header fields from `at` up to the empty line and returns the offset behind it.
    pub(crate) fn read(&mut self, bytes: &[u8], at: usize, limits: &Limits) -> Result<usize, ParseError> {
        let mut line = at;
        loop {
            let end = line_end(bytes, line)?;
            if end == line {
                return Ok(end + 2);
            }
            if end + 2 > limits.header_section as usize {
                return Err(ParseError::HeaderSectionTooLong);
            }
            if matches!(bytes[line], b' ' | b'\t') {
                self.continue_last(bytes, line, end)?;
            } else {
                if self.spans.len() >= usize::from(limits.headers) {
                    return Err(ParseError::TooManyHeaders);
                }
                self.push(header_span(bytes, line, end).ok_or(ParseError::NotAHeader(line as u32))?);
            }
            line = end + 2;
        }
    }

    fn continue_last(&mut self, bytes: &[u8], line: usize, end: usize) -> Result<(), ParseError> {
        let last = self.spans.last_mut().ok_or(ParseError::NothingToContinue(line as u32))?;
        last.end = end as u32 + 2;
        last.value_end =
            (last.value_start as usize + trim_end(&bytes[last.value_start as usize..end]).len()) as u32;
        while last.value_start < last.value_end && is_lws(bytes[last.value_start as usize]) {
            last.value_start += 1;
        }
        Ok(())
    }

    /// The one Content-Length that all fields of that name agree on.
    pub(crate) fn content_length(
        &self,
        bytes: &[u8],
        seen: &mut Leniencies,
    ) -> Result<Option<u32>, ParseError> {
        let Some(first) = self.first(HeaderId::ContentLength) else { return Ok(None) };
        let mut length = None;
        for span in self.spans[first..].iter().filter(|span| span.id == HeaderId::ContentLength) {
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

/// Where the line that starts at `from` ends: the offset of its CRLF.
#[inline]
pub(crate) fn line_end(bytes: &[u8], from: usize) -> Result<usize, ParseError> {
    let at = from + memchr2(b'\r', b'\n', &bytes[from..]).ok_or(ParseError::Unterminated)?;
    match (bytes[at], bytes.get(at + 1)) {
        (b'\r', Some(b'\n')) => Ok(at),
        (b'\r', None) => Err(ParseError::Unterminated),
        (b'\r', Some(_)) => Err(ParseError::BareCr(at as u32)),
        _ => Err(ParseError::BareLf(at as u32)),
    }
}

/// The header field on the line `start..end` (its CRLF not included).
#[inline]
pub(crate) fn header_span(bytes: &[u8], start: usize, end: usize) -> Option<HeaderSpan> {
    let line = &bytes[start..end];
    let name_len = token_len(line);
    let mut at = name_len;
    while matches!(line.get(at), Some(b' ' | b'\t')) {
        at += 1;
    }
    if name_len == 0 || line.get(at) != Some(&b':') {
        return None;
    }
    at += 1;
    while matches!(line.get(at), Some(b' ' | b'\t')) {
        at += 1;
    }
    let mut value_end = line.len();
    while value_end > at && matches!(line[value_end - 1], b' ' | b'\t') {
        value_end -= 1;
    }
    Some(HeaderSpan {
        start: start as u32,
        value_start: (start + at) as u32,
        value_end: (start + value_end) as u32,
        end: end as u32 + 2,
        name_len: u16::try_from(name_len).ok()?,
        id: HeaderId::from_name(&line[..name_len]),
    })
}
