//! The look-up of a header field name: which id the bytes at the start of a line name.

use super::{ALL, HeaderId, NAMES};
use crate::words::{each, equal, lowest};

/// No known name is longer.
pub(crate) const LONGEST: usize = 24;

/// The first bytes of a line, the lowest first, and zeros behind the name.
type Words = [u64; LONGEST / 8];

/// A name, or its compact form.
struct Spelling {
    words: Words,
    len: usize,
    id: HeaderId,
}

/// Full names first, then the compact ones.
const COUNT: usize = {
    let (mut count, mut id) = (NAMES.len(), 0);
    while id < NAMES.len() {
        count += !ALL[id].2.is_empty() as usize;
        id += 1;
    }
    count
};

static SPELLINGS: [Spelling; COUNT] = {
    let mut spellings = [const { Spelling { words: [0; 3], len: 0, id: HeaderId::Other } }; COUNT];
    let (mut next, mut id) = (NAMES.len(), 0);
    while id < NAMES.len() {
        spellings[id] = Spelling { words: words(ALL[id].1), len: ALL[id].1.len(), id: ALL[id].0 };
        if !ALL[id].2.is_empty() {
            spellings[next] = Spelling { words: words(ALL[id].2), len: 1, id: ALL[id].0 };
            next += 1;
        }
        id += 1;
    }
    spellings
};

const fn words(name: &[u8]) -> Words {
    assert!(name.len() <= LONGEST, "a name longer than LONGEST");
    let (mut words, mut at) = ([0; 3], 0);
    while at < name.len() {
        words[at / 8] |= (name[at] as u64) << (at % 8 * 8);
        at += 1;
    }
    words
}

/// For each length of a name, the bits of [`Words`] that belong to it.
static MASKS: [Words; LONGEST + 1] = {
    let mut masks = [[0; 3]; LONGEST + 1];
    let mut len = 1;
    while len <= LONGEST {
        masks[len] = masks[len - 1];
        masks[len][(len - 1) / 8] |= 0xff << ((len - 1) % 8 * 8);
        len += 1;
    }
    masks
};

const SLOT_BITS: u32 = 10;
/// Found by trying: with it no two spellings share a slot, which the table's construction proves. Where a new
/// name spoils that, a few dozen random odd numbers are enough to find another.
const MULTIPLIER: u64 = 0x8964_b4cb_fe71_92f1;

/// The slot of a name. Letters that differ in case only have the same.
const fn slot(words: &Words) -> usize {
    let mixed = words[0] ^ words[1].rotate_left(8) ^ words[2].rotate_left(16);
    ((mixed & !each(0x20)).wrapping_mul(MULTIPLIER) >> (64 - SLOT_BITS)) as usize
}

/// An empty slot.
const NONE: u8 = u8::MAX;
const _: () = assert!(COUNT < NONE as usize, "a place in SPELLINGS fits into a byte");

/// Places in [`SPELLINGS`].
static SLOTS: [u8; 1 << SLOT_BITS] = {
    let mut slots = [NONE; 1 << SLOT_BITS];
    let mut at = 0;
    while at < COUNT {
        let slot = slot(&SPELLINGS[at].words);
        assert!(slots[slot] == NONE, "two header names share a slot");
        slots[slot] = at as u8;
        at += 1;
    }
    slots
};

/// The id of the name that the first `len` bytes are; nothing for an unknown one.
#[inline]
pub(crate) fn find(bytes: &[u8; LONGEST], len: usize) -> Option<HeaderId> {
    find_words(read(bytes), len)
}

/// The known name that `bytes` begin with, if a colon follows right behind it, and its length.
#[inline]
pub(crate) fn leading(bytes: &[u8; LONGEST]) -> Option<(HeaderId, usize)> {
    let words = read(bytes);
    let colon = words.iter().enumerate().find_map(|(nth, &word)| {
        let colons = equal(word, b':');
        (colons != 0).then(|| nth * 8 + lowest(colons))
    })?;
    find_words(words, colon).map(|id| (id, colon))
}

#[inline]
fn read(bytes: &[u8; LONGEST]) -> Words {
    let (words, _) = bytes.as_chunks::<8>();
    std::array::from_fn(|nth| u64::from_le_bytes(words[nth]))
}

#[inline]
fn find_words(mut words: Words, len: usize) -> Option<HeaderId> {
    for (word, mask) in words.iter_mut().zip(MASKS[len]) {
        *word &= mask;
    }
    let spelling = SPELLINGS.get(usize::from(SLOTS[slot(&words)]))?;
    let same =
        spelling.len == len && (same(&spelling.words, &words) || same_letters(&spelling.words, &words));
    same.then_some(spelling.id)
}

/// `==` would compare by way of the stack.
#[inline]
fn same(one: &Words, other: &Words) -> bool {
    (one[0] ^ other[0]) | (one[1] ^ other[1]) | (one[2] ^ other[2]) == 0
}

/// Whether received bytes differ from a spelling by the case of letters at most.
#[inline(never)]
fn same_letters(spelling: &Words, words: &Words) -> bool {
    // Of letters and hyphens, only letters have the bit 0x40; the bit for their case is the next lower one.
    let differing = |nth: usize| (spelling[nth] ^ words[nth]) & !((spelling[nth] & each(0x40)) >> 1);
    differing(0) | differing(1) | differing(2) == 0
}
