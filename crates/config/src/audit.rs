//! `[audit]`: how often the kernel's sockets, the flows and the ledger are held against each other.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::de::DeValue;

use crate::document::{ReadSection, Reading, Section, SectionSchema};
use crate::duration::Span;
use crate::value::{Fault, FromToml, text};

/// From a second to a day.
const PACE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(86_400);

/// How often the running audit looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditPace {
    /// Every so often: 1 s to 1 d.
    Every(Duration),
    /// Only when someone asks.
    Off,
}

/// The running audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Audit {
    /// How often it looks.
    pub every: AuditPace,
}

impl Default for Audit {
    fn default() -> Self {
        Self { every: AuditPace::Every(Duration::from_secs(30)) }
    }
}

impl ReadSection for Audit {
    const SCHEMA: SectionSchema = SectionSchema { header: "[audit]", keys: &["every"] };

    fn read(reading: &mut Reading<'_>, section: &Section<'_>) -> Self {
        Self { every: section.or(reading, "every", Self::default().every) }
    }
}

impl FromToml for AuditPace {
    fn expected() -> String {
        "a duration from \"1s\" to \"1d\", or \"off\"".to_owned()
    }

    fn from_toml(value: &DeValue<'_>) -> Result<Self, Fault> {
        if text(value).is_ok_and(|text| text == "off") {
            return Ok(Self::Off);
        }
        match Span::from_toml(value)?.0 {
            pace if PACE.contains(&pace) => Ok(Self::Every(pace)),
            pace if pace < *PACE.start() => {
                Err(Fault::mended("this is too short", "the least is \"1s\"; \"off\" turns it off"))
            }
            _ => Err(Fault::mended("this is too long", "the most is \"1d\"; \"off\" turns it off")),
        }
    }
}
