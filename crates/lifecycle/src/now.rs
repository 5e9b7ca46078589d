//! The time at which something happens, by both clocks.

use std::time::Instant;

/// The present moment. Waits are measured by the one clock, and records are dated by the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// By the clock that never goes back.
    pub instant: Instant,
    /// By the clock of the calendar: microseconds since the Unix epoch.
    pub unix_micros: u64,
}

impl Now {
    /// Seconds since the Unix epoch.
    #[must_use]
    pub const fn unix_seconds(self) -> u64 {
        self.unix_micros / 1_000_000
    }
}
