//! One shard: its flows, its proxy, its timers, its inbox. Everything here runs on one thread.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashMap},
    io::ErrorKind,
    panic::AssertUnwindSafe,
    rc::{Rc, Weak},
    sync::Arc,
    time::{Duration, Instant},
};

use lifecycle::Ending;
use metrics::{Count, Gauge};
use sip_message::Message;
use sip_proxy::{Proxy, QuotedRequest, shard_of};
use tokio::{
    net::{TcpStream, UdpSocket},
    sync::{Notify, mpsc, oneshot},
    task::spawn_local,
    time::{sleep, sleep_until, timeout},
};
use transport::{Listener, Scratch};
use upstream::{FlowNumber, Hop, LookedUp};

use crate::{
    Pinged,
    admission_control::Trust,
    dialling::DialProgress,
    draining,
    inbox::{Answered, Closing, Loss, ShardMessage},
    routing::{
        environment::{MessageSource, ProxyEnvironment},
        response_address::response_address,
    },
    shared::Shared,
};

mod flow_table;
mod owner;
pub(crate) mod registering;
mod routing;
#[cfg(test)]
mod tests;

use flow_table::Entry;

/// The number of requests of our own whose answer nobody waits for.
const NOBODY: u64 = 0;

/// How long a REGISTER waits at most for an un-REGISTER of ours.
const LONGEST_HELD: Duration = Duration::from_secs(10);

/// Between a panic of the shard's own and what comes next.
const PAUSE_AFTER_PANIC: Duration = Duration::from_secs(1);

/// One shard.
pub(crate) struct Shard {
    pub(crate) index: u8,
    pub(crate) shared: Arc<Shared>,
    listeners: Vec<Rc<Listener>>,
    sockets: HashMap<u8, Rc<UdpSocket>>,
    pub(crate) scratch: Rc<Scratch>,
    /// In the order of their numbers, so that a look at all of them can go on where it left off.
    /// Boxed: the nodes of a table that only grows at its end are half empty.
    flows: RefCell<BTreeMap<FlowNumber, Box<Entry>>>,
    proxy: RefCell<Proxy<Hop>>,
    /// Hops whose end the proxy has not heard of yet.
    gone: RefCell<Vec<(Hop, Loss)>>,
    /// The proxy has something to do earlier than it is waited for.
    wake: Notify,
    armed: Cell<Option<Instant>>,
    /// For tasks that are begun from inside.
    pub(crate) me: Weak<Self>,
    /// Peers that we connected to.
    pub(crate) dials: RefCell<HashMap<Hop, DialProgress>>,
    /// Requests of our own that await an answer, by number.
    asked: RefCell<HashMap<u64, oneshot::Sender<Answered>>>,
    asked_last: Cell<u64>,
    /// When the log last said that a server's answer came from elsewhere.
    pub(crate) told_foreign: Cell<Option<Instant>>,
    /// Bytes that the proxy kept when it was last at work.
    kept: Cell<u64>,
    /// Numbers given.
    numbers: Cell<u64>,
    opened: Cell<u64>,
    closed: Cell<u64>,
}

impl std::fmt::Debug for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shard").field("index", &self.index).finish_non_exhaustive()
    }
}

