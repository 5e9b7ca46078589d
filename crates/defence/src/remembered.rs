//! A table that only grows so large: when it is full, those give way of whom nothing is to be known any more.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
};

/// When the table is full, so many are looked at for one that can be forgotten.
const LOOKS: usize = 8;

/// What is remembered, by a key; finding, adding and forgetting take the same time however much there is.
#[derive(Debug)]
pub(crate) struct Remembered<K, V> {
    pub(crate) most: usize,
    all: HashMap<K, V>,
    /// Each key once: whose turn it is to be forgotten.
    turn: VecDeque<K>,
}

impl<K: Clone + Eq + Hash, V> Remembered<K, V> {
    /// Nothing, and never more than so many.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, all: HashMap::new(), turn: VecDeque::new() }
    }

    pub(crate) fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: std::borrow::Borrow<Q>,
    {
        self.all.get(key)
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.all.get_mut(key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.all.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// What is remembered under a key, or what is made for it. Nothing if the table is full and none of those
    /// looked at is spare.
    pub(crate) fn find_or_make(
        &mut self,
        key: &K,
        make: impl FnOnce() -> V,
        is_spare: impl Fn(&V) -> bool,
    ) -> Option<&mut V> {
        if !self.all.contains_key(key) {
            if self.all.len() >= self.most && !self.forget_one(is_spare) {
                return None;
            }
            self.turn.push_back(key.clone());
        }
        Some(self.all.entry(key.clone()).or_insert_with(make))
    }

    fn forget_one(&mut self, is_spare: impl Fn(&V) -> bool) -> bool {
        for _ in 0..LOOKS {
            let Some(key) = self.turn.pop_front() else { return false };
            if self.all.get(&key).is_none_or(&is_spare) {
                self.all.remove(&key);
                return true;
            }
            self.turn.push_back(key);
        }
        false
    }

    /// Whether every key has its turn once.
    #[cfg(test)]
    pub(crate) fn is_whole(&self) -> bool {
        self.turn.len() == self.all.len() && self.all.len() <= self.most
    }
}
