//! Bytes on disk: segment names, segment headers, blocks, records. All numbers are little-endian.
//!
//! ```text
//! segment header, 4096 bytes          block, 40 bytes and its records       record, 16 bytes and its payload
//!   0  magic "LEDGRSEG"                 0  mark of the segment                0  payload length   u32
//!   8  format version     u32           8  length, header in   u32            4  kind             u16
//!  12  CRC32C of the rest u32          12  CRC32C of the rest  u32            6  zero             u16
//!  16  incarnation        u64          16  first sequence      u64            8  at, µs since 1970 u64
//!  24  first sequence     u64          24  durable before      u64           16  payload
//!  32  mark               u64          32  count of records    u32
//!  40  size in bytes      u64          36  0 records, 1 seal   u32
//!  48  node name's length u16
//!  50  node name
//! ```
//!
//! Blocks start at multiples of 8. The *mark* is a number no peer can guess, drawn anew for each segment: a
//! payload that imitates a block, or bytes a reused file held before, are never taken for one.

use crate::position::Position;

pub(crate) const FORMAT_VERSION: u32 = 1;
pub(crate) const SEGMENT_HEADER: usize = 4096;
pub(crate) const BLOCK_HEADER: usize = 40;
pub(crate) const RECORD_HEADER: usize = 16;
/// Room every segment keeps at its end, so that it can always be sealed without growing.
pub(crate) const SEAL: u64 = BLOCK_HEADER as u64;
/// What a block costs beyond its records, padding included.
pub(crate) const BLOCK_COST: u64 = BLOCK_HEADER as u64 + 8;
/// A block is never longer, whatever the settings were when it was written.
pub(crate) const BLOCK_LIMIT: usize = 64 << 20;
pub(crate) const NODE_NAME_LIMIT: usize = 255;

const SEGMENT_MAGIC: [u8; 8] = *b"LEDGRSEG";

/// The next place a block may start.
pub(crate) const fn aligned(offset: u64) -> u64 {
    (offset + 7) & !7
}

pub(crate) fn get_u16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_le_bytes)
}
pub(crate) fn get_u32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}
pub(crate) fn get_u64(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes)
}

/// The checksum of `bytes` without the four at `hole`, where the checksum itself stands.
pub(crate) fn checksum_around(bytes: &[u8], hole: usize) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&bytes[..hole]), &bytes[hole + 4..])
}

/// A segment's place in the order: its incarnation and the first sequence it may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SegmentKey {
    pub(crate) incarnation: u64,
    pub(crate) first_seq: u64,
}

impl SegmentKey {
    pub(crate) fn name(self) -> String {
        format!("segments/{:010}-{:020}.seg", self.incarnation, self.first_seq)
    }

    /// The key in a file name without its folder; `None` for any other file.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let (incarnation, first_seq) = name.strip_suffix(".seg")?.split_once('-')?;
        let digits =
            |text: &str, count: usize| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(incarnation, 10) || !digits(first_seq, 20) {
            return None;
        }
        let key = Self { incarnation: incarnation.parse().ok()?, first_seq: first_seq.parse().ok()? };
        (key.incarnation > 0 && key.first_seq > 0).then_some(key)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) key: SegmentKey,
    pub(crate) mark: u64,
    pub(crate) size: u64,
    pub(crate) node: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HeaderFault {
    Newer(u32),
    Damaged,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; SEGMENT_HEADER];
        bytes[0..8].copy_from_slice(&SEGMENT_MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.key.incarnation.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.key.first_seq.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.mark.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.size.to_le_bytes());
        let node = &self.node.as_bytes()[..self.node.len().min(NODE_NAME_LIMIT)];
        bytes[48..50].copy_from_slice(&(node.len() as u16).to_le_bytes());
        bytes[50..50 + node.len()].copy_from_slice(node);
        let sum = checksum_around(&bytes, 12);
        bytes[12..16].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, HeaderFault> {
        Self::decode_checked(bytes).unwrap_or(Err(HeaderFault::Damaged))
    }

    fn decode_checked(bytes: &[u8]) -> Option<Result<Self, HeaderFault>> {
        let bytes = bytes.get(..SEGMENT_HEADER)?;
        if bytes[0..8] != SEGMENT_MAGIC {
            return None;
        }
        let version = get_u32(bytes, 8)?;
        let intact = get_u32(bytes, 12)? == checksum_around(bytes, 12);
        // A newer header may keep its checksum elsewhere, so the version speaks first; both ways the file is
        // refused.
        if version > FORMAT_VERSION {
            return Some(Err(HeaderFault::Newer(version)));
        }
        if !intact || version != FORMAT_VERSION {
            return None;
        }
        let length = usize::from(get_u16(bytes, 48)?);
        let node = std::str::from_utf8(bytes.get(50..50 + length)?).ok()?.to_owned();
        Some(Ok(Self {
            key: SegmentKey { incarnation: get_u64(bytes, 16)?, first_seq: get_u64(bytes, 24)? },
            mark: get_u64(bytes, 32)?,
            size: get_u64(bytes, 40)?,
            node,
        }))
    }
}

