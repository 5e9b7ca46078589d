//! Random histories against a plain list, with every index checked after every step.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use lifecycle::{FlowId, RemovalCause, Transport};
use proptest::prelude::*;
use sip_message::Message;
use sip_registrar::{Policy, Refusal, ShortExpiry};

use super::{Location, NONE};
use crate::phones::Phones;
use crate::{BindingHop, Register, RegisterError};

const POLICY: Policy = Policy {
    min_expires: 1,
    shorter: ShortExpiry::Refused,
    max_expires: 100,
    default_expires: 50,
    max_contacts: 3,
    gruu: sip_registrar::Gruu::Off,
};
const MAX_BINDINGS: usize = 9;

/// Which reservations are out: each is entered when it is given and struck out when it is dropped.
type Out = Rc<RefCell<BTreeSet<u32>>>;

#[derive(Debug)]
struct Room {
    number: u32,
    out: Out,
}

impl Drop for Room {
    fn drop(&mut self) {
        assert!(self.out.borrow_mut().remove(&self.number));
    }
}

impl Location<Room> {
    /// Every binding is in every index exactly once, and the indexes hold nothing else.
    fn check(&self) {
        let all: BTreeSet<u32> =
            self.entries.iter().map(|(slot, _)| u32::try_from(slot).expect("small")).collect();
        let mut seen = BTreeSet::new();
        for head in self.aors.iter() {
            let aor = self.binding(head).aor();
            assert_eq!(self.slots(aor).next(), Some(head), "the look-up finds the head");
            let mut last = u16::MAX;
            for slot in self.slots(aor) {
                let binding = self.binding(slot);
                assert_eq!(binding.aor(), aor);
                assert!(binding.preference() <= last, "ordered by q");
                last = binding.preference();
                assert!(seen.insert(slot), "in one list of an address-of-record, once");
            }
        }
        assert_eq!(seen, all);
        seen.clear();
        let heads = self.flows.iter().map(|(flow, &head)| (Some(*flow), head)).chain([(None, self.unowned)]);
        for (flow, head) in heads {
            let (mut at, mut before) = (head, NONE);
            while let Some(entry) = self.entries.get(at as usize) {
                assert_eq!((entry.binding.flow(), entry.previous_of_flow), (flow, before));
                assert!(seen.insert(at), "in one list of a flow, once");
                (before, at) = (at, entry.next_of_flow);
            }
            assert_eq!(at, NONE);
        }
        assert_eq!(seen, all, "no binding without an open flow");
        let ends: BTreeSet<_> = self.expiry.iter().map(|(end, slot)| (slot, end)).collect();
        let expected: BTreeSet<_> = all.iter().map(|&slot| (slot, self.binding(slot).expires())).collect();
        assert_eq!(ends, expected);
        let mut phones = Phones::default();
        for binding in self.all() {
            phones.come(binding.way(), binding.remote());
        }
        assert_eq!(phones, self.phones);
        assert!(self.len() <= self.max_bindings());
    }
}

/// What tells user agents apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Agent {
    /// As JsSIP: instance and reg-id; its Contact URI is the page's.
    Paired { instance: u8, page: u8 },
    /// As SIP.js: its Contact URI alone.
    Plain { contact: u8 },
}

impl Agent {
    fn contact(self) -> String {
        match self {
            Self::Paired { instance, page } => format!("sip:i{instance}p{page}@x.invalid"),
            Self::Plain { contact } => format!("sip:c{contact}@x.invalid"),
        }
    }

    fn params(self) -> String {
        match self {
            Self::Paired { instance, .. } => format!(";+sip.instance=\"<urn:x:{instance}>\";reg-id=1"),
            Self::Plain { .. } => String::new(),
        }
    }

    fn is_same(self, other: Self) -> bool {
        match (self, other) {
            (Self::Paired { instance, .. }, Self::Paired { instance: other, .. }) => instance == other,
            _ => self == other,
        }
    }
}

/// Over which flow a REGISTER comes; nothing for UDP.
type Over = Option<u64>;

#[derive(Debug, Clone)]
enum Step {
    Open(u64),
    Close(u64),
    Register { aor: u8, over: Over, contacts: Vec<(Agent, u32, u16)>, order: Order, rooms: usize },
    RemoveAll { aor: u8, over: Over },
    Pass(u64),
    Expire(usize),
    TakeUnowned,
}

#[derive(Debug, Clone, Copy)]
enum Order {
    Next,
    /// The CSeq of an earlier request.
    Late,
}

