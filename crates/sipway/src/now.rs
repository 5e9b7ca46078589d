//! The time of day.

use jiff::Timestamp;

/// Microseconds since the Unix epoch.
pub(crate) fn now() -> u64 {
    u64::try_from(Timestamp::now().as_microsecond()).unwrap_or(0)
}
