//! Whether a server is to be asked, by what became of what it was asked.

use std::time::{Duration, Instant};

/// How long a server is left alone that failed a request. Every failure more, right after that, makes it
/// twice as long.
const REST: Duration = Duration::from_secs(5);

/// How often it may be doubled.
const DOUBLINGS: u32 = 4;

/// Probes in a row without an answer that make a server count as down.
const UNANSWERED: u32 = 2;

/// The longest that a server is left alone because it asked for it: one request that it cannot serve is not
/// to take it from everybody for long.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// How often a server that answers no probes is tried by a request all the same: it may know no OPTIONS.
const TRIAL: Duration = Duration::from_secs(30);

/// Whether a server is to be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerState {
    last: Last,
    failures: u32,
    rests_until: Option<Instant>,
    /// It has asked to be left alone until then.
    waits_until: Option<Instant>,
    /// Probes in a row of which nothing was heard, and the last time that a request was sent all the same.
    silent: u32,
    tried_at: Option<Instant>,
    /// Probes in a row that it answered 503.
    refused: u32,
    answers: Answers,
}

/// What is known last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Last {
    #[default]
    Nothing,
    /// It said something.
    Heard,
    /// Nobody was there.
    Unreachable,
}

/// What it has ever answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Answers {
    #[default]
    Nothing,
    Requests,
    Probes,
}

/// How a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Nothing was heard of it yet.
    Unknown,
    /// It answers.
    Up,
    /// It failed a request a moment ago, or asked to be left alone: others are asked first.
    Resting,
    /// Nobody is there, or it does not answer probes: others are asked first.
    Down,
}

impl Health {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Resting => "resting",
            Self::Down => "down",
        }
    }
}

/// What a server turned into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthChange {
    /// What it was.
    Nothing,
    /// It answers again.
    Up,
    /// Nobody is there, or it does not answer probes any more.
    Down,
}

impl ServerState {
    /// It did not answer a request in time. That may be the request's fault, or a moment's: it is left alone
    /// for some seconds, as long as there are others.
    pub fn record_failure(&mut self, now: Instant) {
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

    /// Nobody is there: it refuses connections or datagrams, or cannot be connected to.
    pub fn record_unreachable(&mut self, now: Instant) -> HealthChange {
        let was_down = self.is_down();
        self.record_failure(now);
        (self.last, self.silent) = (Last::Unreachable, 0);
        if was_down { HealthChange::Nothing } else { HealthChange::Down }
    }

    /// It asked to be left alone for this long (`Retry-After` in a 503); a minute is the most that it gets at
    /// a time.
    pub fn record_retry_after(&mut self, wait: Duration, now: Instant) {
        let until = now + wait.min(LONGEST_WAIT);
        self.waits_until = self.waits_until.max(Some(until));
    }

    /// It said something to a request, whatever it was.
    pub fn record_sign_of_life(&mut self) -> HealthChange {
        let was_down = self.is_down();
        if self.last == Last::Unreachable {
            (self.failures, self.rests_until) = (0, None);
        }
        (self.last, self.silent) = (Last::Heard, 0);
        if self.answers == Answers::Nothing {
            self.answers = Answers::Requests;
        }
        if was_down && !self.is_down() { HealthChange::Up } else { HealthChange::Nothing }
    }

    /// It answered a probe.
    pub fn record_answer(&mut self) -> HealthChange {
        let was_down = self.is_down();
        // What it asked for it may want all the same.
        *self = Self {
            last: Last::Heard,
            answers: Answers::Probes,
            waits_until: self.waits_until,
            ..Self::default()
        };
        if was_down { HealthChange::Up } else { HealthChange::Nothing }
    }

    /// It answered a probe that it is not to be used (503).
    pub fn record_refused_probe(&mut self) -> HealthChange {
        let was_down = self.is_down();
        (self.last, self.silent, self.answers) = (Last::Heard, 0, Answers::Probes);
        self.refused = self.refused.saturating_add(1);
        if !was_down && self.is_down() { HealthChange::Down } else { HealthChange::Nothing }
    }

    /// Nothing was heard of a probe. Of a server that has answered requests and never a probe that says
    /// nothing.
    pub fn record_silent_probe(&mut self, now: Instant) -> HealthChange {
        if self.answers == Answers::Requests {
            return HealthChange::Nothing;
        }
        let was_down = self.is_down();
        self.silent = self.silent.saturating_add(1);
        if self.silent == UNANSWERED {
            self.tried_at = Some(now);
        }
        if !was_down && self.is_down() { HealthChange::Down } else { HealthChange::Nothing }
    }

    /// Whether nobody is there, or it does not answer probes.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.last == Last::Unreachable || self.is_silent() || self.refused >= UNANSWERED
    }

