//! The table and its three indexes.

use std::net::SocketAddr;
use std::time::Instant;

use lifecycle::FlowId;
use sip_registrar::{Gruu, write_contacts};
use slab::Slab;
use smallvec::SmallVec;

use crate::aor_index::AorIndex;
use crate::expiry::Expiry;
use crate::flow_index::FlowIndex;
use crate::phones::Phones;
use crate::{Binding, BindingHop};

#[cfg(test)]
mod tests;

/// Bindings that were taken away, each with the `R` that it was added with.
pub type Taken<R> = SmallVec<[Box<Binding<R>>; 1]>;

/// No slot: the end of a list.
pub(crate) const NONE: u32 = u32::MAX;

/// A binding and its neighbours in the lists that it is in.
#[derive(Debug)]
pub(crate) struct Entry<R> {
    pub(crate) binding: Box<Binding<R>>,
    /// The next binding of the same address-of-record, in order of preference.
    next_of_aor: u32,
    /// Its neighbours among the bindings of the same flow, or among those without a flow.
    next_of_flow: u32,
    previous_of_flow: u32,
}

/// All bindings, and the flows that may have some.
///
/// Every binding is in the list of its address-of-record, in the list of its flow (or of those without one)
/// and among the ends, and only [`insert`](Location::insert) and [`take`](Location::take) put it in and out.
#[derive(Debug)]
pub struct Location<R> {
    entries: Slab<Entry<R>>,
    aors: AorIndex,
    flows: FlowIndex,
    /// The first binding without a flow.
    unowned: u32,
    phones: Phones,
    expiry: Expiry,
    max_bindings: usize,
}

impl<R> Location<R> {
    /// An empty table for at most `max_bindings` bindings (and fewer than 2³²). With the same secret, which
    /// nobody else may know, an address-of-record has the same number in every
    /// run: see [`bindings_of_number`](Self::bindings_of_number).
    #[must_use]
    pub fn new(max_bindings: usize, secret: &[u8; 16]) -> Self {
        Self {
            entries: Slab::new(),
            aors: AorIndex::new(secret),
            flows: FlowIndex::default(),
            unowned: NONE,
            phones: Phones::default(),
            expiry: Expiry::default(),
            max_bindings: max_bindings.min(NONE as usize),
        }
    }

    /// A flow has opened: from now on bindings can be added to it. A flow id is opened once and never again.
    pub fn flow_opened(&mut self, flow: FlowId) {
        self.flows.entry(flow).or_insert(NONE);
    }

    /// A flow has ended: takes its bindings away, and lets no other come to it. Nothing for a flow that is
    /// not open.
    #[must_use = "each binding carries the room for the record of its end"]
    pub fn flow_closed(&mut self, flow: FlowId) -> Taken<R> {
        let mut taken = Taken::new();
        while let Some(&head) = self.flows.get(&flow) {
            if head == NONE {
                self.flows.remove(&flow);
                break;
            }
            taken.push(self.take(head));
        }
        taken
    }

    /// Whether the flow is open.
    #[must_use]
    pub fn is_open(&self, flow: FlowId) -> bool {
        self.flows.contains_key(&flow)
    }

    /// When the next binding ends, if there is any: the time for the next [`expire`](Location::expire).
    #[must_use]
    pub fn next_expiry(&self) -> Option<Instant> {
        self.expiry.next()
    }

    /// Takes away what has not been refreshed in time, the longest overdue first, at most `at_most` bindings
    /// so that the lock is not held for long. When so many came back there may be more.
    #[must_use = "each binding carries the room for the record of its end"]
    pub fn expire(&mut self, now: Instant, at_most: usize) -> Taken<R> {
        let mut taken = Taken::new();
        while taken.len() < at_most
            && let Some(slot) = self.expiry.due(now)
        {
            taken.push(self.take(slot));
        }
        taken
    }

