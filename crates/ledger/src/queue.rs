//! The ledger's state in memory, without threads, clock or disk: what was appended, what is on its way, what
//! is durable, what is promised.

use std::collections::VecDeque;
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::batch::{Appended, Batch};
use crate::error::Refused;
use crate::event::Health;
use crate::format::{BLOCK_COST, BLOCK_HEADER, RECORD_HEADER, aligned};
use crate::room::Room;

/// Bytes taken for one sync at most, so that a long queue becomes durable in steps.
const COMMIT_BYTES: usize = 8 << 20;
/// Block buffers kept for reuse.
const KEPT_BUFFERS: usize = 4;

/// A block being filled, or on its way to disk. `bytes` starts with room for the block's header.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) bytes: Vec<u8>,
    pub(crate) first_seq: u64,
    pub(crate) count: u32,
}

impl Block {
    pub(crate) fn next_seq(&self) -> u64 {
        self.first_seq + u64::from(self.count)
    }

    /// What it takes on disk.
    pub(crate) fn on_disk(&self) -> u64 {
        aligned(self.bytes.len() as u64)
    }

    /// What it was counted for while pending.
    fn pending_cost(&self) -> u64 {
        (self.bytes.len() - BLOCK_HEADER) as u64 + BLOCK_COST
    }
}

/// A caller that waits for a block, and since when.
#[derive(Debug)]
struct Waiting {
    next_seq: u64,
    since: Instant,
    wakers: Vec<Waker>,
}

/// What limits apply; a part of the settings.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) block_bytes: usize,
    pub(crate) backlog_bytes: u64,
    pub(crate) stall_after: Duration,
}

/// Whether a durable wait is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waited {
    Durable,
    NotYet,
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Takes appends.
    Open,
    /// Takes nothing more, writes what it has.
    Closing,
    /// The writer has ended.
    Closed,
}

#[derive(Debug)]
pub(crate) struct Queue {
    limits: Limits,
    pub(crate) incarnation: u64,
    next_seq: u64,
    durable: u64,
    blocks: VecDeque<Block>,
    /// One for each block, in order: first those the writer has taken, then those in `blocks`.
    waiting: VecDeque<Waiting>,
    /// Readers that follow the log.
    followers: Vec<Waker>,
    free: Vec<Vec<u8>>,
    pub(crate) room: Room,
    /// Why no segment can be written, while that is so.
    pub(crate) failed: Option<String>,
    /// Why no segment could be prepared, last time.
    pub(crate) unprepared: Option<String>,
    pub(crate) phase: Phase,
    pub(crate) commits: u64,
}

impl Queue {
    pub(crate) fn new(incarnation: u64, limits: Limits, room: Room) -> Self {
        Self {
            limits,
            incarnation,
            next_seq: 1,
            durable: 0,
            blocks: VecDeque::new(),
            waiting: VecDeque::new(),
            followers: Vec::new(),
            free: Vec::new(),
            room,
            failed: None,
            unprepared: None,
            phase: Phase::Open,
            commits: 0,
        }
    }

    pub(crate) fn appended(&self) -> u64 {
        self.next_seq - 1
    }

    pub(crate) fn durable(&self) -> u64 {
        self.durable
    }

