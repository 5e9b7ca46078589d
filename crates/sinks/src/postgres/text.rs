//! JSON that PostgreSQL takes. Its text knows no zero character and no lone surrogate, though JSON can write
//! both.

use std::borrow::Cow;

/// What stands in for what cannot be stored: the replacement character.
const INSTEAD: &str = "\\ufffd";

/// The same JSON, with each `\u0000` and each surrogate without its partner replaced.
pub(super) fn storable(json: &str) -> Cow<'_, str> {
    if !json.contains("\\u") {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        let length = match unit(escape) {
            Some(0 | 0xdc00..=0xdfff) => {
                out.push_str(INSTEAD);
                rest = &escape[6..];
                continue;
            }
            Some(0xd800..=0xdbff) => {
                if !matches!(escape.get(6..).and_then(unit), Some(0xdc00..=0xdfff)) {
                    out.push_str(INSTEAD);
                    rest = &escape[6..];
                    continue;
                }
                12
            }
            Some(_) => 6,
            // The character behind the backslash, whatever it is.
            None => 1 + escape[1..].chars().next().map_or(0, char::len_utf8),
        };
        out.push_str(&escape[..length]);
        rest = &escape[length..];
    }
    out.push_str(rest);
    if out == json { Cow::Borrowed(json) } else { Cow::Owned(out) }
}

/// The UTF-16 unit that the text begins with as `\uXXXX`.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_cannot_be_stored_is_replaced_and_nothing_else() {
        for (json, stored) in [
            (r#"{"a":"b"}"#, r#"{"a":"b"}"#),
            (r#""a\u0000b""#, r#""a\ufffdb""#),
            (r#""\\u0000""#, r#""\\u0000""#),
            (r#""\\\u0000""#, r#""\\\ufffd""#),
            (r#""\ud83d\ude00""#, r#""\ud83d\ude00""#),
            (r#""\ud83d""#, r#""\ufffd""#),
            (r#""\ud83d\u0000""#, r#""\ufffd\ufffd""#),
            (r#""\ude00\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#),
            (r#""\u00e4\n\"""#, r#""\u00e4\n\"""#),
        ] {
            assert_eq!(storable(json), stored, "{json}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_changes_nothing_twice(text in r#"(\\|u|0|d8|dc|ä|"|\\u0000|\\ud800|\\udc00){0,20}"#) {
            let once = storable(&text).into_owned();
            prop_assert_eq!(storable(&once).into_owned(), once);
        }
    }
}