    /// Takes away bindings that belong to no flow (UDP), at most `at_most`: for the end of the process.
    #[must_use = "each binding carries the room for the record of its end"]
    pub fn take_unowned(&mut self, at_most: usize) -> Taken<R> {
        let mut taken = Taken::new();
        while taken.len() < at_most && self.unowned != NONE {
            taken.push(self.take(self.unowned));
        }
        taken
    }

    /// The bindings of an address-of-record that have not ended: highest q first, of these the most recently
    /// registered or refreshed first.
    pub fn bindings(&self, aor: &str, now: Instant) -> impl Iterator<Item = &Binding<R>> {
        self.slots(aor).map(|slot| self.binding(slot)).filter(move |binding| binding.is_live(now))
    }

    /// The bindings of all addresses-of-record that have this [number](crate::number_of), as
    /// [`bindings`](Self::bindings) has them.
    pub fn bindings_of_number(&self, number: u64, now: Instant) -> impl Iterator<Item = &Binding<R>> {
        let heads = self.aors.heads_of_hash(number, |slot| self.binding(slot).aor());
        let slots = heads.flat_map(|head| self.chain(Some(head)));
        slots.map(|slot| self.binding(slot)).filter(move |binding| binding.is_live(now))
    }

    /// The bindings of a flow, in no order.
    pub fn bindings_of_flow(&self, flow: FlowId) -> impl Iterator<Item = &Binding<R>> {
        let mut at = self.flows.get(&flow).copied().unwrap_or(NONE);
        std::iter::from_fn(move || {
            let entry = self.entries.get(at as usize)?;
            at = entry.next_of_flow;
            Some(&*entry.binding)
        })
    }

    /// All bindings, in no order; those of one address-of-record stand together, in its order.
    pub fn all(&self) -> impl Iterator<Item = &Binding<R>> {
        self.aors.iter().flat_map(|head| self.chain(Some(head))).map(|slot| self.binding(slot))
    }

    /// How many bindings there are, with those that have ended but were not taken away yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no binding.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many addresses-of-record have a binding.
    #[must_use]
    pub fn aors(&self) -> usize {
        self.aors.len()
    }

    /// How many flows are open.
    #[must_use]
    pub fn open_flows(&self) -> usize {
        self.flows.len()
    }

    /// How many bindings there may be.
    #[must_use]
    pub fn max_bindings(&self) -> usize {
        self.max_bindings
    }

    /// Appends the Contact value that lists the bindings of an address-of-record, as a 200 to REGISTER has
    /// it; nothing if there are none.
    pub fn write_contacts(&self, aor: &str, gruu: Gruu, now: Instant, out: &mut Vec<u8>) {
        write_contacts(self.bindings(aor, now).map(|binding| binding.listed(gruu, now)), out);
    }

    /// Whether a binding is reached by datagrams between this listener and this address. One that has ended
    /// and was not taken away yet counts.
    #[must_use]
    pub fn has_phone(&self, listener: u16, remote: SocketAddr) -> bool {
        self.phones.has(listener, remote)
    }

    pub(crate) fn binding(&self, slot: u32) -> &Binding<R> {
        &self.entries[slot as usize].binding
    }

    /// The slots of an address-of-record's bindings, in order.
    pub(crate) fn slots(&self, aor: &str) -> impl Iterator<Item = u32> {
        self.chain(self.aors.head(aor, |slot| self.binding(slot).aor()))
    }

    fn chain(&self, head: Option<u32>) -> impl Iterator<Item = u32> {
        let mut at = head.unwrap_or(NONE);
        std::iter::from_fn(move || {
            let entry = self.entries.get(at as usize)?;
            Some(std::mem::replace(&mut at, entry.next_of_aor))
        })
    }

