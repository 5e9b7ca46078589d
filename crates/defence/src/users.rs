//! What one user takes: connections, messages, calls, over whatever address.

use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::{leaky_bucket::LeakyBucket, limits::MESSAGE_BURST, remembered::Remembered};

/// What one user may take. None: as much as it wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserLimits {
    /// Connections at once that are its own: on which it has registered, or that its token or certificate
    /// opened.
    pub connections: Option<NonZeroU32>,
    /// Messages in a second over all of them, in the long run: five times as many may come at once.
    pub message_rate: Option<NonZeroU32>,
    /// Calls at once that it has begun and that have not ended.
    pub calls: Option<NonZeroU32>,
    /// Failed logins for its name, from all addresses within the time in which failures are forgotten;
    /// beyond, see [`Guesses`](crate::Guesses).
    pub failures: Option<NonZeroU32>,
}

impl UserLimits {
    /// As much of everything as it wants.
    pub const OFF: Self = Self { connections: None, message_rate: None, calls: None, failures: None };
}

impl Default for UserLimits {
    /// Made so that an account that a whole call centre shares is not in the way of it.
    fn default() -> Self {
        Self {
            connections: NonZeroU32::new(1000),
            message_rate: NonZeroU32::new(1000),
            calls: NonZeroU32::new(1000),
            failures: NonZeroU32::new(100),
        }
    }
}

/// In what a user is hindered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hindrance {
    /// It has as many connections as it may have.
    Connections,
    /// Its messages come too fast.
    MessageRate,
    /// It has as many calls as it may have.
    Calls,
    /// Too many logins in its name have failed.
    Failures,
}

impl Hindrance {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Connections, Self::MessageRate, Self::Calls, Self::Failures];

    /// A word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::MessageRate => "message_rate",
            Self::Calls => "calls",
            Self::Failures => "failures",
        }
    }
}

/// How fast a user speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As it may.
    Good,
    /// Too fast: what can be refused is.
    TooFast {
        /// Until it has made up for it.
        wait: Duration,
    },
    /// It goes on although it is refused: it has had as much again.
    FarTooFast,
}

/// The users of whom something is to be known: who has a connection or a call, or has said something just
/// now.
#[derive(Debug)]
pub struct Users {
    limits: UserLimits,
    all: Remembered<Box<str>, Arc<User>>,
}

/// One user. It is remembered for as long as a connection or a call holds it.
#[derive(Debug)]
pub struct User {
    name: Box<str>,
    taken: Mutex<Taken>,
}

#[derive(Debug)]
struct Taken {
    limits: UserLimits,
    connections: u32,
    calls: u32,
    messages: LeakyBucket,
}

/// A connection of a user, which is over when this is dropped.
#[derive(Debug)]
pub struct UserConnection(Arc<User>);

/// A call of a user, which is over when this is dropped.
#[derive(Debug)]
pub struct UserCall(Arc<User>);

impl Users {
    /// Nobody takes anything; at most so many users are remembered.
    #[must_use]
    pub fn new(limits: UserLimits, most: usize) -> Self {
        Self { limits, all: Remembered::new(most) }
    }

    /// These limits hold from now on, but for those who are exempt; who has more keeps it.
    pub fn limit(&mut self, limits: UserLimits, is_exempt: impl Fn(&str) -> bool) {
        self.limits = limits;
        for (name, user) in self.all.iter() {
            user.taken().limits = if is_exempt(name) { UserLimits::OFF } else { limits };
        }
    }

    /// The user of a name. None if as many as can be are remembered, and all that are looked at have
    /// something: then nothing is counted.
    pub fn find(&mut self, name: &str, now: Instant) -> Option<Arc<User>> {
        if let Some(user) = self.all.get(name) {
            return Some(Arc::clone(user));
        }
        let limits = self.limits;
        let make = || {
            let taken =
                Mutex::new(Taken { limits, connections: 0, calls: 0, messages: LeakyBucket::empty(now) });
            Arc::new(User { name: name.into(), taken })
        };
        // Connections and calls hold it.
        let is_spare = |user: &Arc<User>| Arc::strong_count(user) == 1 && user.taken().messages.is_empty(now);
        self.all.find_or_make(&name.into(), make, is_spare).map(|user| Arc::clone(user))
    }

    /// How many users are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.len() == 0
    }
}

impl User {
    fn taken(&self) -> MutexGuard<'_, Taken> {
        // Nothing that is done under it can panic half-way.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A connection becomes its own. None if it has as many as it may have.
    #[must_use]
    pub fn connect(self: &Arc<Self>) -> Option<UserConnection> {
        let mut taken = self.taken();
        let limit = taken.limits.connections;
        one_more(&mut taken.connections, limit)?;
        drop(taken);
        Some(UserConnection(Arc::clone(self)))
    }

    /// It begins a call. None if it has as many as it may have.
    #[must_use]
    pub fn call(self: &Arc<Self>) -> Option<UserCall> {
        let mut taken = self.taken();
        let limit = taken.limits.calls;
        one_more(&mut taken.calls, limit)?;
        drop(taken);
        Some(UserCall(Arc::clone(self)))
    }

    /// A message comes of it, whatever becomes of that.
    #[must_use]
    pub fn speaks(&self, now: Instant) -> Pace {
        let mut taken = self.taken();
        let Some(rate) = taken.limits.message_rate else { return Pace::Good };
        let cost = Duration::from_secs(1) / rate.get();
        let most = Duration::from_secs(MESSAGE_BURST.into());
        let messages = &mut taken.messages;
        let wait = messages.wait(cost, most, now);
        if !messages.takes(cost, most * 2, now) {
            Pace::FarTooFast
        } else if wait.is_zero() {
            Pace::Good
        } else {
            Pace::TooFast { wait }
        }
    }
}

fn one_more(taken: &mut u32, limit: Option<NonZeroU32>) -> Option<()> {
    let fits = limit.is_none_or(|limit| *taken < limit.get());
    *taken = taken.saturating_add(u32::from(fits));
    fits.then_some(())
}

impl UserConnection {
    /// Whose it is.
    #[must_use]
    pub fn user(&self) -> &Arc<User> {
        &self.0
    }
}

impl Drop for UserConnection {
    fn drop(&mut self) {
        let mut taken = self.0.taken();
        taken.connections = taken.connections.saturating_sub(1);
    }
}

impl Drop for UserCall {
    fn drop(&mut self) {
        let mut taken = self.0.taken();
        taken.calls = taken.calls.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests;
