//! What the ledger's handles and its two threads share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use crate::catalogue::Catalogue;
use crate::error::{Fault, Faulty};
use crate::event::Event;
use crate::heartbeat::Heartbeat;
use crate::position::Position;
use crate::queue::Queue;
use crate::settings::{Durability, Settings};
use crate::storage::{File, LockGuard, Storage};

/// A prepared, empty segment.
pub(crate) struct Spare {
    pub(crate) name: String,
    pub(crate) file: Arc<dyn File>,
}

/// Everything behind the one lock that appends take.
pub(crate) struct State {
    pub(crate) queue: Queue,
    pub(crate) spares: Vec<Spare>,
    /// The writer sleeps until there is work.
    pub(crate) writer_sleeps: bool,
    /// A timestamp for the keeper to write down.
    pub(crate) beat: Option<u64>,
    /// Something for the keeper to do may have come up.
    pub(crate) keeper_called: bool,
    /// Room was freed: the keeper need not wait out its pause.
    pub(crate) retry_now: bool,
    pub(crate) rolled: u64,
    pub(crate) abandoned: u64,
    /// The newest and the one before, if kept: retention spares what a start would read.
    pub(crate) checkpoints: Vec<Position>,
}

pub(crate) struct Shared {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) settings: Settings,
    pub(crate) incarnation: u64,
    /// The last record of the incarnations before; [`Position::START`] if there is none.
    pub(crate) history_end: Position,
    state: Mutex<State>,
    pub(crate) writer_wanted: Condvar,
    pub(crate) keeper_wanted: Condvar,
    /// Told when a phase ends.
    pub(crate) phase_changed: Condvar,
    /// As in the queue, to be read without its lock.
    durable: AtomicU64,
    catalogue: Mutex<Catalogue>,
    pub(crate) heartbeat: Mutex<Heartbeat>,
    /// Held until the writer has ended.
    pub(crate) lock: Mutex<Option<LockGuard>>,
}

/// No code panics while it holds one of these locks with the state half changed, so a poisoned lock is still
/// good.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        settings: Settings,
        state: State,
        catalogue: Catalogue,
        heartbeat: Heartbeat,
        history_end: Position,
        lock: LockGuard,
    ) -> Self {
        Self {
            storage,
            settings,
            incarnation: state.queue.incarnation,
            history_end,
            state: Mutex::new(state),
            writer_wanted: Condvar::new(),
            keeper_wanted: Condvar::new(),
            phase_changed: Condvar::new(),
            durable: AtomicU64::new(0),
            catalogue: Mutex::new(catalogue),
            heartbeat: Mutex::new(heartbeat),
            lock: Mutex::new(Some(lock)),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    pub(crate) fn catalogue(&self) -> MutexGuard<'_, Catalogue> {
        locked(&self.catalogue)
    }

    pub(crate) fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    pub(crate) fn set_durable(&self, seq: u64) {
        self.durable.store(seq, Ordering::Release);
    }

    /// Give back what a reservation held.
    pub(crate) fn release(&self, cost: u64) {
        let room = &mut self.state().queue.room;
        room.reserved = room.reserved.saturating_sub(cost);
    }

    pub(crate) fn tell(&self, event: &Event) {
        if let Some(observer) = &self.settings.observer {
            observer.tell(event);
        }
    }

    pub(crate) fn sync(&self, file: &dyn File, name: &str) -> Result<(), Fault> {
        match self.settings.durability {
            Durability::Memory => Ok(()),
            Durability::Disk => file.sync().fault("cannot sync", name),
        }
    }

    pub(crate) fn sync_folder(&self, folder: &str) -> Result<(), Fault> {
        match self.settings.durability {
            Durability::Memory => Ok(()),
            Durability::Disk => self.storage.sync_folder(folder).fault("cannot sync", folder),
        }
    }

    /// Call the keeper.
    pub(crate) fn call_keeper(&self, state: &mut State) {
        if !state.keeper_called {
            state.keeper_called = true;
            self.keeper_wanted.notify_one();
        }
    }

    pub(crate) fn wait_on<'a>(
        condvar: &Condvar,
        guard: MutexGuard<'a, State>,
        timeout: Option<Duration>,
    ) -> MutexGuard<'a, State> {
        match timeout {
            None => condvar.wait(guard).unwrap_or_else(PoisonError::into_inner),
            Some(timeout) => condvar.wait_timeout(guard, timeout).unwrap_or_else(PoisonError::into_inner).0,
        }
    }
}

pub(crate) fn wake_all(wake: &mut Vec<Waker>) {
    for waker in wake.drain(..) {
        waker.wake();
    }
}
