//! What the caller knew at some position, so that a start need not read history from its beginning.
//!
//! `checkpoints/<incarnation>-<seq>.ckpt`: 48 bytes of header with a checksum over all, then the caller's
//! bytes. The last two are kept: if the newest cannot be read, the one before does.

use crate::cursor::replace;
use crate::error::{Fault, Faulty};
use crate::format::{checksum_around, get_u32, get_u64};
use crate::position::Position;
use crate::storage::{Access, Storage};

const MAGIC: [u8; 8] = *b"LEDGCKPT";
const VERSION: u32 = 1;
const HEADER: usize = 48;
const KEPT: usize = 2;

/// What a caller stored about everything up to a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The last record it accounts for.
    pub position: Position,
    /// What the caller stored.
    pub payload: Vec<u8>,
}

fn name(position: Position) -> String {
    format!("checkpoints/{:010}-{:020}.ckpt", position.incarnation, position.seq)
}

fn parse(name: &str) -> Option<Position> {
    let (incarnation, seq) = name.strip_suffix(".ckpt")?.split_once('-')?;
    Some(Position::new(incarnation.parse().ok()?, seq.parse().ok()?))
}

/// Positions of the checkpoints there are, newest first.
pub(crate) fn list(storage: &dyn Storage) -> Result<Vec<Position>, Fault> {
    let listed = storage.list("checkpoints").fault("cannot list", "checkpoints")?;
    let mut found: Vec<Position> = listed.iter().filter_map(|listed| parse(&listed.name)).collect();
    found.sort_unstable_by(|a, b| b.cmp(a));
    Ok(found)
}

/// Store one and drop all but the newest two; returns the positions kept, newest first.
pub(crate) fn write(
    storage: &dyn Storage,
    position: Position,
    payload: &[u8],
) -> Result<Vec<Position>, Fault> {
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&position.incarnation.to_le_bytes());
    bytes.extend_from_slice(&position.seq.to_le_bytes());
    bytes.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    bytes.resize(HEADER, 0);
    bytes.extend_from_slice(payload);
    let sum = checksum_around(&bytes, 12);
    bytes[12..16].copy_from_slice(&sum.to_le_bytes());
    replace(storage, &name(position), &bytes)?;
    // The new one must be there for good before an old one goes.
    storage.sync_folder("checkpoints").fault("cannot sync", "checkpoints")?;
    let mut kept = list(storage)?;
    for old in kept.split_off(kept.len().min(KEPT)) {
        let old = name(old);
        storage.remove(&old).fault("cannot remove", &old)?;
    }
    Ok(kept)
}

/// The checkpoint at this position; `None` if it cannot be read or is not what was written.
pub(crate) fn read(storage: &dyn Storage, position: Position) -> Option<Checkpoint> {
    let file = storage.open(&name(position), Access::Read).ok()?;
    let mut bytes = vec![0; usize::try_from(file.length().ok()?).ok()?];
    let count = file.read_at(&mut bytes, 0).ok()?;
    bytes.truncate(count);
    if bytes.len() < HEADER
        || bytes[0..8] != MAGIC
        || get_u32(&bytes, 8)? != VERSION
        || get_u32(&bytes, 12)? != checksum_around(&bytes, 12)
        || Position::new(get_u64(&bytes, 16)?, get_u64(&bytes, 24)?) != position
        || get_u64(&bytes, 32)? != (bytes.len() - HEADER) as u64
    {
        return None;
    }
    Some(Checkpoint { position, payload: bytes.split_off(HEADER) })
}
