//! Buffers that a shard's connections share, because only one of them is at work at a time.

use std::cell::RefCell;

/// Bytes taken from a socket at once: also the most that one flow may say before others get their turn.
pub(crate) const READ: usize = 32 * 1024;

/// A buffer that grew past this is given back to the allocator.
const KEEP: usize = 256 * 1024;

/// The shared buffers of one shard.
#[derive(Debug)]
pub struct Scratch {
    pub(crate) input: RefCell<Box<[u8]>>,
    pub(crate) plain: RefCell<Vec<u8>>,
    pub(crate) frame: RefCell<Vec<u8>>,
    pub(crate) cipher: RefCell<Vec<u8>>,
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
