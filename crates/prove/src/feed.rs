//! An event log that is filled by one task and awaited by others.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use crate::{EventLog, now_micros};

/// A shared event log: the reader of the server's events adds lines, and tests that wait for something look
/// at it.
#[derive(Clone, Debug, Default)]
pub struct Feed(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    log: Mutex<EventLog>,
    grown: Notify,
}

impl Feed {
    /// A feed whose log is [`EventLog::joining`].
    #[must_use]
    pub fn joining() -> Self {
        Self(Arc::new(Shared { log: Mutex::new(EventLog::joining()), grown: Notify::new() }))
    }

    /// Takes in one line that was read just now.
    pub fn line(&self, line: &str) {
        let read_at = now_micros();
        self.look_mut(|log| log.line(line, read_at));
        self.0.grown.notify_waiters();
    }

    /// Takes in whole lines that were read at this time (microseconds since the Unix epoch).
    pub fn lines(&self, lines: &str, read_at: u64) {
        self.look_mut(|log| lines.lines().for_each(|line| log.line(line, read_at)));
        self.0.grown.notify_waiters();
    }

    /// Looks at the log.
    pub fn look<R>(&self, look: impl FnOnce(&EventLog) -> R) -> R {
        self.look_mut(|log| look(log))
    }

    /// [`EventLog::forget_closed`] on the shared log.
    pub fn forget_closed(&self) {
        self.look_mut(EventLog::forget_closed);
    }

    fn look_mut<R>(&self, look: impl FnOnce(&mut EventLog) -> R) -> R {
        look(&mut self.0.log.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until the log fits the condition; whether it came to that in time.
    pub async fn until(&self, patience: Duration, fits: impl Fn(&EventLog) -> bool) -> Waited {
        let waiting = async {
            loop {
                let mut grown = std::pin::pin!(self.0.grown.notified());
                grown.as_mut().enable();
                if self.look(&fits) {
                    return;
                }
                grown.await;
            }
        };
        match timeout(patience, waiting).await {
            Ok(()) => Waited::Fulfilled,
            Err(_) => Waited::InVain,
        }
    }
}

/// What became of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// It came to be.
    Fulfilled,
    /// Not in time.
    InVain,
}
