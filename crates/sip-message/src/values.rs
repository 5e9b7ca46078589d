//! Splitting comma separated header fields into their values (RFC 3261 §7.3.1).

use crate::syntax::{quoted_len, trim, trim_start};
use crate::words::{equal, none};
use crate::{Headers, Span};

/// One value of a header field that may hold several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value<'b> {
    /// The value without white space around it.
    pub bytes: &'b [u8],
    /// The whole header field that it stands in.
    pub header: Span,
}

/// The values of all header fields of one name, in order. Empty ones are passed over.
#[derive(Debug, Clone)]
pub struct Values<'m, 'b> {
    headers: Headers<'m, 'b>,
    header: Span,
    rest: &'b [u8],
}

impl<'m, 'b> Values<'m, 'b> {
    #[inline]
    pub(crate) fn new(headers: Headers<'m, 'b>) -> Values<'m, 'b> {
        Values { headers, header: Span { start: 0, end: 0 }, rest: b"" }
    }
}

impl<'b> Iterator for Values<'_, 'b> {
    type Item = Value<'b>;

    #[inline]
    fn next(&mut self) -> Option<Value<'b>> {
        loop {
            if self.rest.is_empty() {
                let header = self.headers.next()?;
                self.header = header.span;
                self.rest = header.value;
            }
            let (value, rest) = split_first(self.rest);
            self.rest = rest;
            if !value.is_empty() {
                return Some(Value { bytes: value, header: self.header });
            }
        }
    }
}

/// The first value of a list and what comes after its comma. A quote or bracket that never closes takes all
/// the rest.
#[inline]
pub(crate) fn split_first(list: &[u8]) -> (&[u8], &[u8]) {
    if none(list, |word| equal(word, b',')) {
        return (trim(list), b"");
    }
    let mut at = 0;
    while let Some(found) = memchr::memchr3(b',', b'"', b'<', &list[at..]) {
        at += found;
        let skip = match list[at] {
            b',' => return (trim(&list[..at]), trim_start(&list[at + 1..])),
            b'"' => quoted_len(&list[at..]),
            _ => memchr::memchr(b'>', &list[at..]).map(|close| close + 1),
        };
        match skip {
            Some(len) => at += len,
            None => break,
        }
    }
    (trim(list), b"")
}

#[cfg(test)]
mod tests {
    use super::split_first;

    #[test]
    fn commas_in_quotes_and_brackets_do_not_split() {
        let mut list: &[u8] = b"\"a, \\\"b\" <sip:x,y@z>;p=\"1,2\" , <sip:q>\r\n ,sip:r,\"open, <sip:s>";
        let mut values = Vec::new();
        while !list.is_empty() {
            let (value, rest) = split_first(list);
            values.push(String::from_utf8_lossy(value).into_owned());
            list = rest;
        }
        assert_eq!(values, ["\"a, \\\"b\" <sip:x,y@z>;p=\"1,2\"", "<sip:q>", "sip:r", "\"open, <sip:s>"]);
    }
}
