//! Equality of URIs (RFC 3261 §19.1.4, RFC 3966 §4).

use super::escape::octets;
use super::{Scheme, Uri};
use crate::{Host, Param};

/// Parameters that matter even if only one side has them.
const DECISIVE: [&[u8]; 5] = [b"user", b"ttl", b"method", b"maddr", b"transport"];

impl Uri<'_> {
    /// Whether both URIs mean the same. Not transitive: `sip:a@b;x=1` and `sip:a@b;x=2` both equal `sip:a@b`.
    pub fn same(&self, other: &Uri<'_>) -> bool {
        if self.bytes == other.bytes {
            return true;
        }
        match (self.scheme, other.scheme) {
            (Scheme::Sip, Scheme::Sip) | (Scheme::Sips, Scheme::Sips) => self.same_sip(other),
            (Scheme::Tel, Scheme::Tel) => self.same_tel(other),
            (Scheme::Other(one), Scheme::Other(two)) => {
                one.eq_ignore_ascii_case(two) && self.bytes[one.len()..] == other.bytes[two.len()..]
            }
            _ => false,
        }
    }

    fn same_sip(&self, other: &Uri<'_>) -> bool {
        same_part(self.user, other.user)
            && same_part(self.password, other.password)
            && self.host.zip(other.host).is_some_and(|(one, two): (Host<'_>, Host<'_>)| one.same(&two))
            && self.port == other.port
            && params_cover(self, other)
            && params_cover(other, self)
            && headers_cover(self.headers, other.headers)
            && headers_cover(other.headers, self.headers)
    }

    fn same_tel(&self, other: &Uri<'_>) -> bool {
        let number = |uri: &Uri<'_>| {
            uri.telephone_number().map(|digit| digit.to_ascii_lowercase()).collect::<Vec<_>>()
        };
        let covers = |one: &Uri<'_>, two: &Uri<'_>| {
            one.params
                .iter()
                .all(|param| two.param(param.name).is_some_and(|found| same_value(&param, &found)))
        };
        number(self) == number(other) && covers(self, other) && covers(other, self)
    }

    /// The digits of a telephone number without visual separators.
    pub(super) fn telephone_number(&self) -> impl Iterator<Item = u8> {
        let number = self.user.unwrap_or_default();
        number.iter().copied().filter(|byte| !matches!(byte, b'-' | b'.' | b'(' | b')'))
    }
}

fn same_part(one: Option<&[u8]>, two: Option<&[u8]>) -> bool {
    match (one, two) {
        (Some(one), Some(two)) => octets(one).eq(octets(two)),
        (None, None) => true,
        _ => false,
    }
}

fn same_folded(one: &[u8], two: &[u8]) -> bool {
    octets(one).map(|octet| octet.lower()).eq(octets(two).map(|octet| octet.lower()))
}

fn same_value(one: &Param<'_>, two: &Param<'_>) -> bool {
    match (one.value, two.value) {
        (Some(one), Some(two)) => same_folded(one, two),
        (None, None) => true,
        _ => false,
    }
}

/// Every parameter of `one` is matched by `two`, or may be missing there.
fn params_cover(one: &Uri<'_>, two: &Uri<'_>) -> bool {
    one.params.iter().all(|param| {
        match two.params.iter().find(|candidate| same_folded(candidate.name, param.name)) {
            Some(found) => same_value(&param, &found),
            None => !DECISIVE.iter().any(|name| param.name.eq_ignore_ascii_case(name)),
        }
    })
}

/// Every header of `one` stands in `two`. Values are compared as text: what they mean is defined header by
/// header.
fn headers_cover(one: Option<&[u8]>, two: Option<&[u8]>) -> bool {
    let split = |headers: Option<&[u8]>| -> Vec<(Vec<u8>, Vec<u8>)> {
        headers
            .unwrap_or_default()
            .split(|&byte| byte == b'&')
            .filter(|header| !header.is_empty())
            .map(|header| {
                let equals = memchr::memchr(b'=', header).unwrap_or(header.len());
                let name = octets(&header[..equals]).map(|octet| octet.lower().byte).collect();
                let value =
                    octets(header.get(equals + 1..).unwrap_or_default()).map(|octet| octet.byte).collect();
                (name, value)
            })
            .collect()
    };
    let two = split(two);
    split(one).iter().all(|header| two.contains(header))
}
