//! Follows the ledger on a thread of its own: checkpoints for the next start, retention for the disk.
//!
//! A checkpoint is written once the fold has caught up after a start (nothing is open then: it is the
//! cheapest there is), when a segment was full and at least as much was written since the last checkpoint as
//! that one was long, and at an orderly end. So a start reads about as much as there is open, and checkpoints
//! never cost more than the records do.
//!
//! The tombstone comes before the removal, and the removal waits until the tombstone comes by in the durable
//! log. A crash in between leaves records that are already accounted for, and the next start finishes. The
//! other way round it would leave a hole that nothing explains.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use ledger::{Batch, Health, Ledger, Position, ReadError, Reader, Reservation};
use lifecycle::{EventId, EventKind, Node, OpenState, TRIMMED_RESERVE};
use metrics::{Count, Gauge, Metrics};
use tokio::sync::oneshot;

use crate::{Registry, clock, recovery::LedgerFold, retention::Retention};

#[cfg(test)]
mod tests;
mod trimming;

/// Between two looks at the ledger.
const PAUSE: Duration = Duration::from_millis(500);

/// Between two looks at what may go, and between two attempts at what failed, in microseconds.
const LOOK_EVERY: u64 = 60_000_000;

/// Between two warnings of one kind, in microseconds.
const WARN_EVERY: u64 = 3_600_000_000;

/// Segments for which the disk should have room.
const LOW_DISK: u64 = 8;

/// Whether records may still be appended by this thread: `node.stopped` is to be the last of a run.
#[derive(Debug, Default)]
pub(crate) struct Gate(Mutex<Passage>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Passage {
    #[default]
    Open,
    Closed,
}

impl Gate {
    pub(crate) fn close(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Passage::Closed;
    }
}

/// Orders that may wait for the bookkeeper. Beyond, an order is refused.
const MOST_ORDERS: usize = 16;

#[derive(Debug)]
enum Order {
    /// Hand over a copy of the books as of now.
    Copy(oneshot::Sender<LedgerSnapshot>),
    /// The last record is durable.
    Finish,
}

/// Asks the bookkeeper's thread for something.
#[derive(Clone, Debug)]
pub struct Orders(SyncSender<Order>);

impl Orders {
    /// What the ledger says is open, up to what is durable now. None if the bookkeeper has too much to do or
    /// has ended.
    pub async fn snapshot(&self) -> Option<LedgerSnapshot> {
        let (answer, snapshot) = oneshot::channel();
        self.0.try_send(Order::Copy(answer)).ok()?;
        snapshot.await.ok()
    }
}

/// The open flows, bindings, users and calls as of one record of the ledger.
#[derive(Clone, Debug)]
pub struct LedgerSnapshot {
    /// That record: what came later is not in it.
    pub at: Position,
    /// What is open.
    pub unfinished: OpenState,
}

/// The result of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// There may be more to do later.
    Idle,
    /// The run is over, and the last checkpoint written.
    Ended,
}

/// Folds the durable records, one step at a time.
pub(crate) struct Bookkeeper {
    ledger: Ledger,
    node: Node,
    policy: Retention,
    metrics: Arc<Metrics>,
    gate: Arc<Gate>,
    unfinished: OpenState,
    reader: Reader,
    /// The last record folded.
    at: Position,
    /// Bytes folded since the last checkpoint, and how long that was.
    since_checkpoint: u64,
    last_length: u64,
    /// Segments that were full when the last checkpoint was written; none was written by this run yet.
    rolled: Option<u64>,
    /// The last two checkpoints that are known to be good, oldest first.
    checkpoints: Vec<Position>,
    /// Room for a tombstone: a full disk must not keep us from making room.
    room: Option<Reservation>,
    /// A tombstone that was appended and has not come by yet.
    tombstone: Option<Position>,
    /// When the newest record of a segment was written.
    ended: BTreeMap<Position, u64>,
    checkpoint_not_before: u64,
    look_at: u64,
    warned_at: u64,
    stopped: bool,
}

