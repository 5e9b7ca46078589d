//! Reading forward across segments and incarnations; shared by the reader inside the process and the one
//! outside.

use std::io;
use std::sync::Arc;

use crate::blocks::{Blocks, Verify};
use crate::error::{Damage, DamageKind, Fault, ReadError};
use crate::format::{BlockHeader, Records, SegmentKey};
use crate::position::Position;
use crate::storage::Storage;

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFrom {
    /// At the oldest record there is.
    Oldest,
    /// After this record.
    After(Position),
}

/// What a walk may see.
pub(crate) trait View {
    /// The last record that may be shown, and the incarnation still being written; `None`: whatever is whole.
    fn bound(&self) -> Option<Position>;
    fn first(&mut self) -> Result<Option<SegmentKey>, Fault>;
    fn after(&mut self, key: SegmentKey) -> Result<Option<SegmentKey>, Fault>;
    fn at_or_before(&mut self, key: SegmentKey) -> Result<Option<SegmentKey>, Fault>;
    /// Whether the open segment was replaced by another of the same name.
    fn replaced(&mut self, blocks: &Blocks) -> Result<bool, ReadError>;
    /// Look again; true if that can have changed anything.
    fn refresh(&mut self) -> Result<bool, Fault>;
}

pub(crate) struct Walk {
    storage: Arc<dyn Storage>,
    open: Option<Blocks>,
    /// The first sequence of the next block in the open segment.
    expected: u64,
    /// The next record to show; incarnation 0 is "the oldest".
    wanted: Position,
    shown: Option<BlockHeader>,
}

impl Walk {
    pub(crate) fn new(storage: Arc<dyn Storage>, from: ReadFrom) -> Self {
        let wanted = match from {
            ReadFrom::Oldest => Position::START,
            ReadFrom::After(position) if position.incarnation == 0 => Position::START,
            ReadFrom::After(position) => Position::new(position.incarnation, position.seq.saturating_add(1)),
        };
        Self { storage, open: None, expected: 1, wanted, shown: None }
    }

    /// The record that comes next; incarnation 0 if nothing was read yet.
    pub(crate) fn wanted(&self) -> Position {
        self.wanted
    }

