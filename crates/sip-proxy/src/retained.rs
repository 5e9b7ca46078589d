//! Messages that transactions retain, and how many bytes they are together.

use std::{cell::Cell, fmt, ops::Deref, rc::Rc};

/// Of the bytes that may be kept, requests outside dialogs leave this part (one in so many) to those that are
/// within: a call that is up can be ended, whatever comes in.
const LEFT_TO_DIALOGS: u64 = 8;

/// How many bytes are kept, and how many may be.
#[derive(Debug)]
pub(crate) struct RetainedMessages {
    most: u64,
    kept: Rc<Cell<u64>>,
}

impl RetainedMessages {
    pub(crate) fn new(most: u64) -> Self {
        Self { most, kept: Rc::new(Cell::new(0)) }
    }

    /// Bytes that are kept now.
    pub(crate) fn kept(&self) -> u64 {
        self.kept.get()
    }

    /// Keeps a message.
    pub(crate) fn keep(&self, message: &[u8]) -> RetainedMessage {
        self.kept.set(self.kept.get() + message.len() as u64);
        RetainedMessage { message: message.into(), kept: Rc::clone(&self.kept) }
    }

    /// Whether a message of this length may be kept.
    pub(crate) fn has_room(&self, length: usize) -> bool {
        self.kept.get() + length as u64 <= self.most
    }

    /// The same for one that is for nothing which is under way.
    pub(crate) fn has_room_for_new(&self, length: usize) -> bool {
        self.kept.get() + length as u64 <= self.most - self.most / LEFT_TO_DIALOGS
    }
}

/// A message that is kept. Copies share it, and the last one lets it go.
#[derive(Clone)]
pub(crate) struct RetainedMessage {
    message: Rc<[u8]>,
    kept: Rc<Cell<u64>>,
}

impl Deref for RetainedMessage {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.message
    }
}

impl fmt::Debug for RetainedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.message.len())
    }
}

impl Drop for RetainedMessage {
    fn drop(&mut self) {
        if Rc::strong_count(&self.message) == 1 {
            self.kept.set(self.kept.get().saturating_sub(self.message.len() as u64));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_counted_once_until_the_last_copy_goes() {
        let store = RetainedMessages::new(100);
        let (one, other) = (store.keep(&[0; 30]), store.keep(&[0; 20]));
        let copy = one.clone();
        assert_eq!((store.kept(), copy.len()), (50, 30));
        drop(one);
        assert_eq!(store.kept(), 50);
        drop(copy);
        assert_eq!(store.kept(), 20);
        assert!(store.has_room(80) && !store.has_room(81));
        assert!(store.has_room_for_new(68) && !store.has_room_for_new(69), "some is left for dialogs");
        drop(other);
        assert_eq!(store.kept(), 0);
    }
}
