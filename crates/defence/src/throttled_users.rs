//! Users that were throttled lately, for the admin API and the log.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use crate::{
    Hindrance, Log,
    address_table::{TELL_ALL, TELL_EVERY},
    leaky_bucket::LeakyBucket,
    limits::BURST,
};

/// How many are remembered; of more, the newest.
const MOST: usize = 1000;

/// A user that was not throttled for this long leaves the list.
const LATELY: Duration = Duration::from_secs(3600);

/// The users that were hindered lately.
#[derive(Debug)]
pub struct ThrottledUsers {
    most: usize,
    /// For each [`Hindrance`], by name.
    all: [HashMap<Box<str>, Times>; Hindrance::ALL.len()],
    /// In the order in which they were hindered first.
    turn: VecDeque<(Hindrance, Box<str>)>,
    lines: LeakyBucket,
}

#[derive(Debug)]
struct Times {
    times: u64,
    last: Instant,
    told: Option<Instant>,
    untold: u32,
}

/// A user that was hindered lately.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HinderedUser {
    /// Its name.
    pub name: Box<str>,
    /// In what.
    pub what: Hindrance,
    /// How often.
    pub times: u64,
    /// How long ago it was for the last time.
    pub ago: Duration,
}

impl ThrottledUsers {
    /// Nobody was.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { most: MOST, all: Default::default(), turn: VecDeque::new(), lines: LeakyBucket::empty(now) }
    }

    /// A user is hindered; says whether the log is to tell.
    pub fn note(&mut self, name: &str, what: Hindrance, now: Instant) -> Log {
        if !self.all[what as usize].contains_key(name) {
            if self.turn.len() >= self.most
                && let Some((what, name)) = self.turn.pop_front()
            {
                self.all[what as usize].remove(&name);
            }
            self.turn.push_back((what, name.into()));
            let times = Times { times: 0, last: now, told: None, untold: 0 };
            self.all[what as usize].insert(name.into(), times);
        }
        let Some(of) = self.all[what as usize].get_mut(name) else { return Log::Hush };
        of.times += 1;
        of.last = now;
        of.untold = of.untold.saturating_add(1);
        let due = of.told.is_none_or(|told| told + TELL_EVERY <= now);
        if !due || !self.lines.takes(TELL_ALL, TELL_ALL * BURST, now) {
            return Log::Hush;
        }
        of.told = Some(now);
        Log::Say { times: std::mem::take(&mut of.untold) }
    }

    /// Users that were throttled within the last hour, the latest first.
    #[must_use]
    pub fn list(&self, now: Instant) -> Vec<HinderedUser> {
        let mut list: Vec<_> = Hindrance::ALL
            .into_iter()
            .flat_map(|what| self.all[what as usize].iter().map(move |(name, of)| (what, name, of)))
            .map(|(what, name, of)| {
                let ago = now.saturating_duration_since(of.last);
                HinderedUser { name: name.clone(), what, times: of.times, ago }
            })
            .filter(|user| user.ago < LATELY)
            .collect();
        list.sort_by(|one, other| (one.ago, &one.name).cmp(&(other.ago, &other.name)));
        list
    }
}

#[cfg(test)]
mod tests;
