//! What one flow must keep to: how long it may live, how long it may say nothing, how much it may say.

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

use crate::{Cause, Ending, jittered};

/// Seconds over which a flow's message rate is taken: so many times the rate may come at once.
const BURST: u32 = 10;

/// The limits of one flow; by default there are none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowLimits {
    /// Longest time without a SIP message from the peer; keepalives do not count.
    pub idle: Option<Duration>,
    /// Longest life. A flow gets up to a quarter less ([`jittered`]), so that flows opened together do not
    /// end together.
    pub lifetime: Option<Duration>,
    /// Messages and keepalives in a second, taken over ten seconds: ten times as many may come at once.
    pub message_rate: Option<NonZeroU32>,
}

/// How much of its limits a flow has used. O(1): nothing is done while nothing comes, and no timer is moved
/// when something does.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    last_message: Instant,
    ends: Option<Instant>,
    /// When the credentials run out that it was opened with, or was given since.
    vouched_until: Option<Instant>,
    /// Until when what was said would have lasted at the rate that is allowed (the generic cell rate
    /// algorithm).
    said_until: Instant,
}

impl Usage {
    /// A flow that was opened at `now`, as its owner's `turn`-th.
    #[must_use]
    pub fn new(now: Instant, turn: u64, limits: &FlowLimits) -> Self {
        let ends = limits.lifetime.map(|lifetime| now + jittered(lifetime, turn));
        Self { last_message: now, ends, vouched_until: None, said_until: now }
    }

    /// The flow's credentials run out then: those that it was opened with, or newer ones.
    #[must_use]
    pub const fn vouched_until(mut self, until: Instant) -> Self {
        self.vouched_until = Some(until);
        self
    }

    /// When the flow's credentials run out, if ever.
    #[must_use]
    pub const fn vouched(&self) -> Option<Instant> {
        self.vouched_until
    }

    /// A SIP message came.
    pub const fn message(&mut self, now: Instant) {
        self.last_message = now;
    }

    /// A message or a keepalive came.
    ///
    /// # Errors
    /// It was one too many: the ending of the flow.
    pub fn said_something(&mut self, now: Instant, limits: &FlowLimits) -> Result<(), Ending> {
        let Some(rate) = limits.message_rate else { return Ok(()) };
        self.said_until = self.said_until.max(now) + Duration::from_secs(1) / rate.get();
        if self.said_until.saturating_duration_since(now) <= Duration::from_secs(BURST.into()) {
            return Ok(());
        }
        let reason = format!("more than {rate} messages a second");
        Err(Ending::of(Cause::RateLimited).code(1008).reason(reason))
    }

    /// The ending of a flow whose time is up.
    #[must_use]
    pub fn over(&self, now: Instant, limits: &FlowLimits) -> Option<Ending> {
        if self.vouched_until.is_some_and(|until| until <= now) {
            return Some(Ending::of(Cause::TokenExpired).code(1008).reason("the token has expired"));
        }
        if self.ends.is_some_and(|ends| ends <= now) {
            // 1001 has user agents come again.
            return Some(Ending::of(Cause::Lifetime).code(1001).reason("the connection has reached its age"));
        }
        let idle = limits.idle.filter(|&idle| self.last_message + idle <= now)?;
        Some(Ending::of(Cause::Idle).code(1000).reason(format!("no SIP for {idle:?}")))
    }

