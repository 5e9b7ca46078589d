//! The handle: reserve, append, wait, read, keep.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::batch::{Appended, Batch, Rejected, Reservation};
use crate::checkpoint::{self, Checkpoint};
use crate::cursor::{self, Cursor};
use crate::durable::Durable;
use crate::error::{CheckpointError, CursorError, Fault, Faulty, OpenError, ReadError, Refused};
use crate::event::{Health, Status};
use crate::format::SegmentKey;
use crate::heartbeat::Beat;
use crate::opening::{Parts, prepare};
use crate::position::Position;
use crate::queue::Phase;
use crate::reader::Reader;
use crate::recovery::{Previous, Torn};
use crate::seek_since::seek_since;
use crate::settings::Settings;
use crate::shared::{Shared, locked, wake_all};
use crate::stepped::Stepper;
use crate::storage::{Directory, Storage};
use crate::walk::ReadFrom;

/// How long the last handle's drop waits for the disk.
const DROP_PATIENCE: Duration = Duration::from_secs(5);

/// An open ledger. Cheap to clone; the last one dropped closes it (see [`Ledger::close`]).
#[derive(Clone)]
pub struct Ledger {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    threads: std::sync::Mutex<Vec<JoinHandle<()>>>,
    /// Without threads: the caller takes the steps.
    stepped: bool,
    /// Held while segments are removed or a checkpoint is written.
    upkeep: std::sync::Mutex<()>,
}

/// What opening found.
pub struct Opened {
    /// The ledger, ready for appends.
    pub ledger: Ledger,
    /// This run.
    pub incarnation: u64,
    /// The run before, if the log still holds any of it.
    pub previous: Option<Previous>,
    /// The last sign of life of an earlier run.
    pub last_beat: Option<Beat>,
    /// What was cut.
    pub torn: Vec<Torn>,
    /// The newest usable checkpoint.
    pub checkpoint: Option<Checkpoint>,
    /// Checkpoints that are there and could not be used: damaged, or history after them was removed by hand.
    pub unusable_checkpoints: Vec<Position>,
}

impl Opened {
    /// The records of earlier incarnations since the checkpoint (or all there are): what the caller folds
    /// into its state. Reading on gives this incarnation's.
    #[must_use]
    pub fn history(&self) -> Reader {
        let from = self
            .checkpoint
            .as_ref()
            .filter(|_| self.previous.is_some())
            .map_or(ReadFrom::Oldest, |checkpoint| ReadFrom::After(checkpoint.position));
        self.ledger.reader(from)
    }
}

/// The ledger ended before all was on disk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{records} records are not on disk{}", error.as_ref().map_or_else(String::new, |error| format!(": {error}")))]
pub struct Unwritten {
    /// How many records.
    pub records: u64,
    /// The last error of the operating system.
    pub error: Option<String>,
}

/// One segment file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Its file, within the ledger's directory.
    pub file: String,
    /// The first record it may hold.
    pub first: Position,
    /// Its length.
    pub bytes: u64,
}

/// What retention did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removal {
    /// Segments removed.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Where it stopped: short of what was asked if a start would still read there.
    pub up_to: Position,
}

impl Ledger {
    /// Open the ledger in this directory, making it if need be. Blocks: it reads what was written since the
    /// last checkpoint, mends a torn end, and starts a new incarnation.
    ///
    /// # Errors
    /// See [`OpenError`]; each says what to do.
    pub fn open(directory: impl AsRef<Path>, settings: Settings) -> Result<Opened, OpenError> {
        Self::open_on(Arc::new(Directory::new(directory.as_ref())), settings)
    }

