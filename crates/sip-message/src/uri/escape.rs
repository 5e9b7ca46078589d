//! `%HH` escapes (RFC 3261 §19.1.2).

use crate::syntax::hex;

/// One octet of a URI part for comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Octet {
    pub(super) byte: u8,
    /// Written as an escape although it belongs to the reserved set: then it is not the same as its plain
    /// form.
    reserved_escape: bool,
}

impl Octet {
    pub(super) fn lower(self) -> Octet {
        Octet { byte: self.byte.to_ascii_lowercase(), ..self }
    }
}

pub(super) fn octets(part: &[u8]) -> impl Iterator<Item = Octet> + '_ {
    let mut rest = part;
    std::iter::from_fn(move || {
        let (&byte, tail) = rest.split_first()?;
        if let (b'%', [one, two, tail @ ..]) = (byte, tail)
            && let (Some(high), Some(low)) = (hex(*one), hex(*two))
        {
            rest = tail;
            let byte = high << 4 | low;
            let reserved_escape =
                matches!(byte, b';' | b'/' | b'?' | b':' | b'@' | b'&' | b'=' | b'+' | b'$' | b',');
            return Some(Octet { byte, reserved_escape });
        }
        rest = tail;
        Some(Octet { byte, reserved_escape: false })
    })
}

pub(super) fn unescape(part: &[u8]) -> impl Iterator<Item = u8> + '_ {
    octets(part).map(|octet| octet.byte)
}
