//! When the timers of one transaction fire, in whole milliseconds since the table was made.

use crate::machine::Running;
use std::time::Duration;

/// A time no table lives to see.
const NEVER: u64 = u64::MAX;

/// The two deadlines of a transaction: its next repeat and its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) repeat_at: u64,
    pub(crate) end_at: u64,
    /// The pause before `repeat_at`, in milliseconds.
    pause: u32,
}

/// Rounded up: a timer never fires early.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

impl Pace {
    pub(crate) fn start(running: Running, now: u64) -> Pace {
        let mut pace = Pace {
            repeat_at: NEVER,
            end_at: running.end.map_or(NEVER, |end| now.saturating_add(millis(end))),
            pause: 0,
        };
        if let Some(pause) = running.repeat {
            pace.repeat_after(pause, now);
        }
        pace
    }

    /// A pause of zero would repeat without end in one instant.
    pub(crate) fn repeat_after(&mut self, pause: Duration, now: u64) {
        self.pause = u32::try_from(millis(pause)).unwrap_or(u32::MAX).max(1);
        self.repeat_at = now.saturating_add(u64::from(self.pause));
    }

    pub(crate) fn stop_repeating(&mut self) {
        self.repeat_at = NEVER;
    }

    pub(crate) fn pause(&self) -> Duration {
        Duration::from_millis(u64::from(self.pause))
    }

    /// The earlier of both, if any.
    pub(crate) fn next(&self) -> Option<u64> {
        let next = self.repeat_at.min(self.end_at);
        (next != NEVER).then_some(next)
    }

    pub(crate) fn repeats(&self) -> bool {
        self.repeat_at != NEVER
    }

    pub(crate) fn ends(&self) -> bool {
        self.end_at != NEVER
    }
}
