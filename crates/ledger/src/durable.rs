//! Waiting until something is on disk.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use crate::queue::Waited;
use crate::shared::Shared;

/// The ledger ended before the record was durable (or no such record was ever appended).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the ledger was closed before the record was durable")]
pub struct NotDurable;

/// Resolves when a sequence is durable. Needs no particular runtime.
#[must_use = "does nothing unless awaited"]
pub struct Durable {
    shared: Arc<Shared>,
    seq: u64,
    /// The caller that the queue will wake.
    known: Option<Waker>,
}

impl Durable {
    pub(crate) fn new(shared: Arc<Shared>, seq: u64) -> Self {
        Self { shared, seq, known: None }
    }

    /// Wait on this thread instead.
    ///
    /// # Errors
    /// The ledger was closed before.
    pub fn wait(mut self) -> Result<(), NotDurable> {
        let waker = thread_waker();
        loop {
            match self.check(&waker) {
                Waited::Durable => return Ok(()),
                Waited::Never => return Err(NotDurable),
                Waited::NotYet => std::thread::park(),
            }
        }
    }

    /// Wait on this thread for at most so long; `None` if it is still under way.
    pub fn wait_for(&mut self, timeout: Duration) -> Option<Result<(), NotDurable>> {
        let until = Instant::now() + timeout;
        let waker = thread_waker();
        loop {
            match self.check(&waker) {
                Waited::Durable => return Some(Ok(())),
                Waited::Never => return Some(Err(NotDurable)),
                Waited::NotYet => {}
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            std::thread::park_timeout(left);
        }
    }

    fn check(&mut self, waker: &Waker) -> Waited {
        if self.seq <= self.shared.durable() {
            return Waited::Durable;
        }
        let mut state = self.shared.state();
        if self.known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            // Already on the list: only look.
            return state.queue.look(self.seq);
        }
        self.known = Some(waker.clone());
        state.queue.wait(self.seq, waker)
    }
}

impl Future for Durable {
    type Output = Result<(), NotDurable>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.check(context.waker()) {
            Waited::Durable => Poll::Ready(Ok(())),
            Waited::Never => Poll::Ready(Err(NotDurable)),
            Waited::NotYet => Poll::Pending,
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Wakes the thread that asks for it.
pub(crate) fn thread_waker() -> Waker {
    Waker::from(Arc::new(Unpark(std::thread::current())))
}