/// What a block's first 40 bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockHeader {
    /// Header and records, without padding.
    pub(crate) length: usize,
    pub(crate) first_seq: u64,
    /// The last sequence that was durable when the block was written: a reader of this intact block knows
    /// that all up to there had reached the disk.
    pub(crate) durable_before: u64,
    pub(crate) count: u32,
    pub(crate) seal: bool,
}

impl BlockHeader {
    /// Read a header, if these bytes can be one of the segment with this mark.
    pub(crate) fn peek(bytes: &[u8], mark: u64) -> Option<Self> {
        if get_u64(bytes, 0)? != mark {
            return None;
        }
        let length = get_u32(bytes, 8)? as usize;
        let header = Self {
            length,
            first_seq: get_u64(bytes, 16)?,
            durable_before: get_u64(bytes, 24)?,
            count: get_u32(bytes, 32)?,
            seal: match get_u32(bytes, 36)? {
                0 => false,
                1 => true,
                _ => return None,
            },
        };
        let records = length.checked_sub(BLOCK_HEADER)?;
        let fits = length <= BLOCK_LIMIT
            && records / RECORD_HEADER >= header.count as usize
            && header.seal == (header.count == 0)
            && header.seal == (records == 0)
            && header.first_seq > 0
            && header.first_seq.checked_add(u64::from(header.count)).is_some();
        fits.then_some(header)
    }

    /// One past the last sequence in the block.
    pub(crate) fn next_seq(&self) -> u64 {
        self.first_seq + u64::from(self.count)
    }
}

/// Whether `block` (exactly its length) is whole: checksum and the shape of its records.
pub(crate) fn block_is_whole(block: &[u8], header: &BlockHeader) -> bool {
    if block.len() != header.length || get_u32(block, 12) != Some(checksum_around(block, 12)) {
        return false;
    }
    let mut rest = &block[BLOCK_HEADER..];
    for _ in 0..header.count {
        let Some(length) = get_u32(rest, 0) else { return false };
        let Some(after) = rest.get(RECORD_HEADER..).and_then(|rest| rest.get(length as usize..)) else {
            return false;
        };
        rest = after;
    }
    rest.is_empty()
}

/// Add a record to a block being built.
pub(crate) fn put_record(block: &mut Vec<u8>, kind: u16, at: u64, payload: &[u8]) {
    block.reserve(RECORD_HEADER + payload.len());
    block.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    block.extend_from_slice(&kind.to_le_bytes());
    block.extend_from_slice(&[0, 0]);
    block.extend_from_slice(&at.to_le_bytes());
    block.extend_from_slice(payload);
}

/// Write the header of a finished block over its first 40 bytes.
pub(crate) fn finish_block(block: &mut [u8], mark: u64, first_seq: u64, durable_before: u64, count: u32) {
    let length = block.len() as u32;
    block[0..8].copy_from_slice(&mark.to_le_bytes());
    block[8..12].copy_from_slice(&length.to_le_bytes());
    block[16..24].copy_from_slice(&first_seq.to_le_bytes());
    block[24..32].copy_from_slice(&durable_before.to_le_bytes());
    block[32..36].copy_from_slice(&count.to_le_bytes());
    block[36..40].copy_from_slice(&u32::from(count == 0).to_le_bytes());
    let sum = checksum_around(block, 12);
    block[12..16].copy_from_slice(&sum.to_le_bytes());
}

/// The block that ends an incarnation: nothing follows it, and everything before it is durable.
pub(crate) fn seal_block(mark: u64, next_seq: u64) -> [u8; BLOCK_HEADER] {
    let mut block = [0; BLOCK_HEADER];
    finish_block(&mut block, mark, next_seq, next_seq - 1, 0);
    block
}

/// One record as it stands in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its id: incarnation and sequence.
    pub position: Position,
    /// What the caller said it is.
    pub kind: u16,
    /// When it happened, as the caller said: microseconds since the Unix epoch.
    pub at: u64,
    /// What the caller stored.
    pub payload: &'a [u8],
}

/// The records of one block, in order.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    rest: &'a [u8],
    position: Position,
    left: u32,
}

impl<'a> Records<'a> {
    /// The records of a whole block.
    pub(crate) fn of(block: &'a [u8], header: &BlockHeader, incarnation: u64) -> Self {
        Self {
            rest: block.get(BLOCK_HEADER..).unwrap_or_default(),
            position: Position::new(incarnation, header.first_seq),
            left: header.count,
        }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        if self.left == 0 {
            return None;
        }
        let length = get_u32(self.rest, 0)? as usize;
        let record = Record {
            position: self.position,
            kind: get_u16(self.rest, 4)?,
            at: get_u64(self.rest, 8)?,
            payload: self.rest.get(RECORD_HEADER..)?.get(..length)?,
        };
        self.rest = self.rest.get(RECORD_HEADER + length..)?;
        self.position.seq += 1;
        self.left -= 1;
        Some(record)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.left as usize))
    }
}
