//! Where a record stands.

use std::fmt;

/// Where a record stands in the ledger: which run of the node wrote it, and its number within that run.
///
/// Ordered as the records are: by incarnation, then by sequence. As a place to read on from, `seq` is the
/// last record already seen, so `seq` 0 stands before the first record of an incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// Which run of the node; grows at every open, from 1.
    pub incarnation: u64,
    /// The number within the incarnation, from 1 without gaps; 0 is "before the first".
    pub seq: u64,
}

impl Position {
    /// Before everything a ledger can hold.
    pub const START: Self = Self { incarnation: 0, seq: 0 };

    /// A position from its two numbers.
    #[must_use]
    pub const fn new(incarnation: u64, seq: u64) -> Self {
        Self { incarnation, seq }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.incarnation, self.seq)
    }
}
