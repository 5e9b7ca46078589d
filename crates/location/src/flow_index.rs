//! The open flows, each with its bindings.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use lifecycle::FlowId;

/// For each open flow the slot of its first binding, or [`crate::location::NONE`].
pub(crate) type FlowIndex = HashMap<FlowId, u32, BuildHasherDefault<FlowHasher>>;

/// Flow ids are given by us and count upwards: mixing them is enough, no peer can choose one.
#[derive(Debug, Default)]
pub(crate) struct FlowHasher(u64);

impl Hasher for FlowHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        let wide = u128::from(self.0 ^ number) * 0x9E37_79B9_7F4A_7C15;
        let (high, low) = ((wide >> 64) as u64, wide as u64);
        self.0 = (high ^ low).rotate_left(26) ^ low;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::hash::BuildHasher;

    use super::*;

    #[test]
    fn ids_in_any_step_spread_over_slots_and_tags() {
        let hasher = BuildHasherDefault::<FlowHasher>::default();
        for incarnation in [1, 2, 1_000_000] {
            for step in [1, 2, 3, 8, 64, 1 << 20] {
                let hashes = (0..8192u64).map(|n| hasher.hash_one(FlowId { incarnation, counter: n * step }));
                let hashes: Vec<u64> = hashes.collect();
                // A hash table takes the slot from the low bits and a tag from the top seven. A random choice
                // would hit about 6500 of 16384 slots, and each tag 64 times.
                let slots: BTreeSet<u64> = hashes.iter().map(|hash| hash & 0x3fff).collect();
                assert!(slots.len() > 5500, "{incarnation} {step}: {} slots", slots.len());
                let mut tags = [0u32; 128];
                hashes.iter().for_each(|hash| tags[(hash >> 57) as usize] += 1);
                assert!(tags.iter().all(|&count| count < 192), "{incarnation} {step}: {tags:?}");
            }
        }
    }
}