    /// Open the ledger on this storage.
    ///
    /// # Errors
    /// As [`Ledger::open`].
    pub fn open_on(storage: Arc<dyn Storage>, settings: Settings) -> Result<Opened, OpenError> {
        let Parts { shared, writer, keeper, findings } = prepare(storage, settings)?;
        let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name.to_owned()).spawn(run).map_err(|source| OpenError::Fault {
                place: shared.storage.place(),
                fault: Fault { doing: "cannot start a thread for", file: name.to_owned(), source },
            })
        };
        let keeper = spawn("ledger-keeper", Box::new(|| keeper.run()))?;
        let writer = match spawn("ledger-writer", Box::new(|| writer.run())) {
            Ok(writer) => writer,
            Err(error) => {
                shared.state().queue.phase = Phase::Closed;
                shared.keeper_wanted.notify_all();
                return Err(error);
            }
        };
        Ok(findings.opened(Self::of(shared, vec![writer, keeper])))
    }

    /// Open without threads: nothing reaches the disk but by the [`Stepper`]'s steps. For simulations.
    ///
    /// # Errors
    /// As [`Ledger::open`].
    pub fn open_stepped(
        storage: Arc<dyn Storage>,
        settings: Settings,
    ) -> Result<(Opened, Stepper), OpenError> {
        let Parts { shared, writer, keeper, findings } = prepare(storage, settings)?;
        Ok((findings.opened(Self::of(shared, Vec::new())), Stepper::new(writer, keeper)))
    }

    fn of(shared: Arc<Shared>, threads: Vec<JoinHandle<()>>) -> Self {
        let stepped = threads.is_empty();
        Self {
            inner: Arc::new(Inner {
                shared,
                threads: std::sync::Mutex::new(threads),
                stepped,
                upkeep: std::sync::Mutex::new(()),
            }),
        }
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }

    /// This run of the node.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.shared().incarnation
    }

    /// The longest payload one record can have.
    #[must_use]
    pub fn largest_payload(&self) -> usize {
        self.shared().state().queue.largest_payload()
    }

    /// Pay for one record of at most `bytes` in advance. Never blocks on the disk.
    ///
    /// # Errors
    /// The room is not there, or the disk does not do its part.
    pub fn reserve(&self, bytes: usize) -> Result<Reservation, Refused> {
        let shared = self.shared();
        let mut state = shared.state();
        let reserved = state.queue.reserve(bytes, Instant::now());
        if state.queue.room.available() < shared.settings.spare_bytes {
            shared.call_keeper(&mut state);
        }
        drop(state);
        reserved.map(|cost| Reservation::new(Arc::clone(shared), bytes, cost))
    }

    /// Append a batch. Never blocks on the disk; [`Ledger::durable`] tells when it is there. An empty batch
    /// is appended as nothing.
    ///
    /// # Errors
    /// The batch comes back with the reason. If reservations pay for all of it there are two: it weighs more
    /// than a block holds, or the ledger is closed.
    pub fn append(&self, mut batch: Batch) -> Result<Appended, Rejected> {
        let shared = self.shared();
        let paid = batch
            .reservations
            .iter()
            .map(|reservation| if reservation.belongs_to(shared) { reservation.cost } else { 0 })
            .sum();
        let mut state = shared.state();
        match state.queue.append(&batch, paid, Instant::now()) {
            Ok(appended) => {
                if state.writer_sleeps {
                    state.writer_sleeps = false;
                    shared.writer_wanted.notify_one();
                }
                drop(state);
                for reservation in batch.reservations.iter_mut().filter(|one| one.belongs_to(shared)) {
                    reservation.cost = 0;
                }
                Ok(appended)
            }
            Err(why) => {
                shared.call_keeper(&mut state);
                drop(state);
                Err(Rejected { batch, why })
            }
        }
    }

    /// Resolves when this sequence of this incarnation is on disk (at once, if it is).
    pub fn durable(&self, seq: u64) -> Durable {
        Durable::new(Arc::clone(self.shared()), seq)
    }

    /// The last durable record of this incarnation; `seq` 0 if none.
    #[must_use]
    pub fn durable_position(&self) -> Position {
        Position::new(self.incarnation(), self.shared().durable())
    }

    /// Read records in order, up to what is durable.
    #[must_use]
    pub fn reader(&self, from: ReadFrom) -> Reader {
        Reader::new(Arc::clone(self.shared()), from)
    }

    /// Where to read from so that no record since `at` (microseconds since the Unix epoch) is missed, and
    /// little from before is read; older ones come, too. A clock that was set back is allowed for, up to ten
    /// minutes. Blocks.
    ///
    /// # Errors
    /// A segment is damaged, or the disk refused.
    pub fn since(&self, at: u64) -> Result<ReadFrom, ReadError> {
        let keys: Vec<SegmentKey> = self.shared().catalogue().iter().map(|(key, _)| key).collect();
        seek_since(&*self.shared().storage, keys.into_iter(), at)
    }

    /// Open the cursor of this name; a new one stands before everything. Blocks.
    ///
    /// # Errors
    /// The name cannot be used, the file is damaged, or the disk refused.
    pub fn cursor(&self, name: &str) -> Result<Cursor, CursorError> {
        Cursor::open(Arc::clone(self.shared()), name)
    }

    /// All cursors and where they stand, by name. Blocks.
    ///
    /// # Errors
    /// One is damaged, or the disk refused.
    pub fn cursors(&self) -> Result<Vec<(String, Position)>, CursorError> {
        cursor::all(&*self.shared().storage)
    }

    /// Forget a cursor. Blocks.
    ///
    /// # Errors
    /// The disk refused.
    pub fn remove_cursor(&self, name: &str) -> Result<(), CursorError> {
        cursor::remove(&*self.shared().storage, name)
    }

    /// Store what the caller knows as of `position`; the next open returns it and reads history from there.
    /// The last two are kept. Blocks; [`crate::Event::Rolled`] tells good times.
    ///
    /// # Errors
    /// The position is not durable, or the disk refused.
    pub fn write_checkpoint(&self, position: Position, payload: &[u8]) -> Result<(), CheckpointError> {
        let durable = self.durable_position();
        if position > durable {
            return Err(CheckpointError::Ahead { at: position, durable });
        }
        let _one_at_a_time = locked(&self.inner.upkeep);
        let kept = checkpoint::write(&*self.shared().storage, position, payload)?;
        self.shared().state().checkpoints = kept;
        Ok(())
    }

    /// Leave a sign of life: the caller is alive at `at` (microseconds since the Unix epoch). Never blocks;
    /// written and synced soon after.
    pub fn beat(&self, at: u64) {
        let mut state = self.shared().state();
        state.beat = Some(at);
        self.shared().call_keeper(&mut state);
    }

    /// Remove the segments that hold only records before `position`: never the newest, and none that a start
    /// from the checkpoints kept would read. Pass the least of all cursors, and everyone finds what comes
    /// next. Blocks.
    ///
    /// # Errors
    /// The disk refused; what was removed until then is gone.
    pub fn remove_before(&self, position: Position) -> Result<Removal, Fault> {
        let shared = self.shared();
        let _one_at_a_time = locked(&self.inner.upkeep);
        let held = shared.state().checkpoints.last().copied();
        let up_to = held.map_or(position, |held| held.min(position));
        let mut removal = Removal { segments: 0, bytes: 0, up_to };
        // A loss of power must not take a cursor that was saved "soon" back to before what goes now.
        shared.sync_folder("cursors")?;
        shared.catalogue().doom_before(SegmentKey { incarnation: up_to.incarnation, first_seq: up_to.seq });
        // One by one and oldest first, each for good before the next, so that neither a crash nor a fault
        // leaves a hole: one that could not be removed is first in line the next time.
        loop {
            let Some((key, facts)) = shared.catalogue().doomed() else { break };
            let name = key.name();
            match shared.storage.remove(&name) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                other => other.fault("cannot remove", &name)?,
            }
            shared.sync_folder("segments")?;
            shared.catalogue().removed(key);
            removal.segments += 1;
            removal.bytes += facts.bytes;
        }
        if removal.segments > 0 {
            let mut state = shared.state();
            state.retry_now = true;
            shared.call_keeper(&mut state);
        }
        Ok(removal)
    }

    /// The segments there are, oldest first.
    #[must_use]
    pub fn segments(&self) -> Vec<Segment> {
        let describe = |key: SegmentKey, bytes| Segment {
            file: key.name(),
            first: Position::new(key.incarnation, key.first_seq),
            bytes,
        };
        self.shared().catalogue().iter().map(|(key, facts)| describe(key, facts.bytes)).collect()
    }

    /// Bytes of all segments and spares.
    #[must_use]
    pub fn bytes_on_disk(&self) -> u64 {
        let spares = self.shared().state().spares.len() as u64;
        self.shared().catalogue().bytes() + spares * self.shared().settings.segment_bytes
    }

    /// Numbers for metrics and for people.
    #[must_use]
    pub fn status(&self) -> Status {
        let segments = self.shared().catalogue().len();
        let state = self.shared().state();
        Status {
            incarnation: state.queue.incarnation,
            appended: state.queue.appended(),
            durable: state.queue.durable(),
            pending_bytes: state.queue.room.pending,
            reserved_bytes: state.queue.room.reserved,
            available_bytes: state.queue.room.available(),
            spares: state.spares.len(),
            segments,
            rolled: state.rolled,
            abandoned: state.abandoned,
            commits: state.queue.commits,
            health: state.queue.health(Instant::now()),
        }
    }

    /// Whether the disk does its part.
    #[must_use]
    pub fn health(&self) -> Health {
        self.shared().state().queue.health(Instant::now())
    }

    /// Take nothing more, write what was appended, seal the incarnation, and let the directory go. Blocks,
    /// for at most `patience`.
    ///
    /// # Errors
    /// The disk did not take everything in time; those records are lost with the process.
    pub fn close(&self, patience: Duration) -> Result<(), Unwritten> {
        self.inner.close(patience)
    }
}