/// Runs a shard until its inbox is closed. `sockets` are its UDP sockets, by listener, which are read from
/// once `looked_up` says so.
pub(crate) async fn run(
    index: u8,
    shared: Arc<Shared>,
    mut inbox: mpsc::Receiver<ShardMessage>,
    sockets: Vec<(u8, std::net::UdpSocket)>,
    looked_up: LookedUp,
) {
    let listeners =
        (0..).zip(&shared.listeners).map(|(number, bound)| Rc::new(bound.for_shard(number))).collect();
    let sockets = sockets.into_iter().filter_map(|(listener, socket)| match UdpSocket::from_std(socket) {
        Ok(socket) => Some((listener, Rc::new(socket))),
        Err(error) => {
            tracing::error!(%error, listener, "a UDP socket cannot be used");
            None
        }
    });
    let shard = Shard::new(index, shared, listeners, sockets.collect());
    for (&listener, socket) in &shard.sockets {
        let receiving = receive_datagrams(Rc::clone(&shard), listener, Rc::clone(socket));
        let looked_up = looked_up.clone();
        spawn_local(async move {
            looked_up.wait().await;
            receiving.await;
        });
    }
    spawn_local(keep_time(Rc::clone(&shard)));
    spawn_local(draining::run(Rc::clone(&shard), shard.shared.admission_state.subscribe()));
    while let Some(message) = inbox.recv().await {
        shard.contained(|| shard.read(message));
    }
}

async fn receive_datagrams(shard: Rc<Shard>, listener: u8, socket: Rc<UdpSocket>) {
    let scratch = Rc::clone(&shard.scratch);
    let datagram = |remote, bytes: &[u8]| {
        // Keepalives want no answer over UDP, and strays of other protocols are nobody's attack.
        if sip_message::tries_to_be_sip(bytes) {
            shard.contained(|| shard.receive(Hop::Udp { listener, remote }, bytes));
        } else {
            shard.shared.metrics.add(Count::MessagesNotSip);
        }
    };
    let returned = |remote, quoted: &[u8]| {
        if let Some(returned) = QuotedRequest::read(quoted) {
            shard.contained(|| shard.came_back(Hop::Udp { listener, remote }, returned));
        }
    };
    let failed = |error: std::io::Error| tracing::debug!(%error, "UDP");
    transport::udp::receive(socket, scratch, datagram, returned, failed).await;
}

/// Does what the proxy has to do when its time has come.
async fn keep_time(shard: Rc<Shard>) {
    loop {
        let deadline = shard.proxy.borrow().next_deadline();
        shard.armed.set(deadline);
        match deadline {
            Some(deadline) => {
                tokio::select! {
                    () = sleep_until(deadline.into()) => {}
                    () = shard.wake.notified() => {}
                }
            }
            None => shard.wake.notified().await,
        }
        let done = shard.contained(|| {
            shard.with_proxy(MessageSource::Nobody, |proxy, environment, now| {
                while let Some((hop, loss)) = environment.shard.next_gone() {
                    match loss {
                        Loss::Ended => proxy.connection_lost(environment, hop, now),
                        Loss::Unreachable => proxy.hop_gone(environment, hop, now),
                    }
                }
            });
        });
        if done == Contained::Panicked {
            // It may panic again: others first. The hops that are left are still to be told of.
            sleep(PAUSE_AFTER_PANIC).await;
            shard.wake.notify_one();
        }
    }
}

/// How something went that must not take others with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Contained {
    Done,
    /// A bug of ours. What it was at is dropped.
    Panicked,
}

impl Shard {
    fn new(
        index: u8,
        shared: Arc<Shared>,
        listeners: Vec<Rc<Listener>>,
        sockets: HashMap<u8, Rc<UdpSocket>>,
    ) -> Rc<Self> {
        Rc::new_cyclic(|me| Self {
            index,
            me: me.clone(),
            listeners,
            sockets,
            scratch: Rc::new(Scratch::new()),
            flows: RefCell::default(),
            proxy: RefCell::new(Proxy::new(shared.proxy, shared.branch_secret, index, Instant::now())),
            gone: RefCell::default(),
            wake: Notify::new(),
            armed: Cell::new(None),
            dials: RefCell::default(),
            asked: RefCell::default(),
            asked_last: Cell::new(NOBODY),
            told_foreign: Cell::new(None),
            kept: Cell::new(0),
            numbers: Cell::new(0),
            opened: Cell::new(0),
            closed: Cell::new(0),
            shared,
        })
    }

