//! How long to wait before the next attempt.

use std::time::Duration;

/// Doubling waits with jitter, so that a destination that comes back is not met by everybody at once.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first }
    }

    /// The attempt succeeded: the next failure waits briefly again.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }

    /// The wait after another failure: between half of the nominal wait and all of it; `chance` is from 0 to
    /// 1.
    pub(crate) fn wait(&mut self, chance: f64) -> Duration {
        let nominal = self.next;
        self.next = (nominal * 2).min(self.longest);
        nominal.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_longest_and_starts_again() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(30));
        let waits: Vec<_> = (0..12).map(|_| backoff.wait(1.0).as_millis()).collect();
        assert_eq!(waits[..5], [100, 200, 400, 800, 1600]);
        assert_eq!(waits[11], 30_000);
        backoff.reset();
        assert_eq!(backoff.wait(0.0), Duration::from_millis(50));
    }
}