impl Bookkeeper {
    /// Begins where the start has read to.
    pub(crate) fn new(
        (ledger, node, metrics): (Ledger, Node, Arc<Metrics>),
        books: LedgerFold,
        policy: Retention,
        gate: Arc<Gate>,
    ) -> Self {
        let LedgerFold { unfinished, reader, at, checkpoints } = books;
        Self {
            room: ledger.reserve(TRIMMED_RESERVE).ok(),
            ledger,
            node,
            policy,
            metrics,
            gate,
            unfinished,
            reader,
            at,
            since_checkpoint: 0,
            last_length: 0,
            rolled: None,
            checkpoints,
            tombstone: None,
            ended: BTreeMap::new(),
            checkpoint_not_before: 0,
            look_at: 0,
            warned_at: 0,
            stopped: false,
        }
    }

    /// Folds what is durable, then does what is due. Blocks on the disk.
    pub(crate) fn step(&mut self, now: u64) -> Result<Step, ReadError> {
        let wrong = self.wrong();
        self.follow()?;
        if self.wrong() > wrong {
            tracing::error!(
                findings = self.wrong(),
                "the ledger does not add up: `sipway audit` names what is wrong"
            );
        }
        let checkpointed = self.checkpoint_if_due(now);
        if self.stopped {
            return Ok(Step::Ended);
        }
        if checkpointed || now >= self.look_at {
            self.look_at = now + LOOK_EVERY;
            self.trim(now);
        }
        Ok(Step::Idle)
    }

    /// The fold of the records that were read.
    pub(crate) fn books(&self) -> &OpenState {
        &self.unfinished
    }

    fn wrong(&self) -> u64 {
        let books = &self.unfinished;
        books.closed_without_open.len()
            + books.opened_twice.len()
            + books.calls.wrong()
            + books.users.wrong()
            + books.unreadable.len()
    }

    fn follow(&mut self) -> Result<(), ReadError> {
        let run = self.ledger.incarnation();
        while let Some(block) = self.reader.next_block()? {
            for record in block.records() {
                self.since_checkpoint += Batch::weight_of(record.payload.len()) as u64;
                // This run writes no other kinds, and recovery refused those of earlier ones.
                let Ok(kind) = EventKind::try_from(record.kind) else { continue };
                self.stopped |= kind == EventKind::NodeStopped && record.position.incarnation == run;
                self.unfinished.fold(event_id(record.position), record.at, kind, record.payload);
            }
            self.at = block.last();
        }
        if self.tombstone.is_some_and(|tombstone| tombstone <= self.at) {
            self.tombstone = None;
            self.look_at = 0;
        }
        Ok(())
    }

    fn checkpoint_if_due(&mut self, now: u64) -> bool {
        let rolled = self.ledger.status().rolled;
        let due = match self.rolled {
            // What recovery owed must have come by first.
            None => self.at.incarnation == self.ledger.incarnation(),
            Some(before) => rolled > before && self.since_checkpoint >= self.last_length,
        };
        if !(self.stopped || due && now >= self.checkpoint_not_before) {
            return false;
        }
        let snapshot = self.unfinished.snapshot();
        if let Err(error) = self.ledger.write_checkpoint(self.at, &snapshot) {
            tracing::warn!(%error, "cannot write a checkpoint: the next start takes longer, and no old records are dropped meanwhile");
            self.checkpoint_not_before = now + LOOK_EVERY;
            return false;
        }
        self.metrics.add(Count::Checkpoints);
        self.metrics.set(Gauge::CheckpointBytes, snapshot.len() as u64);
        self.rolled = Some(rolled);
        self.since_checkpoint = 0;
        self.last_length = snapshot.len() as u64;
        if self.checkpoints.last() != Some(&self.at) {
            self.checkpoints.push(self.at);
        }
        if self.checkpoints.len() > 2 {
            self.checkpoints.remove(0);
        }
        true
    }

    fn may_warn(&mut self, now: u64) -> bool {
        let may = self.warned_at == 0 || now >= self.warned_at + WARN_EVERY;
        if may {
            self.warned_at = now;
        }
        may
    }

