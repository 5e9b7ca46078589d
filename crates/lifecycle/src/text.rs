//! Text from a peer, made fit for a record of bounded size.

use std::fmt;

/// Text of at most `MAX` bytes, without control characters: what a peer sent, cut and cleaned, so that a
/// record's size has a known bound (JSON escapes at most double it).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text<const MAX: usize>(Box<str>);

impl<const MAX: usize> Text<MAX> {
    /// Cleans and cuts; what is cut away is marked by `…` at the end. Bytes that are not UTF-8 become `?`.
    #[must_use]
    pub fn new(bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref();
        // What peers send is plain nearly always: then nothing is looked at twice.
        if bytes.len() <= MAX
            && bytes.iter().all(|byte| (b' '..=b'~').contains(byte))
            && let Ok(plain) = std::str::from_utf8(bytes)
        {
            return Self(plain.into());
        }
        let mut out = String::with_capacity(bytes.len().min(MAX));
        for chunk in bytes.utf8_chunks() {
            let lost = if chunk.invalid().is_empty() { None } else { Some('?') };
            for c in chunk.valid().chars().map(|c| if c.is_control() { '?' } else { c }).chain(lost) {
                if out.len() + c.len_utf8() > MAX {
                    while out.len() > MAX.saturating_sub('…'.len_utf8()) {
                        out.pop();
                    }
                    if MAX >= '…'.len_utf8() {
                        out.push('…');
                    }
                    return Self(out.into());
                }
                out.push(c);
            }
        }
        Self(out.into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> fmt::Debug for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<const MAX: usize> fmt::Display for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<const MAX: usize> serde::Serialize for Text<MAX> {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

impl<'de, const MAX: usize> serde::Deserialize<'de> for Text<MAX> {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(Self::new(<std::borrow::Cow<'de, str>>::deserialize(d)?.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn never_longer_than_its_bound(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let text = Text::<20>::new(&bytes);
            prop_assert!(text.as_str().len() <= 20);
            prop_assert!(!text.as_str().chars().any(char::is_control));
        }
    }

    #[test]
    fn cuts_at_a_character_and_says_so() {
        assert_eq!(Text::<8>::new("abcdefgh").as_str(), "abcdefgh");
        assert_eq!(Text::<8>::new("abcdefghi").as_str(), "abcde…");
        assert_eq!(Text::<8>::new("ab\r\n\u{1b}c\u{ff}").as_str(), "ab???c\u{ff}");
        assert_eq!(Text::<8>::new(b"a\xffb").as_str(), "a?b");
    }
}