    /// Does something that belongs to no flow. A panic in it must not take the shard with it, as one in a
    /// flow's task takes only the flow: borrows end with it, and tables are changed by methods that leave
    /// them whole.
    fn contained(&self, act: impl FnOnce()) -> Contained {
        if std::panic::catch_unwind(AssertUnwindSafe(act)).is_ok() {
            return Contained::Done;
        }
        self.shared.metrics.add(Count::Panics);
        tracing::error!(
            shard = self.index,
            "a handler panicked, which is a bug: please report it with the lines before this one"
        );
        Contained::Panicked
    }

    /// A SIP message came on a hop.
    pub(crate) fn receive(&self, from: Hop, bytes: &[u8]) {
        if !self.is_held(from, bytes) {
            self.receive_now(from, bytes);
        }
    }

    /// Whether a message has to wait: a REGISTER for an un-REGISTER of ours, any other request for the
    /// REGISTER of the device that it is for. It is received when that has its answer.
    fn is_held(&self, from: Hop, bytes: &[u8]) -> bool {
        let registrations = &self.shared.registrations;
        let held = if bytes.starts_with(b"REGISTER ") {
            let any = registrations.any_sent();
            any.then(|| Message::parse(bytes).ok())
                .flatten()
                .and_then(|message| registering::held(self, &message, from))
        } else if bytes.starts_with(b"SIP/") || !registrations.any_registering() {
            None
        } else {
            registering::held_call(self, bytes)
        };
        let (Some(held), Some(shard)) = (held, self.me.upgrade()) else { return false };
        let bytes: Box<[u8]> = bytes.into();
        spawn_local(async move {
            let _ = timeout(LONGEST_HELD, held.over()).await;
            let there = shard.flow_of(from).is_none_or(|number| shard.has_flow(number));
            if there {
                shard.contained(|| shard.receive_now(from, &bytes));
            }
        });
        true
    }

    fn receive_now(&self, from: Hop, bytes: &[u8]) {
        self.shared.metrics.add(Count::MessagesReceived);
        let Some(speaker) = self.speaker(from) else { return };
        if let Hop::Flow(number) = from {
            self.note_call(number, bytes);
        }
        match Message::parse(bytes) {
            Err(_) if !sip_message::tries_to_be_sip(bytes) => self.shared.metrics.add(Count::MessagesNotSip),
            Err(error) => self.with_proxy(MessageSource::Client(from, speaker), |proxy, environment, _| {
                proxy.unparsed(environment, from, bytes, error);
            }),
            Ok(message) if message.is_request() => {
                if speaker == Trust::Unauthenticated && self.is_of_a_scanner(from, &message) {
                    return;
                }
                self.with_proxy(MessageSource::Client(from, speaker), |proxy, environment, now| {
                    proxy.request(environment, from, &message, now);
                });
            }
            Ok(message) => match shard_of(&message) {
                Some(shard) if shard != self.index => {
                    let address = match from {
                        Hop::Flow(number) => self.remote(number).map(|remote| remote.ip()),
                        Hop::Udp { remote, .. } | Hop::Peer { remote, .. } => Some(remote.ip()),
                    };
                    let message = ShardMessage::Response { from, address, message: bytes.into() };
                    let _ = self.shared.tell(usize::from(shard), message);
                }
                _ => self.with_proxy(MessageSource::Nobody, |proxy, environment, now| {
                    proxy.response(environment, from, &message, now);
                }),
            },
        }
    }

    /// A request that was sent by a hop came back: nobody is there.
    fn came_back(&self, hop: Hop, returned: QuotedRequest) {
        if returned.shard() == self.index {
            self.with_proxy(MessageSource::Nobody, |proxy, environment, now| {
                proxy.came_back(environment, hop, returned, now)
            });
        } else {
            let _ = self.shared.tell(usize::from(returned.shard()), ShardMessage::CameBack { hop, returned });
        }
    }

