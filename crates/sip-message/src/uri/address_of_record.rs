//! The canonical form under which a registrar keeps bindings (RFC 3261 §10.3 step 5).

use std::borrow::Cow;
use std::fmt::Write;

use super::escape::unescape;
use super::{Scheme, Uri};

impl Uri<'_> {
    /// The key of this URI's address-of-record: `user@host`, `host` where there is no user, or `tel:` and the
    /// digits.
    ///
    /// The scheme (sip and sips are one user), password, port, parameters and headers are gone, the host is
    /// in lower case, the user part's escapes are undone. What cannot stand plainly in a readable key
    /// (control characters, space, `%`, `@`, bytes that are not UTF-8) is escaped in one way, with capital
    /// digits, so two different users never share a key. Nothing for a scheme other than sip, sips and tel.
    pub fn address_of_record(&self) -> Option<String> {
        let mut key = String::with_capacity(self.bytes.len());
        match self.scheme {
            Scheme::Other(_) => return None,
            Scheme::Tel => {
                key.push_str("tel:");
                key.extend(self.telephone_number().map(|digit| char::from(digit.to_ascii_lowercase())));
            }
            Scheme::Sip | Scheme::Sips => {
                if let Some(user) = self.user {
                    push_user(&mut key, &unescape(user).collect::<Vec<u8>>());
                    key.push('@');
                }
                write!(key, "{}", self.host?).ok()?;
            }
        }
        Some(key)
    }
}

/// Appends the SIP URI of a key with a user ([`Uri::address_of_record`]); nothing, and `None`, for any other
/// key.
pub fn write_address_of_record(key: &str, out: &mut Vec<u8>) -> Option<()> {
    let (user, host) = key.rsplit_once('@')?;
    out.extend_from_slice(b"sip:");
    for byte in user.bytes() {
        // `%` begins an escape there already.
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/%".contains(&byte) {
            out.push(byte);
        } else {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
    out.push(b'@');
    out.extend_from_slice(host.as_bytes());
    Some(())
}

/// The key of an address-of-record as a person writes it: `alice@example.com`, `sip:alice@example.com`, with
/// URI parameters, in angle brackets, behind a display name, with escapes. What is no address stays as it is.
pub fn address_of_record_of(text: &str) -> Cow<'_, str> {
    let text = text.trim();
    let bare =
        text.rsplit_once('<').map_or(text, |(_, inner)| inner.split_once('>').map_or(inner, |(uri, _)| uri));
    let key = |text: &str| Uri::parse(text.as_bytes()).ok()?.address_of_record();
    let scheme = bare.split_once(':').is_some_and(|(scheme, _)| {
        ["sip", "sips", "tel"].iter().any(|known| scheme.eq_ignore_ascii_case(known))
    });
    let found = if scheme {
        // A key that was put behind a scheme may hold what a URI escapes.
        key(bare).or_else(|| bare.split_once(':').map(|(_, rest)| rest.to_owned()))
    } else {
        key(&format!("sip:{bare}")).filter(|_| bare.contains('@'))
    };
    found.map_or(Cow::Borrowed(bare), Cow::Owned)
}

fn push_user(key: &mut String, user: &[u8]) {
    for chunk in user.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() || matches!(character, ' ' | '%' | '@') {
                push_escaped(key, character.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                key.push(character);
            }
        }
        push_escaped(key, chunk.invalid());
    }
}

fn push_escaped(key: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in bytes {
        key.push('%');
        key.push(char::from(DIGITS[usize::from(byte >> 4)]));
        key.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_end_its_address() {
        for (uri, written) in [
            ("sip:ada@example.com", Some("sip:ada@example.com")),
            ("sips:a%3E%2C%20b%22@Example.com;x=y", Some("sip:a%3E,%20b%22@example.com")),
            ("sip:%C3%A9l%40x@[2001:db8::1]:5080", Some("sip:%C3%A9l%40x@[2001:db8::1]")),
            ("sip:example.com", None),
            ("tel:+1-555", None),
        ] {
            let key = Uri::parse(uri.as_bytes()).unwrap().address_of_record().unwrap();
            let mut out = Vec::new();
            assert_eq!(write_address_of_record(&key, &mut out).is_some(), written.is_some(), "{uri}");
            assert_eq!(String::from_utf8(out).unwrap(), written.unwrap_or_default(), "{uri}");
            if let Some(written) = written {
                assert_eq!(Uri::parse(written.as_bytes()).unwrap().address_of_record(), Some(key));
            }
        }
    }
}
