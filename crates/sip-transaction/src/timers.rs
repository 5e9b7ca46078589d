//! How long the timers of RFC 3261 §17 (table 4) and RFC 6026 run.

use std::time::Duration;

/// Whether the transport under a transaction delivers what it is given (TCP, TLS, WebSocket) or may lose it
/// (UDP).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reliability {
    /// TCP, TLS, SCTP, WebSocket: nothing is sent twice.
    Reliable,
    /// UDP: the transaction repeats what may have been lost.
    Unreliable,
}

/// Whether the layer reminds its user to answer 100 (Trying) when nothing was answered for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TryingReminder {
    /// [`Event::SendTrying`](crate::Event::SendTrying) comes 200 ms after an INVITE (RFC 3261 §17.2.1) and,
    /// for other requests, once the peer's Timer E has reached T2 (RFC 4320 §4.1).
    Remind,
    /// No reminder: the user answers in time by itself.
    Silent,
}

/// The base values all timers come from. Timer C is a proxy's, not a transaction's, and is not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// T1, the estimate of a round trip: 500 ms.
    pub t1: Duration,
    /// T2, the longest pause between repeats of non-INVITE requests and INVITE responses: 4 s.
    pub t2: Duration,
    /// T4, the longest time a message lives in the network: 5 s.
    pub t4: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Timers { t1: Duration::from_millis(500), t2: Duration::from_secs(4), t4: Duration::from_secs(5) }
    }
}

/// After this time without an answer an INVITE wants a 100 (RFC 3261 §17.2.1).
pub(crate) const INVITE_TRYING_AFTER: Duration = Duration::from_millis(200);

/// RFC 3261 gives Timer D as "at least 32 s", whatever T1 is.
const TIMER_D_AT_LEAST: Duration = Duration::from_secs(32);

impl Timers {
    /// 64 × T1: timers B, F, H, L and M, and J on unreliable transports. 32 s by default.
    pub fn sixty_four_t1(&self) -> Duration {
        self.t1.saturating_mul(64)
    }

    /// Timer D: how long an INVITE client transaction stays to acknowledge repeated final responses.
    pub fn d(&self, reliability: Reliability) -> Duration {
        match reliability {
            Reliability::Reliable => Duration::ZERO,
            Reliability::Unreliable => TIMER_D_AT_LEAST.max(self.sixty_four_t1()),
        }
    }

    /// Timer I (and K): how long late repeats are absorbed. T4, or nothing on reliable transports.
    pub fn i(&self, reliability: Reliability) -> Duration {
        match reliability {
            Reliability::Reliable => Duration::ZERO,
            Reliability::Unreliable => self.t4,
        }
    }

    /// Timer J: how long a non-INVITE server transaction answers repeats of its request.
    pub fn j(&self, reliability: Reliability) -> Duration {
        match reliability {
            Reliability::Reliable => Duration::ZERO,
            Reliability::Unreliable => self.sixty_four_t1(),
        }
    }

    /// Timer K: how long a non-INVITE client transaction absorbs repeats of the final response.
    pub fn k(&self, reliability: Reliability) -> Duration {
        self.i(reliability)
    }

    /// The first pause of timers A, E and G: T1 where the transport may lose messages, never elsewhere.
    pub fn first_repeat(&self, reliability: Reliability) -> Option<Duration> {
        match reliability {
            Reliability::Reliable => None,
            Reliability::Unreliable => Some(self.t1),
        }
    }

    /// When a non-INVITE request first may (unreliable) and at last must (any transport) be answered with
    /// 100: the time in which the peer's Timer E grows to T2 (RFC 4320 §4.1). 3.5 s by default.
    pub fn non_invite_trying_after(&self) -> Duration {
        let mut pause = self.t1.max(Duration::from_millis(1));
        let mut passed = Duration::ZERO;
        while pause < self.t2 {
            passed += pause;
            pause = pause.saturating_mul(2);
        }
        passed
    }
}
