//! How a sink is doing, for metrics and people.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use ledger::Position;

use crate::history::History;

/// What a sink does right now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It has delivered everything there is, or is about to.
    Working,
    /// The destination does not answer or is not ready; it is tried again and again.
    Retrying,
    /// The destination refuses an event. It is tried again in case that is mended; nothing behind it is
    /// delivered meanwhile, so that order holds (a webhook with `concurrency`: nothing of the same flow).
    Blocked,
    /// It was told to finish, or the ledger was closed.
    Stopped,
}

impl State {
    /// The word for metrics and people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Working => "working",
            Self::Retrying => "retrying",
            Self::Blocked => "blocked",
            Self::Stopped => "stopped",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something that went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// When.
    pub at: SystemTime,
    /// What, for people; bounded, and never a response body as a whole.
    pub text: String,
}

/// An event that the destination refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// Its id, as consumers see it.
    pub event: String,
    /// Since when nothing was delivered because of it.
    pub since: SystemTime,
    /// What the destination said last.
    pub error: String,
}

/// How a sink is doing.
#[derive(Clone, Debug)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// What takes its events: its kind, and where.
    pub target: String,
    /// What it does right now.
    pub state: State,
    /// The last record that is done with: acknowledged by the destination, or of a type the sink does not
    /// want.
    pub cursor: Position,
    /// Records in the ledger behind the cursor, of all types.
    pub lag: u64,
    /// When the oldest event that waits here happened, in microseconds since the Unix epoch; its age is the
    /// sink's delay.
    pub oldest_waiting_at: Option<u64>,
    /// When the destination last acknowledged something.
    pub last_delivery: Option<SystemTime>,
    /// What went wrong last, even if it was mended since.
    pub last_error: Option<Trouble>,
    /// The event that the destination refuses, if one blocks the sink now.
    pub blocked: Option<Blocked>,
    /// Events acknowledged since the start.
    pub delivered: u64,
    /// Deliveries (requests, writes) acknowledged since the start.
    pub deliveries: u64,
    /// Attempts after a failure since the start.
    pub retries: u64,
    /// Refused events that were put into the dead-letter file since the start.
    pub dead_lettered: u64,
    /// Times the ledger no longer held what should have come next, or was older than the cursor. Events may
    /// be missing.
    pub gaps: u64,
    /// Records skipped because this release does not know their type.
    pub unknown: u64,
}

impl Status {
    /// How long the oldest event that waits has waited; zero if none does.
    #[must_use]
    pub fn delay(&self, now: SystemTime) -> Duration {
        let Some(micros) = self.oldest_waiting_at else { return Duration::ZERO };
        let at = SystemTime::UNIX_EPOCH + Duration::from_micros(micros);
        now.duration_since(at).unwrap_or_default()
    }
}

/// What a worker tells the rest of the process.
#[derive(Debug)]
pub struct Report {
    pub state: State,
    pub cursor: Position,
    pub oldest_waiting_at: Option<u64>,
    pub last_delivery: Option<SystemTime>,
    pub last_error: Option<Trouble>,
    pub blocked: Option<Blocked>,
    pub delivered: u64,
    pub deliveries: u64,
    pub retries: u64,
    pub dead_lettered: u64,
    pub gaps: u64,
    pub unknown: u64,
    pub(crate) history: History,
}

/// A report under a lock that is held for a copy only.
#[derive(Debug)]
pub struct Board(Mutex<Report>);

impl Board {
    /// A sink that has come as far as `cursor`.
    #[must_use]
    pub fn new(cursor: Position) -> Self {
        Self(Mutex::new(Report {
            state: State::Working,
            cursor,
            oldest_waiting_at: None,
            last_delivery: None,
            last_error: None,
            blocked: None,
            delivered: 0,
            deliveries: 0,
            retries: 0,
            dead_lettered: 0,
            gaps: 0,
            unknown: 0,
            history: History::default(),
        }))
    }

    /// Each change is whole when the lock is let go, even by a panic.
    /// The report behind its lock.
    pub fn report(&self) -> MutexGuard<'_, Report> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The status of the sink of this name and target; `end` is the end of the ledger.
    pub fn status(&self, name: &str, target: &str, end: Position) -> Status {
        let report = self.report();
        Status {
            name: name.to_owned(),
            target: target.to_owned(),
            state: report.state,
            cursor: report.cursor,
            lag: report.history.count(report.cursor, end),
            oldest_waiting_at: report.oldest_waiting_at,
            last_delivery: report.last_delivery,
            last_error: report.last_error.clone(),
            blocked: report.blocked.clone(),
            delivered: report.delivered,
            deliveries: report.deliveries,
            retries: report.retries,
            dead_lettered: report.dead_lettered,
            gaps: report.gaps,
            unknown: report.unknown,
        }
    }
}
