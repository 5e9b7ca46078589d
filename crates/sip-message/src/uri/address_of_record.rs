//! The canonical form under which a registrar keeps bindings (RFC 3261 §10.3 step 5).

use std::fmt::Write;

use super::escape::unescape;
use super::{Scheme, Uri};

impl Uri<'_> {
    /// The key of this URI's address-of-record: `user@host`, `host` where there is no user, or `tel:` and the digits.
    ///
    /// The scheme (sip and sips are one user), password, port, parameters and headers are gone, the host is in lower case, the user part's
    /// escapes are undone. What cannot stand plainly in a readable key (control characters, space, `%`, `@`, bytes that
    /// are not UTF-8) is escaped in one way, with capital digits, so two different users never share a key. Nothing for
    /// a scheme other than sip, sips and tel.
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
