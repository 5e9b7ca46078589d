//! The registry: what is open and bound now. It changes together with its records in the ledger.
//!
//! Nothing here has a socket, a clock or a thread of its own, and nothing waits but for the ledger: the
//! shards and the simulation use the same code.

use std::{
    borrow::Cow,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use ledger::{Appended, Batch, Ledger, Refused, Rejected, Reservation};
use lifecycle::{
    ADDITION_RESERVE, BindingAdded, BindingRemoved, CLOSE_RESERVE, Cause, CloseBook, Ending, Event,
    EventKind, FlowEnd, FlowFacts, FlowId, FlowOpened, Identity, Incarnation, LastBinding, NAMED_BINDINGS,
    Node, NodeStopped, Now, OpenFlow, REMOVAL_RESERVE, RemovalCause, Text, UserOnline,
};
use location::{
    Binding, BindingHop, Came, Location, Owed, Presence, Register, RegisterError, Registration,
    StoredBinding, Taken,
};
use metrics::{Count, Gauge, Metrics};
use sip_registrar::Policy;
use smallvec::SmallVec;

use crate::{
    binding_store::{BindingStore, RestoredBinding, TooMuch},
    presence::UserRooms,
};

/// Bytes of one batch of closing records; a flow with more bindings than fit is closed in several.
const BATCH: usize = 256 * 1024;

/// The flows and bindings of this incarnation. Times named `at` are microseconds since the Unix epoch.
pub struct Registry {
    pub(crate) node: Node,
    pub(crate) incarnation: Incarnation,
    pub(crate) ledger: Ledger,
    pub(crate) metrics: Arc<Metrics>,
    location: Mutex<Location<Reservation>>,
    /// Behind the lock of `location`.
    pub(crate) presence: Mutex<Presence<Reservation>>,
    closing: AtomicBool,
    /// Keeps the bindings that belong to no flow.
    keeping: Option<BindingStore>,
}

impl Registry {
    /// A node that has no flow yet. `bindings` and `presence` are what an earlier run left.
    #[must_use]
    pub fn new(
        node: Node,
        ledger: Ledger,
        bindings: Location<Reservation>,
        presence: Presence<Reservation>,
    ) -> Self {
        let metrics = Metrics::new();
        metrics.set(Gauge::UsersOnline, presence.len() as u64);
        Self {
            node,
            incarnation: ledger.incarnation(),
            ledger,
            metrics: Arc::new(metrics),
            location: Mutex::new(bindings),
            presence: Mutex::new(presence),
            closing: AtomicBool::new(false),
            keeping: None,
        }
    }

    /// Puts back what an earlier process had, and keeps what belongs to no flow for the next one.
    pub fn keep(
        &mut self,
        keeping: BindingStore,
        staying: Vec<RestoredBinding>,
        Now { instant: now, unix_micros: at }: Now,
    ) {
        self.keeping = Some(keeping);
        for RestoredBinding { kept, room, .. } in staying {
            let restored = self.location().restore(&kept, room);
            if let Err(room) = restored {
                let (aor, contact) = (Text::new(&kept.aor), Text::new(&kept.contact));
                let cause = RemovalCause::NodeCrash;
                let removed =
                    BindingRemoved { aor: Text::clone(&aor), contact, flow: None, cause: cause.into() };
                self.write(room, at, &Event::BindingRemoved(removed));
                self.presence().removed(&aor, now, || LastBinding { at, cause, flow: None });
            }
        }
    }

    /// The node's name.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// The ledger.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// This run of the node.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Counters.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The bindings. Held for the length of one change, never across an await.
    pub fn location(&self) -> MutexGuard<'_, Location<Reservation>> {
        // A panic under this lock is a bug of ours; the table's own invariants are kept by its methods.
        self.location.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Flows that are open now.
    pub fn live(&self) -> u64 {
        // Closed first: a flow that opens and closes in between must not make the difference negative.
        let closed = self.metrics.get(Count::FlowsClosed);
        self.metrics.get(Count::FlowsOpened).saturating_sub(closed)
    }

    /// No flow opens and no binding comes any more.
    pub fn begin_closing(&self) {
        self.closing.store(true, Ordering::Release);
    }

    /// Whether [`begin_closing`](Self::begin_closing) was called.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Pays for a flow's close in advance (DESIGN invariant 3).
    ///
    /// # Errors
    /// There is no room, or the disk does not do its part.
    pub fn pay_for_close(&self) -> Result<Reservation, Refused> {
        self.ledger.reserve(CLOSE_RESERVE)
    }

    /// Opens a flow: `flow.opened`, then the wait until that is durable (DESIGN invariant 1). `book` makes
    /// the flow known by its id as text, and is where its end will be written.
    ///
    /// # Errors
    /// Why not, for people. If the record was written all the same, so is its close.
    pub async fn open<B: CloseBook<Room = Reservation>>(
        &self,
        id: FlowId,
        facts: Arc<FlowFacts>,
        at: u64,
        room: Reservation,
        book: impl FnOnce(&str) -> B,
    ) -> Result<OpenFlow<B>, &'static str> {
        let name: Box<str> = self.node.flow(id).into();
        let appended = self.record_opening(id, &name, &facts, at)?;
        let book = book(&name);
        let flow = OpenFlow::new(id, name, at, facts, book, room);
        match self.ledger.durable(appended.last_seq).await {
            Ok(()) => Ok(flow),
            Err(_) => {
                flow.close(&Ending::of(Cause::Shutdown).reason("the ledger closed before it opened"));
                Err("the ledger takes no new connections")
            }
        }
    }

    /// Writes `flow.opened`: from here on there is a flow, and whatever happens it gets its close.
    fn record_opening(
        &self,
        id: FlowId,
        name: &str,
        facts: &FlowFacts,
        at: u64,
    ) -> Result<Appended, &'static str> {
        let record = Event::FlowOpened(FlowOpened { flow: name, opened_at: at, facts: Cow::Borrowed(facts) })
            .to_json();
        let mut batch = Batch::new();
        batch.push(EventKind::FlowOpened.number(), at, &record);
        // Asked while the table is locked: the end of the server counts the flows that are open once it has
        // had it.
        let mut location = self.location();
        if self.is_closing() {
            return Err("the server is shutting down");
        }
        let appended = self.ledger.append(batch).map_err(|_| "the ledger takes no new connections")?;
        self.metrics.add(Count::FlowsOpened);
        location.flow_opened(id);
        Ok(appended)
    }

    /// Takes a flow's bindings away, and writes its close behind their removals. For a [`CloseBook`] alone.
    pub fn close(
        &self,
        flow: FlowId,
        end: FlowEnd<'_>,
        room: Reservation,
        Now { instant: now, unix_micros: at }: Now,
    ) {
        let taken = self.location().flow_closed(flow);
        let aors: Vec<Text<160>> = taken.iter().map(|b| Text::new(b.aor())).collect();
        let bindings = aors.get(..NAMED_BINDINGS).unwrap_or(&aors);
        let (name, bindings_total) = (end.flow, aors.len());
        let mut batch = Batch::new();
        for binding in taken {
            self.push_removed(&mut batch, *binding, RemovalCause::FlowClosed, at);
        }
        let record = Event::FlowClosed(FlowEnd { bindings, bindings_total, ..end }).to_json();
        self.push(&mut batch, room, EventKind::FlowClosed, at, &record);
        self.append(batch);
        self.metrics.add(Count::FlowsClosed);
        if !aors.is_empty() {
            let mut presence = self.presence();
            let cause = RemovalCause::FlowClosed;
            let last = || LastBinding { at, cause, flow: Some(name.into()) };
            aors.iter().for_each(|aor| presence.removed(aor, now, last));
        }
    }

    /// Does what a REGISTER asks for and writes the records of it. `flow` is the id of its flow as text; the
    /// Contact value of the 200 is appended to `contacts`. Gives the flows that
    /// the same user agent has left with it, and on which nothing else is registered.
    ///
    /// # Errors
    /// See [`RegisterError`]; nothing was changed.
    pub fn register(
        &self,
        register: &Register<'_>,
        flow: Option<&str>,
        policy: &Policy,
        time: Now,
        contacts: &mut Vec<u8>,
    ) -> Result<SmallVec<[FlowId; 1]>, RegisterError<Refused>> {
        self.register_and_tell(register, flow, policy, time, contacts, |_| {})
    }

    /// As [`Registry::register`], and tells what changed while nobody else can change anything.
    ///
    /// # Errors
    /// See [`RegisterError`]; nothing was changed or told.
    pub fn register_and_tell(
        &self,
        register: &Register<'_>,
        flow: Option<&str>,
        policy: &Policy,
        time: Now,
        contacts: &mut Vec<u8>,
        mut tell: impl FnMut(Changed<'_>),
    ) -> Result<SmallVec<[FlowId; 1]>, RegisterError<Refused>> {
        let Now { instant: now, unix_micros: at } = time;
        let aor: Text<160> = Text::new(register.aor);
        let mut location = self.location();
        // Asked while the table is locked: nothing is added behind the removals at the end.
        if self.is_closing() {
            return Err(RegisterError::NoRoom(Refused::Closed));
        }
        let mut presence = self.presence();
        let (mut owed, mut rooms) = (presence.owed(&aor), UserRooms::default());
        let mut additions = Vec::new();
        let reserve = || -> Result<Reservation, Refused> {
            let removal = self.ledger.reserve(REMOVAL_RESERVE)?;
            additions.push(self.ledger.reserve(ADDITION_RESERVE)?);
            self.pay_for_user(std::mem::replace(&mut owed, Owed::Nothing), &mut rooms)?;
            Ok(removal)
        };
        let registration = location.register(register, policy, now, contacts, reserve)?;
        let mut batch = Batch::new();
        let added: Vec<Vec<u8>> =
            registration.added().map(|binding| added_record(binding, flow, at, now)).collect();
        let mut left = flows_left(&registration, register.way);
        registration.added().for_each(|binding| tell(Changed::Added(binding)));
        for (binding, _) in registration.removed.iter().filter(|(_, cause)| *cause == RemovalCause::Replaced)
        {
            tell(Changed::Replaced(binding, &registration));
        }
        let there: Vec<StoredBinding> = match self.keeping {
            Some(_) => {
                registration.added().chain(registration.refreshed()).filter_map(Binding::kept).collect()
            }
            None => Vec::new(),
        };
        let mut came = Came::Stays;
        for _ in 0..added.len() {
            if presence.added(&aor, at, rooms.going.take()) == Came::Online {
                came = Came::Online;
            }
        }
        for (binding, cause) in registration.removed {
            let flow = binding.flow();
            let last = || LastBinding { at, cause, flow: flow.map(|flow| self.node.flow(flow).into()) };
            presence.removed(&aor, now, last);
            self.push_removed(&mut batch, *binding, cause, at);
        }
        for (record, room) in added.into_iter().zip(additions) {
            self.push(&mut batch, room, EventKind::BindingAdded, at, &record);
        }
        if came == Came::Online
            && let Some(room) = rooms.coming.take()
        {
            let online = Event::UserOnline(UserOnline { aor, online_at: at });
            self.push(&mut batch, room, EventKind::UserOnline, at, &online.to_json());
            self.metrics.add(Count::UsersCameOnline);
        }
        // Written while the table is locked: the removal of a binding then stands after its addition in the
        // ledger.
        self.append(batch);
        self.make_room_for_users(&mut presence, time);
        drop(presence);
        // Behind the removals: a replaced one may have the same name.
        there.into_iter().for_each(|kept| self.put(kept, time));
        left.retain(|flow| location.bindings_of_flow(*flow).next().is_none());
        Ok(left)
    }

    /// Takes away bindings whose time is over, at most `at_most`; says how many.
    pub fn expire(&self, time: Now, at_most: usize) -> usize {
        let now = time.instant;
        let mut location = self.location();
        let taken = location.expire(now, at_most);
        let count = taken.len();
        self.append_removed(taken, RemovalCause::Expired, time);
        count
    }

    /// The end of the process: bindings that belong to no flow (UDP) go, unless they are kept for the next
    /// one.
    pub fn release_unowned(&self, now: Now) {
        if self.keeping.is_some() {
            return;
        }
        let mut location = self.location();
        let taken = location.take_unowned(usize::MAX);
        self.append_removed(taken, RemovalCause::Shutdown, now);
    }

    /// Waits, at most until then, until what is kept for the next process is on disk.
    pub async fn kept(&self, until: Instant) {
        if let Some(keeping) = &self.keeping {
            keeping.finish(until).await;
        }
    }

    /// Writes `node.stopped`: nothing of this run comes behind it.
    ///
    /// # Errors
    /// The ledger did not take it.
    pub fn stopped(&self, at: u64) -> Result<Appended, Rejected> {
        let stopped = Event::NodeStopped(NodeStopped {
            flows_opened: self.metrics.get(Count::FlowsOpened),
            flows_closed: self.metrics.get(Count::FlowsClosed),
        });
        let mut batch = Batch::new();
        batch.push(stopped.kind().number(), at, &stopped.to_json());
        // The thread that writes `user.offline` has finished by now.
        let _presence = self.presence();
        self.ledger.append(batch)
    }

    fn append_removed(
        &self,
        taken: Taken<Reservation>,
        cause: RemovalCause,
        Now { instant: now, unix_micros: at }: Now,
    ) {
        let mut batch = Batch::new();
        let named = |binding: &Binding<Reservation>| (Text::new(binding.aor()), binding.flow());
        let gone: Vec<(Text<160>, Option<FlowId>)> = taken.iter().map(|binding| named(binding)).collect();
        for binding in taken {
            self.push_removed(&mut batch, *binding, cause, at);
        }
        self.append(batch);
        let mut presence = self.presence();
        for (aor, flow) in gone {
            let last = || LastBinding { at, cause, flow: flow.map(|flow| self.node.flow(flow).into()) };
            presence.removed(&aor, now, last);
        }
    }

    fn put(&self, kept: StoredBinding, Now { instant: now, unix_micros: at }: Now) {
        if let Some(keeping) = &self.keeping {
            let left = kept.expires.saturating_duration_since(now);
            self.told(keeping.put(kept, at + u64::try_from(left.as_micros()).unwrap_or(0)));
        }
    }

    fn told(&self, told: Result<(), TooMuch>) {
        if told.is_err() {
            self.metrics.add(Count::BindingsUnkept);
        }
    }

    /// Adds the record of a binding's end to a batch, in the room that was reserved with it.
    fn push_removed(&self, batch: &mut Batch, binding: Binding<Reservation>, cause: RemovalCause, at: u64) {
        if let (Some(keeping), Some(kept)) = (&self.keeping, binding.kept()) {
            self.told(keeping.remove(kept));
        }
        let flow = binding.flow().map(|flow| self.node.flow(flow));
        let record = Event::BindingRemoved(BindingRemoved {
            aor: Text::new(binding.aor()),
            contact: Text::new(binding.contact()),
            flow: flow.as_deref(),
            cause: cause.into(),
        })
        .to_json();
        self.push(batch, binding.room, EventKind::BindingRemoved, at, &record);
    }

    /// Adds a record to a batch, in room that was reserved for it. Batches are kept below what a block holds.
    fn push(&self, batch: &mut Batch, room: Reservation, kind: EventKind, at: u64, record: &[u8]) {
        if batch.weight() + Batch::weight_of(record.len()) > BATCH {
            self.append(std::mem::take(batch));
        }
        if let Err(error) = batch.push_reserved(room, kind.number(), at, record) {
            // The sizes of records are bounded by their types and tested against the rooms.
            tracing::error!(%error, %kind, "a record is longer than its reservation: this is a bug, please report it");
        }
    }

    /// Writes one record that was paid for.
    pub fn write(&self, room: Reservation, at: u64, event: &Event<'_>) {
        let mut batch = Batch::new();
        self.push(&mut batch, room, event.kind(), at, &event.to_json());
        self.append(batch);
    }

    /// Appends a batch whose records are all paid for.
    fn append(&self, batch: Batch) {
        if batch.is_empty() {
            return;
        }
        if let Err(rejected) = self.ledger.append(batch) {
            tracing::error!(error = %rejected.why, records = rejected.batch.len(), "the ledger did not accept records");
        }
    }
}

