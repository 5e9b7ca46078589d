//! UTF-8 judged while a text message is still arriving.

/// How much of a growing buffer is known to be good UTF-8.
///
/// Each byte is looked at once, save the at most three of a character that is not whole yet.
#[derive(Debug, Default)]
pub(crate) struct Utf8Progress {
    valid: usize,
}

/// No continuation of these bytes can make them UTF-8.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotUtf8;

impl Utf8Progress {
    /// Looks at what was appended to `data` since the last call. Fails at the first byte that cannot be
    /// mended by more bytes.
    pub(crate) fn advance(&mut self, data: &[u8]) -> Result<(), NotUtf8> {
        match std::str::from_utf8(&data[self.valid..]) {
            Ok(_) => self.valid = data.len(),
            Err(error) if error.error_len().is_none() => self.valid += error.valid_up_to(),
            Err(_) => return Err(NotUtf8),
        }
        Ok(())
    }

    /// The message ends here: no character may be left half.
    pub(crate) fn finish(&self, data: &[u8]) -> Result<(), NotUtf8> {
        if self.valid == data.len() { Ok(()) } else { Err(NotUtf8) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Feeds byte by byte; returns how many bytes were taken before the refusal, or `None` when all were.
    fn refused_at(bytes: &[u8]) -> Option<usize> {
        let mut progress = Utf8Progress::default();
        (1..=bytes.len()).find(|&end| progress.advance(&bytes[..end]).is_err()).map(|end| end - 1)
    }

    #[test]
    fn refuses_at_the_first_hopeless_byte() {
        assert_eq!(refused_at(b"a\xf4\x90\x80\x80"), Some(2), "above U+10FFFF, known at the second byte");
        assert_eq!(refused_at(b"a\xed\xa0\x80"), Some(2), "a surrogate, known at the second byte");
        assert_eq!(refused_at(b"\xc0\xaf"), Some(0), "overlong");
        assert_eq!(refused_at("κόσμε".as_bytes()), None);
    }

    proptest! {
        #[test]
        fn agrees_with_std_however_it_is_cut(
            bytes in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..24),
                any::<String>().prop_map(String::into_bytes),
            ],
            step in 1usize..6,
        ) {
            let mut progress = Utf8Progress::default();
            let mut end = 0;
            let mut verdict = Ok(());
            while end < bytes.len() && verdict.is_ok() {
                end = (end + step).min(bytes.len());
                verdict = progress.advance(&bytes[..end]);
            }
            let verdict = verdict.and_then(|()| progress.finish(&bytes));
            prop_assert_eq!(verdict.is_ok(), std::str::from_utf8(&bytes).is_ok());
        }
    }
}
