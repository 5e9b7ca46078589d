//! A destination that does not take events: said at once, then less and less often.

use std::time::{Duration, Instant};

const FIRST_SILENCE: Duration = Duration::from_secs(5);
const LONGEST_SILENCE: Duration = Duration::from_secs(3600);

/// From the first failure to the next success.
#[derive(Clone, Debug)]
pub(crate) struct Outage {
    began: Instant,
    silent_until: Instant,
    silence: Duration,
    failures: u64,
}

/// Whether this failure is worth a line in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Say {
    Now,
    Nothing,
}

impl Outage {
    pub(crate) fn new(now: Instant) -> Self {
        Self { began: now, silent_until: now, silence: FIRST_SILENCE, failures: 0 }
    }

    /// Counts a failure.
    pub(crate) fn failed(&mut self, now: Instant) -> Say {
        self.failures += 1;
        if now < self.silent_until {
            return Say::Nothing;
        }
        self.silent_until = now + self.silence;
        self.silence = (self.silence * 2).min(LONGEST_SILENCE);
        Say::Now
    }

    /// The next failure is of another sort: it deserves a line of its own.
    pub(crate) fn turned(&mut self, now: Instant) {
        self.silent_until = now;
    }

    pub(crate) fn failures(&self) -> u64 {
        self.failures
    }

    pub(crate) fn lasted(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.began)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_of_failures_every_second_makes_few_lines() {
        let start = Instant::now();
        let mut outage = Outage::new(start);
        let said: Vec<u64> = (0..86_400)
            .filter(|second| outage.failed(start + Duration::from_secs(*second)) == Say::Now)
            .collect();
        assert_eq!(said[..5], [0, 5, 15, 35, 75]);
        assert!((30..40).contains(&said.len()), "{}", said.len());
        assert_eq!(outage.failures(), 86_400);
    }
}
