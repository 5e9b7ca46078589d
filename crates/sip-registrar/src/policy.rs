//! What a registration may ask for.

use std::time::Duration;

use crate::Gruu;

/// The registrar's limits. Times are whole seconds, with `min_expires` ≤ `default_expires` ≤ `max_expires`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// What becomes of a shorter wish, unless it is 0, says `shorter`.
    pub min_expires: u32,
    /// What becomes of a wish that is shorter than `min_expires`.
    pub shorter: ShortExpiry,
    /// A longer wish is cut to this.
    pub max_expires: u32,
    /// For a contact that names no time.
    pub default_expires: u32,
    /// Bindings that one address-of-record may have.
    pub max_contacts: u32,
    /// Which GRUUs user agents are given.
    pub gruu: Gruu,
}

/// What becomes of a wish that is too short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShortExpiry {
    /// Below an hour it is refused (423; RFC 3261 §10.3 step 7).
    Refused,
    /// It gets `min_expires`: another registrar has decided so, and its answer is what the user agent goes by
    /// (§10.2.4).
    Raised,
}

impl Default for Policy {
    /// 1 minute, 1 hour, 10 minutes, 10 contacts, no GRUUs.
    fn default() -> Self {
        Self {
            min_expires: 60,
            shorter: ShortExpiry::Refused,
            max_expires: 3600,
            default_expires: 600,
            max_contacts: 10,
            gruu: Gruu::Off,
        }
    }
}

impl Policy {
    /// The same for one whose credentials are good for so long: no registration lasts longer than they do.
    #[must_use]
    pub fn lasting_at_most(self, time: Duration) -> Self {
        let seconds = u32::try_from(time.as_secs()).unwrap_or(u32::MAX).max(1);
        Self {
            min_expires: self.min_expires.min(seconds),
            max_expires: self.max_expires.min(seconds),
            default_expires: self.default_expires.min(seconds),
            ..self
        }
    }

    /// The seconds granted for a wish; nothing if it is too short.
    pub(crate) fn grant(&self, wish: Option<u32>) -> Option<u32> {
        match wish {
            None => Some(self.default_expires),
            Some(0) => Some(0),
            Some(wish) if wish < self.min_expires => match self.shorter {
                ShortExpiry::Refused if wish < 3600 => None,
                ShortExpiry::Refused => Some(wish.min(self.max_expires)),
                ShortExpiry::Raised => Some(self.min_expires),
            },
            Some(wish) => Some(wish.min(self.max_expires)),
        }
    }
}
