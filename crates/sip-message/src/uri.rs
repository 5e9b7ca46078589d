//! SIP, SIPS and tel URIs (RFC 3261 §19.1, RFC 3966); any other is kept as it is.

mod address_of_record;
mod escape;
mod request_form;
mod same;
#[cfg(test)]
mod tests;

pub use address_of_record::{address_of_record_of, write_address_of_record};
use smallvec::SmallVec;

use crate::host::parse_port;
use crate::syntax::hex;
use crate::words::{angle, below, equal, find, none};
use crate::{Host, Leniencies, Leniency, Param, Params, Transport, UriError};

/// The scheme of a URI; case does not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme<'b> {
    /// `sip`.
    Sip,
    /// `sips`.
    Sips,
    /// `tel`.
    Tel,
    /// Any other, as received.
    Other(&'b [u8]),
}

/// A URI over borrowed bytes. `==` compares the text; [`Uri::same`] compares as RFC 3261 §19.1.4 says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uri<'b> {
    scheme: Scheme<'b>,
    /// The user part; the number of a tel URI.
    user: Option<&'b [u8]>,
    password: Option<&'b [u8]>,
    host: Option<Host<'b>>,
    port: Option<u16>,
    params: Params<'b>,
    headers: Option<&'b [u8]>,
    leniencies: Leniencies,
    bytes: &'b [u8],
}

impl<'b> Uri<'b> {
    /// Reads a URI without angle brackets around it.
    pub fn parse(bytes: &'b [u8]) -> Result<Uri<'b>, UriError> {
        check_bytes(bytes)?;
        if let Some(rest) = bytes.strip_prefix(b"sip:") {
            let mut uri = Uri::of_scheme(Scheme::Sip, bytes);
            uri.read_sip(rest)?;
            return Ok(uri);
        }
        let colon = memchr::memchr(b':', bytes).ok_or(UriError::Scheme)?;
        let (scheme, rest) = (&bytes[..colon], &bytes[colon + 1..]);
        let scheme = match scheme {
            _ if scheme.eq_ignore_ascii_case(b"sip") => Scheme::Sip,
            _ if scheme.eq_ignore_ascii_case(b"sips") => Scheme::Sips,
            _ if scheme.eq_ignore_ascii_case(b"tel") => Scheme::Tel,
            [b'a'..=b'z' | b'A'..=b'Z', tail @ ..]
                if tail
                    .iter()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')) =>
            {
                Scheme::Other(scheme)
            }
            _ => return Err(UriError::Scheme),
        };
        let mut uri = Uri::of_scheme(scheme, bytes);
        match scheme {
            Scheme::Sip | Scheme::Sips => uri.read_sip(rest)?,
            Scheme::Tel => uri.read_tel(rest)?,
            Scheme::Other(_) => {}
        }
        Ok(uri)
    }

    #[inline]
    fn of_scheme(scheme: Scheme<'b>, bytes: &'b [u8]) -> Uri<'b> {
        Uri {
            scheme,
            user: None,
            password: None,
            host: None,
            port: None,
            params: Params::default(),
            headers: None,
            leniencies: Leniencies::NONE,
            bytes,
        }
    }

    #[inline]
    fn read_sip(&mut self, rest: &'b [u8]) -> Result<(), UriError> {
        // Neither parameters nor headers may hold a bare @, so the first one ends the user part, whatever
        // stands before it.
        let rest = match find(rest, |word| equal(word, b'@')) {
            Some(0) => return Err(UriError::User),
            Some(at) => {
                let (user_info, rest) = (&rest[..at], &rest[at + 1..]);
                if !none(rest, |word| equal(word, b'@')) {
                    return Err(UriError::User);
                }
                match find(user_info, |word| equal(word, b':')) {
                    Some(0) => return Err(UriError::User),
                    Some(colon) => {
                        self.user = Some(&user_info[..colon]);
                        self.password = Some(&user_info[colon + 1..]);
                    }
                    None => self.user = Some(user_info),
                }
                rest
            }
            None => rest,
        };
        let (host, mut rest) = Host::leading(rest, &mut self.leniencies).ok_or(UriError::Host)?;
        self.host = Some(host);
        if let [b':', tail @ ..] = rest {
            let len = tail.iter().position(|byte| matches!(byte, b';' | b'?')).unwrap_or(tail.len());
            self.port = Some(parse_port(&tail[..len]).ok_or(UriError::Port)?);
            rest = &tail[len..];
        }
        if let Some(question) = find(rest, |word| equal(word, b'?')) {
            self.headers = Some(&rest[question + 1..]);
            rest = &rest[..question];
        }
        self.read_params(rest, UriError::Host)
    }