    /// Lets the proxy do something, then what follows from it.
    fn with_proxy(
        &self,
        speaker: MessageSource,
        act: impl FnOnce(&mut Proxy<Hop>, &mut ProxyEnvironment<'_>, Instant),
    ) {
        let now = Instant::now();
        let mut proxy = self.proxy.borrow_mut();
        let mut environment = ProxyEnvironment::new(self, speaker, now);
        act(&mut proxy, &mut environment, now);
        proxy.expire(&mut environment, now);
        let kept = proxy.kept_bytes();
        let before = self.kept.replace(kept);
        if kept != before {
            self.shared.metrics.change(Gauge::TransactionMemory, before, kept);
        }
        if let Some(next) = proxy.next_deadline()
            && self.armed.get().is_none_or(|armed| next < armed)
        {
            self.armed.set(Some(next));
            self.wake.notify_one();
        }
    }

    /// Sends on a hop of any shard.
    pub(crate) fn send(&self, hop: Hop, message: &[u8]) -> Result<(), sip_proxy::HopGone> {
        let sent = match hop {
            Hop::Flow(number) if number.shard() == usize::from(self.index) => {
                self.note_call(number, message);
                self.link(number).is_some_and(|link| link.send(message).is_ok())
            }
            Hop::Peer { .. } if self.shared.inboxes.shard_of(hop) == usize::from(self.index) => {
                self.send_to_peer(hop, message)
            }
            Hop::Flow(_) | Hop::Peer { .. } => {
                let message = ShardMessage::Deliver { hop, message: message.into(), from_shard: self.index };
                self.shared.tell(self.shared.inboxes.shard_of(hop), message).is_ok()
            }
            // What the socket does not take now is lost like any datagram; transactions repeat it.
            Hop::Udp { listener, remote } => self.sockets.get(&listener).is_some_and(|socket| {
                let address = response_address(message, remote);
                // The first error may be news of what was sent to another address (ICMP).
                let sent = socket.try_send_to(message, address).or_else(|error| match error.kind() {
                    ErrorKind::WouldBlock => Err(error),
                    _ => socket.try_send_to(message, address),
                });
                sent.map_or_else(|error| error.kind() == ErrorKind::WouldBlock, |_| true)
            }),
        };
        self.shared.metrics.add(if sent { Count::MessagesSent } else { Count::SendsFailed });
        if sent { Ok(()) } else { Err(sip_proxy::HopGone) }
    }

    fn read(self: &Rc<Self>, message: ShardMessage) {
        match message {
            ShardMessage::Connection { listener, stream, remote } => {
                if let (Some(listener), Ok(stream)) = (self.listener(listener), TcpStream::from_std(stream)) {
                    let scratch = Rc::clone(&self.scratch);
                    spawn_local(transport::receive_connection(
                        Rc::clone(self),
                        listener,
                        scratch,
                        stream,
                        remote,
                    ));
                }
            }
            ShardMessage::Deliver { hop, message, from_shard } => {
                if self.send(hop, &message).is_err() {
                    let loss = match hop {
                        Hop::Flow(_) => Loss::Ended,
                        Hop::Udp { .. } | Hop::Peer { .. } => Loss::Unreachable,
                    };
                    let _ = self.shared.tell(usize::from(from_shard), ShardMessage::Gone(hop, loss));
                }
            }
            ShardMessage::Response { from, address, message } => {
                if let Ok(message) = Message::parse(&message) {
                    self.with_proxy(MessageSource::AnotherShard(address), |proxy, environment, now| {
                        proxy.response(environment, from, &message, now);
                    });
                }
            }
            ShardMessage::CameBack { hop, returned } => self.came_back(hop, returned),
            ShardMessage::Originate { hop, request, answer } => {
                if let Ok(request) = Message::parse(&request) {
                    let own = answer.map_or(NOBODY, |answer| self.will_be_answered(answer));
                    self.with_proxy(MessageSource::Nobody, |proxy, environment, now| {
                        proxy.originate(environment, hop, &request, own, now)
                    });
                }
            }
            ShardMessage::Gone(hop, loss) => self.hop_gone(hop, loss),
            ShardMessage::Close { flow, ending, done } => {
                let link = self.link(flow);
                let _ = done.send(if link.is_some() { Closing::Begun } else { Closing::NoSuchFlow });
                if let Some(link) = link {
                    link.close(ending);
                }
            }
            ShardMessage::ListPage { after, answer } => drop(answer.send(self.roll(after))),
            ShardMessage::Describe { flow, answer } => drop(answer.send(self.view(flow))),
            ShardMessage::List { wanted, answer } => drop(answer.send(self.list(&wanted))),
            ShardMessage::Ping { flow, answer, patience } => {
                let link = self.link(flow);
                spawn_local(async move {
                    let _ = answer.send(match link {
                        Some(link) => timeout(patience, link.ping()).await.map_or(Pinged::Late, Pinged::from),
                        None => Pinged::NoSuchFlow,
                    });
                });
            }
            ShardMessage::HealthCheck(answer) => drop(answer.send(())),
        }
    }

    /// A number for a request of our own, whose final status goes to this.
    fn will_be_answered(&self, answer: oneshot::Sender<Answered>) -> u64 {
        let own = self.asked_last.get() + 1;
        self.asked_last.set(own);
        self.asked.borrow_mut().insert(own, answer);
        own
    }

    /// Whether the answer to a request of our own is still awaited, or never was.
    pub(crate) fn own_is_wanted(&self, own: u64) -> bool {
        self.asked.borrow().get(&own).is_none_or(|answer| !answer.is_closed())
    }

    /// A request of our own has its final answer.
    pub(crate) fn own_answered(&self, own: u64, status: u16, response: Option<&Message<'_>>) {
        if let Some(answer) = self.asked.borrow_mut().remove(&own) {
            let response = response.map(|response| response.bytes().into());
            // The task that asked may have stopped waiting.
            let _ = answer.send(Answered { status, response });
        }
    }

    /// The flow of this shard that a hop stands for now, if it is one.
    pub(crate) fn flow_of(&self, hop: Hop) -> Option<FlowNumber> {
        match hop {
            Hop::Flow(number) => Some(number),
            Hop::Peer { .. } => match self.dials.borrow().get(&hop) {
                Some(DialProgress::Open(number)) => Some(*number),
                Some(DialProgress::Waiting(_)) | None => None,
            },
            Hop::Udp { .. } => None,
        }
    }

    /// A listener's settings on this shard.
    pub(crate) fn listener(&self, number: u8) -> Option<Rc<Listener>> {
        self.listeners.get(usize::from(number)).map(Rc::clone)
    }

    /// Ends a flow of any shard. What its peer had sent by then is handled first.
    pub(crate) fn end_flow(&self, number: FlowNumber, ending: Ending) {
        if number.shard() != usize::from(self.index) {
            // A full inbox is counted; the flow then ends by itself.
            let message = ShardMessage::Close { flow: number, ending, done: oneshot::channel().0 };
            return drop(self.shared.tell(number.shard(), message));
        }
        let link = self.link(number);
        if let Some(link) = link {
            link.close(ending);
        }
    }

    /// Tells every shard, this one included, that nothing comes from a hop any more. Safe to call from
    /// anywhere: the proxies hear of it when they are not at work.
    pub(crate) fn announce_gone(&self, hop: Hop, loss: Loss) {
        for shard in (0..self.shared.inboxes.shards()).filter(|&shard| shard != usize::from(self.index)) {
            let _ = self.shared.tell(shard, ShardMessage::Gone(hop, loss));
        }
        self.hop_gone(hop, loss);
    }

    fn next_gone(&self) -> Option<(Hop, Loss)> {
        self.gone.borrow_mut().pop()
    }

    fn hop_gone(&self, hop: Hop, loss: Loss) {
        self.gone.borrow_mut().push((hop, loss));
        self.wake.notify_one();
    }
}
