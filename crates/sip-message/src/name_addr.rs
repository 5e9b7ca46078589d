//! `"Display" <uri>;params`, or the bare URI with parameters (RFC 3261 §20.10, §25.1).

use crate::syntax::{has_space_or_control, is_lws, is_token_byte, quoted_len, trim, trim_end, trim_start};
use crate::words::{angle, below, equal, find};
use crate::{Leniencies, Leniency, NameAddrError, Params, Uri, UriError, Value, Values};

/// The value of From, To, Contact, Route and their kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameAddr<'b> {
    display: Option<&'b [u8]>,
    uri: &'b [u8],
    params: Params<'b>,
    tag: Option<&'b [u8]>,
    leniencies: Leniencies,
    bytes: &'b [u8],
}

impl<'b> NameAddr<'b> {
    /// Reads one value. Its URI is only cut out; [`uri`](NameAddr::uri) parses it.
    pub fn parse(value: &'b [u8]) -> Result<NameAddr<'b>, NameAddrError> {
        let mut leniencies = Leniencies::NONE;
        let (display, uri, after) = if let [b'"', ..] = value {
            let len = quoted_len(value).ok_or(NameAddrError::UnterminatedQuote)?;
            let (uri, after) = in_brackets(trim_start(&value[len..]), &mut leniencies)?;
            (Some(&value[..len]), uri, after)
        } else {
            match find(value, |word| equal(word, b'<') | equal(word, b';') | equal(word, b'"')) {
                Some(at) if value[at] == b'<' => {
                    let display = trim_end(&value[..at]);
                    check_display(display, &mut leniencies)?;
                    let (uri, after) = in_brackets(&value[at..], &mut leniencies)?;
                    ((!display.is_empty()).then_some(display), uri, after)
                }
                Some(at) if value[at] == b'"' && memchr::memchr(b'<', &value[at..]).is_some() => {
                    return Err(NameAddrError::DisplayName);
                }
                found => {
                    let (uri, after) = value.split_at(found.unwrap_or(value.len()));
                    (None, bare(trim_end(uri))?, after)
                }
            }
        };
        let params = Params::new(trim_start(after));
        if !matches!(params.as_bytes(), [] | [b';', ..]) {
            return Err(NameAddrError::Params);
        }
        let (seen, tag) = params.check(b"tag").ok_or(NameAddrError::Params)?;
        Ok(NameAddr { display, uri, params, tag, leniencies: leniencies.union(seen), bytes: value })
    }

    /// The display name as received, quotes included.
    pub fn display(&self) -> Option<&'b [u8]> {
        self.display
    }

    /// The URI, parsed now.
    pub fn uri(&self) -> Result<Uri<'b>, UriError> {
        Uri::parse(self.uri)
    }

    /// The URI as received, without brackets.
    pub fn uri_bytes(&self) -> &'b [u8] {
        self.uri
    }

    /// The parameters of the header field, not those of the URI.
    pub fn params(&self) -> Params<'b> {
        self.params
    }

    /// The tag of From or To.
    #[inline]
    pub fn tag(&self) -> Option<&'b [u8]> {
        self.tag
    }

    /// The whole value as received.
    pub fn as_bytes(&self) -> &'b [u8] {
        self.bytes
    }

    /// The deviations that were tolerated.
    pub fn leniencies(&self) -> Leniencies {
        self.leniencies
    }
}

/// `<uri>` and what comes after it.
fn in_brackets<'b>(bytes: &'b [u8], seen: &mut Leniencies) -> Result<(&'b [u8], &'b [u8]), NameAddrError> {
    let Some(inner) = bytes.strip_prefix(b"<") else { return Err(NameAddrError::DisplayName) };
    if let Some(close @ 1..) = find(inner, |word| below(word, b' ' + 1) | angle(word))
        && inner[close] == b'>'
    {
        return Ok((&inner[..close], &inner[close + 1..]));
    }
    in_odd_brackets(inner, seen)
}

/// With white space in the brackets, or damaged; `inner` begins behind the `<`.
fn in_odd_brackets<'b>(
    inner: &'b [u8],
    seen: &mut Leniencies,
) -> Result<(&'b [u8], &'b [u8]), NameAddrError> {
    let close = memchr::memchr(b'>', inner).ok_or(NameAddrError::UnclosedBracket)?;
    let uri = trim(&inner[..close]);
    if uri.len() != close {
        seen.insert(Leniency::SpaceInBrackets);
    }
    if uri.is_empty() || memchr::memchr(b'<', uri).is_some() || has_space_or_control(uri) {
        return Err(NameAddrError::Address);
    }
    Ok((uri, &inner[close + 1..]))
}

