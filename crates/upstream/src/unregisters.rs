//! The un-REGISTERs of this server at one upstream: the header field that proves them, and how many failed.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use config::UnregisterHeader;

/// How often a failure is warned of.
const EVERY: Duration = Duration::from_secs(60);

/// The state of an upstream's un-REGISTERs.
#[derive(Debug)]
pub struct Unregisters {
    header: Option<UnregisterHeader>,
    failures: Mutex<Failures>,
}

#[derive(Debug, Default)]
struct Failures {
    count: u64,
    /// The status of the last one.
    status: Option<u16>,
    /// Those that no warning has told of.
    untold: u64,
    warned: Option<Instant>,
}

impl Unregisters {
    pub(crate) fn new(header: Option<UnregisterHeader>) -> Self {
        Self { header, failures: Mutex::default() }
    }

    /// The line that proves an un-REGISTER to be this server's; empty without `unregister_header`. It holds
    /// the secret.
    pub fn proof(&self) -> String {
        self.header
            .as_ref()
            .map(|header| format!("{}: {}\r\n", header.name.as_str(), header.secret.expose()))
            .unwrap_or_default()
    }

    /// How many failed, and the status of the last; none: no server answered it.
    pub fn failures(&self) -> (u64, Option<u16>) {
        let failures = self.lock();
        (failures.count, failures.status)
    }

    /// One failed with this status; none: no server answered it; 2xx: the answer still lists the contact.
    /// Warns of it, at most once in a minute.
    pub fn failed(&self, upstream: &str, status: Option<u16>) {
        if let Some(untold) = self.lock().add(status, Instant::now()) {
            tracing::warn!(
                upstream,
                status,
                contacts = untold,
                mend = self.mend(status),
                "the registrar did not remove the contacts of connections that have ended; they stay until they expire"
            );
        }
    }

    /// The operator's remedy.
    fn mend(&self, status: Option<u16>) -> &'static str {
        match (status, &self.header) {
            (Some(401 | 403 | 407), None) => {
                "set unregister_header in [[upstream]] and let the registrar take it for proof, or use register = \"local\"; \
                 docs/PBX.md has recipes"
            }
            (Some(401 | 403 | 407), Some(_)) => {
                "let the registrar take unregister_header with its secret for proof; docs/PBX.md has recipes"
            }
            (Some(200..300), _) => {
                "the registrar keeps a contact under another URI than it was registered with: give the endpoint that takes \
                 un-REGISTERs the same NAT settings as the endpoints of the users (rewrite_contact of Asterisk)"
            }
            (None | Some(503), _) => "see whether the registrar answers: /api/upstreams, sipway check",
            (Some(_), _) => "see why the registrar refuses: its log, for REGISTER with expires=0",
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Failures> {
        // Nothing can panic under this lock.
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Failures {
    /// Gives how many there are to warn of, if it is time for that.
    fn add(&mut self, status: Option<u16>, now: Instant) -> Option<u64> {
        self.count += 1;
        self.untold += 1;
        self.status = status;
        if self.warned.is_some_and(|at| now.saturating_duration_since(at) < EVERY) {
            return None;
        }
        self.warned = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_is_told_at_once_and_the_others_once_a_minute() {
        let (mut failures, start) = (Failures::default(), Instant::now());
        let mut at = |seconds, status| failures.add(status, start + Duration::from_secs(seconds));
        assert_eq!(at(0, Some(401)), Some(1));
        assert_eq!((at(1, Some(401)), at(59, Some(401))), (None, None));
        assert_eq!(at(60, None), Some(3));
        assert_eq!(at(61, Some(403)), None);
        assert_eq!((failures.count, failures.status), (5, Some(403)));
    }

    #[test]
    fn the_mend_is_for_the_status_and_shows_no_secret() {
        let without = Unregisters::new(None);
        assert!(without.mend(Some(401)).contains("set unregister_header"));
        assert!(without.mend(None).contains("answers"));
        assert!(without.mend(Some(200)).contains("rewrite_contact"));
        assert_eq!(without.proof(), "");
    }
}
