//! The plan of a drain: whether new flows are accepted, and when each open flow is closed.

use std::time::Instant;

use lifecycle::{Cause, Ending};

/// Why flows are sent away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Drain,
    Shutdown,
}

/// How and until when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) purpose: Purpose,
    /// When it began, in microseconds since the Unix epoch.
    pub(crate) since: u64,
    pub(crate) until: Instant,
    /// When the connections of servers behind go, whatever has not been said by them.
    pub(crate) last: Instant,
    /// Flows that had closed until then.
    pub(crate) closed_before: u64,
}

/// Whether flows come in, and whether those that are here are sent away.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AdmissionState {
    Serving,
    /// No new flows; open ones stay.
    Shut,
    Emptying(Plan),
}

impl Plan {
    pub(crate) fn ending(&self) -> Ending {
        match self.purpose {
            // RFC 6455's registry: 1012 asks the client to come back, by preference elsewhere.
            Purpose::Drain => Ending::of(Cause::Drain).code(1012).reason("this server is being drained"),
            Purpose::Shutdown => Ending::of(Cause::Shutdown).code(1001).reason("the server is shutting down"),
        }
    }
}