    /// Whether nobody was there when it was asked last.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        self.last == Last::Unreachable
    }

    /// Whether probes tell that it says nothing: who asks it waits in vain.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.silent >= UNANSWERED
    }

    /// Whether a request may try a server that [is silent](Self::is_silent) all the same: now and then one
    /// may.
    pub fn may_be_tried(&mut self, now: Instant) -> bool {
        let may = self.tried_at.is_none_or(|tried| now >= tried + TRIAL);
        if may {
            self.tried_at = Some(now);
        }
        may
    }

    /// Whether it is asked before those that are not wanted. One that nobody was at is asked again when it
    /// has rested.
    #[must_use]
    pub fn is_wanted(&self, now: Instant) -> bool {
        let over = |until: Option<Instant>| until.is_none_or(|until| until <= now);
        !self.is_silent() && self.refused < UNANSWERED && over(self.rests_until) && over(self.waits_until)
    }

    /// How long until it is worth asking again, if it is not [wanted](Self::is_wanted) now.
    #[must_use]
    pub fn wanted_in(&self, now: Instant) -> Option<Duration> {
        if self.is_wanted(now) {
            return None;
        }
        let tried = self.tried_at.filter(|_| self.is_silent()).map(|tried| tried + TRIAL);
        let until = self.rests_until.max(self.waits_until).max(tried);
        let left = until.map(|until| until.saturating_duration_since(now));
        Some(left.filter(|left| !left.is_zero()).unwrap_or(REST))
    }

    /// How it is.
    #[must_use]
    pub fn health(&self, now: Instant) -> Health {
        if self.is_down() {
            Health::Down
        } else if !self.is_wanted(now) {
            Health::Resting
        } else if self.last == Last::Nothing {
            Health::Unknown
        } else {
            Health::Up
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn one_failure_is_forgotten_soon_and_several_are_not() {
        let start = Instant::now();
        let mut server = ServerState::default();
        server.record_failure(start);
        server.record_failure(start + SECOND);
        assert!(!server.is_wanted(start + 4 * SECOND));
        assert!(server.is_wanted(start + 5 * SECOND) && !server.is_down());
        let mut now = start;
        let mut rests = Vec::new();
        for _ in 0..7 {
            now += 5 * SECOND;
            while !server.is_wanted(now) {
                now += SECOND;
            }
            server.record_failure(now);
            rests.push((1..).find(|&n| server.is_wanted(now + n * SECOND)).expect("some time"));
        }
        assert_eq!(rests, [10, 20, 40, 80, 80, 80, 80]);
        server.record_failure(now + 1000 * SECOND);
        assert!(server.is_wanted(now + 1005 * SECOND), "long ago counts for nothing");
    }

    #[test]
    fn probes_decide_who_is_down() {
        let now = Instant::now();
        let mut server = ServerState::default();
        assert_eq!(server.record_silent_probe(now), HealthChange::Nothing);
        assert!(server.is_wanted(now));
        assert_eq!(server.record_silent_probe(now), HealthChange::Down);
        assert_eq!(server.record_silent_probe(now), HealthChange::Nothing);
        assert!(!server.is_wanted(now + 3600 * SECOND));
        assert_eq!(server.record_answer(), HealthChange::Up);
        assert_eq!(server.record_answer(), HealthChange::Nothing);
        server.record_failure(now);
        assert_eq!(server.record_answer(), HealthChange::Nothing);
        assert!(server.is_wanted(now), "whoever answers a probe need not rest");
        for turned in [HealthChange::Nothing, HealthChange::Down, HealthChange::Nothing] {
            assert_eq!(server.record_refused_probe(), turned);
        }
        assert!(!server.is_wanted(now) && !server.is_silent());
        assert_eq!(
            server.record_sign_of_life(),
            HealthChange::Nothing,
            "it says itself that it is not to be used"
        );
        assert_eq!(server.record_answer(), HealthChange::Up);
    }

    #[test]
    fn nothing_is_known_of_a_server_before_it_says_something_and_it_is_down_when_nobody_is_there() {
        let now = Instant::now();
        let mut server = ServerState::default();
        assert_eq!((server.health(now), server.is_wanted(now)), (Health::Unknown, true));
        assert_eq!(server.record_unreachable(now), HealthChange::Down);
        assert_eq!(server.record_unreachable(now), HealthChange::Nothing);
        assert_eq!((server.health(now), server.is_wanted(now)), (Health::Down, false));
        assert_eq!(server.wanted_in(now), Some(5 * SECOND));
        let mut back = server;
        assert_eq!(
            (back.record_sign_of_life(), back.health(now)),
            (HealthChange::Up, Health::Up),
            "it need not rest"
        );
        // Without probes too it is asked again, and whatever it says then is enough.
        let later = now + 5 * SECOND;
        assert_eq!((server.health(later), server.is_wanted(later)), (Health::Down, true));
        assert_eq!(server.record_sign_of_life(), HealthChange::Up);
        assert_eq!(server.health(later), Health::Up);
        server.record_failure(later);
        assert_eq!(server.health(later), Health::Resting);
        let mut silent = ServerState::default();
        assert_eq!(silent.record_silent_probe(now), HealthChange::Nothing);
        assert_eq!(silent.health(now), Health::Unknown);
    }

    #[test]
    fn a_server_that_answers_requests_and_knows_no_probes_is_never_down_by_their_silence() {
        let now = Instant::now();
        let mut server = ServerState::default();
        server.record_sign_of_life();
        for _ in 0..9 {
            assert_eq!(server.record_silent_probe(now), HealthChange::Nothing);
        }
        assert_eq!(server.health(now), Health::Up);
        // If no request came before, one is let through now and then, and heals it.
        let mut server = ServerState::default();
        server.record_silent_probe(now);
        server.record_silent_probe(now);
        assert!(server.is_silent() && !server.may_be_tried(now + 29 * SECOND));
        assert_eq!(server.wanted_in(now + 10 * SECOND), Some(20 * SECOND));
        assert!(server.may_be_tried(now + 30 * SECOND));
        assert!(!server.may_be_tried(now + 31 * SECOND), "one at a time");
        assert_eq!(server.record_sign_of_life(), HealthChange::Up);
        server.record_silent_probe(now);
        server.record_silent_probe(now);
        assert!(!server.is_down());
    }

    #[test]
    fn who_asks_to_be_left_alone_is_for_a_bounded_time() {
        let now = Instant::now();
        let mut server = ServerState::default();
        server.record_answer();
        server.record_retry_after(7 * SECOND, now);
        assert_eq!((server.health(now), server.wanted_in(now)), (Health::Resting, Some(7 * SECOND)));
        server.record_answer();
        assert!(!server.is_wanted(now + 6 * SECOND), "it may answer OPTIONS all the same");
        assert!(server.is_wanted(now + 7 * SECOND));
        server.record_retry_after(Duration::from_secs(u64::from(u32::MAX)), now);
        server.record_retry_after(SECOND, now);
        assert_eq!(server.wanted_in(now), Some(60 * SECOND));
    }
}
