//! How often something is done for each of many names, and for all of them together.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use crate::leaky_bucket::LeakyBucket;

/// Names that are told apart. With more, nothing is done for others until some have had a rest.
const MOST: usize = 10_000;

/// Between two looks for names that have had a rest.
const SWEEP: Duration = Duration::from_secs(1);

/// How often: so many at once, and then one in this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BurstRate {
    /// At once; at least 1.
    pub burst: u32,
    /// The time in which there is one more.
    pub every: Duration,
}

/// Whether it is done this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Yes, and it is counted.
    Taken,
    /// No: it was done too often for this name, or for all.
    TooOften,
}

/// What was done lately, by name. Bounded.
#[derive(Debug)]
pub struct RecentEvents {
    names: HashMap<Box<str>, LeakyBucket>,
    all: LeakyBucket,
    for_all: BurstRate,
    swept: Instant,
}

impl RecentEvents {
    /// Nothing was done yet. For all names together it may be done this often.
    #[must_use]
    pub fn new(for_all: BurstRate, now: Instant) -> Self {
        Self { names: HashMap::new(), all: LeakyBucket::empty(now), for_all, swept: now }
    }

    /// Whether it is done for a name now, for which it may be done this often.
    pub fn turn(&mut self, name: &str, often: BurstRate, now: Instant) -> Turn {
        let most = |often: BurstRate| often.every.saturating_mul(often.burst);
        if !self.all.has_room(self.for_all.every, most(self.for_all), now) || !self.has_room_for(name, now) {
            return Turn::TooOften;
        }
        let level = match self.names.get_mut(name) {
            Some(level) => level,
            None => self.names.entry(name.into()).or_insert(LeakyBucket::empty(now)),
        };
        if !level.takes(often.every, most(often), now) {
            return Turn::TooOften;
        }
        self.all.takes(self.for_all.every, most(self.for_all), now);
        Turn::Taken
    }

    fn has_room_for(&mut self, name: &str, now: Instant) -> bool {
        if self.names.len() < MOST || self.names.contains_key(name) {
            return true;
        }
        if now.saturating_duration_since(self.swept) >= SWEEP {
            self.swept = now;
            self.names.retain(|_, level| !level.is_empty(now));
        }
        self.names.len() < MOST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE_A_SECOND: BurstRate = BurstRate { burst: 3, every: Duration::from_secs(1) };

    fn taken(paced: &mut RecentEvents, name: &str, times: u32, now: Instant) -> usize {
        (0..times).filter(|_| paced.turn(name, ONE_A_SECOND, now) == Turn::Taken).count()
    }

    #[test]
    fn each_name_has_its_turns_and_all_together_have_no_more_than_theirs() {
        let now = Instant::now();
        let mut paced = RecentEvents::new(BurstRate { burst: 5, every: Duration::from_secs(1) }, now);
        assert_eq!(taken(&mut paced, "a", 10, now), 3);
        assert_eq!(taken(&mut paced, "b", 10, now), 2);
        assert_eq!(taken(&mut paced, "c", 10, now), 0);
        let later = now + Duration::from_secs(1);
        assert_eq!(taken(&mut paced, "a", 10, later), 1);
        assert_eq!(taken(&mut paced, "b", 10, later), 0);
        let long_after = now + Duration::from_secs(60);
        assert_eq!(taken(&mut paced, "b", 10, long_after), 3);
    }

    #[test]
    fn names_that_have_had_a_rest_make_room_for_others() {
        let now = Instant::now();
        let mut paced = RecentEvents::new(BurstRate { burst: u32::MAX, every: Duration::from_nanos(1) }, now);
        let many = (0..MOST + 1000).filter(|name| taken(&mut paced, &name.to_string(), 1, now) == 1).count();
        assert_eq!((many, paced.names.len()), (MOST, MOST));
        assert_eq!(taken(&mut paced, "late", 1, now + Duration::from_secs(2)), 1);
        assert_eq!(paced.names.len(), 1);
    }
}
