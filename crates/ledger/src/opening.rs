//! Opening: lock, examine, mend, begin a new incarnation.

use std::sync::Arc;

use crate::checkpoint::{self, Checkpoint};
use crate::error::{Fault, Faulty, OpenError};
use crate::format::SegmentKey;
use crate::heartbeat::{Beat, Heartbeat};
use crate::keeper::{Keeper, make_spare};
use crate::ledger::{Ledger, Opened};
use crate::position::Position;
use crate::queue::{Limits, Queue};
use crate::recovery::{Previous, Torn, examine, mend};
use crate::room::Room;
use crate::settings::Settings;
use crate::shared::{Shared, Spare, State};
use crate::storage::{Access, LockError, Storage};
use crate::writer::{Writer, begin_header, name_segment};

/// Spares of an earlier run that are kept; more are removed.
const KEPT_SPARES: usize = 8;

/// A ledger before its threads run.
pub(crate) struct Parts {
    pub(crate) shared: Arc<Shared>,
    pub(crate) writer: Writer,
    pub(crate) keeper: Keeper,
    pub(crate) findings: Findings,
}

/// What [`Opened`] tells, without the ledger.
pub(crate) struct Findings {
    incarnation: u64,
    previous: Option<Previous>,
    last_beat: Option<Beat>,
    torn: Vec<Torn>,
    checkpoint: Option<Checkpoint>,
    unusable_checkpoints: Vec<Position>,
}

impl Findings {
    pub(crate) fn opened(self, ledger: Ledger) -> Opened {
        Opened {
            ledger,
            incarnation: self.incarnation,
            previous: self.previous,
            last_beat: self.last_beat,
            torn: self.torn,
            checkpoint: self.checkpoint,
            unusable_checkpoints: self.unusable_checkpoints,
        }
    }
}

pub(crate) fn prepare(storage: Arc<dyn Storage>, settings: Settings) -> Result<Parts, OpenError> {
    settings.check()?;
    let directory = |source| OpenError::Directory { place: storage.place(), source };
    let fault = |fault| OpenError::Fault { place: storage.place(), fault };
    storage.make_folder("").map_err(directory)?;
    let lock = storage.lock().map_err(|error| match error {
        LockError::Held { pid } => OpenError::Held { place: storage.place(), pid },
        LockError::Io(source) => directory(source),
    })?;
    for folder in ["segments", "cursors", "checkpoints"] {
        storage.make_folder(folder).map_err(directory)?;
    }

    let mut examined = examine(&*storage, &settings)?;
    let (previous, torn) = (examined.previous(), examined.torn());
    mend(&*storage, &mut examined).map_err(fault)?;

    let incarnation = examined.highest_incarnation + 1;
    let (spares, last_spare) =
        take_spares(&*storage, &settings, &examined.spares, examined.last_spare).map_err(fault)?;
    let heartbeat = Heartbeat::open(&*storage, examined.beats, incarnation).map_err(fault)?;
    let limits = Limits {
        block_bytes: settings.block_bytes,
        backlog_bytes: settings.backlog_bytes,
        stall_after: settings.stall_after,
    };
    let room = Room::new(settings.capacity(), settings.widest_block());
    let state = State {
        queue: Queue::new(incarnation, limits, room),
        spares,
        writer_sleeps: false,
        beat: None,
        keeper_called: true,
        retry_now: false,
        rolled: 0,
        abandoned: 0,
        checkpoints: checkpoint::list(&*storage).map_err(fault)?,
    };
    let history_end = previous.map_or(Position::START, |previous| previous.last);
    let place = storage.place();
    let shared =
        Arc::new(Shared::new(storage, settings, state, examined.catalogue, heartbeat, history_end, lock));
    let active = begin_incarnation(&shared).map_err(|fault| OpenError::Fault { place, fault })?;
    let findings = Findings {
        incarnation,
        previous,
        last_beat: examined.beat,
        torn,
        checkpoint: examined.checkpoint,
        unusable_checkpoints: examined.unusable_checkpoints,
    };
    Ok(Parts {
        writer: Writer::new(Arc::clone(&shared), active),
        keeper: Keeper::new(Arc::clone(&shared), last_spare),
        shared,
        findings,
    })
}

/// Open the spares an earlier run left and make one if there is none: the first segment needs it.
fn take_spares(
    storage: &dyn Storage,
    settings: &Settings,
    found: &[String],
    mut last_spare: u64,
) -> Result<(Vec<Spare>, u64), Fault> {
    let mut spares = Vec::new();
    for name in found {
        if spares.len() >= KEPT_SPARES {
            storage.remove(name).fault("cannot remove", name)?;
            continue;
        }
        let file = storage.open(name, Access::Write).fault("cannot open", name)?;
        spares.push(Spare { name: name.clone(), file });
    }
    if spares.is_empty() {
        last_spare += 1;
        spares.push(make_spare(storage, settings, last_spare)?);
    }
    Ok((spares, last_spare))
}

/// The first segment of this incarnation: once it is there for good, the number is used up.
fn begin_incarnation(shared: &Shared) -> Result<crate::writer::Active, Fault> {
    let spare = shared.state().spares.pop();
    let Some(spare) = spare else {
        let source = std::io::Error::other("no spare");
        return Err(Fault { doing: "cannot begin", file: "segments".to_owned(), source });
    };
    let active = begin_header(shared, &spare, SegmentKey { incarnation: shared.incarnation, first_seq: 1 })?;
    name_segment(shared, &spare, &active)?;
    let mut state = shared.state();
    state.queue.room.spares = state.spares.len();
    state.queue.room.active_free = active.limit - active.offset;
    Ok(active)
}
