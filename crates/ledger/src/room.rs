//! How much may still be promised.
//!
//! A segment is left when the next block does not fit, so up to one widest block at its end may go unused.
//! Counting each segment as that much smaller makes every sequence of blocks fit that fits by its sum alone:
//! a segment that was left held more than it was counted for. One spare is never counted: it replaces the
//! current segment should that one fail, so one failure never takes what was promised.

/// Bytes ready, bytes promised.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    capacity: u64,
    widest_block: u64,
    /// Bytes left in the current segment after the last durable block; 0 without one.
    pub(crate) active_free: u64,
    pub(crate) spares: usize,
    /// Appended and not durable.
    pub(crate) pending: u64,
    pub(crate) reserved: u64,
}

impl Room {
    pub(crate) fn new(capacity: u64, widest_block: u64) -> Self {
        Self { capacity, widest_block, active_free: 0, spares: 0, pending: 0, reserved: 0 }
    }

    /// What one spare segment is counted for.
    pub(crate) fn per_spare(&self) -> u64 {
        self.capacity - self.widest_block
    }

    fn ready(&self) -> u64 {
        let counted = self.spares.saturating_sub(1) as u64;
        self.active_free.saturating_sub(self.widest_block) + counted * self.per_spare()
    }

    /// Bytes that may be promised now.
    pub(crate) fn available(&self) -> u64 {
        self.ready().saturating_sub(self.pending + self.reserved)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Room;

    const CAPACITY: u64 = 10_000;
    const WIDEST: u64 = 1_000;

    proptest! {
        /// Whatever was granted fits, block by block, into what lies ready, and still does if the current
        /// segment fails.
        #[test]
        fn what_is_granted_fits(
            active_free in 0..=CAPACITY,
            spares in 0_usize..5,
            wishes in prop::collection::vec(1_u64..=WIDEST, 0..80),
            fails_after in 0_usize..80,
        ) {
            let mut room = Room::new(CAPACITY, WIDEST);
            room.active_free = active_free;
            room.spares = spares;
            let mut granted = Vec::new();
            for wish in wishes {
                if wish <= room.available() {
                    room.reserved += wish;
                    granted.push(wish);
                }
            }
            let (mut free, mut left) = (active_free, spares);
            for (index, block) in granted.iter().enumerate() {
                if index == fails_after && left > 0 {
                    // What was durable in the failed segment stays there; only its free rest is lost.
                    (free, left) = (CAPACITY, left - 1);
                }
                if *block > free {
                    prop_assert!(left > 0, "block {index} of {} has no segment", granted.len());
                    (free, left) = (CAPACITY, left - 1);
                }
                free -= block;
            }
        }
    }
}
