//! What all shards share.

use std::sync::{
    Arc, Mutex, MutexGuard, OnceLock, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use ledger::{Batch, Ledger, Reservation};
use lifecycle::{EventKind, Incarnation, Node};
use location::Location;

use crate::{
    Bound, Metrics,
    domains::Domains,
    inbox::{Inboxes, Letter},
    metrics::Count,
    token::Tokens,
};

/// Bytes of one batch of closing records; a flow with more bindings than fit is closed in several.
const BATCH: usize = 256 * 1024;

/// Takes a request for a page.
pub type Pages = Box<dyn Fn(transport::PlainHttp) + Send + Sync>;

pub(crate) struct Shared {
    pub(crate) node: Node,
    pub(crate) incarnation: Incarnation,
    pub(crate) ledger: Ledger,
    pub(crate) listeners: Vec<Bound>,
    pub(crate) domains: Domains,
    pub(crate) tokens: Tokens,
    pub(crate) policy: sip_registrar::Policy,
    pub(crate) proxy: sip_proxy::Settings,
    /// Signs branches; the same for all shards.
    pub(crate) branch_secret: [u8; 16],
    pub(crate) max_flows: u64,
    pub(crate) inboxes: Inboxes,
    pub(crate) metrics: Arc<Metrics>,
    pages: OnceLock<Pages>,
    location: Mutex<Location<Reservation>>,
    closing: AtomicBool,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("node", &self.node).finish_non_exhaustive()
    }
}

/// What [`Shared`] is made of.
pub(crate) struct Parts {
    pub(crate) node: Node,
    pub(crate) ledger: Ledger,
    pub(crate) listeners: Vec<Bound>,
    pub(crate) domains: Domains,
    pub(crate) tokens: Tokens,
    pub(crate) policy: sip_registrar::Policy,
    pub(crate) proxy: sip_proxy::Settings,
    pub(crate) max_flows: u64,
    pub(crate) max_bindings: usize,
    pub(crate) inboxes: Inboxes,
}

impl Shared {
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        Arc::new(Self {
            node: parts.node,
            incarnation: parts.ledger.incarnation(),
            ledger: parts.ledger,
            listeners: parts.listeners,
            domains: parts.domains,
            tokens: parts.tokens,
            policy: parts.policy,
            proxy: parts.proxy,
            branch_secret: rand::random(),
            max_flows: parts.max_flows,
            inboxes: parts.inboxes,
            metrics: Arc::new(Metrics::new()),
            pages: OnceLock::new(),
            location: Mutex::new(Location::new(parts.max_bindings)),
            closing: AtomicBool::new(false),
        })
    }

    /// From now on plain HTTP on `ws` listeners is answered by this.
    pub(crate) fn serve_pages(&self, pages: Pages) {
        let _ = self.pages.set(pages);
    }

    /// Who answers plain HTTP.
    pub(crate) fn pages(&self) -> Option<&Pages> {
        self.pages.get()
    }

    /// The bindings. Held for the length of one change, never across an await.
    pub(crate) fn location(&self) -> MutexGuard<'_, Location<Reservation>> {
        // A panic under this lock is a bug of ours; the table's own invariants are kept by its methods.
        self.location.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Flows that are open now.
    pub(crate) fn live(&self) -> u64 {
        // Closed first: a flow that opens and closes in between must not make the difference negative.
        let closed = self.metrics.get(Count::FlowsClosed);
        self.metrics.get(Count::FlowsOpened).saturating_sub(closed)
    }

    /// Adds a record to a batch, in room that was reserved for it. Batches are kept below what a block holds.
    pub(crate) fn push(&self, batch: &mut Batch, room: Reservation, kind: EventKind, at: u64, record: &[u8]) {
        if batch.weight() + Batch::weight_of(record.len()) > BATCH {
            self.append(std::mem::take(batch));
        }
        if let Err(error) = batch.push_reserved(room, kind.number(), at, record) {
            // The sizes of records are bounded by their types and tested against the rooms.
            tracing::error!(%error, %kind, "a record is longer than its room: this is a bug, please report it");
        }
    }

    /// Appends a batch whose records are all paid for.
    pub(crate) fn append(&self, batch: Batch) {
        if batch.is_empty() {
            return;
        }
        if let Err(rejected) = self.ledger.append(batch) {
            tracing::error!(error = %rejected.why, records = rejected.batch.len(), "the ledger took no records");
        }
    }

    /// Tells a shard something; a full inbox is counted, and the letter is lost.
    pub(crate) fn tell(&self, shard: usize, letter: Letter) -> Result<(), Letter> {
        self.inboxes.send(shard, letter).inspect_err(|_| self.metrics.add(Count::InboxFull))
    }

    /// No flow opens any more.
    pub(crate) fn begin_closing(&self) {
        self.closing.store(true, Ordering::Release);
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }
}
