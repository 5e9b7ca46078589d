//! The open flows of a shard, and what is known of each.

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    ops::Bound::{Excluded, Unbounded},
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use defence::Client;
use lifecycle::{Ending, FlowFacts, Identity, event_time};
use transport::{Grant, Link, ReadPriority, VerifiedClient};

use super::Shard;
use metrics::Count;
use upstream::{FlowNumber, PeerKind};

use crate::{
    FlowQuery,
    admission_control::{AdmittedClient, Consequence},
    audit::{Listed, PART, Stage, TablePart, Tally, socket_number},
    draining::DrainPhase,
    routing::flow_lookup::{By, Known},
    view::{BindingView, FlowView},
};

/// Facts about an open flow, for the whole shard.
pub(super) struct Entry {
    link: Rc<Link>,
    facts: Arc<FlowFacts>,
    /// The admitted client; none for a connection that a trusted proxy makes for itself.
    admitted: Option<AdmittedClient>,
    /// The client's address: the socket's, or what a proxy told.
    client: SocketAddr,
    name: Box<str>,
    opened_at: u64,
    stage: Stage,
    /// The kernel's number of its socket.
    socket: Option<u64>,
    known: Rc<RefCell<Option<Known>>>,
    leads: PeerKind,
    calls: Cell<Calls>,
    /// Whether it was told to end because the node is being emptied.
    sent_away: Cell<bool>,
}

/// Whether calls go over a flow, as far as INVITE and BYE tell: good enough to choose who is closed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Calls {
    /// No INVITE passed, or a BYE after it.
    None,
    /// An INVITE passed, and no BYE yet.
    Perhaps,
}

impl Shard {
    /// The sending side of a flow of this shard.
    pub(crate) fn link(&self, number: FlowNumber) -> Option<Rc<Link>> {
        self.flows.borrow().get(&number).map(|entry| Rc::clone(&entry.link))
    }

    /// The number of the next flow that comes in by this listener.
    pub(crate) fn next_number(&self, listener: u8) -> FlowNumber {
        let count = self.numbers.get() + 1;
        self.numbers.set(count);
        FlowNumber::new(count, self.index, listener)
    }

    /// Makes a flow known; its identity can be told later through what comes back.
    pub(crate) fn add_flow(
        &self,
        number: FlowNumber,
        facts: &Arc<FlowFacts>,
        name: &str,
        opened_at: u64,
        (link, admitted, leads): (&Rc<Link>, Option<AdmittedClient>, PeerKind),
    ) -> Rc<RefCell<Option<Known>>> {
        if admitted.as_ref().is_some_and(AdmittedClient::is_unauthenticated) {
            link.listen(ReadPriority::InTurn);
        }
        let known = Rc::default();
        let entry = Entry {
            link: Rc::clone(link),
            facts: Arc::clone(facts),
            admitted,
            client: client_of(facts),
            name: name.into(),
            opened_at,
            stage: Stage::Opening,
            socket: socket_number(&link.descriptor()),
            known: Rc::clone(&known),
            leads,
            calls: Cell::new(Calls::None),
            sent_away: Cell::new(false),
        };
        if leads == PeerKind::UserAgent {
            self.shared.user_flows.fetch_add(1, Ordering::AcqRel);
        }
        self.flows.borrow_mut().insert(number, Box::new(entry));
        self.opened.set(self.opened.get() + 1);
        known
    }

    /// Its `flow.opened` is durable.
    pub(crate) fn opened(&self, number: FlowNumber) {
        if let Some(entry) = self.flows.borrow_mut().get_mut(&number) {
            entry.stage = Stage::Open;
        }
    }

    pub(crate) fn remove_flow(&self, number: FlowNumber) {
        let entry = self.flows.borrow_mut().remove(&number);
        if entry.is_some_and(|entry| entry.leads == PeerKind::UserAgent) {
            self.shared.user_flows.fetch_sub(1, Ordering::AcqRel);
        }
        self.closed.set(self.closed.get() + 1);
    }

    /// How many flows are open here.
    pub(crate) fn flow_count(&self) -> usize {
        self.flows.borrow().len()
    }

    /// The first flow behind this one that is to be closed and was not told yet.
    pub(crate) fn next_leaving(&self, behind: Option<FlowNumber>, which: DrainPhase) -> Option<FlowNumber> {
        let flows = self.flows.borrow();
        let mut rest = flows.range((behind.map_or(Unbounded, Excluded), Unbounded));
        let leaves = |entry: &Entry| match which {
            DrainPhase::UsersWithoutCalls => {
                entry.leads == PeerKind::UserAgent && entry.calls.get() == Calls::None
            }
            DrainPhase::Users => entry.leads == PeerKind::UserAgent,
            DrainPhase::All => true,
        };
        rest.find(|(_, entry)| !entry.sent_away.get() && leaves(entry)).map(|(number, _)| *number)
    }

    pub(super) fn note_call(&self, number: FlowNumber, message: &[u8]) {
        let calls = if message.starts_with(b"INVITE ") {
            Calls::Perhaps
        } else if message.starts_with(b"BYE ") {
            Calls::None
        } else {
            return;
        };
        if let Some(entry) = self.flows.borrow().get(&number) {
            entry.calls.set(calls);
        }
    }

    /// Has a flow end because the node is being emptied.
    pub(crate) fn send_away(&self, number: FlowNumber, ending: &Ending) {
        if let Some(entry) = self.flows.borrow().get(&number) {
            entry.sent_away.set(true);
            entry.link.close(ending.clone());
            self.shared.metrics.add(Count::FlowsSentAway);
        }
    }

