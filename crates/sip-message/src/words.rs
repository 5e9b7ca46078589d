//! Looking at eight bytes at a time in one word. Most parts of a header field are shorter than what a wide
//! search needs to pay off.
//!
//! A mask marks bytes by their highest bit. Its lowest mark is always right; above it there may be wrong
//! ones, for a subtraction borrows. So a mask says whether there is a match and where the first is, and
//! nothing else. Masks joined with `|` keep that.

const ONES: u64 = u64::from_ne_bytes([1; 8]);
const HIGHEST: u64 = ONES << 7;

/// This byte, eight times.
pub(crate) const fn each(byte: u8) -> u64 {
    ONES * byte as u64
}

/// Marks bytes equal to this one.
#[inline]
pub(crate) fn equal(word: u64, byte: u8) -> u64 {
    let difference = word ^ each(byte);
    difference.wrapping_sub(ONES) & !difference & HIGHEST
}

/// Marks bytes less than this one, which is at most 128.
#[inline]
pub(crate) fn below(word: u64, byte: u8) -> u64 {
    word.wrapping_sub(each(byte)) & !word & HIGHEST
}

/// Marks `<` and `>`.
#[inline]
pub(crate) fn angle(word: u64) -> u64 {
    // They differ in one bit.
    equal(word | each(b'<' ^ b'>'), b'>')
}

/// The place of the lowest mark.
#[inline]
pub(crate) fn lowest(mask: u64) -> usize {
    mask.trailing_zeros() as usize / 8
}

/// The first byte that `marks` marks.
#[inline]
pub(crate) fn find(bytes: &[u8], marks: impl Fn(u64) -> u64) -> Option<usize> {
    let (words, rest) = bytes.as_chunks::<8>();
    for (nth, word) in words.iter().enumerate() {
        let mask = marks(u64::from_le_bytes(*word));
        if mask != 0 {
            return Some(nth * 8 + lowest(mask));
        }
    }
    if rest.is_empty() {
        return None;
    }
    // The last eight bytes: some of them were looked at before, and are known to have no mark.
    let (word, at) = match bytes.last_chunk::<8>() {
        Some(last) => (u64::from_le_bytes(*last), bytes.len() - 8),
        None => (short(bytes), 0),
    };
    let mask = marks(word);
    // What lies behind a short stretch is none of its bytes.
    let at = at + lowest(mask);
    (mask != 0 && at < bytes.len()).then_some(at)
}

/// Whether `marks` marks none of them.
#[inline]
pub(crate) fn none(bytes: &[u8], marks: impl Fn(u64) -> u64) -> bool {
    find(bytes, marks).is_none()
}

/// Up to seven bytes as a word, zeros behind them.
#[inline]
fn short(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_first_match_is_found(bytes in proptest::collection::vec(prop_oneof![any::<u8>(), 31u8..35, Just(0), Just(128)], 0..40),
                                    byte in prop_oneof![any::<u8>(), 31u8..35], limit in 0u8..=128) {
            prop_assert_eq!(find(&bytes, |word| equal(word, byte)), bytes.iter().position(|&own| own == byte));
            prop_assert_eq!(find(&bytes, |word| below(word, limit)), bytes.iter().position(|&own| own < limit));
            prop_assert_eq!(find(&bytes, |word| below(word, limit) | equal(word, byte)),
                            bytes.iter().position(|&own| own < limit || own == byte));
            prop_assert_eq!(none(&bytes, |word| equal(word, byte)), !bytes.contains(&byte));
        }
    }
}
