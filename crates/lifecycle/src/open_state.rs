//! What an earlier incarnation left open, folded back from the ledger's records.

use std::{
    collections::{BTreeMap, HashMap},
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use crate::{
    BindingAdded, BindingRemoved, Cause, Certainty, ClosedAt, Ending, Event, EventId, EventKind, Findings,
    FlowEnd, FlowFacts, FlowOpened, LastBinding, LedgerTrimmed, OpenCalls, OpenUsers, RemovalCause, Text,
    wire::subject::text_at,
};

/// Addresses-of-record that a `flow.closed` names; the rest is counted.
pub const NAMED_BINDINGS: usize = 4;

/// Call-IDs that a `flow.closed` names; the rest is counted.
pub const NAMED_CALLS: usize = 4;

/// Stands in shared facts where each flow has an address of its own.
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// A flow that was opened and not closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenFlowState {
    /// When it opened, in microseconds since the Unix epoch.
    pub opened_at: u64,
    /// The peer's end.
    pub remote: SocketAddr,
    /// All else that was known of it, shared with flows that differ in nothing else.
    pub(crate) shared: Arc<FlowFacts>,
}

impl OpenFlowState {
    /// What was known of it when it opened.
    #[must_use]
    pub fn facts(&self) -> FlowFacts {
        FlowFacts { remote: self.remote, ..(*self.shared).clone() }
    }
}

/// The records that the newest `ledger.trimmed` speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trimmed {
    /// The first one dropped.
    pub first: EventId,
    /// The last one dropped.
    pub last: EventId,
}

/// A binding that was added and not removed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OpenBinding {
    /// The address-of-record.
    pub aor: Text<160>,
    /// The contact URI.
    pub contact: Text<320>,
}

/// What is open, to be taken one by one.
#[derive(Debug)]
pub struct Open<Bindings> {
    /// Flows by id.
    pub flows: BTreeMap<Box<str>, OpenFlowState>,
    /// Bindings, with the flow they belong to.
    pub bindings: Bindings,
    /// Users who are online, by address-of-record.
    pub users: OpenUsers,
    /// Calls.
    pub calls: OpenCalls,
}

/// Folds records, oldest first, into what is still open at the end, and counts what does not add up. What it
/// holds grows with the flows and bindings that are open, never with the records folded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenState {
    pub(crate) flows: BTreeMap<Box<str>, OpenFlowState>,
    /// The facts in use, and by how many flows: many browsers differ in their address alone.
    pub(crate) pool: HashMap<Arc<FlowFacts>, usize>,
    /// How many of each there are: contacts are cut to a bounded length, so two may look alike.
    pub(crate) bindings: BTreeMap<(Option<Box<str>>, OpenBinding), u32>,
    pub(crate) trimmed: Option<Trimmed>,
    /// What is known of calls.
    pub calls: OpenCalls,
    /// Users who are online.
    pub users: OpenUsers,
    /// `flow.opened` records seen.
    pub opened: u64,
    /// `flow.closed` records seen.
    pub closed: u64,
    /// Closes of flows that were not open: closed twice, or never opened.
    pub closed_without_open: Findings<(EventId, String)>,
    /// Flow ids that were opened twice.
    pub opened_twice: Findings<(EventId, String)>,
    /// Records whose payload could not be read.
    pub unreadable: Findings<EventId>,
}

impl OpenState {
    /// Takes in the next record, written at so many microseconds since the Unix epoch.
    pub fn fold(&mut self, id: EventId, at: u64, kind: EventKind, payload: &[u8]) {
        let readable = match kind {
            EventKind::NodeStarted | EventKind::NodeStopped | EventKind::AuditDiffered => true,
            EventKind::LedgerTrimmed => self.fold_trimmed(payload).is_some(),
            EventKind::FlowOpened => self.fold_opened(id, payload).is_some(),
            EventKind::FlowClosed => self.fold_closed(id, payload).is_some(),
            EventKind::BindingAdded => self.fold_added(payload).is_some(),
            EventKind::BindingRemoved => self.fold_removed(at, payload).is_some(),
            EventKind::UserOnline => self.users.fold_online(id, payload).is_some(),
            EventKind::UserOffline => self.users.fold_offline(id, payload).is_some(),
            EventKind::CallStarted
            | EventKind::CallAnswered
            | EventKind::CallHeld
            | EventKind::CallResumed
            | EventKind::CallEnded => self.calls.fold(id, kind, payload).is_some(),
        };
        if !readable {
            self.unreadable.push(id);
        }
    }

    fn fold_trimmed(&mut self, payload: &[u8]) -> Option<()> {
        let LedgerTrimmed { first, last, .. } = serde_json::from_slice(payload).ok()?;
        let ((_, first), (_, last)) = (EventId::parse(first).ok()?, EventId::parse(last).ok()?);
        self.trimmed = Some(Trimmed { first, last });
        Some(())
    }

    fn fold_opened(&mut self, id: EventId, payload: &[u8]) -> Option<()> {
        let FlowOpened { flow, opened_at, facts } = serde_json::from_slice(payload).ok()?;
        self.opened += 1;
        if let Some(before) = self.insert(flow.into(), opened_at, facts.into_owned()) {
            self.forget(&before);
            self.opened_twice.push((id, flow.to_owned()));
        }
        Some(())
    }

