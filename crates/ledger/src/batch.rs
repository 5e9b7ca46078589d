//! What is appended: reservations and batches.

use std::fmt;
use std::sync::Arc;

use crate::error::Refused;
use crate::format::{RECORD_HEADER, put_record};
use crate::shared::Shared;

/// Room for one record, paid for in advance: an append that uses it is taken whatever the disk does.
///
/// Dropping it gives the room back.
pub struct Reservation {
    shared: Arc<Shared>,
    bytes: usize,
    /// What it holds of the room; 0 once used up.
    pub(crate) cost: u64,
}

impl Reservation {
    pub(crate) fn new(shared: Arc<Shared>, bytes: usize, cost: u64) -> Self {
        Self { shared, bytes, cost }
    }

    /// The longest payload it pays for.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn belongs_to(&self, shared: &Arc<Shared>) -> bool {
        Arc::ptr_eq(&self.shared, shared)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.cost > 0 {
            self.shared.release(self.cost);
        }
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

/// Records to be appended as one: consecutive sequences in one block, so either all survive a crash or none.
#[derive(Debug, Default)]
pub struct Batch {
    /// The records as they will stand in the block.
    pub(crate) records: Vec<u8>,
    pub(crate) count: u32,
    /// Records no reservation pays for.
    pub(crate) unreserved: u32,
    pub(crate) reservations: Vec<Reservation>,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Add a record that takes its chance: the append may be refused.
    ///
    /// `at` is when it happened, in microseconds since the Unix epoch.
    pub fn push(&mut self, kind: u16, at: u64, payload: &[u8]) -> &mut Self {
        put_record(&mut self.records, kind, at, payload);
        self.count += 1;
        self.unreserved += 1;
        self
    }

    /// Add a record that was paid for. A batch of only these is refused for two reasons: the ledger is
    /// closed, or the batch weighs more than a block holds (one such record alone never does).
    ///
    /// # Errors
    /// The payload is longer than the reservation; it comes back with the reservation unused.
    pub fn push_reserved(
        &mut self,
        reservation: Reservation,
        kind: u16,
        at: u64,
        payload: &[u8],
    ) -> Result<&mut Self, Oversize> {
        if payload.len() > reservation.bytes {
            return Err(Oversize { reservation, bytes: payload.len() });
        }
        put_record(&mut self.records, kind, at, payload);
        self.count += 1;
        self.reservations.push(reservation);
        Ok(self)
    }

    /// How many records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// What it weighs in a block, without the block's own header: 16 bytes a record and the payloads.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.records.len()
    }

    /// What one record with so long a payload adds to [`Batch::weight`].
    #[must_use]
    pub const fn weight_of(payload: usize) -> usize {
        RECORD_HEADER + payload
    }
}

/// A payload longer than what was reserved for it.
#[derive(Debug, thiserror::Error)]
#[error("a payload of {bytes} bytes on a reservation for {}", reservation.bytes())]
pub struct Oversize {
    /// The reservation, unused.
    pub reservation: Reservation,
    /// The payload's length.
    pub bytes: usize,
}

/// An append that was not taken. Nothing happened; the batch is as it was.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct Rejected {
    /// The batch, with its reservations.
    pub batch: Batch,
    /// Why.
    pub why: Refused,
}

/// Where a batch will stand once durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// This run.
    pub incarnation: u64,
    /// The sequence of its first record.
    pub first_seq: u64,
    /// The sequence of its last record.
    pub last_seq: u64,
}
