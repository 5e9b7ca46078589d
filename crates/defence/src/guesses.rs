//! Passwords that are guessed for one user from many addresses, each of which fails too seldom to be banned.
//!
//! Failures are counted for each name, whether there is such a user or not. Beyond the limit the name is
//! *guessed*: each address has [`TRIES`] failures for it in the time in which failures are forgotten, and
//! then its credentials for that name are not looked at. So a crowd of addresses has few tries each, and a
//! client with the right password succeeds at the first try, from any address. Addresses at which the user
//! was accepted lately are not asked at all: there may be an old phone beside a new one.

use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
    num::NonZeroU32,
    time::{Duration, Instant},
};

use crate::{Source, leaky_bucket::LeakyBucket, remembered::Remembered};

/// Failures that an address has for a name that is guessed.
pub const TRIES: u32 = 3;

/// How many names are remembered, and how many addresses that try one that is guessed. About 50 bytes each.
const MOST: usize = 100_000;

/// It is remembered at least so long where a user was accepted, and at most twice as long.
const LATELY: Duration = Duration::from_secs(24 * 3600);

/// How many of those are remembered at least, about 10 bytes each; of more, the newest.
const MOST_LATELY: usize = 100_000;

/// An attempt to prove to be a user: its address and the user's name.
#[derive(Clone, Copy, Debug)]
pub struct LoginTry<'a> {
    /// The domain of the user.
    pub domain: &'a str,
    /// Its name there, as in the credentials.
    pub name: &'a str,
    /// The address.
    pub source: Source,
}

/// How often passwords were guessed for each name.
#[derive(Debug)]
pub struct Guesses {
    /// Failures of a name, of which one more makes it guessed.
    limit: Option<NonZeroU32>,
    forget: Duration,
    /// Nobody outside knows which names share a number: there are so many numbers that none do.
    numbers: RandomState,
    names: Remembered<u64, LeakyBucket>,
    tries: Remembered<u64, LeakyBucket>,
    let_in: KnownAddresses,
}

/// Addresses where users were accepted: two sets, of which the older is forgotten when the newer is full or
/// old.
#[derive(Debug)]
struct KnownAddresses {
    since: Instant,
    most: usize,
    newer: HashSet<u64>,
    older: HashSet<u64>,
}

impl KnownAddresses {
    fn add(&mut self, number: u64, now: Instant) {
        if self.newer.len() >= self.most || self.since + LATELY <= now {
            self.older = std::mem::take(&mut self.newer);
            self.since = now;
        }
        self.newer.insert(number);
    }

    fn has(&self, number: u64) -> bool {
        self.newer.contains(&number) || self.older.contains(&number)
    }
}

impl Guesses {
    /// Nobody has failed. `forget` is how long it takes until as many failures as the limit are forgotten;
    /// without a limit everybody may try for ever.
    #[must_use]
    pub fn new(limit: Option<NonZeroU32>, forget: Duration, now: Instant) -> Self {
        Self {
            limit,
            forget,
            numbers: RandomState::new(),
            names: Remembered::new(MOST),
            tries: Remembered::new(MOST),
            let_in: KnownAddresses {
                since: now,
                most: MOST_LATELY,
                newer: HashSet::new(),
                older: HashSet::new(),
            },
        }
    }

    /// These hold from now on, in place of those of [`Guesses::new`].
    pub fn limit(&mut self, limit: Option<NonZeroU32>, forget: Duration) {
        (self.limit, self.forget) = (limit, forget);
    }

    fn number(&self, who: &LoginTry<'_>) -> u64 {
        self.numbers.hash_one((who.domain, who.name))
    }

    fn number_there(&self, who: &LoginTry<'_>) -> u64 {
        self.numbers.hash_one((who.domain, who.name, who.source))
    }

    /// What one failure of a name weighs, and one of an address for it.
    fn costs(&self) -> Option<(Duration, Duration)> {
        Some((self.forget / self.limit?.get(), self.forget / TRIES))
    }

    /// Whether credentials are to be looked at.
    ///
    /// # Errors
    /// They are not: how long until they are.
    pub fn may_try(&self, who: &LoginTry<'_>, now: Instant) -> Result<(), Duration> {
        let Some((of_name, of_try)) = self.costs() else { return Ok(()) };
        let guessed = self
            .names
            .get(&self.number(who))
            .is_some_and(|failures| !failures.has_room(of_name, self.forget, now));
        if !guessed {
            return Ok(());
        }
        let there = self.number_there(who);
        let wait =
            self.tries.get(&there).map_or(Duration::ZERO, |tries| tries.wait(of_try, self.forget, now));
        if wait.is_zero() || self.let_in.has(there) { Ok(()) } else { Err(wait) }
    }

    /// Credentials were wrong. Of more names and addresses than can be remembered nothing is.
    pub fn failed(&mut self, who: &LoginTry<'_>, now: Instant) {
        let Some((of_name, of_try)) = self.costs() else { return };
        let forget = self.forget;
        let is_spare = |level: &LeakyBucket| level.is_empty(now);
        let (number, there) = (self.number(who), self.number_there(who));
        let Some(failures) = self.names.find_or_make(&number, || LeakyBucket::empty(now), is_spare) else {
            return;
        };
        // One that is guessed stays at the limit, and gets below it as time goes by.
        if !failures.takes(of_name, forget, now)
            && let Some(tries) = self.tries.find_or_make(&there, || LeakyBucket::empty(now), is_spare)
        {
            tries.takes(of_try, forget, now);
        }
    }

    /// Somebody proved to be this user, at this address. What others have failed is not forgotten for it.
    pub fn proved(&mut self, who: &LoginTry<'_>, now: Instant) {
        if self.limit.is_some() {
            let there = self.number_there(who);
            self.let_in.add(there, now);
        }
    }
}

#[cfg(test)]
mod tests;
