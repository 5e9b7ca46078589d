//! Is the peer still there? Judged by the bytes it sent, and by nothing else: what we send says nothing
//! about who receives it.

use std::time::{Duration, Instant};

/// The ping schedule of one flow (DESIGN invariant 8): after `ping_after` of silence a ping, after
/// `pong_timeout` more without a single byte the verdict. O(1): one deadline, moved lazily.
#[derive(Clone, Copy, Debug)]
pub struct Liveness {
    last_received: Instant,
    pinged: Option<Instant>,
    ping_after: Duration,
    pong_timeout: Duration,
}

/// What to do when the deadline has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LivenessStep {
    /// Something was received meanwhile: look again then.
    Wait(Instant),
    /// Send a ping now, look again then.
    Ping(Instant),
    /// Nothing came after the ping: the peer is gone.
    Dead,
}

impl Liveness {
    /// A flow that was opened at `now`.
    #[must_use]
    pub const fn new(now: Instant, ping_after: Duration, pong_timeout: Duration) -> Self {
        Self { last_received: now, pinged: None, ping_after, pong_timeout }
    }

    /// The same with a `ping_after` of its own ([`jittered`](crate::jittered)), so that flows opened together
    /// are not pinged together.
    #[must_use]
    pub const fn with_ping_after(self, ping_after: Duration) -> Self {
        Self { ping_after, ..self }
    }

    /// Bytes came from the peer. Gives the round trip if a ping was under way.
    pub fn received(&mut self, now: Instant) -> Option<Duration> {
        self.last_received = now;
        self.pinged.take().map(|sent| now.saturating_duration_since(sent))
    }

    /// When bytes last came.
    #[must_use]
    pub const fn last_received(&self) -> Instant {
        self.last_received
    }

    /// When [`Liveness::step`] has something to say.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        match self.pinged {
            Some(sent) => sent + self.pong_timeout,
            None => self.last_received + self.ping_after,
        }
    }

    /// The deadline set by an earlier step has come (or any other moment: the answer is right at any time).
    pub fn step(&mut self, now: Instant) -> LivenessStep {
        let deadline = self.deadline();
        if now < deadline {
            return LivenessStep::Wait(deadline);
        }
        if self.pinged.is_some() {
            return LivenessStep::Dead;
        }
        self.pinged = Some(now);
        LivenessStep::Ping(now + self.pong_timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PING_AFTER: Duration = Duration::from_secs(25);
    const PONG_TIMEOUT: Duration = Duration::from_secs(10);

    #[test]
    fn a_silent_peer_is_dead_after_35_seconds() {
        let start = Instant::now();
        let mut liveness = Liveness::new(start, PING_AFTER, PONG_TIMEOUT);
        assert_eq!(liveness.step(start + Duration::from_secs(24)), LivenessStep::Wait(start + PING_AFTER));
        let ping = start + PING_AFTER;
        assert_eq!(liveness.step(ping), LivenessStep::Ping(ping + PONG_TIMEOUT));
        assert_eq!(liveness.step(ping + PONG_TIMEOUT), LivenessStep::Dead);
    }

    #[test]
    fn any_byte_after_the_ping_counts_and_gives_the_round_trip() {
        let start = Instant::now();
        let mut liveness = Liveness::new(start, PING_AFTER, PONG_TIMEOUT);
        let ping = start + PING_AFTER;
        liveness.step(ping);
        let pong = ping + Duration::from_millis(30);
        assert_eq!(liveness.received(pong), Some(Duration::from_millis(30)));
        assert_eq!(liveness.step(ping + PONG_TIMEOUT), LivenessStep::Wait(pong + PING_AFTER));
    }

    proptest! {
        /// Whatever the peer does, a flow whose peer fell silent for good is judged dead within the bound,
        /// and never while bytes keep coming more often than `ping_after`.
        #[test]
        fn detection_has_a_bound(gaps in proptest::collection::vec(1u64..60_000, 0..40)) {
            let start = Instant::now();
            let mut now = start;
            let mut liveness = Liveness::new(now, PING_AFTER, PONG_TIMEOUT);
            for gap in gaps {
                let next = now + Duration::from_millis(gap);
                let mut dead = false;
                while liveness.deadline() <= next && !dead {
                    dead = liveness.step(liveness.deadline()) == LivenessStep::Dead;
                }
                prop_assert_eq!(dead, gap >= 35_000);
                if dead {
                    return Ok(());
                }
                liveness.received(next);
                now = next;
            }
            let mut judged = liveness.deadline();
            while liveness.step(judged) != LivenessStep::Dead {
                judged = liveness.deadline();
            }
            prop_assert_eq!(judged, now + PING_AFTER + PONG_TIMEOUT);
        }
    }
}
