//! Reading outside the process that writes: without its lock, without changing anything.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::blocks::{Beyond, Blocks};
use crate::catalogue::{Catalogue, Facts};
use crate::checkpoint::{self, Checkpoint};
use crate::cursor;
use crate::error::{CursorError, Damage, DamageKind, Fault, Faulty, ReadError};
use crate::format::SegmentKey;
use crate::position::Position;
use crate::seek_since::seek_since;
use crate::storage::{Directory, Storage};
use crate::walk::{BlockRef, ReadFrom, View, Walk};

/// How often a follower looks for more.
pub const POLL: Duration = Duration::from_millis(50);

/// Reads a ledger's directory, whether or not a node has it open.
///
/// It sees whole blocks, so it may be one commit ahead of what the writer has acknowledged.
pub struct LogReader {
    files: Files,
    walk: Walk,
}

/// How the log ends, as far as it can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// Nothing was ever written.
    Empty,
    /// With a seal: the node closed it, or a later start mended it.
    Sealed,
    /// Without: a node is writing it, or died.
    Open,
    /// With so many bytes of an unfinished commit, which the next start will cut.
    Torn(u64),
}

struct Files {
    storage: Arc<dyn Storage>,
    catalogue: Catalogue,
}

impl View for Files {
    fn bound(&self) -> Option<Position> {
        None
    }

    fn first(&mut self) -> Result<Option<SegmentKey>, Fault> {
        Ok(self.catalogue.first())
    }

    fn after(&mut self, key: SegmentKey) -> Result<Option<SegmentKey>, Fault> {
        Ok(self.catalogue.after(key))
    }

    fn at_or_before(&mut self, key: SegmentKey) -> Result<Option<SegmentKey>, Fault> {
        Ok(self.catalogue.at_or_before(key))
    }

    fn replaced(&mut self, blocks: &Blocks) -> Result<bool, ReadError> {
        match Blocks::open(&*self.storage, blocks.key) {
            Ok((now, _)) => Ok(now.mark != blocks.mark),
            // Removed since; what is open can still be read.
            Err(ReadError::Fault(fault)) if fault.source.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn refresh(&mut self) -> Result<bool, Fault> {
        let mut catalogue = Catalogue::default();
        for listed in self.storage.list("segments").fault("cannot list", "segments")? {
            if let Some(key) = SegmentKey::parse(&listed.name) {
                catalogue.insert(key, Facts { mark: 0, bytes: listed.len });
            }
        }
        self.catalogue = catalogue;
        Ok(true)
    }
}

impl LogReader {
    /// Read the ledger in this directory.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn open(directory: impl AsRef<Path>, from: ReadFrom) -> Result<Self, ReadError> {
        Self::open_on(Arc::new(Directory::new(directory.as_ref())), from)
    }

    /// Read the ledger on this storage.
    ///
    /// # Errors
    /// As [`LogReader::open`].
    pub fn open_on(storage: Arc<dyn Storage>, from: ReadFrom) -> Result<Self, ReadError> {
        let mut files = Files { storage: Arc::clone(&storage), catalogue: Catalogue::default() };
        files.refresh()?;
        Ok(Self { files, walk: Walk::new(storage, from) })
    }

    /// Begin again where no record since `at` (microseconds since the Unix epoch) is missed, and little from
    /// before is read; older ones come, too. A clock that was set back is allowed for, up to ten minutes.
    ///
    /// # Errors
    /// A segment is damaged, or the disk refused.
    pub fn seek_since(&mut self, at: u64) -> Result<(), ReadError> {
        self.files.refresh()?;
        let keys: Vec<SegmentKey> = self.files.catalogue.iter().map(|(key, _)| key).collect();
        let from = seek_since(&*self.files.storage, keys.into_iter(), at)?;
        self.seek(from);
        Ok(())
    }

    /// Begin again there.
    pub fn seek(&mut self, from: ReadFrom) {
        self.walk = Walk::new(Arc::clone(&self.files.storage), from);
    }

    /// Where each segment begins, oldest first: the first record that it holds, or may hold.
    ///
    /// # Errors
    /// The disk refused.
    pub fn segments(&mut self) -> Result<Vec<Position>, Fault> {
        self.files.refresh()?;
        let first = |(key, _): (SegmentKey, Facts)| Position::new(key.incarnation, key.first_seq);
        Ok(self.files.catalogue.iter().map(first).collect())
    }

    /// The next block of records; `None` at the end for now.
    ///
    /// # Errors
    /// As [`crate::Reader::next_block`].
    pub fn next_block(&mut self) -> Result<Option<BlockRef<'_>>, ReadError> {
        let found = self.walk.step(&mut self.files)?;
        Ok(if found { self.walk.block() } else { None })
    }

