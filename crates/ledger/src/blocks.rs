//! Reading one segment's blocks in order, with large reads.

use std::sync::Arc;

use crate::error::{Damage, DamageKind, Fault, Faulty, ReadError};
use crate::format::{
    BLOCK_HEADER, BlockHeader, FORMAT_VERSION, HeaderFault, SEGMENT_HEADER, SegmentHeader, SegmentKey,
    aligned, block_is_whole,
};
use crate::storage::{Access, File, Storage};

/// The first read of a reader that is level with the writer; doubled while there is more, so that the tail is
/// cheap to follow and history is read in few calls.
const FIRST_READ: usize = 16 << 10;
const LARGEST_READ: usize = 512 << 10;

/// Whether a block's checksum is computed; skipping to a place need not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verify {
    Whole,
    HeaderOnly,
}

/// One open segment, read forward.
pub(crate) struct Blocks {
    file: Arc<dyn File>,
    name: String,
    pub(crate) key: SegmentKey,
    pub(crate) mark: u64,
    /// Where the next block starts.
    offset: u64,
    buffer: Vec<u8>,
    /// Where `buffer` starts in the file.
    buffer_at: u64,
    /// Bytes of `buffer` that hold data.
    filled: usize,
    read_size: usize,
    /// Start and length of the current block within `buffer`.
    current: (usize, usize),
}

/// Read and check a segment's header.
pub(crate) fn read_header(file: &dyn File, key: SegmentKey) -> Result<SegmentHeader, ReadError> {
    let name = key.name();
    let mut bytes = vec![0; SEGMENT_HEADER];
    let count = file.read_at(&mut bytes, 0).fault("cannot read", &name)?;
    match SegmentHeader::decode(&bytes[..count]) {
        Ok(header) if header.key == key => Ok(header),
        Ok(_) => Err(Damage { file: name, offset: 0, kind: DamageKind::Misnamed }.into()),
        Err(HeaderFault::Damaged) => Err(Damage { file: name, offset: 0, kind: DamageKind::Header }.into()),
        Err(HeaderFault::Newer(found)) => {
            debug_assert!(found > FORMAT_VERSION);
            Err(ReadError::NewerFormat { file: name, found })
        }
    }
}

impl Blocks {
    /// Open a segment and check its header.
    pub(crate) fn open(storage: &dyn Storage, key: SegmentKey) -> Result<(Self, SegmentHeader), ReadError> {
        let name = key.name();
        let file = storage.open(&name, Access::Read).fault("cannot open", &name)?;
        let header = read_header(&*file, key)?;
        let blocks = Self {
            file,
            name,
            key,
            mark: header.mark,
            offset: SEGMENT_HEADER as u64,
            buffer: Vec::new(),
            buffer_at: 0,
            filled: 0,
            read_size: FIRST_READ,
            current: (0, 0),
        };
        Ok((blocks, header))
    }

    /// Open a segment to read on from a place known to be the start of a block.
    pub(crate) fn open_at(storage: &dyn Storage, key: SegmentKey, offset: u64) -> Result<Self, ReadError> {
        let (mut blocks, _) = Self::open(storage, key)?;
        blocks.offset = offset;
        Ok(blocks)
    }

    /// Where the next block starts.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The bytes of the block the last [`Blocks::next`] found.
    pub(crate) fn block(&self) -> &[u8] {
        &self.buffer[self.current.0..self.current.0 + self.current.1]
    }

    /// Step to the next block; `None` if no whole block stands there (now).
    pub(crate) fn next(&mut self, verify: Verify) -> Result<Option<BlockHeader>, Fault> {
        if let Some(header) = self.buffered(verify) {
            return Ok(Some(self.accept(header)));
        }
        // What was buffered may be older than what was written since, or too short: read once more, from here
        // on.
        self.read(BLOCK_HEADER)?;
        if let Some(header) = BlockHeader::peek(&self.buffer[..self.filled], self.mark) {
            if header.length > self.filled {
                self.read(header.length)?;
            }
            if let Some(header) = self.buffered(verify) {
                self.read_size = (self.read_size * 2).min(LARGEST_READ);
                return Ok(Some(self.accept(header)));
            }
        }
        self.read_size = FIRST_READ;
        Ok(None)
    }

    /// The whole block at `offset`, if the buffer has it.
    fn buffered(&self, verify: Verify) -> Option<BlockHeader> {
        let start = usize::try_from(self.offset.checked_sub(self.buffer_at)?).ok()?;
        let bytes = self.buffer.get(start..self.filled)?;
        let header = BlockHeader::peek(bytes, self.mark)?;
        let block = bytes.get(..header.length)?;
        (verify == Verify::HeaderOnly || block_is_whole(block, &header)).then_some(header)
    }

    fn accept(&mut self, header: BlockHeader) -> BlockHeader {
        self.current = ((self.offset - self.buffer_at) as usize, header.length);
        self.offset = aligned(self.offset + header.length as u64);
        header
    }

    /// Stand before the current block again.
    pub(crate) fn step_back(&mut self) {
        self.offset = self.buffer_at + self.current.0 as u64;
    }

    fn read(&mut self, least: usize) -> Result<(), Fault> {
        let size = self.read_size.max(least);
        if self.buffer.len() < size {
            self.buffer.resize(size, 0);
        }
        self.buffer_at = self.offset;
        self.filled = 0;
        self.filled =
            self.file.read_at(&mut self.buffer[..size], self.offset).fault("cannot read", &self.name)?;
        Ok(())
    }

    /// Search what lies beyond an unreadable place for a whole block that was written after record `expected`
    /// was durable.
    pub(crate) fn proof_beyond(&self, expected: u64) -> Result<Beyond, Fault> {
        let length = self.file.length().fault("cannot measure", &self.name)?;
        let mut rest = vec![0; usize::try_from(length.saturating_sub(self.offset)).unwrap_or(usize::MAX)];
        let count = self.file.read_at(&mut rest, self.offset).fault("cannot read", &self.name)?;
        rest.truncate(count);
        let mark = self.mark.to_le_bytes();
        let proof = memchr::memmem::find_iter(&rest, &mark).any(|at| {
            (at as u64 + self.offset).is_multiple_of(8)
                && BlockHeader::peek(&rest[at..], self.mark).is_some_and(|header| {
                    header.durable_before >= expected
                        && rest
                            .get(at..at + header.length)
                            .is_some_and(|block| block_is_whole(block, &header))
                })
        });
        let torn = rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1);
        Ok(if proof { Beyond::Proof } else { Beyond::Torn(torn) })
    }
}

/// What lies beyond the last readable block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beyond {
    /// A later block shows that the unreadable one had been durable: damage.
    Proof,
    /// Nothing, or so many bytes of a commit that was never finished.
    Torn(u64),
}
