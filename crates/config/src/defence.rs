//! `[defence]`: what one address may take.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

use defence::{Limits, Network, Networks};
use toml::de::DeValue;

use crate::document::{Field, Reading, Section, Shape};
use crate::value::{Fault, FromToml, text};

pub(crate) const SHAPE: Shape = Shape {
    header: "[defence]",
    keys: &[
        "connections",
        "handshakes",
        "handshake_rate",
        "message_rate",
        "failures",
        "forget",
        "ban",
        "scanners",
        "exempt",
    ],
};

/// Bounds of `forget` and `ban`.
const TIME: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(7 * 24 * 3600);

/// What scanners call themselves that are met every day.
const SCANNERS: [&str; 8] = [
    "friendly-scanner",
    "sipvicious",
    "sip-scan",
    "sipcli",
    "sundayddr",
    "vaxsipuseragent",
    "pplsip",
    "iwar",
];

/// What one address may take, and who is not asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defence {
    /// The numbers: each from 1 to 10,000,000, or none.
    pub limits: Limits,
    /// Words in lower case that a scanner has in its User-Agent.
    pub scanners: Vec<String>,
    /// Addresses for which no limit holds.
    pub exempt: Networks,
}

impl Default for Defence {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            scanners: SCANNERS.map(str::to_owned).to_vec(),
            exempt: Networks::loopback(),
        }
    }
}

/// A part of a User-Agent.
#[derive(PartialEq)]
struct Word(String);

impl FromToml for Word {
    fn expected() -> String {
        "a part of a User-Agent, of at least 3 letters".to_owned()
    }

    fn from_toml(value: &DeValue<'_>) -> Result<Self, Fault> {
        match text(value)? {
            word if word.len() < 3 => Err(Fault::value("others have this in their names, too")),
            word => Ok(Self(word.to_ascii_lowercase())),
        }
    }
}

impl Defence {
    pub(crate) fn read(reading: &mut Reading<'_>, section: &Section<'_>) -> Self {
        let default = Self::default();
        let mut number = |key, default: Option<NonZeroU32>| {
            let read = section
                .unless_off(reading, key, |reading| section.bounded::<u32>(reading, key, 1..=10_000_000));
            match read {
                Field::Given(at) => at.value.and_then(NonZeroU32::new),
                Field::Absent | Field::Faulty => default,
            }
        };
        let limits = Limits {
            connections: number("connections", default.limits.connections),
            handshakes: number("handshakes", default.limits.handshakes),
            handshake_rate: number("handshake_rate", default.limits.handshake_rate),
            message_rate: number("message_rate", default.limits.message_rate),
            failures: number("failures", default.limits.failures),
            forget: section.duration(reading, "forget", TIME).or(default.limits.forget),
            ban: section.duration(reading, "ban", TIME).or(default.limits.ban),
        };
        let scanners =
            section.unless_off(reading, "scanners", |reading| section.set::<Word>(reading, "scanners"));
        let exempt =
            section.unless_off(reading, "exempt", |reading| section.set::<Network>(reading, "exempt"));
        Self {
            limits,
            scanners: match scanners {
                Field::Given(at) => at.value.into_iter().flatten().map(|at| at.value.0).collect(),
                Field::Absent | Field::Faulty => default.scanners,
            },
            exempt: match exempt {
                Field::Given(at) => at.value.into_iter().flatten().map(|at| at.value).collect(),
                Field::Absent | Field::Faulty => default.exempt,
            },
        }
    }
}