fn agent() -> impl Strategy<Value = Agent> {
    prop_oneof![
        (0u8..2, 0u8..3).prop_map(|(instance, page)| Agent::Paired { instance, page }),
        (0u8..3).prop_map(|contact| Agent::Plain { contact }),
    ]
}

fn over() -> impl Strategy<Value = Over> {
    prop_oneof![5 => (0u64..4).prop_map(Some), 1 => Just(None)]
}

fn step() -> impl Strategy<Value = Step> {
    let contact =
        (agent(), prop_oneof![1 => Just(0u32), 4 => 1u32..60], prop_oneof![Just(1000u16), Just(500)]);
    let order = prop_oneof![9 => Just(Order::Next), 1 => Just(Order::Late)];
    let rooms = prop_oneof![5 => Just(9usize), 1 => 0usize..2];
    let register = (0u8..4, over(), proptest::collection::vec(contact, 0..3), order, rooms);
    prop_oneof![
        3 => (0u64..4).prop_map(Step::Open),
        2 => (0u64..4).prop_map(Step::Close),
        9 => register.prop_map(|(aor, over, contacts, order, rooms)| Step::Register { aor, over, contacts, order, rooms }),
        1 => (0u8..4, over()).prop_map(|(aor, over)| Step::RemoveAll { aor, over }),
        2 => (0u64..40).prop_map(Step::Pass),
        1 => (0usize..4).prop_map(Step::Expire),
        1 => Just(Step::TakeUnowned),
    ]
}

/// A binding as the model has it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Expected {
    aor: u8,
    agent: Agent,
    flow: Option<FlowId>,
    end: Instant,
    q: u16,
    cseq: u32,
    /// Grows with every registration: the highest is the most recent.
    recency: u64,
}

struct World {
    location: Location<Room>,
    out: Out,
    next_room: u32,
    model: Vec<Expected>,
    /// For each of the four places, how many flows it has seen, and whether the last one is open.
    flows: BTreeMap<u64, (u64, bool)>,
    now: Instant,
    cseq: u32,
    recency: u64,
}

type Gone = BTreeSet<(String, String, Option<FlowId>)>;

impl World {
    fn new() -> Self {
        Self {
            location: Location::new(MAX_BINDINGS, &[7; 16]),
            out: Out::default(),
            next_room: 0,
            model: Vec::new(),
            flows: BTreeMap::new(),
            now: Instant::now(),
            cseq: 1,
            recency: 0,
        }
    }

