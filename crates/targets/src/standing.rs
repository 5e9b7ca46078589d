//! Whether a server is to be asked, by what became of what it was asked.

use std::time::{Duration, Instant};

/// How long a server is left alone that failed a request. Every failure more, right after that, makes it twice as long.
const REST: Duration = Duration::from_secs(5);

/// How often it may be doubled.
const DOUBLINGS: u32 = 4;

/// Probes in a row without an answer that make a server count as down.
const UNANSWERED: u32 = 2;

/// Whether a server is to be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    failures: u32,
    rests_until: Option<Instant>,
    unanswered: u32,
}

/// What a server turned into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turned {
    /// What it was.
    Nothing,
    /// It answers probes again.
    Up,
    /// It does not answer probes any more.
    Down,
}

impl Standing {
    /// It did not answer a request in time, answered that it cannot serve it, or cannot be connected to. That may be the
    /// request's fault, or a moment's: it is left alone for some seconds, as long as there are others.
    pub fn failed(&mut self, now: Instant) {
        // Requests that were under way together fail together: that is one failure.
        if self.rests_until.is_some_and(|until| now < until) {
            return;
        }
        let lately = self.rests_until.is_some_and(|until| now < until + self.rest());
        self.failures = if lately { self.failures + 1 } else { 1 };
        self.rests_until = Some(now + self.rest());
    }

    fn rest(self) -> Duration {
        REST * 2u32.pow(self.failures.saturating_sub(1).min(DOUBLINGS))
    }

    /// It answered a probe.
    pub fn answered(&mut self) -> Turned {
        let was_down = self.is_down();
        *self = Self::default();
        if was_down { Turned::Up } else { Turned::Nothing }
    }

    /// It did not answer a probe, or answered that it is not to be used.
    pub fn unanswered(&mut self) -> Turned {
        self.unanswered = self.unanswered.saturating_add(1);
        if self.unanswered == UNANSWERED { Turned::Down } else { Turned::Nothing }
    }

    /// Whether it does not answer probes.
    #[must_use]
    pub fn is_down(self) -> bool {
        self.unanswered >= UNANSWERED
    }

    /// Whether it is asked before those that are not wanted.
    #[must_use]
    pub fn is_wanted(self, now: Instant) -> bool {
        !self.is_down() && self.rests_until.is_none_or(|until| until <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn one_failure_is_forgotten_soon_and_several_are_not() {
        let start = Instant::now();
        let mut standing = Standing::default();
        standing.failed(start);
        standing.failed(start + SECOND);
        assert!(!standing.is_wanted(start + 4 * SECOND));
        assert!(standing.is_wanted(start + 5 * SECOND) && !standing.is_down());
        let mut now = start;
        let mut rests = Vec::new();
        for _ in 0..7 {
            now += 5 * SECOND;
            while !standing.is_wanted(now) {
                now += SECOND;
            }
            standing.failed(now);
            rests.push((1..).find(|&n| standing.is_wanted(now + n * SECOND)).expect("some time"));
        }
        assert_eq!(rests, [10, 20, 40, 80, 80, 80, 80]);
        standing.failed(now + 1000 * SECOND);
        assert!(standing.is_wanted(now + 1005 * SECOND), "long ago counts for nothing");
    }

    #[test]
    fn probes_decide_who_is_down() {
        let now = Instant::now();
        let mut standing = Standing::default();
        assert_eq!(standing.unanswered(), Turned::Nothing);
        assert!(standing.is_wanted(now));
        assert_eq!(standing.unanswered(), Turned::Down);
        assert_eq!(standing.unanswered(), Turned::Nothing);
        assert!(!standing.is_wanted(now + 3600 * SECOND));
        assert_eq!(standing.answered(), Turned::Up);
        assert_eq!(standing.answered(), Turned::Nothing);
        standing.failed(now);
        assert_eq!(standing.answered(), Turned::Nothing);
        assert!(standing.is_wanted(now), "whoever answers a probe need not rest");
    }
}
