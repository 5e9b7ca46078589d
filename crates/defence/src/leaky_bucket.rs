//! A leaking bucket, as the time at which it will be empty (the generic cell rate algorithm).

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

/// What has been poured in and has not leaked yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LeakyBucket(Instant);

impl LeakyBucket {
    pub(crate) const fn empty(now: Instant) -> Self {
        Self(now)
    }

    /// Whether one more that takes this long to leak fits into what leaks in `most`; then it is in.
    pub(crate) fn takes(&mut self, cost: Duration, most: Duration, now: Instant) -> bool {
        let fits = self.has_room(cost, most, now);
        if fits {
            self.0 = self.0.max(now) + cost;
        }
        fits
    }

    pub(crate) fn takes_at_rate(&mut self, rate: Option<NonZeroU32>, burst: u32, now: Instant) -> bool {
        let Some(rate) = rate else { return true };
        self.takes(Duration::from_secs(1) / rate.get(), Duration::from_secs(burst.into()), now)
    }

    pub(crate) fn has_room_at_rate(&self, rate: Option<NonZeroU32>, burst: u32, now: Instant) -> bool {
        let cost = |rate: NonZeroU32| Duration::from_secs(1) / rate.get();
        rate.is_none_or(|rate| self.has_room(cost(rate), Duration::from_secs(burst.into()), now))
    }

    /// Whether one more would fit.
    pub(crate) fn has_room(&self, cost: Duration, most: Duration, now: Instant) -> bool {
        self.wait(cost, most, now).is_zero()
    }

    /// How long until one more fits; zero if it does now.
    pub(crate) fn wait(&self, cost: Duration, most: Duration, now: Instant) -> Duration {
        (self.0.max(now) + cost).saturating_duration_since(now + most)
    }

    pub(crate) fn is_empty(&self, now: Instant) -> bool {
        self.0 <= now
    }
}
