//! The one pass over the header section that everything else rests on.

use memchr::memchr2;
use smallvec::SmallVec;

use crate::syntax::{is_lws, is_token, trim_end};
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

    /// A stretch of the fields that holds all of this id, the first of them in front.
    #[inline]
    pub(crate) fn all(&self, id: HeaderId) -> &[HeaderSpan] {
        match self.first(id) {
            None => &[],
            Some(first) if self.repeated & (1 << id as u8) == 0 => &self.spans[first..=first],
            Some(first) => &self.spans[first..],
        }
    }

    /// Reads header fields from `at` up to the empty line and returns the offset behind it.
    pub(crate) fn read(&mut self, bytes: &[u8], at: usize, limits: &Limits) -> Result<usize, ParseError> {
        let max_headers = usize::from(limits.headers);
        let mut line = at;
        loop {
            let end = line_end(bytes, line)?;
            let text = &bytes[line..end];
            let Some(&first) = text.first() else { return Ok(end + 2) };
            if end + 2 > limits.header_section as usize {
                return Err(ParseError::HeaderSectionTooLong);
            }
            if matches!(first, b' ' | b'\t') {
                self.continue_last(bytes, line, end)?;
            } else {
                if self.spans.len() >= max_headers {
                    return Err(ParseError::TooManyHeaders);
                }
                self.push(header_span(text, line).ok_or(ParseError::NotAHeader(line as u32))?);
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

/// The header field on one line, which begins at `start` and is given without its CRLF.
#[inline]
pub(crate) fn header_span(line: &[u8], start: usize) -> Option<HeaderSpan> {
    let colon = find_colon(line)?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    let name = trim_blank_end(name);
    let id = HeaderId::from_name(name);
    // A known name is a token; only the others need a look at every byte.
    if id == HeaderId::Other && !is_token(name) {
        return None;
    }
    let mut blank = 0;
    while let Some(b' ' | b'\t') = value.get(blank) {
        blank += 1;
    }
    let value_start = start + colon + 1 + blank;
    let value_len = trim_blank_end(&value[blank..]).len();
    Some(HeaderSpan {
        start: start as u32,
        value_start: value_start as u32,
        value_end: (value_start + value_len) as u32,
        end: (start + line.len()) as u32 + 2,
        name_len: u16::try_from(name.len()).ok()?,
        id,
    })
}

/// The first colon. Names are short: eight bytes at a time by hand beat the set-up of a wider search.
#[inline]
fn find_colon(line: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const COLONS: u64 = u64::from_ne_bytes([b':'; 8]);
    let (words, tail) = line.as_chunks::<8>();
    for (nth, word) in words.iter().enumerate() {
        // A colon becomes zero; the lowest zero byte is the first to borrow into its high bit.
        let word = u64::from_le_bytes(*word) ^ COLONS;
        let zeros = word.wrapping_sub(ONES) & !word & (ONES << 7);
        if zeros != 0 {
            return Some(nth * 8 + zeros.trailing_zeros() as usize / 8);
        }
    }
    tail.iter().position(|&byte| byte == b':').map(|at| words.len() * 8 + at)
}

#[inline]
fn trim_blank_end(mut text: &[u8]) -> &[u8] {
    while let [before @ .., b' ' | b'\t'] = text {
        text = before;
    }
    text
}