    pub(crate) fn has_work(&self) -> bool {
        !self.blocks.is_empty()
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn largest_payload(&self) -> usize {
        self.limits.block_bytes - BLOCK_HEADER - RECORD_HEADER
    }

    fn waited(&self, now: Instant) -> Option<Duration> {
        self.waiting.front().map(|oldest| now.saturating_duration_since(oldest.since))
    }

    pub(crate) fn health(&self, now: Instant) -> Health {
        if self.phase == Phase::Closed {
            return Health::Closed;
        }
        if let Some(error) = &self.failed {
            return Health::Failed { error: error.clone() };
        }
        match self.waited(now) {
            Some(waited) if waited > self.limits.stall_after => Health::Stalled { waited },
            _ => Health::Good,
        }
    }

    /// Promise room for one record; returns what it costs.
    pub(crate) fn reserve(&mut self, bytes: usize, now: Instant) -> Result<u64, Refused> {
        if self.phase != Phase::Open {
            return Err(Refused::Closed);
        }
        if bytes > self.largest_payload() {
            return Err(Refused::TooLarge { bytes: bytes as u64, limit: self.largest_payload() as u64 });
        }
        match self.health(now) {
            Health::Good => {}
            Health::Stalled { waited } => return Err(Refused::Stalled { waited }),
            Health::Failed { error } => return Err(Refused::Failed { error }),
            Health::Closed => return Err(Refused::Closed),
        }
        if self.room.pending > self.limits.backlog_bytes {
            return Err(Refused::Backlog { pending: self.room.pending, limit: self.limits.backlog_bytes });
        }
        let cost = BLOCK_COST + (RECORD_HEADER + bytes) as u64;
        self.find_room(cost)?;
        self.room.reserved += cost;
        Ok(cost)
    }

    fn find_room(&self, wanted: u64) -> Result<(), Refused> {
        let available = self.room.available();
        if wanted > available {
            return Err(Refused::NoRoom { wanted, available, cause: self.unprepared.clone() });
        }
        Ok(())
    }

    /// Take a batch whose reservations hold `paid` bytes of the room. On an error nothing has changed.
    pub(crate) fn append(&mut self, batch: &Batch, paid: u64, now: Instant) -> Result<Appended, Refused> {
        if self.phase != Phase::Open {
            return Err(Refused::Closed);
        }
        let appended = Appended {
            incarnation: self.incarnation,
            first_seq: self.next_seq,
            last_seq: self.next_seq + u64::from(batch.count) - 1,
        };
        if batch.is_empty() {
            return Ok(appended);
        }
        let weight = batch.records.len();
        if BLOCK_HEADER + weight > self.limits.block_bytes {
            return Err(Refused::TooLarge {
                bytes: weight as u64,
                limit: (self.limits.block_bytes - BLOCK_HEADER) as u64,
            });
        }
        let new_block =
            self.blocks.back().is_none_or(|block| block.bytes.len() + weight > self.limits.block_bytes);
        let cost = weight as u64 + if new_block { BLOCK_COST } else { 0 };
        if batch.unreserved > 0 {
            if let Some(error) = &self.failed {
                return Err(Refused::Failed { error: error.clone() });
            }
            if self.room.pending + cost > self.limits.backlog_bytes {
                return Err(Refused::Backlog {
                    pending: self.room.pending,
                    limit: self.limits.backlog_bytes,
                });
            }
            self.find_room(cost.saturating_sub(paid))?;
        }
        self.room.reserved = self.room.reserved.saturating_sub(paid);
        self.room.pending += cost;
        if new_block {
            let mut bytes = self.free.pop().unwrap_or_default();
            bytes.clear();
            bytes.resize(BLOCK_HEADER, 0);
            self.blocks.push_back(Block { bytes, first_seq: self.next_seq, count: 0 });
            self.waiting.push_back(Waiting { next_seq: self.next_seq, since: now, wakers: Vec::new() });
        }
        self.next_seq += u64::from(batch.count);
        if let (Some(block), Some(waiting)) = (self.blocks.back_mut(), self.waiting.back_mut()) {
            block.bytes.extend_from_slice(&batch.records);
            block.count += batch.count;
            waiting.next_seq = self.next_seq;
        }
        Ok(appended)
    }

    /// Hand what waits to the writer, as much as one sync should carry.
    pub(crate) fn take(&mut self, into: &mut Vec<Block>) {
        let mut bytes = 0;
        while let Some(block) = self.blocks.front() {
            if bytes > 0 && bytes + block.bytes.len() > COMMIT_BYTES {
                break;
            }
            bytes += block.bytes.len();
            into.extend(self.blocks.pop_front());
        }
    }

    /// Those blocks are durable, and so much of the segment is left after them. Who waited is moved to
    /// `wake`.
    pub(crate) fn published(&mut self, done: &mut Vec<Block>, active_free: u64, wake: &mut Vec<Waker>) {
        for block in done.drain(..) {
            debug_assert_eq!(block.first_seq, self.durable + 1, "blocks become durable in order");
            self.durable = block.next_seq() - 1;
            self.room.pending = self.room.pending.saturating_sub(block.pending_cost());
            if let Some(waiting) = self.waiting.pop_front() {
                debug_assert_eq!(waiting.next_seq, block.next_seq(), "one waiting list for each block");
                wake.extend(waiting.wakers);
            }
            if self.free.len() < KEPT_BUFFERS {
                self.free.push(block.bytes);
            }
        }
        self.room.active_free = active_free;
        self.commits += 1;
        wake.append(&mut self.followers);
    }

    /// Whether `seq` is durable or can yet be.
    pub(crate) fn look(&self, seq: u64) -> Waited {
        if seq <= self.durable {
            Waited::Durable
        } else if self.phase == Phase::Closed || seq >= self.next_seq {
            Waited::Never
        } else {
            Waited::NotYet
        }
    }

    /// The same; if it is yet to be, `waker` is called when it is.
    pub(crate) fn wait(&mut self, seq: u64, waker: &Waker) -> Waited {
        let looked = self.look(seq);
        if looked != Waited::NotYet {
            return looked;
        }
        let at = self.waiting.partition_point(|waiting| waiting.next_seq <= seq);
        if let Some(waiting) = self.waiting.get_mut(at) {
            waiting.wakers.push(waker.clone());
        }
        looked
    }

    /// Call `waker` when more is durable than `seq`.
    pub(crate) fn follow(&mut self, seq: u64, waker: &Waker) -> Waited {
        if self.durable > seq {
            return Waited::Durable;
        }
        if self.phase == Phase::Closed {
            return Waited::Never;
        }
        if !self.followers.iter().any(|known| known.will_wake(waker)) {
            self.followers.push(waker.clone());
        }
        Waited::NotYet
    }

    /// The writer has ended: callers that still wait get no answer.
    pub(crate) fn closed(&mut self, wake: &mut Vec<Waker>) {
        self.phase = Phase::Closed;
        for waiting in self.waiting.drain(..) {
            wake.extend(waiting.wakers);
        }
        wake.append(&mut self.followers);
    }
}
