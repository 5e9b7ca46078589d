//! Durations as they are written: a whole number and a unit.

use std::fmt;
use std::time::Duration;

use toml::de::DeValue;

use crate::value::{Fault, FromToml, text};

/// Units, longest first, and their length in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A duration written as "25s", "500ms", "5m" or "1h".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span(pub(crate) Duration);

impl FromToml for Span {
    fn expected() -> String {
        "a duration such as \"500ms\", \"25s\", \"5m\" or \"1h\"".to_owned()
    }

    fn from_toml(value: &DeValue<'_>) -> Result<Self, Fault> {
        if let DeValue::Integer(number) = value {
            let help = format!("with its unit it is a string: \"{}s\"", number.as_str());
            return Err(Fault::mended("the unit is missing", help));
        }
        let text = text(value)?.trim();
        let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        if number.is_empty() {
            return Err(Fault::value("not a whole number and a unit"));
        }
        let unit = unit.trim_start();
        let Some((_, length)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(match unit {
                "" => Fault::mended("the unit is missing", format!("for seconds write \"{number}s\"")),
                "sec" | "secs" | "second" | "seconds" => {
                    Fault::mended("unknown unit", format!("write \"{number}s\""))
                }
                "min" | "mins" | "minute" | "minutes" => {
                    Fault::mended("unknown unit", format!("write \"{number}m\""))
                }
                "day" | "days" => Fault::mended("unknown unit", format!("write \"{number}d\"")),
                _ => Fault::mended("unknown unit", "the units are ms, s, m, h and d; one number, one unit"),
            });
        };
        number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(*length))
            .map(|milliseconds| Self(Duration::from_millis(milliseconds)))
            .ok_or_else(|| Fault::value("this is too long"))
    }
}

/// Reads a duration written as in the configuration: a whole number and ms, s, m, h or d.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    Span::from_toml(&DeValue::String(text.into())).ok().map(|span| span.0)
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = self.0.as_millis();
        let (unit, length) = UNITS
            .iter()
            .copied()
            .find(|(_, length)| milliseconds != 0 && milliseconds.is_multiple_of(u128::from(*length)))
            .unwrap_or(("s", 1_000));
        write!(f, "\"{}{unit}\"", milliseconds / u128::from(length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Option<Duration> {
        Span::from_toml(&DeValue::String(text.into())).ok().map(|span| span.0)
    }

    #[test]
    fn units() {
        assert_eq!(read("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(read("25s"), Some(Duration::from_secs(25)));
        assert_eq!(read("5m"), Some(Duration::from_secs(300)));
        assert_eq!(read("1h"), Some(Duration::from_secs(3600)));
        assert_eq!(read("30d"), Some(Duration::from_secs(30 * 86_400)));
        assert_eq!(read(" 25 s "), Some(Duration::from_secs(25)));
        assert_eq!(read("0s"), Some(Duration::ZERO));
    }

    #[test]
    fn refused() {
        for text in [
            "",
            "s",
            "25",
            "-1s",
            "1.5s",
            "1h30m",
            "25S",
            "3 days",
            "99999999999999999999s",
            "9999999999999999h",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(milliseconds in 0..=u64::from(u32::MAX)) {
            let span = Span(Duration::from_millis(milliseconds));
            prop_assert_eq!(read(span.to_string().trim_matches('"')), Some(span.0));
        }
    }
}
