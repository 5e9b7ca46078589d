//! How much may still be promised.
//!
//! A segment is left when the next block does not fit, so up to one widest block at its end may go unused. Counting each segment
//! as that much smaller makes every sequence of blocks fit that fits by its sum alone: a segment that was left held more than it
//! was counted for. One spare is never counted: it replaces the current segment should that one fail, so one failure never takes
//! what was promised.

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

    /// Whether all that was promised fits what is ready, the uncounted spare included.
    #[cfg(test)]
    pub(crate) fn keeps_its_word(&self) -> bool {
        self.active_free.saturating_sub(self.widest_block) + self.spares as u64 * self.per_spare()
            >= self.pending + self.reserved
    }
}