    /// When [`Usage::over`] is to be asked next, if ever.
    #[must_use]
    pub fn deadline(&self, limits: &FlowLimits) -> Option<Instant> {
        let idle = limits.idle.map(|idle| self.last_message + idle);
        self.ends.into_iter().chain(self.vouched_until).chain(idle).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn rate(rate: u32) -> FlowLimits {
        FlowLimits { message_rate: NonZeroU32::new(rate), ..FlowLimits::default() }
    }

    #[test]
    fn without_limits_nothing_is_ever_over() {
        let start = Instant::now();
        let mut usage = Usage::new(start, 1, &FlowLimits::default());
        for _ in 0..100_000 {
            assert_eq!(usage.said_something(start, &FlowLimits::default()), Ok(()));
        }
        assert_eq!(usage.deadline(&FlowLimits::default()), None);
        assert_eq!(usage.over(start + Duration::from_secs(1 << 30), &FlowLimits::default()), None);
    }

    #[test]
    fn only_sip_keeps_a_flow_from_being_idle() {
        let limits = FlowLimits { idle: Some(60 * SECOND), ..rate(1000) };
        let start = Instant::now();
        let mut usage = Usage::new(start, 1, &limits);
        usage.message(start + 30 * SECOND);
        usage.said_something(start + 80 * SECOND, &limits).expect("one keepalive");
        assert_eq!(usage.deadline(&limits), Some(start + 90 * SECOND));
        assert_eq!(usage.over(start + 89 * SECOND, &limits), None);
        let ending = usage.over(start + 90 * SECOND, &limits).expect("idle");
        assert_eq!((ending.cause, ending.code), (Cause::Idle, Some(1000)));
        assert_eq!(ending.reason.expect("a reason").as_str(), "no SIP for 60s");
    }

    #[test]
    fn flows_that_opened_together_do_not_end_together() {
        let limits = FlowLimits { lifetime: Some(1000 * SECOND), ..FlowLimits::default() };
        let start = Instant::now();
        let mut ends: Vec<_> = (1..=1000)
            .map(|turn| Usage::new(start, turn, &limits).deadline(&limits).expect("ends"))
            .collect();
        ends.sort();
        assert!(ends[0] >= start + 750 * SECOND && ends[999] <= start + 1000 * SECOND);
        // 250 s for a thousand flows: four in each second, give or take.
        for (n, end) in ends.iter().enumerate() {
            let together = ends[n..].iter().take_while(|other| **other < *end + SECOND).count();
            assert!(together <= 8, "{together} flows end within a second");
        }
    }

    #[test]
    fn nobody_stays_longer_than_the_token_says() {
        let limits =
            FlowLimits { lifetime: Some(1000 * SECOND), idle: Some(300 * SECOND), ..FlowLimits::default() };
        let start = Instant::now();
        let mut usage = Usage::new(start, 0, &limits).vouched_until(start + 100 * SECOND);
        usage.message(start + 99 * SECOND);
        assert_eq!(usage.deadline(&limits), Some(start + 100 * SECOND));
        assert_eq!(usage.over(start + 99 * SECOND, &limits), None);
        let ending = usage.over(start + 100 * SECOND, &limits).expect("expired");
        assert_eq!((ending.cause, ending.code), (Cause::TokenExpired, Some(1008)));
    }

    #[test]
    fn a_burst_is_allowed_and_no_more() {
        let limits = rate(50);
        let start = Instant::now();
        let mut usage = Usage::new(start, 1, &limits);
        for _ in 0..500 {
            usage.said_something(start, &limits).expect("ten seconds' worth at once");
        }
        let ending = usage.said_something(start, &limits).expect_err("one too many");
        assert_eq!((ending.cause, ending.code), (Cause::RateLimited, Some(1008)));
        assert_eq!(ending.reason.expect("a reason").as_str(), "more than 50 messages a second");
    }

    proptest! {
        /// A peer that keeps to the rate is never cut off; one that sends at twice the rate is, within the
        /// time of the burst.
        #[test]
        fn the_rate_is_what_it_says(rate_ in 1u32..5000, gaps in proptest::collection::vec(0u32..4, 1..300)) {
            let limits = rate(rate_);
            let step = SECOND / rate_ + Duration::from_nanos(1);
            let start = Instant::now();
            let (mut now, mut usage) = (start, Usage::new(start, 1, &limits));
            for gap in gaps {
                now += step * (gap + 1);
                prop_assert!(usage.said_something(now, &limits).is_ok());
            }
            let begun = now;
            while usage.said_something(now, &limits).is_ok() {
                now += step / 2;
                prop_assert!(now - begun <= Duration::from_secs(11));
            }
        }
    }
}