    fn read_tel(&mut self, rest: &'b [u8]) -> Result<(), UriError> {
        let (number, params) = rest.split_at(memchr::memchr(b';', rest).unwrap_or(rest.len()));
        let digits = number.strip_prefix(b"+").unwrap_or(number);
        let is_global = digits.len() != number.len();
        let sound = |&byte: &u8| match byte {
            b'0'..=b'9' | b'-' | b'.' | b'(' | b')' => true,
            b'a'..=b'f' | b'A'..=b'F' | b'*' | b'#' => !is_global,
            _ => false,
        };
        let has_digit = digits.iter().any(|byte| byte.is_ascii_hexdigit() || matches!(byte, b'*' | b'#'));
        if !has_digit || !digits.iter().all(sound) {
            return Err(UriError::Number);
        }
        self.user = Some(number);
        self.read_params(params, UriError::Number)
    }

    fn read_params(&mut self, bytes: &'b [u8], otherwise: UriError) -> Result<(), UriError> {
        match bytes {
            [] => {}
            [b';', ..] => {
                self.params = Params::new(bytes);
                let mut rest = bytes;
                while let Some(semicolon) = find(rest, |word| equal(word, b';')) {
                    rest = &rest[semicolon + 1..];
                    if let [] | [b';', ..] = rest {
                        self.leniencies.insert(Leniency::EmptyParam);
                    }
                }
            }
            _ => return Err(otherwise),
        }
        Ok(())
    }

    /// The scheme.
    #[inline]
    pub fn scheme(&self) -> Scheme<'b> {
        self.scheme
    }

    /// Whether the scheme is `sip` or `sips`.
    #[inline]
    pub fn is_sip(&self) -> bool {
        matches!(self.scheme, Scheme::Sip | Scheme::Sips)
    }

    /// The user part as received, escapes and all, without password; the number of a tel URI.
    #[inline]
    pub fn user(&self) -> Option<&'b [u8]> {
        self.user
    }

    /// The user part with its escapes undone. It may hold any octet, NUL too.
    pub fn unescaped_user(&self) -> Option<SmallVec<[u8; 64]>> {
        Some(escape::unescape(self.user?).collect())
    }

    /// Whether the user part with its escapes undone is `user`.
    pub fn is_user(&self, user: &[u8]) -> bool {
        self.user.is_some_and(|own| escape::unescape(own).eq(user.iter().copied()))
    }

    /// The password as received.
    pub fn password(&self) -> Option<&'b [u8]> {
        self.password
    }

    /// The host of a SIP or SIPS URI; no other has one here.
    #[inline]
    pub fn host(&self) -> Option<Host<'b>> {
        self.host
    }

    /// The port, if the URI names one.
    #[inline]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The URI's parameters.
    pub fn params(&self) -> Params<'b> {
        self.params
    }

    /// The URI's first parameter of this name.
    pub fn param(&self, name: &[u8]) -> Option<Param<'b>> {
        self.params.get(name)
    }

    /// The `transport` parameter.
    pub fn transport(&self) -> Option<Transport<'b>> {
        self.params.value(b"transport").map(Transport::from_bytes)
    }

    /// The `maddr` parameter.
    pub fn maddr(&self) -> Option<Host<'b>> {
        self.params.value(b"maddr").and_then(Host::parse)
    }

    /// Whether the `lr` parameter is there: a loose router (RFC 3261 §16.12).
    #[inline]
    pub fn lr(&self) -> bool {
        self.params.has(b"lr")
    }

    /// Whether the `ob` parameter is there: an outbound flow is asked for (RFC 5626 §5.4).
    pub fn ob(&self) -> bool {
        self.params.has(b"ob")
    }

    /// The `gr` parameter with its escapes undone: what a public GRUU says of the instance (RFC 5627 §5.4).
    /// Nothing for a URI without it; empty if it has no value.
    pub fn unescaped_gr(&self) -> Option<SmallVec<[u8; 64]>> {
        Some(escape::unescape(self.param(b"gr")?.value.unwrap_or_default()).collect())
    }

    /// What stands after `?`, as received.
    pub fn headers(&self) -> Option<&'b [u8]> {
        self.headers
    }

    /// The deviations that were tolerated.
    pub fn leniencies(&self) -> Leniencies {
        self.leniencies
    }

    /// The URI as received.
    #[inline]
    pub fn as_bytes(&self) -> &'b [u8] {
        self.bytes
    }
}

/// No octet that would end a URI in its environment, and every escape whole. Octets above 127 are let pass:
/// some clients write UTF-8 user names without escaping them.
fn check_bytes(bytes: &[u8]) -> Result<(), UriError> {
    // Asks after every character up to the percent sign: those between are rare.
    if none(bytes, |word| below(word, b'%' + 1) | equal(word, 127) | angle(word)) {
        return Ok(());
    }
    if bytes.iter().any(|&byte| matches!(byte, 0..=b' ' | 127 | b'"' | b'<' | b'>')) {
        return Err(UriError::Character);
    }
    for at in memchr::memchr_iter(b'%', bytes) {
        if !matches!(bytes.get(at + 1..at + 3), Some(&[one, two]) if hex(one).is_some() && hex(two).is_some())
        {
            return Err(UriError::Escape);
        }
    }
    Ok(())
}
