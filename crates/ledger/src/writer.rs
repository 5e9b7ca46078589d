//! From the queue to the disk: one step at a time, so that a simulation can take the steps, or as a thread.
//!
//! A step takes what waits, writes it as blocks, syncs once and publishes. If writing or syncing fails, the
//! segment is given up at its last durable block and never written again; the same blocks go into a new
//! segment whose first sequence is the first that is not durable.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::catalogue::Facts;
use crate::error::{Fault, Faulty};
use crate::event::Event;
use crate::format::{SEGMENT_HEADER, SegmentHeader, SegmentKey, finish_block, seal_block};
use crate::position::Position;
use crate::queue::{Block, Phase};
use crate::shared::{Shared, Spare, wake_all};
use crate::storage::File;

const FIRST_RETRY: Duration = Duration::from_millis(50);
/// A commit of so many records is one of many to come.
const BUSY_RECORDS: u32 = 16;
/// A commit of so many bytes gains nothing by waiting for more.
const FULL_BYTES: u64 = 256 << 10;
const LONGEST_RETRY: Duration = Duration::from_secs(5);

/// The segment being written.
pub(crate) struct Active {
    pub(crate) key: SegmentKey,
    pub(crate) file: Arc<dyn File>,
    pub(crate) mark: u64,
    /// Where the next block goes: just after the last durable one.
    pub(crate) offset: u64,
    /// Where blocks must end, so that a seal still fits.
    pub(crate) limit: u64,
}

impl Active {
    fn free(&self) -> u64 {
        self.limit.saturating_sub(self.offset)
    }
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing waits.
    Idle,
    /// Something became durable; there may be more.
    Committed,
    /// No segment to write to: try again after so long, or when a spare is ready.
    Wait(Duration),
    /// Closed: all was written and sealed, or it was given up.
    Ended,
}