    /// The block the last [`Walk::step`] found.
    pub(crate) fn block(&self) -> Option<BlockRef<'_>> {
        let (blocks, header) = (self.open.as_ref()?, self.shown.as_ref()?);
        Some(BlockRef {
            block: blocks.block(),
            header,
            incarnation: blocks.key.incarnation,
            from: self.expected,
        })
    }

    /// Step to the next block with a wanted record; false if there is none yet.
    pub(crate) fn step(&mut self, view: &mut impl View) -> Result<bool, ReadError> {
        if let Some(header) = self.shown.take() {
            self.wanted.seq = header.next_seq();
            self.expected = header.next_seq();
        }
        loop {
            // The bound first: whatever segment it lies in is in the view by then.
            let bound = view.bound();
            if self.open.is_none() && !self.locate(view)? {
                return Ok(false);
            }
            let Some(blocks) = self.open.as_mut() else { return Ok(false) };
            let key = blocks.key;
            let next = view.after(key)?;
            if let Some(next) = next
                && next.incarnation == key.incarnation
                && self.expected >= next.first_seq
            {
                self.enter(next)?;
                continue;
            }
            if let Some(bound) = bound
                && key.incarnation >= bound.incarnation
                && self.expected > bound.seq
            {
                return if self.wanted.seq > bound.seq + 1 {
                    Err(ReadError::Ahead { wanted: self.last_seen() })
                } else {
                    Ok(false)
                };
            }
            let skipping = self.expected < self.wanted.seq;
            let offset = blocks.offset();
            let mut found = blocks.next(if skipping { Verify::HeaderOnly } else { Verify::Whole })?;
            if skipping && found.is_some_and(|header| header.next_seq() > self.wanted.seq || header.seal) {
                blocks.step_back();
                found = blocks.next(Verify::Whole)?;
            }
            let Some(header) = found else {
                if view.replaced(blocks)? {
                    self.open = None;
                    continue;
                }
                let damage = |kind| Damage { file: key.name(), offset, kind };
                let expected = self.expected;
                match next {
                    Some(next) if next.incarnation == key.incarnation => {
                        let next = next.first_seq;
                        return Err(damage(DamageKind::MissingRecords { expected, next }).into());
                    }
                    Some(_) => return Err(damage(DamageKind::Unsealed { expected }).into()),
                    None if bound.is_some() => return Err(damage(DamageKind::Block { expected }).into()),
                    None if view.refresh()? && view.after(key)?.is_some() => continue,
                    None if expected < self.wanted.seq => {
                        return Err(ReadError::Ahead { wanted: self.last_seen() });
                    }
                    None => return Ok(false),
                }
            };
            if header.first_seq != self.expected {
                let kind = DamageKind::OutOfOrder { expected: self.expected, found: header.first_seq };
                return Err(Damage { file: key.name(), offset, kind }.into());
            }
            if header.seal {
                if self.expected < self.wanted.seq {
                    return Err(ReadError::Ahead { wanted: self.last_seen() });
                }
                blocks.step_back();
                let next = match next {
                    None if view.refresh()? => view.after(key)?,
                    next => next,
                };
                let Some(next) = next else { return Ok(false) };
                if next.incarnation != key.incarnation + 1 || next.first_seq != 1 {
                    return Err(
                        Damage { file: next.name(), offset: 0, kind: DamageKind::MissingSegment }.into()
                    );
                }
                self.wanted = Position::new(next.incarnation, 1);
                self.enter(next)?;
                continue;
            }
            if header.next_seq() > self.wanted.seq {
                self.expected = self.wanted.seq.max(header.first_seq);
                self.shown = Some(header);
                return Ok(true);
            }
            self.expected = header.next_seq();
        }
    }

    fn last_seen(&self) -> Position {
        Position::new(self.wanted.incarnation, self.wanted.seq.saturating_sub(1))
    }

    /// Open the segment the wanted record is in; false if there is none.
    fn locate(&mut self, view: &mut impl View) -> Result<bool, ReadError> {
        view.refresh()?;
        let Some(oldest) = view.first()? else {
            return if self.wanted.incarnation == 0 {
                Ok(false)
            } else {
                Err(ReadError::Ahead { wanted: self.last_seen() })
            };
        };
        if self.wanted.incarnation == 0 {
            self.wanted = Position::new(oldest.incarnation, oldest.first_seq);
            self.enter(oldest)?;
            return Ok(true);
        }
        let wanted = SegmentKey { incarnation: self.wanted.incarnation, first_seq: self.wanted.seq };
        match view.at_or_before(wanted)? {
            Some(key) if key.incarnation == wanted.incarnation => self.enter(key)?,
            Some(key) if view.after(key)?.is_none() => {
                return Err(ReadError::Ahead { wanted: self.last_seen() });
            }
            _ => {
                let oldest = Position::new(oldest.incarnation, oldest.first_seq);
                return Err(ReadError::Removed { wanted: self.last_seen(), oldest });
            }
        }
        Ok(true)
    }

    fn enter(&mut self, key: SegmentKey) -> Result<(), ReadError> {
        match Blocks::open(&*self.storage, key) {
            Ok((blocks, _)) => {
                self.open = Some(blocks);
                self.expected = key.first_seq;
                Ok(())
            }
            // Retention was quicker.
            Err(ReadError::Fault(fault)) if fault.source.kind() == io::ErrorKind::NotFound => {
                let oldest = Position::new(key.incarnation, key.first_seq);
                Err(ReadError::Removed { wanted: self.last_seen(), oldest })
            }
            Err(error) => Err(error),
        }
    }

    /// The open segment, for a look at its tail.
    pub(crate) fn open_segment(&self) -> Option<(&Blocks, u64)> {
        self.open.as_ref().map(|blocks| (blocks, self.expected))
    }
}

/// One block of records, as read: what one commit (or a part of it) made durable.
#[derive(Debug, Clone, Copy)]
pub struct BlockRef<'a> {
    block: &'a [u8],
    header: &'a BlockHeader,
    incarnation: u64,
    from: u64,
}

impl<'a> BlockRef<'a> {
    /// Its records in order, from the first one wanted.
    pub fn records(&self) -> impl Iterator<Item = crate::Record<'a>> + use<'a> {
        let from = self.from;
        Records::of(self.block, self.header, self.incarnation)
            .skip_while(move |record| record.position.seq < from)
    }

    /// Where its last record stands: what a cursor advances to.
    #[must_use]
    pub fn last(&self) -> Position {
        Position::new(self.incarnation, self.header.next_seq() - 1)
    }

    /// How many records it yields.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.header.next_seq() - self.from
    }
}
