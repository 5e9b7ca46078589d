//! How many branches a request may have at a time, here and everywhere behind (RFC 5393 §5).
//!
//! It bounds what elements that fork to each other can make of one request. A request with one branch and no
//! Max-Breadth goes on without: the first proxy that forks it begins to count.

use sip_message::{HeaderId, Message};

/// The most that is believed, and what a request without the header field has (RFC 5393 §5.3.3).
const MOST: u32 = 60;

/// How broad a request may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Breadth {
    branches: u32,
    named: Named,
}

/// Whether the request says so itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    Yes,
    No,
}

impl Breadth {
    /// What a request allows.
    pub(crate) fn of(request: &Message<'_>) -> Self {
        match request.number(HeaderId::MaxBreadth) {
            Ok(Some(branches)) => Self { branches: branches.min(MOST), named: Named::Yes },
            Ok(None) | Err(_) => Self { branches: MOST, named: Named::No },
        }
    }

    /// How many branches may be at work at a time.
    pub(crate) fn branches(self) -> usize {
        self.branches as usize
    }

    /// What each of so many branches is to be told, if anything.
    pub(crate) fn share(self, among: usize) -> Option<u32> {
        let among = u32::try_from(among).unwrap_or(u32::MAX).max(1);
        (self.named == Named::Yes || among > 1).then(|| self.branches / among)
    }
}
