//! `[calls]`: what becomes of calls.

use std::time::Duration;

use crate::document::{ReadSection, Reading, Section, SectionSchema};
use crate::value::Keyword;

/// What becomes of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Calls {
    /// How long a user agent whose connection ended may take to come back, until the other side is sent BYE:
    /// up to 10 min; zero waits for nobody.
    pub hold: Duration,
    /// How long nothing may be heard of a call that has no session timer (RFC 4028) until it is taken for
    /// dead: 1 min to 7 days.
    pub silence: Duration,
    /// Calls tracked at a time; beyond, calls pass without events and without hold: 0 to 10 million.
    pub max: u32,
    /// What the two sides of a call are told when the process ends.
    pub at_shutdown: AtShutdown,
}

/// What the two sides of a call are told when the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtShutdown {
    /// Nothing: what they send each other may go on.
    Leave,
    /// BYE.
    HangUp,
}

impl Keyword for AtShutdown {
    const CHOICES: &'static [(&'static str, Self)] = &[("leave", Self::Leave), ("hang_up", Self::HangUp)];
}

impl Default for Calls {
    fn default() -> Self {
        Self {
            hold: Duration::from_secs(30),
            silence: Duration::from_secs(12 * 3600),
            max: 100_000,
            at_shutdown: AtShutdown::Leave,
        }
    }
}

impl ReadSection for Calls {
    const SCHEMA: SectionSchema =
        SectionSchema { header: "[calls]", keys: &["hold", "silence", "max", "at_shutdown"] };

    fn read(reading: &mut Reading<'_>, section: &Section<'_>) -> Self {
        let default = Self::default();
        let minute = Duration::from_secs(60);
        let hold = section.duration(reading, "hold", Duration::ZERO..=10 * minute);
        let silence = section.duration(reading, "silence", minute..=minute * 60 * 24 * 7);
        Self {
            hold: hold.or(default.hold),
            silence: silence.or(default.silence),
            max: section.bounded(reading, "max", 0..=10_000_000).or(default.max),
            at_shutdown: section.or(reading, "at_shutdown", default.at_shutdown),
        }
    }
}
