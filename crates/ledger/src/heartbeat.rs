//! When this node was last surely alive, for the next start after a crash.
//!
//! One small file with two slots, written in turn, so that a torn write leaves the other.

use std::io;
use std::sync::Arc;

use crate::error::{Fault, Faulty};
use crate::format::{checksum_around, get_u32, get_u64};
use crate::storage::{Access, File, Storage};

const NAME: &str = "heartbeat";
const SLOT: usize = 40;
/// Slots lie in different pages.
const STRIDE: u64 = 4096;
const MAGIC: u64 = u64::from_le_bytes(*b"LEDGBEAT");

/// A sign of life a node left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beat {
    /// Which run of the node left it.
    pub incarnation: u64,
    /// When, as the caller said: microseconds since the Unix epoch.
    pub at: u64,
}

pub(crate) struct Heartbeat {
    file: Arc<dyn File>,
    incarnation: u64,
    count: u64,
}

fn encode(count: u64, beat: Beat) -> [u8; SLOT] {
    let mut slot = [0; SLOT];
    slot[0..8].copy_from_slice(&MAGIC.to_le_bytes());
    slot[8..16].copy_from_slice(&count.to_le_bytes());
    slot[16..24].copy_from_slice(&beat.incarnation.to_le_bytes());
    slot[24..32].copy_from_slice(&beat.at.to_le_bytes());
    let sum = checksum_around(&slot, 32);
    slot[32..36].copy_from_slice(&sum.to_le_bytes());
    slot
}

fn decode(slot: &[u8]) -> Option<(u64, Beat)> {
    if slot.len() != SLOT || get_u64(slot, 0)? != MAGIC || get_u32(slot, 32)? != checksum_around(slot, 32) {
        return None;
    }
    Some((get_u64(slot, 8)?, Beat { incarnation: get_u64(slot, 16)?, at: get_u64(slot, 24)? }))
}

/// The last sign of life, and how many there were.
pub(crate) fn last_beat(storage: &dyn Storage) -> Result<(u64, Option<Beat>), Fault> {
    let file = match storage.open(NAME, Access::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((0, None)),
        Err(error) => return Err(error).fault("cannot open", NAME),
    };
    let mut last: Option<(u64, Beat)> = None;
    for index in 0..2 {
        let mut slot = [0; SLOT];
        let count = file.read_at(&mut slot, index * STRIDE).fault("cannot read", NAME)?;
        if let Some(found) = decode(&slot[..count])
            && last.is_none_or(|known| known.0 < found.0)
        {
            last = Some(found);
        }
    }
    Ok(last.map_or((0, None), |(count, beat)| (count, Some(beat))))
}

impl Heartbeat {
    pub(crate) fn open(storage: &dyn Storage, count: u64, incarnation: u64) -> Result<Self, Fault> {
        let file = match storage.open(NAME, Access::Write) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => storage.create(NAME),
            other => other,
        }
        .fault("cannot open", NAME)?;
        Ok(Self { file, incarnation, count })
    }

    /// Leave a sign of life. It is written at once; the caller syncs.
    pub(crate) fn beat(&mut self, at: u64) -> Result<Arc<dyn File>, Fault> {
        self.count += 1;
        let slot = encode(self.count, Beat { incarnation: self.incarnation, at });
        self.file.write_at(&slot, (self.count % 2) * STRIDE).fault("cannot write", NAME)?;
        Ok(Arc::clone(&self.file))
    }
}
