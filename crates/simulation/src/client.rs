//! Clients: who they are, what they register, and their flows as the server has them.

use std::{collections::BTreeMap, net::SocketAddr, pin::Pin, rc::Rc, sync::Arc, time::Instant};

use ledger::Reservation;
use lifecycle::{
    Cause, CloseBook, Direction, Ending, FlowEnd, FlowFacts, FlowId, Identity, OpenFlow, Text, Traffic,
    Transport,
};
use location::{BindingHop, Register, RegisterError};
use sip_message::Message;
use sip_registrar::Policy;
use state::Registry;

use crate::{chance::SeededRandom, clock::Clock, planted::Planted};

/// Addresses-of-record; few, so that clients meet in them.
pub(crate) const USERS: u64 = 6;
/// Devices of each.
pub(crate) const DEVICES: u64 = 4;

/// A user agent: a browser or a desk phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Device {
    pub(crate) user: u64,
    pub(crate) number: u64,
}

impl Device {
    pub(crate) fn any(chance: &mut SeededRandom) -> Self {
        Self { user: chance.below(USERS), number: chance.below(DEVICES) }
    }

    pub(crate) fn aor(self) -> String {
        format!("u{}@example.com", self.user)
    }

    /// The URI that it is reached at. The first two speak outbound (RFC 5626) and make a new URI for each
    /// flow, as browsers do; the others keep theirs.
    fn contact(self, flow: Option<FlowId>) -> String {
        match (self.number, flow) {
            (0 | 1, Some(flow)) => {
                format!("sip:{:x}{:x}@{}.invalid", flow.incarnation, flow.counter, self.number)
            }
            (number, _) => format!("sip:u{}@d{number}.invalid", self.user),
        }
    }

    /// A REGISTER of it.
    fn register(self, contact: &str, call: u64, cseq: u64, expires: u64) -> String {
        let Self { user, number } = self;
        let outbound = if number < 2 {
            format!(";+sip.instance=\"<urn:uuid:{user}-{number}>\";reg-id={}", number + 1)
        } else {
            String::new()
        };
        format!(
            "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/WS x.invalid;branch=z9hG4bK{cseq}\r\nMax-Forwards: 70\r\n\
             From: <sip:u{user}@example.com>;tag=a\r\nTo: <sip:u{user}@example.com>\r\nCall-ID: c{call}\r\n\
             CSeq: {cseq} REGISTER\r\nContact: <{contact}>{outbound};expires={expires}\r\nContent-Length: 0\r\n\r\n"
        )
    }
}

/// Where a flow's end is written, as the server's own.
pub(crate) struct Book {
    registry: Arc<Registry>,
    clock: Rc<Clock>,
    flow: FlowId,
    traffic: Traffic,
    planted: Option<Planted>,
}

impl CloseBook for Book {
    type Room = Reservation;

    fn now_micros(&self) -> u64 {
        self.clock.micros()
    }

    fn traffic(&self) -> Traffic {
        self.traffic
    }

    fn identity(&self) -> Option<Identity> {
        None
    }

    fn close(&mut self, end: FlowEnd<'_>, room: Reservation) {
        let at = self.clock.both();
        if self.planted == Some(Planted::RecordTwice)
            && self.flow.counter % 16 == 7
            && let Ok(room) = self.registry.pay_for_close()
        {
            self.registry.close(self.flow, end.clone(), room, at);
        }
        self.registry.close(self.flow, end, room, at);
    }
}

type Opening = Pin<Box<dyn Future<Output = Result<OpenFlow<Book>, &'static str>>>>;

/// How far a connection has come.
pub(crate) enum State {
    /// It asked; the answer waits for the disk.
    Opening(Opening),
    /// Its client was accepted.
    Open(OpenFlow<Book>),
}

/// A connection that asked for a flow.
pub(crate) struct Connection {
    pub(crate) flow: FlowId,
    pub(crate) name: String,
    pub(crate) device: Device,
    pub(crate) state: State,
    pub(crate) registers: u64,
}

impl Connection {
    /// What the server does when a handshake is whole. None if there is no room.
    pub(crate) fn ask(
        registry: &Arc<Registry>,
        clock: &Rc<Clock>,
        device: Device,
        counter: u64,
        planted: Option<Planted>,
    ) -> Option<Self> {
        let room = registry.pay_for_close().ok()?;
        let flow = FlowId { incarnation: registry.incarnation(), counter };
        let facts = Arc::new(facts(counter));
        let (registry, clock) = (Arc::clone(registry), Rc::clone(clock));
        let name = registry.node().flow(flow);
        let opening = async move {
            let traffic = Traffic { frames_received: counter, ..Traffic::default() };
            let at = clock.micros();
            let book = Book { registry: Arc::clone(&registry), clock, flow, traffic, planted };
            registry.open(flow, facts, at, room, |_| book).await
        };
        Some(Self { flow, name, device, state: State::Opening(Box::pin(opening)), registers: 0 })
    }
}

/// Endings that a live process sees.
const ENDINGS: &[Cause] = &[
    Cause::CloseFrame,
    Cause::Eof,
    Cause::Reset,
    Cause::PingTimeout,
    Cause::WriteTimeout,
    Cause::ProtocolError,
    Cause::MessageTooBig,
    Cause::InvalidPayload,
    Cause::SlowReader,
    Cause::Idle,
    Cause::Lifetime,
    Cause::Admin,
    Cause::Replaced,
    Cause::Drain,
    Cause::InternalError,
];

