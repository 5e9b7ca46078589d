//! Recovery: reads the ledger of an earlier process and writes the closes that it owed, before anything is
//! served.

use std::{
    mem, thread,
    time::{Duration, Instant},
};

use ledger::{Batch, Ledger, Opened, Position, ReadFrom, Reader, Refused};
use lifecycle::{
    BindingRemoved, Event, EventId, EventKind, LastBinding, NodeStarted, OpenBinding, OpenState, OpenUsers,
    RemovalCause, Text, UserOnline, Word,
};

use crate::RecoveryError;

/// Bytes of one batch of owed records.
const BATCH: usize = 256 * 1024;

/// How long the disk may take for one such batch.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks whether there is another segment.
const LOOK: Duration = Duration::from_millis(5);

/// Damage that was found and repaired at the start.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// Flows that an earlier process left open, closed now.
    pub flows: u64,
    /// Bindings that went with them, or were left over UDP and could not be kept.
    pub bindings: u64,
    /// Bindings over UDP that are there again.
    pub kept: u64,
    /// Bytes of unfinished commits that were cut.
    pub torn_bytes: u64,
    /// Records that were folded: those since the checkpoint.
    pub records: u64,
    /// From the first look at the ledger until all that was owed was durable.
    pub took: Duration,
}

/// What the records up to some place come to, and a reader that stands there.
pub struct LedgerFold {
    pub(crate) unfinished: OpenState,
    pub(crate) reader: Reader,
    /// The last record folded.
    pub(crate) at: Position,
    /// Checkpoints that are known to be good.
    pub(crate) checkpoints: Vec<Position>,
}

/// Writes what an earlier process owed (DESIGN invariant 4). The books end where that begins; who is online
/// is told as of its end. `end` says why a binding that
/// had no flow goes, or that it stays; `now` is microseconds since the Unix epoch.
///
/// # Errors
/// The ledger cannot be read or written.
pub fn recover(
    opened: &Opened,
    now: u64,
    end: impl FnMut(&OpenBinding) -> Option<RemovalCause>,
) -> Result<(Recovered, LedgerFold, OpenUsers), RecoveryError> {
    settle(opened, now, end, |batch| write(&opened.ledger, batch))
}

/// Folds the history and has written what it leaves open; `now` is microseconds since the Unix epoch.
pub(crate) fn settle(
    opened: &Opened,
    now: u64,
    mut end: impl FnMut(&OpenBinding) -> Option<RemovalCause>,
    mut write: impl FnMut(Batch) -> Result<(), RecoveryError>,
) -> Result<(Recovered, LedgerFold, OpenUsers), RecoveryError> {
    let (books, records) = fold(opened)?;
    let unfinished = &books.unfinished;
    let last_alive = opened.last_beat.map_or(0, |beat| beat.at).max(last_record(opened));
    let ledger = &opened.ledger;
    let mut recovered = Recovered {
        flows: unfinished.flows().len() as u64,
        torn_bytes: opened.torn.iter().map(|torn| torn.bytes).sum(),
        records,
        ..Recovered::default()
    };
    let started = Event::NodeStarted(NodeStarted {
        version: Text::new(env!("CARGO_PKG_VERSION")),
        flows_recovered: recovered.flows,
    });
    let mut batch = Batch::new();
    batch.push(started.kind().number(), now, &started.to_json());
    let mut failed = None;
    // Small segments have small blocks, and a batch must fit one.
    let enough = BATCH.min(ledger.largest_payload() / 4);
    let mut kept = 0;
    let ends = |left: &OpenBinding| {
        let cause = end(left);
        kept += u64::from(cause.is_none());
        cause
    };
    let mut put = |event: &Event<'_>| {
        batch.push(event.kind().number(), now, &event.to_json());
        if batch.weight() > enough && failed.is_none() {
            failed = write(std::mem::take(&mut batch)).err();
        }
    };
    let mut users = unfinished.users.clone();
    unfinished.settle(last_alive, now, ends, |event| {
        if let Event::BindingRemoved(BindingRemoved { aor, cause: Word::Known(cause), flow, .. }) = &event {
            recovered.bindings += 1;
            users.removed(aor, || LastBinding { at: now, cause: *cause, flow: flow.map(Into::into) });
        }
        put(&event);
    });
    for aor in come_online(&users) {
        put(&Event::UserOnline(UserOnline { aor: aor.clone(), online_at: now }));
        users.came(aor, now);
    }
    recovered.kept = kept;
    match failed {
        Some(error) => Err(error),
        None => write(batch).map(|()| (recovered, books, users)),
    }
}

