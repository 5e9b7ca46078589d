//! From an address-of-record to its bindings.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

/// For each address-of-record the slot of its first binding. The key is not stored a second time: it stands in the
/// binding, from where `aor_of` reads it. Keys are chosen by clients, so the hash is keyed (SipHash).
#[derive(Debug)]
pub(crate) struct AorIndex {
    heads: HashTable<u32>,
    hasher: RandomState,
}

impl AorIndex {
    pub(crate) fn new() -> Self {
        Self { heads: HashTable::new(), hasher: RandomState::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.heads.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> {
        self.heads.iter().copied()
    }

    pub(crate) fn head<'a>(&self, aor: &str, aor_of: impl Fn(u32) -> &'a str) -> Option<u32> {
        self.heads.find(self.hasher.hash_one(aor), |&head| aor_of(head) == aor).copied()
    }

    /// Sets, or with `None` removes, the first binding. Must be called while the present one can still be read.
    pub(crate) fn set_head<'a>(&mut self, aor: &str, head: Option<u32>, aor_of: impl Fn(u32) -> &'a str) {
        let hash = self.hasher.hash_one(aor);
        match (self.heads.find_entry(hash, |&head| aor_of(head) == aor), head) {
            (Ok(mut entry), Some(head)) => *entry.get_mut() = head,
            (Ok(entry), None) => {
                entry.remove();
            }
            (Err(_), Some(head)) => {
                self.heads.insert_unique(hash, head, |&head| self.hasher.hash_one(aor_of(head)));
            }
            (Err(_), None) => {}
        }
    }
}