/// The changes of a REGISTER.
pub enum Changed<'b> {
    /// This binding came.
    Added(&'b Binding<Reservation>),
    /// Something that came with this REGISTER took the place of this binding: its Contact or its instance is
    /// the same.
    Replaced(&'b Binding<Reservation>, &'b Registration<'b, Reservation>),
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").field("node", &self.node).finish_non_exhaustive()
    }
}

/// Flows whose binding went to this one: the same user agent (RFC 5626 §4.2: `+sip.instance` and `reg-id`) is
/// here now.
fn flows_left(registration: &Registration<'_, Reservation>, here: BindingHop) -> SmallVec<[FlowId; 1]> {
    let replaced = registration.removed.iter().filter(|(_, cause)| *cause == RemovalCause::Replaced);
    let elsewhere = replaced.filter(|(binding, _)| binding.reg_id().is_some() && binding.way() != here);
    elsewhere.filter_map(|(binding, _)| binding.flow()).collect()
}

fn added_record(binding: &Binding<Reservation>, flow: Option<&str>, at: u64, now: Instant) -> Vec<u8> {
    let left = binding.expires().saturating_duration_since(now);
    Event::BindingAdded(BindingAdded {
        aor: Text::new(binding.aor()),
        contact: Text::new(binding.contact()),
        flow,
        transport: binding.transport(),
        remote: binding.remote(),
        instance: binding.instance().map(Text::new),
        reg_id: binding.reg_id(),
        identity: binding.identity().and_then(Identity::new),
        user_agent: binding.user_agent().map(Text::new),
        expires_at: at + u64::try_from(left.as_micros()).unwrap_or(0),
    })
    .to_json()
}