/// Users with bindings that stay, and of whom it was never recorded that they came: by a version that did
/// not.
fn come_online(users: &OpenUsers) -> Vec<Text<160>> {
    let never = users.users().iter().filter(|(_, user)| user.online_at.is_none());
    never.map(|(aor, _)| aor.clone()).collect()
}

fn last_record(opened: &Opened) -> u64 {
    opened.previous.and_then(|previous| previous.last_at).unwrap_or(0)
}

/// Folds what earlier runs wrote; says how many records that took.
fn fold(opened: &Opened) -> Result<(LedgerFold, u64), RecoveryError> {
    let mut books = begin(opened)?;
    let mut records = 0;
    while let Some(block) = books.reader.next_block().map_err(RecoveryError::History)? {
        for record in block.records() {
            let id = EventId { incarnation: record.position.incarnation, sequence: record.position.seq };
            match EventKind::try_from(record.kind) {
                Ok(kind) => books.unfinished.fold(id, record.at, kind, record.payload),
                Err(_) => return Err(RecoveryError::NewerEvents { event: id, kind: record.kind }),
            }
        }
        records += block.count();
        books.at = block.last();
    }
    Ok((books, records))
}

/// Where the fold begins: at the newest checkpoint that can be used, or at the first record of all.
fn begin(opened: &Opened) -> Result<LedgerFold, RecoveryError> {
    for at in &opened.unusable_checkpoints {
        tracing::warn!(checkpoint = %at, "a checkpoint cannot be used; the start reads from an earlier one");
    }
    let mut unread = None;
    if let Some(checkpoint) = &opened.checkpoint {
        match OpenState::restore(&checkpoint.payload) {
            Ok(unfinished) => {
                // One that is newer and damaged is kept in place of an older good one.
                let sure = opened.unusable_checkpoints.is_empty();
                return Ok(LedgerFold {
                    unfinished,
                    reader: opened.history(),
                    at: checkpoint.position,
                    checkpoints: if sure { vec![checkpoint.position] } else { Vec::new() },
                });
            }
            Err(error) => {
                tracing::warn!(checkpoint = %checkpoint.position, %error, "a checkpoint cannot be used; the start reads the whole ledger");
                unread = Some(error.to_string());
            }
        }
    }
    let first = Position::new(1, 1);
    let oldest = opened.ledger.segments().first().map_or(first, |segment| segment.first);
    let checkpointed = unread.is_some() || !opened.unusable_checkpoints.is_empty();
    if oldest.seq > 1 || (checkpointed && oldest > first) {
        // What was open before is not known: a close would be owed that nobody writes.
        let why = unread.unwrap_or_else(|| "damaged or gone".to_owned());
        return Err(RecoveryError::NoCheckpoint { oldest, why });
    }
    Ok(LedgerFold {
        unfinished: OpenState::default(),
        reader: opened.ledger.reader(ReadFrom::Oldest),
        at: Position::START,
        checkpoints: Vec::new(),
    })
}

#[cfg(test)]
mod tests;

/// Appends a batch and waits for the disk; at a start nothing is in a hurry.
pub(crate) fn write(ledger: &Ledger, mut batch: Batch) -> Result<(), RecoveryError> {
    if batch.is_empty() {
        return Ok(());
    }
    let append = || {
        ledger.append(mem::take(&mut batch)).map_err(|rejected| {
            batch = rejected.batch;
            rejected.why
        })
    };
    let appended = once_there_is_room(append).map_err(RecoveryError::NoRoomToRecover)?;
    match ledger.durable(appended.last_seq).wait_for(PATIENCE) {
        Some(Ok(())) => Ok(()),
        Some(Err(_)) | None => Err(RecoveryError::DiskTooSlow(PATIENCE)),
    }
}

/// Tries again while the next segment is in the making. Each start begins one, so starts that follow each
/// other closely find none ready; where none can be made, the refusal says why.
pub(crate) fn once_there_is_room<T>(mut attempt: impl FnMut() -> Result<T, Refused>) -> Result<T, Refused> {
    let until = Instant::now() + PATIENCE;
    loop {
        match attempt() {
            Err(Refused::NoRoom { cause: None, .. }) if Instant::now() < until => thread::sleep(LOOK),
            done => return done,
        }
    }
}
