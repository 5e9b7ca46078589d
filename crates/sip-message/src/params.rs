//! `;name=value` lists, as header fields and URIs have them.

use crate::syntax::{is_lws, is_token, quoted_len, token_len, trim};
use crate::words::{angle, below, equal, find};
use crate::{Leniencies, Leniency};

/// A list of parameters: empty, or bytes that begin with `;`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Params<'b> {
    bytes: &'b [u8],
}

/// One parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Param<'b> {
    /// The name as received; compare it without case.
    pub name: &'b [u8],
    /// The value as received, quotes included; nothing if there is no `=`.
    pub value: Option<&'b [u8]>,
    /// The whole parameter without its `;`.
    pub bytes: &'b [u8],
}

impl<'b> Param<'b> {
    /// The value without the quotes around it; escapes within are left as they are.
    pub fn unquoted(&self) -> Option<&'b [u8]> {
        match self.value? {
            [b'"', inner @ .., b'"'] => Some(inner),
            value => Some(value),
        }
    }
}

impl<'b> Params<'b> {
    /// `bytes` is empty or begins with `;`.
    #[inline]
    pub(crate) fn new(bytes: &'b [u8]) -> Params<'b> {
        Params { bytes }
    }

    /// The list as received.
    pub fn as_bytes(&self) -> &'b [u8] {
        self.bytes
    }

    /// The parameters in order; empty ones are passed over.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = Param<'b>> + use<'b> {
        self.raw().filter(|param| !param.bytes.is_empty())
    }

    /// The first parameter of this name.
    #[inline]
    pub fn get(&self, name: &[u8]) -> Option<Param<'b>> {
        self.iter().find(|param| param.name == name || param.name.eq_ignore_ascii_case(name))
    }

    /// The value of the first parameter of this name, if it has one, quotes included.
    #[inline]
    pub fn value(&self, name: &[u8]) -> Option<&'b [u8]> {
        self.get(name)?.value
    }

    /// Whether a parameter of this name is there, with a value or without.
    pub fn has(&self, name: &[u8]) -> bool {
        self.get(name).is_some()
    }

    /// Reads a list of tokens with or without an unquoted value, as nearly all lists are, and finds the value
    /// of the first parameter called `wanted`. Nothing for any other list.
    #[inline]
    fn read_plain(&self, wanted: &[u8]) -> Option<Option<&'b [u8]>> {
        let mut rest = self.bytes;
        let mut found = None;
        while let [b';', param @ ..] = rest {
            let name_len = token_len(param);
            let (name, after) = param.split_at(name_len);
            rest = after;
            let mut value = None;
            if let [b'=', after @ ..] = after {
                // Stops at `!` too, which would be allowed but is not worth a look of its own.
                let stops =
                    |word| below(word, b'"' + 1) | equal(word, b',') | equal(word, b';') | angle(word);
                let (text, after) = after.split_at(find(after, stops).unwrap_or(after.len()));
                rest = after;
                value = Some(text);
            }
            if name.is_empty() || value == Some(b"") {
                return None;
            }
            if found.is_none() && name.len() == wanted.len() && name.eq_ignore_ascii_case(wanted) {
                found = Some(value);
            }
        }
        rest.is_empty().then_some(found.flatten())
    }

    #[inline]
    fn raw(&self) -> RawParams<'b> {
        RawParams { rest: self.bytes }
    }

    /// Whether every parameter is a token with an optional value; empty ones are forgiven and named.
    ///
    /// With it comes the value of the first parameter called `wanted`, if it has one that is not empty.
    #[inline]
    pub(crate) fn check(&self, wanted: &[u8]) -> Option<(Leniencies, Option<&'b [u8]>)> {
        if let Some(found) = self.read_plain(wanted) {
            return Some((Leniencies::NONE, found));
        }
        let seen = self.check_each()?;
        Some((seen, self.value(wanted).filter(|value| !value.is_empty())))
    }

    #[inline(never)]
    fn check_each(&self) -> Option<Leniencies> {
        let mut seen = Leniencies::NONE;
        for param in self.raw() {
            if param.bytes.is_empty() {
                seen.insert(Leniency::EmptyParam);
            } else if param.value == Some(b"") {
                seen.insert(Leniency::EmptyValue);
            }
            if !param.bytes.is_empty() && !is_token(param.name) {
                return None;
            }
            let sound = match param.value {
                Some(value @ [b'"', ..]) => quoted_len(value) == Some(value.len()),
                Some(value) => {
                    !value.iter().any(|&byte| is_lws(byte) || matches!(byte, b'"' | b'<' | b'>' | b','))
                }
                None => true,
            };
            if !sound {
                return None;
            }
        }
        Some(seen)
    }
}

struct RawParams<'b> {
    rest: &'b [u8],
}

impl<'b> Iterator for RawParams<'b> {
    type Item = Param<'b>;

    #[inline]
    fn next(&mut self) -> Option<Param<'b>> {
        let (_, rest) = self.rest.split_first()?;
        let mut equals = None;
        let mut at = 0;
        let stops = |word| equal(word, b';') | equal(word, b'=') | equal(word, b'"');
        while let Some(stop) = find(&rest[at..], stops) {
            at += stop;
            match rest[at] {
                b'=' => {
                    equals.get_or_insert(at);
                    at += 1;
                }
                b'"' => at += quoted_len(&rest[at..]).unwrap_or(rest.len() - at),
                _ => break,
            }
        }
        if rest.get(at) != Some(&b';') {
            at = rest.len();
        }
        let bytes = &rest[..at];
        self.rest = &rest[at..];
        Some(match equals {
            Some(equals) => Param {
                name: trim(&bytes[..equals]),
                value: Some(trim(&bytes[equals + 1..])),
                bytes: trim(bytes),
            },
            None => Param { name: trim(bytes), value: None, bytes: trim(bytes) },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_white_space_and_missing_values() {
        let params = Params::new(b"; a = \"x;\\\"y\" ;LR;\r\n b=;;c=[::1]:5");
        let listed: Vec<_> = params.iter().map(|param| (param.name, param.value)).collect();
        assert_eq!(
            listed,
            [
                (&b"a"[..], Some(&b"\"x;\\\"y\""[..])),
                (b"LR", None),
                (b"b", Some(b"")),
                (b"c", Some(b"[::1]:5"))
            ]
        );
        assert_eq!(params.get(b"A").and_then(|param| param.unquoted()), Some(&b"x;\\\"y"[..]));
        assert!(params.has(b"lr") && !params.has(b"l"));
        assert!(
            params
                .check(b"c")
                .is_some_and(|(seen, c)| c == Some(b"[::1]:5") && seen.contains(Leniency::EmptyParam))
        );
    }

    #[test]
    fn unsound_parameters_are_told() {
        for bad in [&b";a=\"open"[..], b";a b", b";a=b c", b";=x", b";a=\"x\"y", b";a=<b>", b";a,b"] {
            assert_eq!(Params::new(bad).check(b"a"), None, "{}", String::from_utf8_lossy(bad));
        }
        assert_eq!(
            Params::new(b";tag=abc;x;TAG=d").check(b"Tag"),
            Some((Leniencies::NONE, Some(&b"abc"[..])))
        );
    }
}
