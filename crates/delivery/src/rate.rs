//! How fast a sink may go, so that a backlog does not crowd out what else the machine does.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// What may come at once, as a share of a second's events.
const BURST: f64 = 0.1;

/// A bound on events a second, with a tenth of a second's events at once.
#[derive(Clone, Debug)]
pub struct Rate {
    per_second: f64,
    saved: f64,
    at: Instant,
}

impl Rate {
    /// So many events a second.
    #[must_use]
    pub fn new(events: NonZeroU32, now: Instant) -> Self {
        let per_second = f64::from(events.get());
        Self { per_second, saved: burst(per_second), at: now }
    }

    /// How many events may be on their way now; or when the next may.
    pub fn allows(&mut self, now: Instant) -> Result<usize, Instant> {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        self.saved = (self.saved + passed * self.per_second).min(burst(self.per_second));
        if self.saved >= 1.0 {
            return Ok(self.saved as usize);
        }
        Err(now + Duration::from_secs_f64((1.0 - self.saved) / self.per_second) + Duration::from_micros(1))
    }

    /// So many went.
    pub fn spend(&mut self, events: usize) {
        self.saved -= events as f64;
    }
}

fn burst(per_second: f64) -> f64 {
    (per_second * BURST).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_seconds_let_through_ten_times_the_rate_and_one_burst() {
        for per_second in [1_u32, 7, 100, 5000] {
            let mut now = Instant::now();
            let until = now + Duration::from_secs(10);
            let mut rate = Rate::new(NonZeroU32::new(per_second).unwrap(), now);
            let mut gone = 0;
            while now < until {
                match rate.allows(now) {
                    Ok(allowed) => {
                        gone += allowed;
                        rate.spend(allowed);
                    }
                    Err(due) => {
                        assert!(due > now);
                        now = due;
                    }
                }
            }
            let (least, most) =
                (per_second as usize * 10, per_second as usize * 10 + per_second as usize / 10 + 2);
            assert!((least - 1..=most).contains(&gone), "{per_second}/s: {gone}");
        }
    }
}
