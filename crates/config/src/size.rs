//! Sizes as they are written: bytes, or a whole number and a unit.

use std::fmt;

use toml::de::DeValue;

use crate::value::{Fault, FromToml, integer, text};

/// Units, largest first, and how many bytes they are.
const UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// A size in bytes, written as "128KiB", "1MiB" or as an integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Size(pub(crate) u64);

impl FromToml for Size {
    fn expected() -> String {
        "a size such as \"128KiB\" or \"1MiB\", or a number of bytes".to_owned()
    }

    fn from_toml(value: &DeValue<'_>) -> Result<Self, Fault> {
        if matches!(value, DeValue::Integer(_)) {
            return integer(value).map(Self);
        }
        let text = text(value)?.trim();
        let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        if number.is_empty() {
            return Err(Fault::value("not a whole number and a unit"));
        }
        let unit = unit.trim_start();
        let Some((_, bytes)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            let near = match unit.to_ascii_lowercase().as_str() {
                "k" | "kb" | "kib" => "KiB",
                "m" | "mb" | "mib" => "MiB",
                "g" | "gb" | "gib" => "GiB",
                "" | "b" | "byte" | "bytes" => "B",
                _ => return Err(Fault::mended("unknown unit", "the units are B, KiB, MiB and GiB")),
            };
            let label = if unit.is_empty() { "the unit is missing" } else { "unknown unit" };
            return Err(Fault::mended(label, format!("write \"{number}{near}\"")));
        };
        number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(*bytes))
            .map(Self)
            .ok_or_else(|| Fault::value("this is too large"))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, bytes) = UNITS
            .iter()
            .copied()
            .find(|(_, bytes)| self.0 != 0 && self.0.is_multiple_of(*bytes))
            .unwrap_or(("B", 1));
        write!(f, "\"{}{unit}\"", self.0 / bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Option<u64> {
        Size::from_toml(&DeValue::String(text.into())).ok().map(|size| size.0)
    }

    #[test]
    fn units() {
        assert_eq!(read("128KiB"), Some(131_072));
        assert_eq!(read("1MiB"), Some(1_048_576));
        assert_eq!(read("2 GiB"), Some(2_147_483_648));
        assert_eq!(read("7B"), Some(7));
    }

    #[test]
    fn refused() {
        for text in
            ["", "KiB", "128", "128KB", "128k", "1.5MiB", "-1B", "17179869184GiB", "99999999999999999999B"]
        {
            assert_eq!(read(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(bytes in any::<u64>()) {
            let size = Size(bytes);
            prop_assert_eq!(read(size.to_string().trim_matches('"')), Some(bytes));
        }
    }
}