    /// Puts a binding into a slot and into every index. Its flow must be open.
    pub(crate) fn insert(&mut self, binding: Box<Binding<R>>) -> u32 {
        let end = binding.expires;
        self.phones.come(binding.way, binding.remote);
        let entry = Entry { binding, next_of_aor: NONE, next_of_flow: NONE, previous_of_flow: NONE };
        let slot = u32::try_from(self.entries.insert(entry)).expect("fewer than 2^32 bindings");
        self.link_to_aor(slot);
        self.link_to_flow(slot);
        self.expiry.insert(end, slot);
        slot
    }

    /// Takes a binding out of every index and its slot.
    pub(crate) fn take(&mut self, slot: u32) -> Box<Binding<R>> {
        self.unlink_from_aor(slot);
        self.unlink_from_flow(slot);
        let entry = self.entries.remove(slot as usize);
        self.expiry.remove(entry.binding.expires, slot);
        self.phones.go(entry.binding.way, entry.binding.remote);
        entry.binding
    }

    /// Changes a binding's time, preference or texts other than its address-of-record, and makes it the most
    /// recent one.
    pub(crate) fn refresh(&mut self, slot: u32, change: impl FnOnce(&mut Binding<R>)) {
        self.unlink_from_aor(slot);
        let binding = &mut self.entries[slot as usize].binding;
        let before = binding.expires;
        self.phones.go(binding.way, binding.remote);
        change(binding);
        self.phones.come(binding.way, binding.remote);
        let end = binding.expires;
        self.expiry.remove(before, slot);
        self.expiry.insert(end, slot);
        self.link_to_aor(slot);
    }

    /// Into its place by q, before those of the same q.
    fn link_to_aor(&mut self, slot: u32) {
        let binding = &self.entries[slot as usize].binding;
        let mut before = None;
        let mut after = NONE;
        for other in self.slots(binding.aor()) {
            if self.binding(other).preference() <= binding.preference() {
                after = other;
                break;
            }
            before = Some(other);
        }
        self.entries[slot as usize].next_of_aor = after;
        match before {
            Some(before) => self.entries[before as usize].next_of_aor = slot,
            None => self.set_head(slot, Some(slot)),
        }
    }

    fn unlink_from_aor(&mut self, slot: u32) {
        let after = self.entries[slot as usize].next_of_aor;
        let before = self.slots(self.binding(slot).aor()).take_while(|&other| other != slot).last();
        match before {
            Some(before) => self.entries[before as usize].next_of_aor = after,
            None => self.set_head(slot, Some(after).filter(|&after| after != NONE)),
        }
    }

    /// Sets the first binding of the address-of-record that `of` has.
    fn set_head(&mut self, of: u32, head: Option<u32>) {
        let Self { entries, aors, .. } = self;
        let aor_of = |slot: u32| entries[slot as usize].binding.aor();
        aors.set_head(aor_of(of), head, aor_of);
    }

    fn link_to_flow(&mut self, slot: u32) {
        let entry = &self.entries[slot as usize];
        let head = match entry.binding.way {
            BindingHop::Flow(flow) => self.flows.entry(flow).or_insert(NONE),
            BindingHop::Udp { .. } => &mut self.unowned,
        };
        let after = std::mem::replace(head, slot);
        self.entries[slot as usize].next_of_flow = after;
        if let Some(after) = self.entries.get_mut(after as usize) {
            after.previous_of_flow = slot;
        }
    }

    fn unlink_from_flow(&mut self, slot: u32) {
        let Entry { ref binding, next_of_flow: after, previous_of_flow: before, .. } =
            self.entries[slot as usize];
        if before != NONE {
            self.entries[before as usize].next_of_flow = after;
        } else {
            match binding.way {
                BindingHop::Flow(flow) => {
                    if let Some(head) = self.flows.get_mut(&flow) {
                        *head = after;
                    }
                }
                BindingHop::Udp { .. } => self.unowned = after,
            }
        }
        if let Some(after) = self.entries.get_mut(after as usize) {
            after.previous_of_flow = before;
        }
    }
}
