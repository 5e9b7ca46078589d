//! The masking of RFC 6455 §5.3.

/// The four bytes a client chooses anew for each frame.
pub type MaskKey = [u8; 4];

/// Masks or unmasks `data` in place; both are the same operation.
///
/// `offset` is the place of `data[0]` in the frame's payload, in bytes, so that a payload may be handled in
/// pieces.
pub fn apply_mask(data: &mut [u8], key: MaskKey, offset: u64) {
    let mut turned = key;
    turned.rotate_left((offset % 4) as usize);
    let [a, b, c, d] = turned;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    // Eight bytes at a time; the compiler makes vector instructions of this loop.
    let (words, tail) = data.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip(turned.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_the_definition_at_any_offset(
            data in proptest::collection::vec(any::<u8>(), 0..200),
            key in any::<MaskKey>(),
            offset in any::<u64>(),
        ) {
            let expected: Vec<u8> =
                data.iter().zip(0u64..).map(|(byte, i)| byte ^ key[((offset % 4 + i) % 4) as usize]).collect();
            let mut masked = data;
            apply_mask(&mut masked, key, offset);
            prop_assert_eq!(masked, expected);
        }

        #[test]
        fn pieces_equal_the_whole(
            data in proptest::collection::vec(any::<u8>(), 0..200),
            key in any::<MaskKey>(),
            cut in any::<prop::sample::Index>(),
        ) {
            let cut = cut.index(data.len() + 1);
            let mut whole = data.clone();
            apply_mask(&mut whole, key, 0);
            let mut pieces = data;
            let (left, right) = pieces.split_at_mut(cut);
            apply_mask(left, key, 0);
            apply_mask(right, key, cut as u64);
            prop_assert_eq!(pieces, whole);
        }
    }
}
