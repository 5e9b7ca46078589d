//! What must be done beside the writing: segments are prepared ahead of need, and the heartbeat is written
//! down.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Fault, Faulty};
use crate::event::Event;
use crate::queue::Phase;
use crate::settings::Settings;
use crate::shared::{Shared, Spare};
use crate::storage::Storage;

const FIRST_RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_secs(5);
/// One spare to roll into, and one that is never counted as room.
const LEAST_SPARES: usize = 2;
/// Zeros written and synced at a time, so that preparing never puts a whole segment in front of a commit.
const FILL: usize = 1 << 20;

pub(crate) struct Keeper {
    shared: Arc<Shared>,
    next_spare: u64,
    retry: Duration,
}

/// What a step of the keeper did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeeperStep {
    /// There is enough of everything.
    Idle,
    /// A segment was prepared or a heartbeat written; there may be more to do.
    Done,
    /// A segment could not be prepared: try again after so long, or when called.
    Wait(Duration),
    /// The ledger is closed.
    Ended,
}

impl Keeper {
    pub(crate) fn new(shared: Arc<Shared>, next_spare: u64) -> Self {
        Self { shared, next_spare, retry: FIRST_RETRY }
    }

    pub(crate) fn step(&mut self) -> KeeperStep {
        let (beat, wanted) = {
            let mut state = self.shared.state();
            state.keeper_called = false;
            // While closing, what waits may still need a new segment.
            if state.queue.phase == Phase::Closed
                || (state.queue.phase == Phase::Closing && state.queue.is_idle())
            {
                return KeeperStep::Ended;
            }
            let short = state.queue.room.available() < self.shared.settings.spare_bytes;
            (state.beat.take(), short || state.spares.len() < LEAST_SPARES)
        };
        if let Some(at) = beat {
            self.beat(at);
        }
        if !wanted {
            return if beat.is_some() { KeeperStep::Done } else { KeeperStep::Idle };
        }
        self.next_spare += 1;
        match make_spare(&*self.shared.storage, &self.shared.settings, self.next_spare) {
            Ok(spare) => {
                let mut state = self.shared.state();
                state.spares.push(spare);
                state.queue.room.spares = state.spares.len();
                state.queue.unprepared = None;
                drop(state);
                self.shared.phase_changed.notify_all();
                self.retry = FIRST_RETRY;
                KeeperStep::Done
            }
            Err(fault) => {
                let error = fault.to_string();
                let news = self.shared.state().queue.unprepared.replace(error.clone()).is_none();
                if news {
                    self.shared.tell(&Event::NoRoom { error });
                }
                let wait = self.retry;
                self.retry = (self.retry * 2).min(LONGEST_RETRY);
                KeeperStep::Wait(wait)
            }
        }
    }

    fn beat(&self, at: u64) {
        let written = crate::shared::locked(&self.shared.heartbeat).beat(at);
        if let Err(fault) = written.and_then(|file| self.shared.sync(&*file, "heartbeat")) {
            self.shared.tell(&Event::HeartbeatLost { error: fault.to_string() });
        }
    }

    /// The thread: steps until the ledger is closed.
    pub(crate) fn run(mut self) {
        loop {
            let until = match self.step() {
                KeeperStep::Done => continue,
                KeeperStep::Ended => return,
                KeeperStep::Idle => None,
                KeeperStep::Wait(retry) => Some(Instant::now() + retry),
            };
            let mut state = self.shared.state();
            loop {
                let left = until.map(|until| until.saturating_duration_since(Instant::now()));
                let ended = state.queue.phase == Phase::Closed
                    || (state.queue.phase == Phase::Closing && state.queue.is_idle());
                // After a failure only time or retention helps, and a heartbeat must not wait for either.
                let called =
                    state.keeper_called && (until.is_none() || state.beat.is_some() || state.retry_now);
                if ended || called || left.is_some_and(|left| left.is_zero()) {
                    state.retry_now = false;
                    break;
                }
                state.keeper_called = false;
                state = Shared::wait_on(&self.shared.keeper_wanted, state, left);
            }
        }
    }
}

pub(crate) fn spare_name(number: u64, suffix: &str) -> String {
    format!("segments/spare-{number:020}.{suffix}")
}

/// Make an empty segment: zeros to its full length, so that later writes need no new room, on disk before it
/// has its name.
pub(crate) fn make_spare(storage: &dyn Storage, settings: &Settings, number: u64) -> Result<Spare, Fault> {
    let new = spare_name(number, "new");
    let name = spare_name(number, "ready");
    let made = fill(storage, settings, &new)
        .and_then(|file| storage.rename(&new, &name).fault("cannot rename to", &name).map(|()| file));
    match made {
        Ok(file) => Ok(Spare { name, file }),
        Err(fault) => {
            // What was written takes room from others.
            let _ = storage.remove(&new);
            Err(fault)
        }
    }
}

fn fill(
    storage: &dyn Storage,
    settings: &Settings,
    name: &str,
) -> Result<Arc<dyn crate::storage::File>, Fault> {
    let file = storage.create(name).fault("cannot create", name)?;
    let zeros = vec![0; FILL.min(usize::try_from(settings.segment_bytes).unwrap_or(FILL))];
    let mut offset = 0;
    while offset < settings.segment_bytes {
        let size = (settings.segment_bytes - offset).min(zeros.len() as u64) as usize;
        file.write_at(&zeros[..size], offset).fault("cannot prepare", name)?;
        offset += size as u64;
        if settings.durability == crate::settings::Durability::Disk {
            file.sync().fault("cannot sync", name)?;
        }
    }
    Ok(file)
}
