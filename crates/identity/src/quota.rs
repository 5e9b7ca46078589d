//! The answer to a user that takes more than it may.

use std::time::Duration;

use defence::Hindrance;
use sip_proxy::Answer;

/// A user takes more than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaExceeded {
    /// Which limit.
    pub what: Hindrance,
    /// When it may come again.
    pub wait: Duration,
}

impl QuotaExceeded {
    /// What a request is answered for it. 503 is what a user agent is to come again after (RFC 3261 §21.5.4)
    /// and what a PBX takes for a trunk that is full (RFC 3398 §8.2.6.1); 429 means something else in SIP
    /// (RFC 3892).
    #[must_use]
    pub fn answer(self) -> Answer {
        let reason = match self.what {
            Hindrance::Connections => "Too Many Connections",
            Hindrance::MessageRate => "Too Many Messages",
            Hindrance::Calls => "Too Many Calls",
            Hindrance::Failures => "Too Many Failed Logins",
        };
        Answer::new(503, reason).header("Retry-After", seconds(self.wait).to_string())
    }
}

/// Whole seconds, at least one.
fn seconds(wait: Duration) -> u64 {
    wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1)
}
