//! What the caller may choose, with defaults that suit a busy edge.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::event::Event;
use crate::format::{BLOCK_LIMIT, NODE_NAME_LIMIT, SEAL, SEGMENT_HEADER, aligned};

/// What an acknowledged record survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Durability {
    /// Nothing but the end of the process, if the system goes on: written, never synced. For benchmarks and
    /// tests.
    Memory,
    /// A crash of the process and a loss of power: synced before it is acknowledged.
    Disk,
}

/// What is told of everything noteworthy; see [`Event`]. Called on the ledger's own threads: it must not
/// block.
#[derive(Clone)]
pub struct Observer(Arc<dyn Fn(&Event) + Send + Sync>);

impl Observer {
    /// An observer from a function.
    pub fn new(observe: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        Self(Arc::new(observe))
    }

    pub(crate) fn tell(&self, event: &Event) {
        (self.0)(event);
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}

/// How a ledger is kept.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The node this ledger belongs to: 1 to 255 bytes. A directory is refused to any other.
    pub node: String,
    /// What an acknowledged record survives. Default: [`Durability::Disk`].
    pub durability: Durability,
    /// Bytes of one segment file, 64 KiB to 4 GiB. Default 32 MiB.
    pub segment_bytes: u64,
    /// Bytes one block may have, so also what one batch may weigh; at most a quarter of a segment. Default 1
    /// MiB.
    pub block_bytes: usize,
    /// Bytes that may wait for the disk before unreserved appends are refused. Default 64 MiB.
    pub backlog_bytes: u64,
    /// Room kept ready for reservations to come; below it more segments are prepared. Default 64 MiB.
    pub spare_bytes: u64,
    /// How long an entry may wait for the disk before reservations are refused. Default 2 s.
    pub stall_after: Duration,
    /// Least time from one commit to the next while each carries many records (16 and more, up to 256 KiB):
    /// fewer and fuller syncs, about half the processor time, at a rate where two more milliseconds are not
    /// missed. A lone record is never held back. Zero: sync as often as the disk can. Default 2 ms.
    pub gather: Duration,
    /// The observer of rolled and abandoned segments, failures and recoveries. Default: none.
    pub observer: Option<Observer>,
}

impl Settings {
    /// The defaults for this node.
    #[must_use]
    pub fn new(node: impl Into<String>) -> Self {
        Self {
            node: node.into(),
            durability: Durability::Disk,
            segment_bytes: 32 << 20,
            block_bytes: 1 << 20,
            backlog_bytes: 64 << 20,
            spare_bytes: 64 << 20,
            stall_after: Duration::from_secs(2),
            gather: Duration::from_millis(2),
            observer: None,
        }
    }

    /// Whether these settings can work together.
    ///
    /// # Errors
    /// The first one that cannot.
    pub fn check(&self) -> Result<(), SettingsError> {
        if self.node.is_empty() || self.node.len() > NODE_NAME_LIMIT {
            return Err(SettingsError::Node { bytes: self.node.len() });
        }
        if !(64 << 10..=4 << 30).contains(&self.segment_bytes) || !self.segment_bytes.is_multiple_of(4096) {
            return Err(SettingsError::Segment { bytes: self.segment_bytes });
        }
        let most = (self.segment_bytes / 4).min(BLOCK_LIMIT as u64);
        if self.block_bytes < 1024 || self.block_bytes as u64 > most {
            return Err(SettingsError::Block { bytes: self.block_bytes, most });
        }
        Ok(())
    }

    /// Bytes of blocks one segment takes.
    pub(crate) fn capacity(&self) -> u64 {
        self.segment_bytes - SEGMENT_HEADER as u64 - SEAL
    }

    /// The most one block takes on disk.
    pub(crate) fn widest_block(&self) -> u64 {
        aligned(self.block_bytes as u64)
    }
}

/// Settings that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The node's name is empty or too long.
    #[error("the node name has {bytes} bytes; it must have 1 to 255")]
    Node {
        /// Its length.
        bytes: usize,
    },
    /// The segment size is out of range.
    #[error("segments of {bytes} bytes; choose a multiple of 4096 from 65536 (64 KiB) to 4294967296 (4 GiB)")]
    Segment {
        /// As set.
        bytes: u64,
    },
    /// The block size is out of range.
    #[error("blocks of {bytes} bytes; choose 1024 to {most} (a quarter of a segment, at most 64 MiB)")]
    Block {
        /// As set.
        bytes: usize,
        /// The largest that fits these segments.
        most: u64,
    },
}
