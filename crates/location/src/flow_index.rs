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