    /// The flow that is or was last at this place: a new number each time it opens.
    fn flow(&self, place: u64) -> FlowId {
        let (count, _) = self.flows.get(&place).copied().unwrap_or_default();
        FlowId { incarnation: 1, counter: count * 10 + place }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Open(place) => {
                let state = self.flows.entry(place).or_default();
                if !state.1 {
                    *state = (state.0 + 1, true);
                    self.location.flow_opened(self.flow(place));
                }
            }
            Step::Close(place) => {
                let flow = self.flow(place);
                self.flows.entry(place).or_default().1 = false;
                let taken = self.location.flow_closed(flow);
                let gone: Gone = taken.iter().map(|binding| key(binding)).collect();
                assert_eq!(gone, self.forget(|binding| binding.flow == Some(flow)));
                assert_eq!(gone.len(), taken.len());
                assert!(!self.location.is_open(flow));
            }
            Step::Pass(seconds) => self.now += Duration::from_secs(seconds),
            Step::Expire(at_most) => {
                let due = self.model.iter().filter(|binding| binding.end <= self.now).count();
                let taken = self.location.expire(self.now, at_most);
                assert_eq!(taken.len(), due.min(at_most));
                assert!(taken.is_sorted_by_key(|binding| binding.expires()));
                for binding in &taken {
                    assert!(binding.expires() <= self.now);
                    let key = key(binding);
                    assert_eq!(self.forget(|expected| named(expected) == key).len(), 1);
                }
            }
            Step::TakeUnowned => {
                let taken = self.location.take_unowned(usize::MAX);
                assert_eq!(taken.len(), self.model.iter().filter(|binding| binding.flow.is_none()).count());
                self.forget(|binding| binding.flow.is_none());
            }
            Step::RemoveAll { aor, over } => {
                let result = self.register(aor, over, "Contact: *\r\nExpires: 0\r\n", self.cseq, usize::MAX);
                self.cseq += 1;
                let (removed, added, refreshed) = result.expect("nothing can be against it");
                assert_eq!((added, refreshed), (0, 0));
                let now = self.now;
                assert_eq!(count(&removed, RemovalCause::Expired), self.ended(aor).len());
                let all = removed.into_iter().map(|(key, _)| key).collect();
                assert_eq!(self.forget(|binding| binding.aor == aor), all);
                assert_eq!(self.location.bindings(&name(aor), now).count(), 0);
            }
            Step::Register { aor, over, ref contacts, order, rooms } => {
                self.register_step(aor, over, contacts, order, rooms);
            }
        }
    }

    fn register_step(
        &mut self,
        aor: u8,
        over: Over,
        contacts: &[(Agent, u32, u16)],
        order: Order,
        rooms: usize,
    ) {
        let mut headers = String::new();
        for (agent, expires, q) in contacts {
            let (contact, params) = (agent.contact(), agent.params());
            let q = if *q == 1000 { "1" } else { "0.5" };
            headers.push_str(&format!("Contact: <{contact}>{params};expires={expires};q={q}\r\n"));
        }
        let cseq = match order {
            Order::Next => {
                self.cseq += 1;
                self.cseq - 1
            }
            Order::Late => self.cseq.saturating_sub(3),
        };
        let flow = over.map(|place| self.flow(place));
        let before = self.model.clone();
        let next_room = self.next_room;
        let result = self.register(aor, over, &headers, cseq, rooms);

        // What the model says.
        let live: Vec<_> =
            before.iter().filter(|binding| binding.aor == aor && binding.end > self.now).collect();
        let twice = contacts
            .iter()
            .enumerate()
            .any(|(at, one)| contacts[..at].iter().any(|other| one.0.is_same(other.0)));
        let matched: Vec<_> = contacts
            .iter()
            .map(|one| live.iter().find(|binding| binding.agent.is_same(one.0)).copied())
            .collect();
        let late = matched.iter().flatten().any(|binding| binding.cseq >= cseq);
        let stays = |binding: &Expected, agent: Agent| binding.agent == agent && binding.flow == flow;
        let (mut comes, mut adds, mut goes, mut refreshes) = (0, 0, 0, 0);
        for ((agent, expires, _), found) in contacts.iter().zip(&matched) {
            match (found, expires) {
                (None, 0) => {}
                (None, _) => (comes, adds) = (comes + 1, adds + 1),
                (Some(_), 0) => goes += 1,
                (Some(binding), _) if stays(binding, *agent) => refreshes += 1,
                (Some(_), _) => comes += 1,
            }
        }
        let is_open = flow.is_none_or(|flow| {
            self.flows
                .values()
                .zip(self.flows.keys())
                .any(|(state, &place)| state.1 && self.flow(place) == flow)
        });
        let (removed, added, refreshed) = match result {
            Err(error) => {
                let expected = match error {
                    RegisterError::Refused(Refusal::ContactTwice) => twice,
                    RegisterError::Refused(Refusal::OutOfOrder) => late,
                    RegisterError::Refused(Refusal::TooManyContacts { .. }) => {
                        adds > goes && live.len() + adds - goes > 3
                    }
                    RegisterError::FlowNotOpen => comes > 0 && !is_open,
                    RegisterError::Full(_) => {
                        before.len() - self.ended(aor).len() + adds - goes > MAX_BINDINGS
                    }
                    RegisterError::NoRoom(()) => comes > rooms,
                    RegisterError::Refused(other) => panic!("{other}"),
                };
                assert!(expected, "{error:?}");
                return;
            }
            Ok(done) => done,
        };
        assert!(!twice && !late && (comes == 0 || is_open) && comes <= rooms);
        assert_eq!((added, refreshed), (comes, refreshes));
        assert_eq!(self.next_room - next_room, u32::try_from(comes).expect("small"));
        let mut gone = self.ended(aor);
        assert_eq!(count(&removed, RemovalCause::Expired), gone.len());
        assert_eq!(count(&removed, RemovalCause::Unregistered), goes);
        assert_eq!(count(&removed, RemovalCause::Replaced), comes - adds);
        let now = self.now;
        self.forget(|binding| binding.aor == aor && binding.end <= now);
        for ((agent, expires, _), found) in contacts.iter().zip(&matched) {
            if let Some(found) = found {
                if *expires == 0 || !stays(found, *agent) {
                    gone.insert(named(found));
                }
                self.model.retain(|binding| binding != *found);
            }
        }
        assert_eq!(removed.into_iter().map(|(key, _)| key).collect::<Gone>(), gone);
        for (agent, expires, q) in contacts.iter().rev() {
            if *expires > 0 {
                self.recency += 1;
                self.model.push(Expected {
                    aor,
                    agent: *agent,
                    flow,
                    end: self.now + Duration::from_secs(u64::from(*expires)),
                    q: *q,
                    cseq,
                    recency: self.recency,
                });
            }
        }
    }

    /// One request to the real thing. All requests are of one Call-ID.
    #[expect(clippy::type_complexity)]
    fn register(
        &mut self,
        aor: u8,
        over: Over,
        headers: &str,
        cseq: u32,
        rooms: usize,
    ) -> Result<(Vec<((String, String, Option<FlowId>), RemovalCause)>, usize, usize), RegisterError<()>>
    {
        let text =
            format!("REGISTER sip:x SIP/2.0\r\nCall-ID: one\r\nCSeq: {cseq} REGISTER\r\n{headers}\r\n");
        let request = Message::parse(text.as_bytes()).expect("a whole message");
        let remote = SocketAddr::from(([127, 0, 0, 1], 9));
        let (way, transport) = match over {
            Some(place) => (BindingHop::Flow(self.flow(place)), Transport::Ws),
            None => (BindingHop::Udp { listener: 0 }, Transport::Udp),
        };
        let aor = name(aor);
        let register =
            Register { request: &request, aor: &aor, way, transport, remote, identity: Some("ann") };
        let (mut given, next, out) = (0, &mut self.next_room, &self.out);
        let reserve = || {
            if given >= rooms {
                return Err(());
            }
            given += 1;
            *next += 1;
            out.borrow_mut().insert(*next);
            Ok(Room { number: *next, out: Rc::clone(out) })
        };
        let mut contacts = Vec::new();
        let done = self.location.register(&register, &POLICY, self.now, &mut contacts, reserve)?;
        let added = done.added().len();
        for binding in done.added() {
            assert_eq!((binding.way(), binding.cseq(), binding.identity()), (way, cseq, Some("ann")));
        }
        let removed = done.removed.iter().map(|(binding, cause)| (key(binding), *cause)).collect();
        Ok((removed, added, done.refreshed().len()))
    }

    fn ended(&self, aor: u8) -> Gone {
        self.model.iter().filter(|binding| binding.aor == aor && binding.end <= self.now).map(named).collect()
    }

    fn forget(&mut self, which: impl Fn(&Expected) -> bool) -> Gone {
        let gone = self.model.iter().filter(|binding| which(binding)).map(named).collect();
        self.model.retain(|binding| !which(binding));
        gone
    }

    fn compare(&self) {
        self.location.check();
        let location = &self.location;
        assert_eq!(location.len(), self.model.len());
        assert_eq!(location.all().map(key).collect::<Gone>(), self.model.iter().map(named).collect());
        assert_eq!(location.next_expiry(), self.model.iter().map(|binding| binding.end).min());
        let rooms: BTreeSet<_> = location.all().map(|binding| binding.room.number).collect();
        assert_eq!(rooms, *self.out.borrow(), "each reservation is held by one binding");
        for aor in 0..4 {
            let mut expected: Vec<_> =
                self.model.iter().filter(|binding| binding.aor == aor && binding.end > self.now).collect();
            expected.sort_by_key(|binding| std::cmp::Reverse((binding.q, binding.recency)));
            let found: Vec<_> = location.bindings(&name(aor), self.now).map(key).collect();
            assert_eq!(found, expected.into_iter().map(named).collect::<Vec<_>>());
        }
        for (&place, &(_, is_open)) in &self.flows {
            let flow = self.flow(place);
            assert_eq!(location.is_open(flow), is_open);
            let expected =
                self.model.iter().filter(|binding| binding.flow == Some(flow)).map(named).collect::<Gone>();
            assert_eq!(location.bindings_of_flow(flow).map(key).collect::<Gone>(), expected);
        }
    }
}

fn name(aor: u8) -> String {
    format!("u{aor}@x")
}

fn key(binding: &crate::Binding<Room>) -> (String, String, Option<FlowId>) {
    let contact = String::from_utf8_lossy(binding.contact()).into_owned();
    (binding.aor().to_owned(), contact, binding.flow())
}

fn named(expected: &Expected) -> (String, String, Option<FlowId>) {
    (name(expected.aor), expected.agent.contact(), expected.flow)
}

fn count<T>(removed: &[(T, RemovalCause)], cause: RemovalCause) -> usize {
    removed.iter().filter(|(_, of)| *of == cause).count()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn any_history_agrees_with_a_plain_list(steps in proptest::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
            world.compare();
        }
        for place in 0..4 {
            world.step(&Step::Close(place));
        }
        world.step(&Step::TakeUnowned);
        world.compare();
        prop_assert!(world.location.is_empty());
        prop_assert_eq!((world.location.aors(), world.location.open_flows()), (0, 0));
        prop_assert!(world.out.borrow().is_empty(), "every reservation came back");
    }
}