    /// The next block; if there is none yet, look again every [`POLL`] until `timeout` is over.
    ///
    /// # Errors
    /// As [`crate::Reader::next_block`].
    pub fn follow(&mut self, timeout: Duration) -> Result<Option<BlockRef<'_>>, ReadError> {
        let until = Instant::now() + timeout;
        while !self.walk.step(&mut self.files)? {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            std::thread::sleep(left.min(POLL));
        }
        Ok(self.walk.block())
    }

    /// After the last block: what the end of the log looks like. Reads the rest of the segment.
    ///
    /// # Errors
    /// The end is damaged (a later block proves that an unreadable one had been durable), or the disk
    /// refused.
    pub fn tail(&mut self) -> Result<Tail, ReadError> {
        let Some((open, expected)) = self.walk.open_segment() else { return Ok(Tail::Empty) };
        // With fresh eyes: the file may have grown since.
        let mut blocks = Blocks::open_at(&*self.files.storage, open.key, open.offset())?;
        if blocks.next(crate::blocks::Verify::Whole)?.is_some_and(|header| header.seal) {
            return Ok(Tail::Sealed);
        }
        let offset = blocks.offset();
        match blocks.proof_beyond(expected)? {
            Beyond::Torn(0) => Ok(Tail::Open),
            Beyond::Torn(bytes) => Ok(Tail::Torn(bytes)),
            Beyond::Proof => {
                // A block that was being written when it was looked at is whole by now.
                let mut again = Blocks::open_at(&*self.files.storage, open.key, open.offset())?;
                if again.next(crate::blocks::Verify::Whole)?.is_some() {
                    return Ok(Tail::Open);
                }
                Err(Damage { file: open.key.name(), offset, kind: DamageKind::Block { expected } }.into())
            }
        }
    }

    /// The name of the node whose ledger this is; none while it has no segment.
    ///
    /// # Errors
    /// The first segment's header is damaged, or the disk refused.
    pub fn node(&mut self) -> Result<Option<String>, ReadError> {
        self.files.refresh()?;
        let first = self.files.catalogue.first();
        first.map(|key| Blocks::open(&*self.files.storage, key).map(|(_, header)| header.node)).transpose()
    }

    /// All cursors and where they stand, by name.
    ///
    /// # Errors
    /// One is damaged, or the disk refused.
    pub fn cursors(&self) -> Result<Vec<(String, Position)>, CursorError> {
        cursor::all(&*self.files.storage)
    }

    /// The checkpoints that can be read, newest first.
    ///
    /// # Errors
    /// The disk refused.
    pub fn checkpoints(&self) -> Result<Vec<Checkpoint>, Fault> {
        let storage = &*self.files.storage;
        let positions = checkpoint::list(storage)?;
        Ok(positions.into_iter().filter_map(|position| checkpoint::read(storage, position)).collect())
    }

    /// The last sign of life a node left here.
    ///
    /// # Errors
    /// The disk refused.
    pub fn last_beat(&self) -> Result<Option<crate::Beat>, Fault> {
        crate::heartbeat::last_beat(&*self.files.storage).map(|(_, beat)| beat)
    }
}
