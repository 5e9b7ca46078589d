//! What an earlier run left: examined without changing anything, then mended where a crash explains it,
//! refused where none does.

use std::collections::VecDeque;

use crate::blocks::{Beyond, Blocks, Verify};
use crate::catalogue::{Catalogue, Facts};
use crate::checkpoint::{self, Checkpoint};
use crate::error::{Damage, DamageKind, Fault, Faulty, OpenError, ReadError};
use crate::format::{FORMAT_VERSION, Records, SEAL, SegmentKey, seal_block};
use crate::heartbeat::{Beat, last_beat};
use crate::position::Position;
use crate::settings::Settings;
use crate::storage::{Access, Storage};

/// How the previous incarnation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It closed its ledger.
    Cleanly,
    /// It did not: a crash, a kill, a loss of power.
    Abruptly,
}

/// What the previous incarnation left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Previous {
    /// Its last record; `seq` 0 if it wrote none.
    pub last: Position,
    /// When its last record says it happened, if it was looked at: microseconds since the Unix epoch.
    pub last_at: Option<u64>,
    /// How it ended.
    pub ended: Ended,
}

/// Bytes of an unfinished commit that were cut. None of it was ever acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torn {
    /// The segment.
    pub file: String,
    /// Where it was cut.
    pub offset: u64,
    /// How many bytes went.
    pub bytes: u64,
}

/// The end of the log, and what is to be done about it.
#[derive(Debug)]
struct Tail {
    key: SegmentKey,
    mark: u64,
    next_seq: u64,
    /// Up to here later blocks prove that all is durable.
    proven: u64,
    /// Where whole blocks end; a seal stands there if `sealed`.
    end: u64,
    sealed: bool,
    torn: u64,
    last_at: Option<u64>,
}

/// All that a start needs to know.
pub(crate) struct Examined {
    pub(crate) catalogue: Catalogue,
    tail: Option<Tail>,
    pub(crate) checkpoint: Option<Checkpoint>,
    /// Those that could not be read or have a hole after them.
    pub(crate) unusable_checkpoints: Vec<Position>,
    pub(crate) beats: u64,
    pub(crate) beat: Option<Beat>,
    /// The largest incarnation anything in the directory speaks of.
    pub(crate) highest_incarnation: u64,
    /// Prepared segments of the right size, and the largest number one had.
    pub(crate) spares: Vec<String>,
    pub(crate) last_spare: u64,
    /// Files of no use.
    rubbish: Vec<String>,
}

impl Examined {
    pub(crate) fn previous(&self) -> Option<Previous> {
        self.tail.as_ref().map(|tail| Previous {
            last: Position::new(tail.key.incarnation, tail.next_seq - 1),
            last_at: tail.last_at,
            ended: if tail.sealed { Ended::Cleanly } else { Ended::Abruptly },
        })
    }

    pub(crate) fn torn(&self) -> Vec<Torn> {
        let torn = self.tail.iter().filter(|tail| tail.torn > 0);
        torn.map(|tail| Torn { file: tail.key.name(), offset: tail.end, bytes: tail.torn }).collect()
    }
}

fn refuse(storage: &dyn Storage, error: ReadError) -> OpenError {
    let place = storage.place();
    match error {
        ReadError::Damaged(damage) => OpenError::Damaged { place, damage },
        ReadError::NewerFormat { file, found } => {
            OpenError::NewerFormat { place, file, found, supported: FORMAT_VERSION }
        }
        ReadError::Fault(fault) => OpenError::Fault { place, fault },
        ReadError::Ahead { wanted } => OpenError::CheckpointAhead { place, wanted },
        ReadError::Removed { wanted, .. } => OpenError::CheckpointAhead { place, wanted },
    }
}

