//! The list of edits, put in order when it is written.

use smallvec::SmallVec;

use super::piece::Piece;
use crate::Span;

/// One replacement: a stretch gives way to a piece. An insertion replaces nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Edit<'m> {
    /// Where it starts, and below that its rank among those that start there.
    place: u64,
    end: u32,
    pub(super) piece: Piece<'m>,
}

/// Ranks at one place: what was put in front, the latest first; what was put behind that, the earliest first;
/// then replacements, the latest first.
const FRONT: u32 = 1 << 29;
const REPLACEMENT: u32 = 1 << 31;

impl Edit<'_> {
    #[inline]
    pub(super) fn start(&self) -> u32 {
        (self.place >> 32) as u32
    }

    #[inline]
    pub(super) fn end(&self) -> u32 {
        self.end
    }

    /// Whether it is within a stretch; an insertion at an edge belongs to the neighbourhood.
    #[inline]
    pub(super) fn lies_in(&self, span: Span) -> bool {
        let start = self.start();
        start >= span.start
            && self.end <= span.end
            && !(start == self.end && (start == span.start || self.end == span.end))
    }
}

/// Edits in the order they were made. Up to 12 need no allocation.
#[derive(Debug, Clone)]
pub(super) struct Edits<'m> {
    list: SmallVec<[Edit<'m>; 12]>,
    /// How many were made, those dropped since included.
    made: u32,
}

impl<'m> Edits<'m> {
    #[inline]
    pub(super) fn new() -> Edits<'m> {
        Edits { list: SmallVec::new(), made: 0 }
    }

    /// Inserts in front of what was inserted at the same place.
    pub(super) fn insert_front(&mut self, at: u32, piece: Piece<'m>) {
        self.push(at, at, FRONT - self.made, piece);
    }

    /// Inserts behind what was inserted at the same place, before a replacement that starts there.
    pub(super) fn insert(&mut self, at: u32, piece: Piece<'m>) {
        self.push(at, at, FRONT + self.made, piece);
    }

    /// Replaces a stretch; earlier edits within it are dropped.
    pub(super) fn replace(&mut self, span: Span, piece: Piece<'m>) {
        self.clear(span);
        self.push(span.start, span.end, REPLACEMENT - self.made, piece);
    }

    /// Drops the edits inside a stretch.
    pub(super) fn clear(&mut self, span: Span) {
        if self.list.iter().any(|edit| edit.lies_in(span)) {
            self.list.retain(|edit| !edit.lies_in(span));
        }
    }

    /// Drops the edits for which `kept` is false.
    pub(super) fn retain(&mut self, mut kept: impl FnMut(&Edit<'m>) -> bool) {
        self.list.retain(|edit| kept(edit));
    }

    /// At least the bytes that all pieces take.
    pub(super) fn room(&self) -> usize {
        self.list.iter().map(|edit| edit.piece.room()).sum()
    }

    /// The edits in the order of their places, handed out one by one.
    #[inline]
    pub(super) fn for_each_in_order(&self, mut act: impl FnMut(&Edit<'m>)) {
        let mut order: SmallVec<[(u64, usize); 12]> =
            self.list.iter().enumerate().map(|(nth, edit)| (edit.place, nth)).collect();
        order.sort_unstable_by_key(|&(place, _)| place);
        order.iter().for_each(|&(_, nth)| act(&self.list[nth]));
    }

    #[inline]
    fn push(&mut self, start: u32, end: u32, rank: u32, piece: Piece<'m>) {
        // Far more edits than memory holds would be needed to make two ranks meet.
        self.made = (self.made + 1).min(FRONT - 1);
        self.list.push(Edit { place: u64::from(start) << 32 | u64::from(rank), end, piece });
    }
}
