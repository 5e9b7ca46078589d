//! What a shard's connections share, because only one of them works at a time: buffers, and the turn of
//! unauthenticated clients.

use std::cell::RefCell;

use tokio::sync::Semaphore;

/// Bytes taken from a socket at once: also the most that one flow may say before others get their turn.
pub(crate) const READ: usize = 32 * 1024;

/// The same for flows that are listened to in turn: some messages.
pub(crate) const SHORT_READ: usize = 2 * 1024;

/// A flow that has said no more than this need not wait for those that have: to prove who it is takes a few
/// messages.
pub(crate) const FIRST_WORDS: u64 = 4 * 1024;

/// A buffer that grew past this is given back to the allocator.
const KEEP: usize = 256 * 1024;

/// The shared buffers of one shard, and whose turn it is.
#[derive(Debug)]
pub struct Scratch {
    pub(crate) input: RefCell<Box<[u8]>>,
    pub(crate) plain: RefCell<Vec<u8>>,
    pub(crate) frame: RefCell<Vec<u8>>,
    pub(crate) cipher: RefCell<Vec<u8>>,
    /// One of those that are listened to in turn has it, and the others wait in the order in which they came.
    pub(crate) turn: Semaphore,
    /// The same for those that have just come.
    pub(crate) first_turn: Semaphore,
}

impl Scratch {
    /// Buffers for one shard.
    #[must_use]
    pub fn new() -> Self {
        Self {
            input: RefCell::new(vec![0; READ].into()),
            plain: RefCell::default(),
            frame: RefCell::default(),
            cipher: RefCell::default(),
            turn: Semaphore::new(1),
            first_turn: Semaphore::new(1),
        }
    }

    pub(crate) fn trim(buffer: &mut Vec<u8>) {
        buffer.clear();
        buffer.shrink_to(KEEP);
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}