    pub(crate) fn insert(
        &mut self,
        flow: Box<str>,
        opened_at: u64,
        facts: FlowFacts,
    ) -> Option<OpenFlowState> {
        let remote = facts.remote;
        let shared = Arc::new(FlowFacts { remote: NOWHERE, ..facts });
        let pooled = self.pool.entry(shared);
        let shared = Arc::clone(pooled.key());
        *pooled.or_default() += 1;
        self.flows.insert(flow, OpenFlowState { opened_at, remote, shared })
    }

    /// Lets go of facts that no flow has any more.
    fn forget(&mut self, left: &OpenFlowState) {
        if let Some(users) = self.pool.get_mut(&left.shared) {
            *users -= 1;
            if *users == 0 {
                self.pool.remove(&left.shared);
            }
        }
    }

    fn fold_closed(&mut self, id: EventId, payload: &[u8]) -> Option<()> {
        let flow = text_at(payload, "flow")?;
        self.closed += 1;
        match self.flows.remove(&*flow) {
            Some(left) => self.forget(&left),
            None => self.closed_without_open.push((id, flow.into_owned())),
        }
        Some(())
    }

    fn fold_added(&mut self, payload: &[u8]) -> Option<()> {
        let BindingAdded { flow, aor, contact, .. } = serde_json::from_slice(payload).ok()?;
        self.users.added(&aor);
        let key = (flow.map(Into::into), OpenBinding { aor, contact });
        *self.bindings.entry(key).or_default() += 1;
        Some(())
    }

    fn fold_removed(&mut self, at: u64, payload: &[u8]) -> Option<()> {
        let BindingRemoved { flow, aor, contact, cause } = serde_json::from_slice(payload).ok()?;
        let cause = cause.known()?;
        let key = (flow.map(Into::into), OpenBinding { aor, contact });
        if let Some(count) = self.bindings.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                self.bindings.remove(&key);
            }
            let (flow, left) = key;
            self.users.removed(&left.aor, || LastBinding { at, cause, flow });
        }
        Some(())
    }

    /// Hands over what is open: flows by id, and bindings with the flow they belong to.
    #[must_use]
    pub fn into_open(self) -> Open<impl Iterator<Item = (Option<Box<str>>, OpenBinding)> + use<>> {
        let each =
            self.bindings.into_iter().flat_map(|(key, count)| std::iter::repeat_n(key, count as usize));
        Open { flows: self.flows, bindings: each, users: self.users, calls: self.calls }
    }

    /// Flows that are open at the end of the records, by id.
    #[must_use]
    pub const fn flows(&self) -> &BTreeMap<Box<str>, OpenFlowState> {
        &self.flows
    }

    /// What the newest `ledger.trimmed` says was dropped.
    #[must_use]
    pub const fn trimmed(&self) -> Option<Trimmed> {
        self.trimmed
    }

    /// Bindings that are there at the end of the records, with the flow they belong to.
    pub fn bindings(&self) -> impl Iterator<Item = (Option<&str>, &OpenBinding)> {
        let each = self.bindings.iter().flat_map(|(key, &count)| std::iter::repeat_n(key, count as usize));
        each.map(|(flow, binding)| (flow.as_deref(), binding))
    }

    /// Hands over the closes that are owed for a process that died (DESIGN invariant 4), in the order in
    /// which they must be written: the ends of calls; for each flow its bindings' removals, then its close;
    /// at last the bindings that had no flow, unless `end` has none for them: those stay. `last_alive` and
    /// `now` are microseconds since the Unix epoch.
    pub fn settle(
        &self,
        last_alive: u64,
        now: u64,
        mut end: impl FnMut(&OpenBinding) -> Option<RemovalCause>,
        mut write: impl FnMut(Event<'_>),
    ) {
        let ending = Ending::of(Cause::NodeCrash);
        self.calls.settle(last_alive, now, &mut write);
        let mut hurt = self.calls.by_flow();
        let mut by_flow: BTreeMap<Option<&str>, Vec<&OpenBinding>> = BTreeMap::new();
        for (flow, binding) in self.bindings() {
            by_flow.entry(flow).or_default().push(binding);
        }
        let removed = |flow, binding: &OpenBinding, cause: RemovalCause| BindingRemoved {
            aor: binding.aor.clone(),
            contact: binding.contact.clone(),
            flow,
            cause: cause.into(),
        };
        for (flow, left) in &self.flows {
            let held = by_flow.remove(&Some(&**flow)).unwrap_or_default();
            for binding in &held {
                write(Event::BindingRemoved(removed(Some(flow), binding, RemovalCause::NodeCrash)));
            }
            let named: Vec<_> = held.iter().take(NAMED_BINDINGS).map(|b| b.aor.clone()).collect();
            let hurt = hurt.remove(&**flow).unwrap_or_default();
            let calls: Vec<_> = hurt.iter().take(NAMED_CALLS).map(|&call| call.clone()).collect();
            write(Event::FlowClosed(FlowEnd {
                flow,
                facts: &left.facts(),
                identity: None,
                opened_at: left.opened_at,
                closed_at: ClosedAt::Between {
                    earliest: last_alive.max(left.opened_at).min(now),
                    latest: now,
                },
                ending: &ending,
                certainty: Certainty::JournalReplay,
                traffic: None,
                bindings: &named,
                bindings_total: held.len(),
                calls: &calls,
                calls_total: hurt.len(),
            }));
        }
        for (flow, bindings) in by_flow {
            for binding in bindings {
                let cause = if flow.is_none() { end(binding) } else { Some(RemovalCause::NodeCrash) };
                if let Some(cause) = cause {
                    write(Event::BindingRemoved(removed(flow, binding, cause)));
                }
            }
        }
    }
}