/// How a flow ends.
pub(crate) fn ending(chance: &mut SeededRandom) -> Ending {
    let cause = chance.pick(ENDINGS);
    match cause {
        Cause::CloseFrame => Ending::of(cause).code(1001).reason("gone"),
        _ => Ending::of(cause),
    }
}

fn facts(counter: u64) -> FlowFacts {
    let port = u16::try_from(counter % 60_000).unwrap_or(0) + 1024;
    FlowFacts {
        transport: if counter.is_multiple_of(3) { Transport::Ws } else { Transport::Wss },
        direction: Direction::Accepted,
        listener: Text::new("wss"),
        local: SocketAddr::from(([10, 0, 0, 1], 443)),
        remote: SocketAddr::from(([192, 0, 2, (counter % 7) as u8], port)),
        forwarded: None,
        host: None,
        origin: None,
        path: None,
        user_agent: None,
        tls: None,
    }
}

/// What is bound, as the rules of RFC 3261 §10 and RFC 5626 have it, said a second time in other words.
#[derive(Default)]
pub(crate) struct Bindings(BTreeMap<Device, Bound>);

struct Bound {
    flow: Option<FlowId>,
    contact: String,
    ends: Instant,
}

/// A wish to be bound, or not to be any more.
pub(crate) struct BindingRequest<'a> {
    pub(crate) device: Device,
    /// The flow and its name; none comes over UDP.
    pub(crate) flow: Option<(FlowId, &'a str)>,
    pub(crate) cseq: u64,
    /// Seconds; 0 takes the binding back.
    pub(crate) expires: u64,
}

/// What a REGISTER came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Registered {
    Done,
    /// There was no room in the ledger.
    NoRoom,
}

impl Bindings {
    /// A flow has ended.
    pub(crate) fn ended(&mut self, flow: FlowId) {
        self.0.retain(|_, bound| bound.flow != Some(flow));
    }

    /// A device that has a binding on another flow than this one.
    pub(crate) fn moved_on(&self, device: Device, flow: FlowId) -> Option<FlowId> {
        self.0.get(&device)?.flow.filter(|other| *other != flow)
    }

    /// Has the server do it, does the same here, and compares.
    pub(crate) fn register(
        &mut self,
        registry: &Registry,
        clock: &Clock,
        wish: &BindingRequest<'_>,
    ) -> Result<Registered, String> {
        let BindingRequest { device, flow, cseq, expires } = *wish;
        let id = flow.map(|(flow, _)| flow);
        let contact = device.contact(id);
        let call = id.map_or(0, |flow| flow.counter);
        let text = device.register(&contact, call, cseq, expires);
        let request = Message::parse(text.as_bytes()).map_err(|error| error.to_string())?;
        let aor = device.aor();
        let register = Register {
            request: &request,
            aor: &aor,
            way: id.map_or(BindingHop::Udp { listener: 1 }, BindingHop::Flow),
            transport: if id.is_some() { Transport::Wss } else { Transport::Udp },
            remote: SocketAddr::from(([192, 0, 2, 9], 5060)),
            identity: None,
        };
        let (now, mut contacts) = (clock.now(), Vec::new());
        let policy = Policy { max_contacts: 20, ..Policy::default() };
        let name = flow.map(|(_, name)| name);
        let done = registry.register(&register, name, &policy, clock.both(), &mut contacts);
        let left = match done {
            Ok(left) => left,
            Err(RegisterError::NoRoom(_)) => return Ok(Registered::NoRoom),
            Err(error) => return Err(format!("a REGISTER of {device:?} was refused: {error}")),
        };
        if expires == 0 {
            self.0.remove(&device);
        } else {
            let ends = now + std::time::Duration::from_secs(expires);
            self.0.insert(device, Bound { flow: id, contact, ends });
        }
        if let Some(flow) = left.iter().find(|flow| self.0.values().any(|bound| bound.flow == Some(**flow))) {
            return Err(format!("{flow:?} is said to be left by its user agent, and has a binding"));
        }
        self.compare_user(registry, device.user, now)?;
        Ok(Registered::Done)
    }

    /// Whether the server has the same bindings for this user.
    pub(crate) fn compare_user(&self, registry: &Registry, user: u64, now: Instant) -> Result<(), String> {
        let aor = Device { user, number: 0 }.aor();
        let location = registry.location();
        let mut has: Vec<_> = location
            .bindings(&aor, now)
            .map(|binding| (binding.flow(), String::from_utf8_lossy(binding.contact()).into_owned()))
            .collect();
        let users = Device { user, number: 0 }..Device { user: user + 1, number: 0 };
        let mut due: Vec<_> = self
            .0
            .range(users)
            .filter(|(_, bound)| bound.ends > now)
            .map(|(_, bound)| (bound.flow, bound.contact.clone()))
            .collect();
        has.sort();
        due.sort();
        if has == due { Ok(()) } else { Err(format!("{aor} has {has:?} and should have {due:?}")) }
    }

    /// Whether the server has the same bindings for everybody.
    pub(crate) fn compare(&self, registry: &Registry, now: Instant) -> Result<(), String> {
        (0..USERS).try_for_each(|user| self.compare_user(registry, user, now))
    }
}