/// Look at everything; change nothing.
pub(crate) fn examine(storage: &dyn Storage, settings: &Settings) -> Result<Examined, OpenError> {
    let fault = |fault| OpenError::Fault { place: storage.place(), fault };
    let mut examined = Examined {
        catalogue: Catalogue::default(),
        tail: None,
        checkpoint: None,
        unusable_checkpoints: Vec::new(),
        beats: 0,
        beat: None,
        highest_incarnation: 0,
        spares: Vec::new(),
        last_spare: 0,
        rubbish: Vec::new(),
    };
    let mut keys = Vec::new();
    for listed in storage.list("segments").fault("cannot list", "segments").map_err(fault)? {
        if let Some(key) = SegmentKey::parse(&listed.name) {
            keys.push((key, listed.len));
        } else if let Some(number) = listed.name.strip_prefix("spare-") {
            let number = number.split('.').next().and_then(|digits| digits.parse().ok()).unwrap_or(0);
            examined.last_spare = examined.last_spare.max(number);
            let name = format!("segments/{}", listed.name);
            if name.ends_with(".ready") && listed.len == settings.segment_bytes {
                examined.spares.push(name);
            } else {
                examined.rubbish.push(name);
            }
        }
    }
    keys.sort_unstable();
    for (key, bytes) in keys {
        let (_, header) = Blocks::open(storage, key).map_err(|error| refuse(storage, error))?;
        if header.node != settings.node {
            return Err(OpenError::WrongNode {
                place: storage.place(),
                file: key.name(),
                found: header.node,
                wanted: settings.node.clone(),
            });
        }
        examined.catalogue.insert(key, Facts { mark: header.mark, bytes });
    }
    check_chain(&examined.catalogue).map_err(|damage| refuse(storage, damage.into()))?;

    (examined.beats, examined.beat) = last_beat(storage).map_err(fault)?;
    let checkpoints = checkpoint::list(storage).map_err(fault)?;
    // Cursors may have seen an incarnation of which nothing else is left; a damaged one is for its own reader
    // to complain about.
    let cursors = crate::cursor::all(storage).unwrap_or_default();
    examined.highest_incarnation = (examined.catalogue.iter().map(|(key, _)| key.incarnation))
        .chain(examined.beat.map(|beat| beat.incarnation))
        .chain(checkpoints.iter().map(|position| position.incarnation))
        .chain(cursors.iter().map(|(_, position)| position.incarnation))
        .max()
        .unwrap_or(0);

    for position in checkpoints {
        let reachable = examined.catalogue.first().is_none_or(|oldest| {
            SegmentKey { incarnation: position.incarnation, first_seq: position.seq + 1 } >= oldest
        });
        match checkpoint::read(storage, position).filter(|_| reachable) {
            Some(found) => {
                examined.checkpoint = Some(found);
                break;
            }
            None => examined.unusable_checkpoints.push(position),
        }
    }
    let from = examined.checkpoint.as_ref().map(|checkpoint| checkpoint.position);
    for folder in ["cursors", "checkpoints"] {
        for listed in storage.list(folder).fault("cannot list", folder).map_err(fault)? {
            if listed.name.ends_with(".new") {
                examined.rubbish.push(format!("{folder}/{}", listed.name));
            }
        }
    }
    examined.tail = scan(storage, &examined.catalogue, from).map_err(|error| refuse(storage, error))?;
    // The first segment of an incarnation is durable before anything else speaks of it.
    if let Some(tail) = &examined.tail
        && tail.key.incarnation < examined.highest_incarnation
    {
        let kind = DamageKind::MissingIncarnation { known: examined.highest_incarnation };
        let damage = Damage { file: tail.key.name(), offset: tail.end, kind };
        return Err(OpenError::Damaged { place: storage.place(), damage });
    }
    Ok(examined)
}

/// Whether the segments can follow one another: no incarnation skipped, each but the oldest with its
/// beginning.
fn check_chain(catalogue: &Catalogue) -> Result<(), Damage> {
    let mut before: Option<SegmentKey> = None;
    for (key, _) in catalogue.iter() {
        let follows = before.is_none_or(|before| {
            key.incarnation == before.incarnation
                || (key.incarnation == before.incarnation + 1 && key.first_seq == 1)
        });
        if !follows {
            return Err(Damage { file: key.name(), offset: 0, kind: DamageKind::MissingSegment });
        }
        before = Some(key);
    }
    Ok(())
}

/// Read every block after `from` and find the end of the log.
fn scan(
    storage: &dyn Storage,
    catalogue: &Catalogue,
    from: Option<Position>,
) -> Result<Option<Tail>, ReadError> {
    let start = from
        .and_then(|position| {
            catalogue.at_or_before(SegmentKey {
                incarnation: position.incarnation,
                first_seq: position.seq.saturating_add(1),
            })
        })
        .or_else(|| catalogue.first());
    let mut tail = None;
    let mut next = start;
    while let Some(key) = next {
        next = catalogue.after(key);
        let found = scan_segment(storage, key, next)?;
        if let Some(wanted) = from
            && wanted.incarnation == key.incarnation
            && found.next_seq <= wanted.seq
            && next.is_none_or(|next| next.incarnation > key.incarnation)
        {
            return Err(ReadError::Ahead { wanted });
        }
        tail = Some(found);
    }
    match (from, &tail) {
        (Some(wanted), Some(tail)) if tail.key.incarnation < wanted.incarnation => {
            Err(ReadError::Ahead { wanted })
        }
        _ => Ok(tail),
    }
}

