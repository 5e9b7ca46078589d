//! Wall-clock time as events carry it.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use lifecycle::Now;

/// Microseconds since the Unix epoch.
#[must_use]
pub fn micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Seconds since the Unix epoch.
#[must_use]
pub fn seconds() -> u64 {
    micros() / 1_000_000
}

/// The present moment by both clocks.
#[must_use]
pub fn now() -> Now {
    Now { instant: Instant::now(), unix_micros: micros() }
}
