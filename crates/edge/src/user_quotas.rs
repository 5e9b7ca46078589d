//! What each user takes, over all addresses. The tables of the pure crate are behind locks that are held for
//! one look-up. Refusals are counted and logged here.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::{Duration, Instant},
};

use config::Defence;
use defence::{
    Guesses, HinderedUser, Hindrance, Log, LoginTry, Pace, ThrottledUsers, User, UserCall, UserConnection,
    Users,
};
use identity::QuotaExceeded;
use metrics::{Count, Gauge, Metrics};

use crate::admission_control::Trust;

/// Users of whom something is known and who have no connection: those that have spoken within seconds.
const WITHOUT_CONNECTION: usize = 100_000;

/// When a user may try again that has too many connections or calls. Nobody knows when one of them will end.
const LATER: Duration = Duration::from_secs(10);

/// The quotas of all users.
#[derive(Debug)]
pub(crate) struct UserQuotas {
    users: Mutex<Users>,
    guesses: Mutex<Guesses>,
    hindered: Mutex<ThrottledUsers>,
    exempt: RwLock<BTreeSet<String>>,
    metrics: Arc<Metrics>,
}

/// Against whose quota the messages of a connection count.
#[derive(Debug)]
pub(crate) enum QuotaHolder {
    /// A user that proved who it is in a request.
    ByRequest(Arc<User>),
    /// A user whose own this connection is.
    ConnectionHandler(UserConnection),
}

impl QuotaHolder {
    pub(crate) fn user(&self) -> &Arc<User> {
        match self {
            Self::ByRequest(user) => user,
            Self::ConnectionHandler(connection) => connection.user(),
        }
    }
}

fn locked<T>(table: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic under these locks is a bug of ours; the tables' own invariants are kept by their methods.
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

impl UserQuotas {
    /// `most` connections may be open at once.
    pub(crate) fn new(config: &Defence, most: usize, metrics: Arc<Metrics>) -> Self {
        let now = Instant::now();
        let most = most.saturating_add(WITHOUT_CONNECTION);
        Self {
            users: Mutex::new(Users::new(config.user_limits, most)),
            guesses: Mutex::new(Guesses::new(config.user_limits.failures, config.limits.forget, now)),
            hindered: Mutex::new(ThrottledUsers::new(now)),
            exempt: RwLock::new(config.exempt_users.clone()),
            metrics,
        }
    }

    /// Everything is judged by these limits from now on.
    pub(crate) fn take_over(&self, config: &Defence) {
        self.exempt.write().unwrap_or_else(PoisonError::into_inner).clone_from(&config.exempt_users);
        // A user that becomes exempt may have connections that count against its quota.
        locked(&self.users).limit(config.user_limits, |user| config.exempt_users.contains(user));
        locked(&self.guesses).limit(config.user_limits.failures, config.limits.forget);
    }

    /// The user of an address-of-record, if limits hold for it. None too if as many users as can be are
    /// remembered.
    pub(crate) fn user(&self, aor: &str) -> Option<Arc<User>> {
        // Kept until there is a user: who becomes exempt meanwhile is there then, to be told.
        let exempt = self.exempt.read().unwrap_or_else(PoisonError::into_inner);
        if exempt.contains(aor) {
            return None;
        }
        let user = locked(&self.users).find(aor, Instant::now());
        if user.is_none() {
            self.metrics.add(Count::UsersUncounted);
        }
        user
    }

    /// A connection becomes a user's own.
    pub(crate) fn connect(&self, user: &Arc<User>) -> Result<UserConnection, QuotaExceeded> {
        user.connect().ok_or_else(|| self.hinders(user.name(), Hindrance::Connections, LATER))
    }

    /// A user begins a call.
    pub(crate) fn call(&self, user: &Arc<User>) -> Result<UserCall, QuotaExceeded> {
        user.call().ok_or_else(|| self.hinders(user.name(), Hindrance::Calls, LATER))
    }

    /// A message of a user comes. None if it is not listened to any more.
    pub(crate) fn hear(&self, user: &User) -> Option<Trust> {
        match user.speaks(Instant::now()) {
            Pace::Good => Some(Trust::Authenticated),
            Pace::TooFast { wait } => {
                Some(Trust::Throttled(self.hinders(user.name(), Hindrance::MessageRate, wait)))
            }
            Pace::FarTooFast => {
                self.hinders(user.name(), Hindrance::MessageRate, LATER);
                None
            }
        }
    }

    /// Whether credentials for a name are to be looked at.
    pub(crate) fn may_try(&self, who: &LoginTry<'_>) -> Result<(), QuotaExceeded> {
        let may = locked(&self.guesses).may_try(who, Instant::now());
        may.map_err(|wait| self.hinders(&format!("{}@{}", who.name, who.domain), Hindrance::Failures, wait))
    }

    /// Credentials for a name were wrong.
    pub(crate) fn failed(&self, who: &LoginTry<'_>) {
        locked(&self.guesses).failed(who, Instant::now());
    }

    /// They were right.
    pub(crate) fn proved(&self, who: &LoginTry<'_>) {
        locked(&self.guesses).proved(who, Instant::now());
    }

    fn hinders(&self, name: &str, what: Hindrance, wait: Duration) -> QuotaExceeded {
        self.metrics.add(match what {
            Hindrance::Connections => Count::HinderedConnections,
            Hindrance::MessageRate => Count::HinderedMessageRate,
            Hindrance::Calls => Count::HinderedCalls,
            Hindrance::Failures => Count::HinderedFailures,
        });
        // Unauthenticated clients choose names.
        let end = name.floor_char_boundary(LONGEST_NAME);
        let name = name.get(..end).unwrap_or_default();
        let log = locked(&self.hindered).note(name, what, Instant::now());
        if let Log::Say { times } = log {
            tracing::warn!(user = ?name, limit = what.as_str(), times, "a user is throttled; see [defence]");
        }
        QuotaExceeded { what, wait }
    }

    /// Users that were throttled lately.
    pub(crate) fn hindered(&self) -> Vec<HinderedUser> {
        locked(&self.hindered).list(Instant::now())
    }

    /// Measures what is seen on the metrics page.
    pub(crate) fn measure(&self) {
        let remembered = locked(&self.users).len();
        self.metrics.set(Gauge::Users, remembered as u64);
    }
}

/// Bytes of a name that are shown.
const LONGEST_NAME: usize = 128;

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    #[test]
    fn who_becomes_exempt_is_so_on_the_connection_that_it_has() {
        let mut config = Defence::default();
        config.user_limits.message_rate = NonZeroU32::new(1);
        let quotas = UserQuotas::new(&config, 10, Arc::new(Metrics::new()));
        let connection = quotas.connect(&quotas.user("trunk@x").unwrap()).unwrap();
        let fast =
            || (0..100).filter(|_| quotas.hear(connection.user()) != Some(Trust::Authenticated)).count();
        assert!(fast() > 0);
        config.exempt_users.insert("trunk@x".to_owned());
        quotas.take_over(&config);
        assert_eq!(fast(), 0);
        assert!(quotas.user("trunk@x").is_none());
        config.exempt_users.clear();
        quotas.take_over(&config);
        assert!(fast() > 0);
    }
}