impl Inner {
    fn close(&self, patience: Duration) -> Result<(), Unwritten> {
        let threads = std::mem::take(&mut *locked(&self.threads));
        let stepped = self.stepped;
        let until = Instant::now() + patience;
        let mut state = self.shared.state();
        if state.queue.phase == Phase::Open {
            state.queue.phase = Phase::Closing;
        }
        self.shared.writer_wanted.notify_all();
        self.shared.keeper_wanted.notify_all();
        self.shared.phase_changed.notify_all();
        while !stepped && state.queue.phase != Phase::Closed {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = Shared::wait_on(&self.shared.phase_changed, state, Some(left));
        }
        let records = state.queue.appended() - state.queue.durable();
        let error = state.queue.failed.clone();
        if stepped || state.queue.phase == Phase::Closed {
            drop(state);
            for thread in threads {
                // A thread that panicked has said so itself.
                let _ = thread.join();
            }
        } else {
            // The disk does not answer: waiting callers get an error, and the threads end when it does.
            let mut wake = Vec::new();
            state.queue.closed(&mut wake);
            drop(state);
            self.shared.phase_changed.notify_all();
            self.shared.keeper_wanted.notify_all();
            wake_all(&mut wake);
        }
        if records == 0 || stepped { Ok(()) } else { Err(Unwritten { records, error }) }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Nobody is left to hear of it.
        let _ = self.close(DROP_PATIENCE);
    }
}
