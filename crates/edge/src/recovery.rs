//! What an earlier process owed: read back from the ledger, written before anything is served.

use std::time::Duration;

use ledger::{Batch, Durability, Ledger, Opened, Settings};
use lifecycle::{Event, EventId, EventKind, Node, NodeStarted, Text, Unfinished};

use crate::{StartError, clock};

/// Bytes of one batch of owed records.
const BATCH: usize = 256 * 1024;

/// How long the disk may take for one such batch.
const PATIENCE: Duration = Duration::from_secs(60);

/// What was found and mended at the start.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// Flows that an earlier process left open, closed now.
    pub flows: u64,
    /// Bindings that went with them or were left over UDP.
    pub bindings: u64,
    /// Bytes of unfinished commits that were cut.
    pub torn_bytes: u64,
}

/// Opens the ledger and writes what an earlier process owed (DESIGN invariant 4).
///
/// # Errors
/// The ledger cannot be opened, read or written.
pub(crate) fn open(config: &config::Ledger, node: &Node) -> Result<(Ledger, Recovered), StartError> {
    let mut settings = Settings::new(node.as_str());
    settings.segment_bytes = config.segment_size;
    settings.block_bytes =
        settings.block_bytes.min(usize::try_from(config.segment_size / 4).unwrap_or(usize::MAX));
    settings.spare_bytes = settings.spare_bytes.min(config.segment_size);
    settings.durability = match config.durability {
        config::Durability::Memory => Durability::Memory,
        config::Durability::Disk => Durability::Disk,
    };
    let opened = Ledger::open(&config.directory, settings)?;
    let unfinished = fold(&opened)?;
    let now = clock::micros();
    let last_alive = opened.last_beat.map_or(0, |beat| beat.at).max(last_record(&opened));
    let ledger = opened.ledger;
    let mut recovered = Recovered {
        flows: unfinished.flows().len() as u64,
        torn_bytes: opened.torn.iter().map(|torn| torn.bytes).sum(),
        bindings: 0,
    };
    let started = Event::NodeStarted(NodeStarted {
        version: Text::new(env!("CARGO_PKG_VERSION")),
        flows_recovered: recovered.flows,
    });
    let mut batch = Batch::new();
    batch.push(started.kind().number(), now, &started.to_json());
    let mut failed = None;
    unfinished.settle(last_alive, now, |event| {
        if event.kind() == EventKind::BindingRemoved {
            recovered.bindings += 1;
        }
        batch.push(event.kind().number(), now, &event.to_json());
        if batch.weight() > BATCH && failed.is_none() {
            failed = write(&ledger, std::mem::take(&mut batch)).err();
        }
    });
    match failed {
        Some(error) => Err(error),
        None => write(&ledger, batch).map(|()| (ledger, recovered)),
    }
}

fn last_record(opened: &Opened) -> u64 {
    opened.previous.and_then(|previous| previous.last_at).unwrap_or(0)
}

fn fold(opened: &Opened) -> Result<Unfinished, StartError> {
    let mut unfinished = Unfinished::default();
    let mut history = opened.history();
    while let Some(block) = history.next_block().map_err(StartError::History)? {
        for record in block.records() {
            let id = EventId { incarnation: record.position.incarnation, sequence: record.position.seq };
            match EventKind::try_from(record.kind) {
                Ok(kind) => unfinished.fold(id, kind, record.payload),
                Err(_) => return Err(StartError::NewerEvents { event: id, kind: record.kind }),
            }
        }
    }
    Ok(unfinished)
}

/// Appends a batch and waits for the disk; at a start nothing is in a hurry.
fn write(ledger: &Ledger, batch: Batch) -> Result<(), StartError> {
    if batch.is_empty() {
        return Ok(());
    }
    let appended = ledger.append(batch).map_err(|rejected| StartError::NoRoomToRecover(rejected.why))?;
    match ledger.durable(appended.last_seq).wait_for(PATIENCE) {
        Some(Ok(())) => Ok(()),
        Some(Err(_)) | None => Err(StartError::DiskTooSlow(PATIENCE)),
    }
}