/// Tokens are the rule; any other text without the characters that structure a header field is understood.
fn check_display(display: &[u8], seen: &mut Leniencies) -> Result<(), NameAddrError> {
    if display.iter().all(|&byte| is_token_byte(byte) || is_lws(byte)) {
        return Ok(());
    }
    if display.iter().any(|&byte| matches!(byte, b',' | b'>' | b'\\' | 0..=8 | 11..=12 | 14..=31 | 127)) {
        return Err(NameAddrError::DisplayName);
    }
    seen.insert(Leniency::DisplayName);
    Ok(())
}

fn bare(uri: &[u8]) -> Result<&[u8], NameAddrError> {
    if uri.is_empty() || has_space_or_control(uri) || memchr::memchr3(b'"', b'>', b',', uri).is_some() {
        return Err(NameAddrError::Address);
    }
    if memchr::memchr(b'?', uri).is_some() {
        return Err(NameAddrError::BareHeaders);
    }
    Ok(uri)
}

/// The values of a header field that lists name-addrs, each with where it stands.
#[derive(Debug, Clone)]
pub struct NameAddrs<'m, 'b> {
    values: Values<'m, 'b>,
}

impl<'m, 'b> NameAddrs<'m, 'b> {
    pub(crate) fn new(values: Values<'m, 'b>) -> NameAddrs<'m, 'b> {
        NameAddrs { values }
    }
}

impl<'b> Iterator for NameAddrs<'_, 'b> {
    /// The value as it stands, for [`Rewrite::remove_value`](crate::Rewrite::remove_value), and what it says.
    type Item = (Value<'b>, Result<NameAddr<'b>, NameAddrError>);

    fn next(&mut self) -> Option<Self::Item> {
        self.values.next().map(|value| (value, NameAddr::parse(value.bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<NameAddr<'_>, NameAddrError> {
        NameAddr::parse(text.as_bytes())
    }

    #[test]
    fn forms_of_an_address() {
        let full = parse("\"A \\\" <B>\" <sip:a@b;lr;x=1>\r\n ; Tag = x1 ;p=\"q;r\"").unwrap();
        assert_eq!(full.display(), Some(&b"\"A \\\" <B>\""[..]));
        assert_eq!(full.uri_bytes(), b"sip:a@b;lr;x=1");
        assert_eq!(full.tag(), Some(&b"x1"[..]));
        let bare = parse("sip:a@b ;tag=2").unwrap();
        assert_eq!((bare.uri_bytes(), bare.tag(), bare.display()), (&b"sip:a@b"[..], Some(&b"2"[..]), None));
        let tight = parse("caller<sip:c@d>").unwrap();
        assert_eq!((tight.display(), tight.leniencies()), (Some(&b"caller"[..]), Leniencies::NONE));
        assert!(parse("100@pbx: Bell <sip:a@b>").unwrap().leniencies().contains(Leniency::DisplayName));
        assert!(parse("< sip:a@b >").unwrap().leniencies().contains(Leniency::SpaceInBrackets));
        assert_eq!(parse("<sip:a@b>;tag=").unwrap().tag(), None);
    }

    #[test]
    fn damage_is_told_apart() {
        use NameAddrError as E;
        for (text, error) in [
            ("\"Mr. <sip:a@b>;tag=1", E::UnterminatedQuote),
            ("<sip:a@b;tag=1", E::UnclosedBracket),
            ("Bell, A <sip:a@b>", E::DisplayName),
            ("\"x\" sip:a@b", E::DisplayName),
            ("x \"y\" <sip:a@b>", E::DisplayName),
            ("", E::Address),
            ("<>", E::Address),
            ("<sip:a b@c>", E::Address),
            ("sip:a@b, sip:c@d", E::Address),
            ("sip:a@b?x=y", E::BareHeaders),
            ("<sip:a@b> x", E::Params),
            ("<sip:a@b>;a b", E::Params),
        ] {
            assert_eq!(parse(text).unwrap_err(), error, "{text}");
        }
    }
}
