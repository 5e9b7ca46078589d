//! Server transactions by their keys, and by what their keys have in common whatever the method.

use hashbrown::HashTable;

use crate::key::ServerKey;
use crate::server_side::ServerId;

/// Finds server transactions. The first half of a key is a keyed hash, so it needs no further hashing.
#[derive(Debug, Default)]
pub(crate) struct ServerIndex(HashTable<(ServerKey, ServerId)>);

impl ServerIndex {
    pub(crate) fn get(&self, key: &ServerKey) -> Option<ServerId> {
        self.0.find(key.0[0], |(known, _)| known == key).map(|&(_, id)| id)
    }

    /// A transaction that differs from the one with this key by its method alone.
    pub(crate) fn of_another_method(&self, key: &ServerKey) -> Option<ServerId> {
        let differs = |(known, _): &(ServerKey, ServerId)| known.0[0] == key.0[0] && known != key;
        self.0.find(key.0[0], differs).map(|&(_, id)| id)
    }

    /// The key must not be in it.
    pub(crate) fn insert(&mut self, key: ServerKey, id: ServerId) {
        self.0.insert_unique(key.0[0], (key, id), |(known, _)| known.0[0]);
    }

    pub(crate) fn remove(&mut self, key: &ServerKey) {
        if let Ok(entry) = self.0.find_entry(key.0[0], |(known, _)| known == key) {
            entry.remove();
        }
    }
}