pub(crate) struct Writer {
    shared: Arc<Shared>,
    active: Option<Active>,
    /// Taken from the queue and not durable yet.
    taken: Vec<Block>,
    done: Vec<Block>,
    wake: Vec<std::task::Waker>,
    retry: Duration,
    /// Records and bytes of the last commit.
    last: (u32, u64),
    /// Set while a failure lasts.
    failure: Option<Fault>,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, active: Active) -> Self {
        Self {
            shared,
            active: Some(active),
            taken: Vec::new(),
            done: Vec::new(),
            wake: Vec::new(),
            retry: FIRST_RETRY,
            last: (0, 0),
            failure: None,
        }
    }

    /// Write and sync what waits now.
    pub(crate) fn step(&mut self) -> Step {
        if self.taken.is_empty() {
            let mut state = self.shared.state();
            state.queue.take(&mut self.taken);
            if self.taken.is_empty() {
                if state.queue.phase == Phase::Open {
                    return Step::Idle;
                }
                drop(state);
                return self.seal();
            }
        }
        let fits = self.active.as_ref().map_or(0, |active| fitting(&self.taken, active.free()));
        if fits > 0 {
            match self.write_active(fits) {
                Ok(()) => return self.committed(fits),
                Err(fault) => self.abandon(fault),
            }
        }
        self.write_next()
    }

    /// Write the first `fits` blocks to the current segment and sync it.
    fn write_active(&mut self, fits: usize) -> Result<(), Fault> {
        let Some(active) = self.active.as_mut() else { return Ok(()) };
        let end = write_blocks(&self.shared, active, &mut self.taken[..fits])?;
        self.shared.sync(&*active.file, &active.key.name())?;
        active.offset = end;
        Ok(())
    }

    /// Begin a new segment with what waits: the current one is full or given up.
    fn write_next(&mut self) -> Step {
        let spare = {
            let mut state = self.shared.state();
            let spare = state.spares.pop();
            state.queue.room.spares = state.spares.len();
            self.shared.call_keeper(&mut state);
            spare
        };
        let Some(spare) = spare else {
            if let Some(fault) = &self.failure {
                let error = fault.to_string();
                self.fail(error);
            }
            return self.wait();
        };
        let rolled = self.active.is_some();
        match self.begin(&spare) {
            Ok((active, fits)) => {
                let mut state = self.shared.state();
                state.rolled += u64::from(rolled);
                state.queue.room.active_free = active.free();
                drop(state);
                let first = Position::new(active.key.incarnation, active.key.first_seq);
                self.active = Some(active);
                let step = self.committed(fits);
                if rolled {
                    self.shared.tell(&Event::Rolled { first });
                }
                step
            }
            Err(fault) => {
                // A new file may have failed because of itself or because of the disk; the current one, if
                // merely full, stays as it is.
                let _ = self.shared.storage.remove(&spare.name);
                self.shared.state().abandoned += 1;
                self.shared.tell(&Event::Abandoned { file: spare.name, error: fault.to_string() });
                let error = fault.to_string();
                self.failure = Some(fault);
                self.fail(error);
                self.wait()
            }
        }
    }

    /// Make `spare` the next segment: header and blocks are durable before it has its name, the name before
    /// anything is published.
    fn begin(&mut self, spare: &Spare) -> Result<(Active, usize), Fault> {
        let first_seq = self.taken.first().map_or(1, |block| block.first_seq);
        let key = SegmentKey { incarnation: self.shared.incarnation, first_seq };
        let mut active = begin_header(&self.shared, spare, key)?;
        let fits = fitting(&self.taken, active.free());
        active.offset = write_blocks(&self.shared, &active, &mut self.taken[..fits])?;
        name_segment(&self.shared, spare, &active)?;
        Ok((active, fits))
    }

    fn committed(&mut self, fits: usize) -> Step {
        self.done.extend(self.taken.drain(..fits));
        let done = self.done.iter();
        self.last = done.fold((0, 0), |(count, bytes), block| (count + block.count, bytes + block.on_disk()));
        let free = self.active.as_ref().map_or(0, Active::free);
        let recovered = self.failure.take().is_some();
        let mut state = self.shared.state();
        let was_failed = state.queue.failed.take().is_some();
        state.queue.published(&mut self.done, free, &mut self.wake);
        self.shared.set_durable(state.queue.durable());
        if state.queue.room.available() < self.shared.settings.spare_bytes {
            self.shared.call_keeper(&mut state);
        }
        drop(state);
        wake_all(&mut self.wake);
        self.retry = FIRST_RETRY;
        if recovered && was_failed {
            self.shared.tell(&Event::Recovered);
        }
        Step::Committed
    }

    /// Give the current segment up: after a failed write or sync nobody knows what of it is on disk.
    fn abandon(&mut self, fault: Fault) {
        let Some(active) = self.active.take() else { return };
        let mut state = self.shared.state();
        state.abandoned += 1;
        state.queue.room.active_free = 0;
        drop(state);
        self.shared.tell(&Event::Abandoned { file: active.key.name(), error: fault.to_string() });
        self.failure = Some(fault);
    }

    fn fail(&self, error: String) {
        let mut state = self.shared.state();
        let news = state.queue.failed.replace(error.clone()).is_none();
        drop(state);
        if news {
            self.shared.tell(&Event::Failed { error });
        }
    }

    fn wait(&mut self) -> Step {
        let wait = self.retry;
        self.retry = (self.retry * 2).min(LONGEST_RETRY);
        Step::Wait(wait)
    }

    /// Nothing waits and nothing more will come: mark the end of the incarnation.
    fn seal(&mut self) -> Step {
        if let Some(active) = self.active.take() {
            let next_seq = self.shared.durable() + 1;
            // A seal that cannot be written costs nothing but the next start's look at the tail.
            let sealed = active.file.write_at(&seal_block(active.mark, next_seq), active.offset);
            let _ = sealed.and_then(|()| active.file.sync());
        }
        self.end();
        Step::Ended
    }

    /// The writer ends: waiting callers get an error.
    pub(crate) fn end(&mut self) {
        let mut state = self.shared.state();
        state.queue.closed(&mut self.wake);
        drop(state);
        self.shared.phase_changed.notify_all();
        self.shared.keeper_wanted.notify_all();
        wake_all(&mut self.wake);
        // Only now may another process take the directory.
        drop(crate::shared::locked(&self.shared.lock).take());
    }

    /// The thread: steps until the ledger is closed.
    pub(crate) fn run(mut self) {
        loop {
            let begun = Instant::now();
            match self.step() {
                Step::Committed => self.gather(begun),
                Step::Ended => return,
                Step::Idle => {
                    let mut state = self.shared.state();
                    while !state.queue.has_work() && state.queue.phase == Phase::Open {
                        state.writer_sleeps = true;
                        state = Shared::wait_on(&self.shared.writer_wanted, state, None);
                    }
                    state.writer_sleeps = false;
                }
                Step::Wait(retry) => {
                    if !self.pause(retry) {
                        self.end();
                        return;
                    }
                }
            }
        }
    }

    /// When many come, let a few more come before the next sync.
    fn gather(&self, begun: Instant) {
        let (records, bytes) = self.last;
        if records >= BUSY_RECORDS && bytes < FULL_BYTES && self.taken.is_empty() {
            std::thread::sleep(self.shared.settings.gather.saturating_sub(begun.elapsed()));
        }
    }

    /// Wait before the next try; false if the ledger was given up meanwhile. A full segment waits for a spare
    /// only, but after a failure the tries are paced even if spares abound.
    fn pause(&self, retry: Duration) -> bool {
        let until = Instant::now() + retry;
        let mut state = self.shared.state();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if state.queue.phase == Phase::Closed {
                return false;
            }
            if left.is_zero() || (self.failure.is_none() && !state.spares.is_empty()) {
                return true;
            }
            state = Shared::wait_on(&self.shared.phase_changed, state, Some(left));
        }
    }
}

