//! Counts and times as people say them.

use lifecycle::event_time;

/// A number with its noun: `1 flow`, `2 flows`, `3 misses`.
#[must_use]
pub fn counted(count: u64, noun: &str) -> String {
    match (count, noun.ends_with('s')) {
        (1, _) => format!("1 {noun}"),
        (_, true) => format!("{count} {noun}es"),
        (_, false) => format!("{count} {noun}s"),
    }
}

/// A time span in its two largest units.
pub(crate) fn span(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0 => format!("{ms} ms"),
        1..60 => format!("{}.{} s", seconds, ms % 1000 / 100),
        60..3600 => format!("{} m {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// How long before `now` a moment was; both in microseconds since the Unix epoch.
#[must_use]
pub fn ago(moment: u64, now: u64) -> String {
    format!("{} ago", span(now.saturating_sub(moment) / 1000))
}

/// Date and time in UTC to the millisecond, of microseconds since the Unix epoch.
#[must_use]
pub fn clock(moment: u64) -> String {
    let text = event_time(moment);
    match (text.get(..10), text.get(11..23)) {
        (Some(day), Some(time)) => format!("{day} {time}Z"),
        _ => text,
    }
}
