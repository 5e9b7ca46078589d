//! Connections that are no flows yet. Their number is limited, and the oldest gives way to the newest.
//!
//! A real client sends its handshake at once. Those who open connections and say nothing, or a byte now and
//! then, are the oldest before long; so they put each other out, and nobody else.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

use tokio::sync::Notify;

/// The handshakes under way of one listener on one shard.
#[derive(Debug)]
pub struct HandshakeLimit {
    most: usize,
    /// By the order in which they came.
    all: RefCell<BTreeMap<u64, Rc<Notify>>>,
    next: Cell<u64>,
}

/// The place of one of them, for as long as it is kept.
#[derive(Debug)]
pub(crate) struct HandshakeSlot<'w> {
    waiting: &'w HandshakeLimit,
    number: u64,
    crowded_out: Rc<Notify>,
}

impl HandshakeLimit {
    /// None is under way, and at most so many will be.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { most: most.max(1), all: RefCell::default(), next: Cell::new(0) }
    }

    pub(crate) fn enter(&self) -> HandshakeSlot<'_> {
        let number = self.next.get();
        self.next.set(number + 1);
        let crowded_out = Rc::new(Notify::new());
        let mut all = self.all.borrow_mut();
        if all.len() >= self.most
            && let Some((_, oldest)) = all.pop_first()
        {
            oldest.notify_one();
        }
        all.insert(number, Rc::clone(&crowded_out));
        HandshakeSlot { waiting: self, number, crowded_out }
    }
}

impl HandshakeSlot<'_> {
    /// Resolves when another needs the place.
    pub(crate) async fn crowded_out(&self) {
        self.crowded_out.notified().await;
    }
}

impl Drop for HandshakeSlot<'_> {
    fn drop(&mut self) {
        self.waiting.all.borrow_mut().remove(&self.number);
    }
}
