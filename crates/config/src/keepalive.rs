//! `[keepalive]`: how soon a dead peer is noticed.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::document::{ReadSection, Reading, Section, SectionSchema};
use crate::report::{Problem, ProblemKind};

const BOUNDS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(3600);

/// Proxies and NAT boxes on the way commonly forget a connection that was silent for this long.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(120);

/// When a silent flow is pinged and when it is given up. Only received bytes count as life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence after which a ping is sent: 10 ms to 1 h.
    pub ping_after: Duration,
    /// How long the answer may take before the flow is closed with `ping_timeout`: 10 ms to 1 h.
    pub pong_timeout: Duration,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self { ping_after: Duration::from_secs(25), pong_timeout: Duration::from_secs(10) }
    }
}

impl ReadSection for Keepalive {
    const SCHEMA: SectionSchema =
        SectionSchema { header: "[keepalive]", keys: &["ping_after", "pong_timeout"] };

    fn read(reading: &mut Reading<'_>, section: &Section<'_>) -> Self {
        Self::read_over(reading, section, Self::default())
    }
}

impl Keepalive {
    /// Reads both keys from `[keepalive]` or from a listener that overrides them.
    pub(crate) fn read_over(reading: &mut Reading<'_>, section: &Section<'_>, default: Self) -> Self {
        let ping_after = section.duration(reading, "ping_after", BOUNDS).given();
        if let Some(at) = &ping_after
            && at.value > FORGOTTEN_AFTER
        {
            reading.warning(
                Problem::new(ProblemKind::Risky, at.span.clone(), "pings are more than two minutes apart")
                    .label("NAT boxes and proxies may drop the connection before the first ping")
                    .help("25s to 60s keeps connections open on common networks"),
            );
        }
        Self {
            ping_after: ping_after.map_or(default.ping_after, |at| at.value),
            pong_timeout: section.duration(reading, "pong_timeout", BOUNDS).or(default.pong_timeout),
        }
    }
}
