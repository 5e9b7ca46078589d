//! From an address-of-record to its bindings.

use std::hash::Hasher as _;

use hashbrown::HashTable;
use siphasher::sip::SipHasher13;

/// For each address-of-record the slot of its first binding. The key is not stored a second time: it stands
/// in the binding, from where `aor_of` reads it. Keys are chosen by clients, so the hash is keyed (SipHash).
/// It is the same for the same secret in every run: what names an address-of-record by its hash can be looked
/// up after a restart.
pub(crate) struct AorIndex {
    heads: HashTable<u32>,
    secret: [u8; 16],
}

impl std::fmt::Debug for AorIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AorIndex").field("heads", &self.heads).finish_non_exhaustive()
    }
}

impl AorIndex {
    pub(crate) fn new(secret: &[u8; 16]) -> Self {
        Self { heads: HashTable::new(), secret: *secret }
    }

    pub(crate) fn hash(&self, aor: &str) -> u64 {
        number_of(&self.secret, aor)
    }

    /// The first bindings of the addresses-of-record with this hash: hardly ever more than one.
    pub(crate) fn heads_of_hash<'a>(
        &self,
        hash: u64,
        aor_of: impl Fn(u32) -> &'a str,
    ) -> impl Iterator<Item = u32> {
        self.heads.iter_hash(hash).copied().filter(move |&head| self.hash(aor_of(head)) == hash)
    }

    pub(crate) fn len(&self) -> usize {
        self.heads.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> {
        self.heads.iter().copied()
    }

    pub(crate) fn head<'a>(&self, aor: &str, aor_of: impl Fn(u32) -> &'a str) -> Option<u32> {
        self.heads.find(self.hash(aor), |&head| aor_of(head) == aor).copied()
    }

    /// Sets, or with `None` removes, the first binding. Must be called while the present one can still be
    /// read.
    pub(crate) fn set_head<'a>(&mut self, aor: &str, head: Option<u32>, aor_of: impl Fn(u32) -> &'a str) {
        let hash = self.hash(aor);
        match (self.heads.find_entry(hash, |&head| aor_of(head) == aor), head) {
            (Ok(mut entry), Some(head)) => *entry.get_mut() = head,
            (Ok(entry), None) => {
                entry.remove();
            }
            (Err(_), Some(head)) => {
                let secret = self.secret;
                self.heads.insert_unique(hash, head, |&head| number_of(&secret, aor_of(head)));
            }
            (Err(_), None) => {}
        }
    }
}

/// A number that stands for an address-of-record, whether it has bindings or not: the same for the same
/// secret in every run. Others may have the same, though hardly ever.
#[must_use]
pub fn number_of(secret: &[u8; 16], aor: &str) -> u64 {
    let mut hasher = SipHasher13::new_with_key(secret);
    hasher.write(aor.as_bytes());
    hasher.finish()
}