    /// Asks or tells the admitted client of a flow something, and does what follows from it.
    pub(crate) fn with_admitted<T>(
        &self,
        number: FlowNumber,
        act: impl FnOnce(Option<&AdmittedClient>) -> (T, Consequence),
    ) -> T {
        let flows = self.flows.borrow();
        let entry = flows.get(&number);
        let (answer, consequence) = act(entry.and_then(|entry| entry.admitted.as_ref()));
        match (entry, consequence) {
            (Some(entry), Consequence::Leaves(breach)) => entry.link.close(breach.ending()),
            (Some(entry), Consequence::IsKnown) => entry.link.listen(ReadPriority::AtOnce),
            (Some(_), Consequence::None) | (None, _) => {}
        }
        answer
    }

    pub(crate) fn has_flow(&self, number: FlowNumber) -> bool {
        self.flows.borrow().contains_key(&number)
    }

    /// Facts about a flow of this shard, and its id as text.
    pub(crate) fn facts(&self, number: FlowNumber) -> Option<(Arc<FlowFacts>, String)> {
        self.flows.borrow().get(&number).map(|entry| (Arc::clone(&entry.facts), entry.name.to_string()))
    }

    /// The address of the client at the other end of a flow.
    pub(crate) fn remote(&self, number: FlowNumber) -> Option<SocketAddr> {
        self.flows.borrow().get(&number).map(|entry| entry.client)
    }

    /// The identity that the user agent on a flow proved.
    pub(crate) fn known(&self, number: FlowNumber) -> Option<Known> {
        self.flows.borrow().get(&number).and_then(|entry| entry.known.borrow().clone())
    }

    /// The user agent on a flow brought credentials that name it for a time. The flow is known by them from
    /// now on, and ends when they run out.
    pub(crate) fn vouch(&self, number: FlowNumber, vouched: &VerifiedClient) {
        if let Some(entry) = self.flows.borrow().get(&number) {
            let VerifiedClient { identity, until, outside } = vouched;
            entry.known.replace(Some(Known {
                identity: identity.clone(),
                outside: *outside,
                by: By::Voucher,
            }));
            entry.link.vouch_until(*until);
        }
    }

    /// The user agent on a flow has proved who it is. One whose name does not fit stays unknown: cut, it
    /// could be another's. Whom a token or a certificate vouches for stays the flow's user: some could not
    /// prove that again.
    pub(crate) fn identify(&self, number: FlowNumber, identity: &str) {
        if let Some(identity) = Identity::new(identity)
            && let Some(entry) = self.flows.borrow().get(&number)
        {
            let mut known = entry.known.borrow_mut();
            if known.as_ref().is_none_or(|known| known.by == By::Password) {
                *known = Some(Known { identity, outside: Grant::NotGiven, by: By::Password });
            }
        }
    }

    /// The flows behind this one, at most [`PART`].
    pub(super) fn roll(&self, after: Option<FlowNumber>) -> TablePart {
        let began = Instant::now();
        let flows = self.flows.borrow();
        let mut part = TablePart {
            flows: Vec::with_capacity(flows.len().min(PART)),
            next: None,
            tally: Tally { opened: self.opened.get(), closed: self.closed.get(), held: flows.len() as u64 },
            held_up: Duration::ZERO,
        };
        for (number, entry) in flows.range((after.map_or(Unbounded, Excluded), Unbounded)).take(PART) {
            let flow = number.id(self.shared.state.incarnation());
            part.flows.push(Listed { flow, socket: entry.socket, stage: entry.stage });
            part.next = Some(*number);
        }
        part.next = part.next.filter(|_| part.flows.len() == PART);
        part.held_up = began.elapsed();
        part
    }

    /// The first flows of this shard, by their numbers, that are asked for.
    pub(super) fn list(&self, wanted: &FlowQuery) -> Vec<(FlowNumber, FlowView)> {
        let after = match wanted.after {
            Some(after) if after >= FlowNumber(0).id(self.shared.state.incarnation()) => {
                // Behind a later incarnation's flow there is none of this one.
                let same = after.incarnation == self.shared.state.incarnation();
                Excluded(if same { FlowNumber(after.counter) } else { FlowNumber(u64::MAX) })
            }
            _ => Unbounded,
        };
        let flows = self.flows.borrow();
        let fitting = flows.range((after, Unbounded)).filter(|(_, entry)| wanted.fits(&entry.facts));
        let numbers: Vec<_> = fitting.map(|(number, _)| *number).take(wanted.limit).collect();
        numbers.into_iter().filter_map(|number| Some((number, self.view(number)?))).collect()
    }

    pub(super) fn view(&self, number: FlowNumber) -> Option<FlowView> {
        let flows = self.flows.borrow();
        let entry = flows.get(&number)?;
        let now = Instant::now();
        let location = self.shared.state.location();
        let bindings = location
            .bindings_of_flow(number.id(self.shared.state.incarnation()))
            .map(|binding| BindingView::new(binding, now));
        Some(FlowView {
            flow: entry.name.to_string(),
            opened_at: event_time(entry.opened_at),
            facts: Arc::clone(&entry.facts),
            identity: entry.known.borrow().as_ref().map(|known| known.identity.to_string()),
            traffic: entry.link.traffic(now),
            bindings: bindings.collect(),
        })
    }
}

/// The address of a flow's client. Proxies that tell no port are believed to have kept it.
fn client_of(facts: &FlowFacts) -> SocketAddr {
    let told = facts.forwarded.as_ref().and_then(|told| Client::read(told.as_str()));
    told.map_or(facts.remote, |told| SocketAddr::new(told.ip, told.port.unwrap_or(facts.remote.port())))
}