    fn copy(&mut self, answer: oneshot::Sender<LedgerSnapshot>) {
        // An error is told where the next step meets it; the books are true up to where they stand.
        let _ = self.follow();
        // The caller may have gone.
        let _ = answer.send(LedgerSnapshot { at: self.at, unfinished: self.unfinished.clone() });
    }

    /// Looks at the disk under the ledger.
    fn look_at_disk(&mut self, directory: &std::path::Path, segment_size: u64, now: u64) {
        let Ok(disk) = rustix::fs::statvfs(directory) else { return };
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        self.metrics.set(Gauge::DiskFree, free);
        if free < segment_size * LOW_DISK && self.may_warn(now) {
            tracing::warn!(
                free_bytes = free,
                ledger_bytes = self.ledger.bytes_on_disk(),
                keep_size = self.policy.keep_size,
                "the disk of the ledger is nearly full, and a full disk refuses new flows: lower `[ledger] keep_size` or free space"
            );
        }
    }

    fn run(mut self, orders: &Receiver<Order>, directory: &std::path::Path, segment_size: u64) {
        let (mut disk_at, mut complained_at) = (0, 0);
        loop {
            let now = clock::micros();
            // Asked first: what was durable by then is folded below.
            let closed = self.ledger.health() == Health::Closed;
            match self.step(now) {
                Ok(Step::Ended) => return,
                Ok(Step::Idle) => {}
                Err(error) if now >= complained_at + WARN_EVERY => {
                    complained_at = now;
                    tracing::error!(%error, "the ledger cannot be read: no checkpoints are written and no old records are dropped");
                }
                Err(_) => {}
            }
            if closed {
                return;
            }
            if now >= disk_at {
                disk_at = now + LOOK_EVERY;
                self.look_at_disk(directory, segment_size, now);
            }
            if let Ok(Order::Copy(answer)) = orders.recv_timeout(PAUSE) {
                self.copy(answer);
            }
        }
    }
}

fn event_id(position: Position) -> EventId {
    EventId { incarnation: position.incarnation, sequence: position.seq }
}

/// The thread that the bookkeeper runs on.
#[derive(Debug)]
pub struct BookkeeperThread {
    /// Ends with the process.
    _thread: JoinHandle<()>,
    orders: Orders,
    gate: Arc<Gate>,
    ended: oneshot::Receiver<()>,
}

impl BookkeeperThread {
    /// Starts it. `books` is where the start has read to; `directory` and `segment_size` (bytes) are the
    /// ledger's.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(
        registry: &Registry,
        books: LedgerFold,
        policy: Retention,
        directory: PathBuf,
        segment_size: u64,
    ) -> std::io::Result<Self> {
        let (orders, inbox) = sync_channel(MOST_ORDERS);
        let gate = Arc::new(Gate::default());
        let bookkeeper = Bookkeeper::new(
            (registry.ledger.clone(), registry.node.clone(), Arc::clone(&registry.metrics)),
            books,
            policy,
            Arc::clone(&gate),
        );
        let (tell, ended) = oneshot::channel();
        let thread = std::thread::Builder::new().name("bookkeeper".to_owned()).spawn(move || {
            bookkeeper.run(&inbox, &directory, segment_size);
            let _ = tell.send(());
        })?;
        Ok(Self { _thread: thread, orders: Orders(orders), gate, ended })
    }

    /// How others ask it for something.
    #[must_use]
    pub fn orders(&self) -> Orders {
        self.orders.clone()
    }

    /// From now on it appends nothing.
    pub fn close_gate(&self) {
        self.gate.close();
    }

    /// Waits for the last checkpoint, which follows `node.stopped`.
    pub async fn finish(self, until: Instant) {
        // If it is busy, it looks soon enough by itself.
        let _ = self.orders.0.try_send(Order::Finish);
        if tokio::time::timeout_at(until.into(), self.ended).await.is_err() {
            tracing::warn!("the last checkpoint was not written in time: the next start takes longer");
        }
    }
}