/// How many of these blocks fit into so many bytes.
fn fitting(blocks: &[Block], mut free: u64) -> usize {
    blocks
        .iter()
        .take_while(|block| {
            let fits = block.on_disk() <= free;
            free = free.saturating_sub(block.on_disk());
            fits
        })
        .count()
}

/// Write blocks from the segment's offset on; returns where they end.
fn write_blocks(shared: &Shared, active: &Active, blocks: &mut [Block]) -> Result<u64, Fault> {
    let durable = shared.durable();
    let mut offset = active.offset;
    for block in blocks {
        finish_block(&mut block.bytes, active.mark, block.first_seq, durable, block.count);
        active.file.write_at(&block.bytes, offset).fault("cannot write", &active.key.name())?;
        offset += block.on_disk();
    }
    Ok(offset)
}

/// Write a segment's header into a spare.
pub(crate) fn begin_header(shared: &Shared, spare: &Spare, key: SegmentKey) -> Result<Active, Fault> {
    let header = SegmentHeader {
        key,
        mark: shared.storage.unguessable(),
        size: shared.settings.segment_bytes,
        node: shared.settings.node.clone(),
    };
    spare.file.write_at(&header.encode(), 0).fault("cannot write", &spare.name)?;
    Ok(Active {
        key,
        file: Arc::clone(&spare.file),
        mark: header.mark,
        offset: SEGMENT_HEADER as u64,
        limit: SEGMENT_HEADER as u64 + shared.settings.capacity(),
    })
}

/// Make a begun segment durable, name and all, and enter it in the catalogue.
pub(crate) fn name_segment(shared: &Shared, spare: &Spare, active: &Active) -> Result<(), Fault> {
    shared.sync(&*spare.file, &spare.name)?;
    let name = active.key.name();
    shared.storage.rename(&spare.name, &name).fault("cannot rename to", &name)?;
    shared.sync_folder("segments")?;
    shared.catalogue().insert(active.key, Facts { mark: active.mark, bytes: shared.settings.segment_bytes });
    Ok(())
}