/// Read one segment; `next` is the one after it.
fn scan_segment(storage: &dyn Storage, key: SegmentKey, next: Option<SegmentKey>) -> Result<Tail, ReadError> {
    let (mut blocks, header) = Blocks::open(storage, key)?;
    let mut tail = Tail {
        key,
        mark: header.mark,
        next_seq: key.first_seq,
        proven: blocks.offset(),
        end: blocks.offset(),
        sealed: false,
        torn: 0,
        last_at: None,
    };
    // Ends of blocks that nothing has proven durable yet.
    let mut unproven: VecDeque<(u64, u64)> = VecDeque::new();
    let same = next.filter(|next| next.incarnation == key.incarnation);
    let damage = |offset, kind| ReadError::from(Damage { file: key.name(), offset, kind });
    // A segment counts up to where the next one begins: what it holds beyond was never acknowledged there.
    while same.is_none_or(|next| tail.next_seq < next.first_seq) {
        let expected = tail.next_seq;
        match blocks.next(Verify::Whole)? {
            Some(header) if header.first_seq != expected => {
                return Err(damage(tail.end, DamageKind::OutOfOrder { expected, found: header.first_seq }));
            }
            Some(header) => {
                if header.seal {
                    // It proves nothing to us: a start whose sync failed may have left it in the system's
                    // memory alone.
                    tail.sealed = true;
                    break;
                }
                while unproven.front().is_some_and(|(next_seq, _)| *next_seq - 1 <= header.durable_before) {
                    tail.proven = unproven.pop_front().map_or(tail.proven, |(_, end)| end);
                }
                let records = Records::of(blocks.block(), &header, key.incarnation);
                tail.last_at = records.map(|record| record.at).max().max(tail.last_at);
                tail.next_seq = header.next_seq();
                tail.end = blocks.offset();
                unproven.push_back((tail.next_seq, tail.end));
            }
            None => {
                return match (same, next) {
                    (Some(next), _) => {
                        let next = next.first_seq;
                        Err(damage(tail.end, DamageKind::MissingRecords { expected, next }))
                    }
                    (None, Some(_)) => Err(damage(tail.end, DamageKind::Unsealed { expected })),
                    (None, None) => match blocks.proof_beyond(expected)? {
                        Beyond::Proof => Err(damage(tail.end, DamageKind::Block { expected })),
                        Beyond::Torn(torn) => {
                            tail.torn = torn;
                            Ok(tail)
                        }
                    },
                };
            }
        }
    }
    match (same, tail.sealed, next) {
        // A sealed segment is the last of its incarnation.
        (Some(next), true, _) => Err(Damage {
            file: next.name(),
            offset: 0,
            kind: DamageKind::OutOfOrder { expected: tail.next_seq, found: next.first_seq },
        }
        .into()),
        (Some(next), _, _) if tail.next_seq > next.first_seq => {
            Err(damage(tail.end, DamageKind::OutOfOrder { expected: next.first_seq, found: tail.next_seq }))
        }
        _ => Ok(tail),
    }
}

/// Make what [`examine`] found last, and cut what it found torn: after this the previous incarnation is
/// whole, sealed and durable.
pub(crate) fn mend(storage: &dyn Storage, examined: &mut Examined) -> Result<(), Fault> {
    for name in &examined.rubbish {
        storage.remove(name).fault("cannot remove", name)?;
    }
    let Some(tail) = &examined.tail else { return Ok(()) };
    let name = tail.key.name();
    let file = storage.open(&name, Access::Write).fault("cannot open", &name)?;
    let end = tail.end + SEAL;
    // The last blocks may be in the system's memory only, and a sync that failed before the crash may have
    // left them marked as written. They are about to be shown to readers, so they are written anew.
    let unproven = usize::try_from(tail.end - tail.proven).unwrap_or(usize::MAX);
    if unproven > 0 {
        let mut bytes = vec![0; unproven];
        let count = file.read_at(&mut bytes, tail.proven).fault("cannot read", &name)?;
        file.write_at(&bytes[..count], tail.proven).fault("cannot write", &name)?;
        // The seal must not reach the disk before what it speaks of.
        file.sync().fault("cannot sync", &name)?;
    }
    // One that stands there already may be no better off.
    file.write_at(&seal_block(tail.mark, tail.next_seq), tail.end).fault("cannot write", &name)?;
    file.sync().fault("cannot sync", &name)?;
    // Only after the seal is safe: what lies beyond it is of no use, and an unfinished segment is mostly
    // zeros.
    if file.length().fault("cannot measure", &name)? > end {
        file.truncate(end).fault("cannot cut", &name)?;
        file.sync().fault("cannot sync", &name)?;
    }
    // The segment's name may not have reached the disk either.
    storage.sync_folder("segments").fault("cannot sync", "segments")?;
    examined.catalogue.insert(tail.key, Facts { mark: tail.mark, bytes: end });
    Ok(())
}
