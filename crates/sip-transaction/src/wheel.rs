//! A hashed timing wheel: every timer of one owner, insert and cancel in constant time, no allocation once
//! warm.
//!
//! One slot for each millisecond of the next 65.5 s, each the head of a circular list threaded through a
//! vector, and a two-level bitmap that finds the next slot in use in a few instructions. A later deadline
//! waits in the last slot and is put back when that comes round.
//!
//! Chosen over an ordered map on the figures of `benches/timers.rs`: among 100,000 timers, insert and cancel
//! took 21 ns against 640 ns, fire and set again 71 ns against 340 ns, on a busy machine of two cores.

/// How many milliseconds the wheel sees ahead.
const SLOTS: usize = 1 << 16;
const MASK: u64 = SLOTS as u64 - 1;
const WORDS: usize = SLOTS / 64;
const NONE: u32 = u32::MAX;

/// A timer's place in the wheel.
#[derive(Clone, Copy, Debug)]
struct Node {
    deadline: u64,
    next: u32,
    prev: u32,
    /// The slot it is in, or `NONE` when it does not run.
    slot: u32,
}

const IDLE: Node = Node { deadline: 0, next: NONE, prev: NONE, slot: NONE };

/// Timers named by small dense numbers (tokens), in whole milliseconds since a start the owner chose.
///
/// Takes about 270 kB when empty and 24 bytes for each token up to the largest ever used.
#[derive(Debug)]
pub struct TimerWheel {
    heads: Box<[u32]>,
    words: Box<[u64]>,
    summary: [u64; WORDS / 64],
    nodes: Vec<Node>,
    /// No timer is in a slot before this one's time.
    cursor: u64,
    running: usize,
}

impl Default for TimerWheel {
    fn default() -> Self {
        Self::new()
    }
}

impl TimerWheel {
    /// A wheel at time 0 with no timer running.
    pub fn new() -> Self {
        TimerWheel {
            heads: vec![NONE; SLOTS].into_boxed_slice(),
            words: vec![0; WORDS].into_boxed_slice(),
            summary: [0; WORDS / 64],
            nodes: Vec::new(),
            cursor: 0,
            running: 0,
        }
    }

    /// How many timers run.
    pub fn len(&self) -> usize {
        self.running
    }

    /// Whether no timer runs.
    pub fn is_empty(&self) -> bool {
        self.running == 0
    }

    /// Starts the timer of `token`, or moves it. A deadline in the past is due at once.
    ///
    /// `now` is in milliseconds like `deadline`; tokens should be dense, as memory grows with the largest.
    pub fn schedule(&mut self, token: u32, deadline: u64, now: u64) {
        self.cancel(token);
        if self.running == 0 {
            self.cursor = self.cursor.max(now);
        }
        let index = token as usize;
        if index >= self.nodes.len() {
            self.nodes.resize(index + 1, IDLE);
        }
        self.link(token, deadline);
        self.running += 1;
    }

    /// Stops the timer of `token`, if it runs.
    pub fn cancel(&mut self, token: u32) {
        if self.nodes.get(token as usize).is_some_and(|node| node.slot != NONE) {
            self.unlink(token);
            self.running -= 1;
        }
    }

    /// Takes one timer that is due, the earliest first; those of the same millisecond in the order they were
    /// set.
    pub fn pop_due(&mut self, now: u64) -> Option<u32> {
        while self.running > 0 {
            let Some(due) = self.next_deadline() else { break };
            if due > now {
                break;
            }
            self.cursor = due;
            let token = self.heads[(due & MASK) as usize];
            let deadline = self.nodes[token as usize].deadline;
            self.unlink(token);
            if deadline <= due {
                self.running -= 1;
                return Some(token);
            }
            self.link(token, deadline);
        }
        self.cursor = self.cursor.max(now);
        None
    }

    /// When to call [`pop_due`](Self::pop_due) next: the earliest deadline, or (only for deadlines more than
    /// 65 s ahead) a time before it.
    pub fn next_deadline(&self) -> Option<u64> {
        let from = (self.cursor & MASK) as usize;
        let slot = self.first_used(from).or_else(|| self.first_used(0))? as u64;
        Some(self.cursor + (slot.wrapping_sub(self.cursor) & MASK))
    }

    fn link(&mut self, token: u32, deadline: u64) {
        let slot = (deadline.clamp(self.cursor, self.cursor.saturating_add(MASK)) & MASK) as u32;
        let head = self.heads[slot as usize];
        let (next, prev) = if head == NONE {
            self.heads[slot as usize] = token;
            self.words[slot as usize / 64] |= 1 << (slot % 64);
            self.summary[slot as usize / 4096] |= 1 << (slot / 64 % 64);
            (token, token)
        } else {
            let last = self.nodes[head as usize].prev;
            self.nodes[last as usize].next = token;
            self.nodes[head as usize].prev = token;
            (head, last)
        };
        self.nodes[token as usize] = Node { deadline, next, prev, slot };
    }

    fn unlink(&mut self, token: u32) {
        let Node { next, prev, slot, .. } = self.nodes[token as usize];
        if next == token {
            self.heads[slot as usize] = NONE;
            let word = &mut self.words[slot as usize / 64];
            *word &= !(1 << (slot % 64));
            if *word == 0 {
                self.summary[slot as usize / 4096] &= !(1 << (slot / 64 % 64));
            }
        } else {
            self.nodes[prev as usize].next = next;
            self.nodes[next as usize].prev = prev;
            if self.heads[slot as usize] == token {
                self.heads[slot as usize] = next;
            }
        }
        self.nodes[token as usize].slot = NONE;
    }

    /// The first slot in use at or after `from`, without coming round.
    fn first_used(&self, from: usize) -> Option<usize> {
        let word = from / 64;
        let here = self.words[word] & (u64::MAX << (from % 64));
        if here != 0 {
            return Some(word * 64 + here.trailing_zeros() as usize);
        }
        let after = word + 1;
        let mut group = after / 64;
        let mut mask = u64::MAX << (after % 64);
        while group < self.summary.len() {
            let used = self.summary[group] & mask;
            if used != 0 {
                let word = group * 64 + used.trailing_zeros() as usize;
                return Some(word * 64 + self.words[word].trailing_zeros() as usize);
            }
            group += 1;
            mask = u64::MAX;
        }
        None
    }
}

#[cfg(test)]
mod tests;
