//! The table of all transactions of one owner: where they are found, their timers, their ends.

use crate::client_side::{Client, ClientId};
use crate::key::ClientKey;
use crate::machine::{ClientEnd, ServerEnd};
use crate::pace::{Pace, millis};
use crate::server_index::ServerIndex;
use crate::server_side::{Server, ServerId};
use crate::slots::Slots;
use crate::timers::{Timers, TryingReminder};
use crate::wheel::TimerWheel;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::time::{Duration, Instant};

/// More than this of one kind no table holds, so that a timer's token fits 32 bits.
const MOST: u32 = 1 << 30;

/// How a table is to work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// T1, T2 and T4.
    pub timers: Timers,
    /// Whether [`Event::SendTrying`] comes.
    pub trying: TryingReminder,
    /// The most server transactions at a time; further requests are
    /// [`Received::Full`](crate::Received::Full).
    pub max_server: u32,
    /// The most client transactions at a time; further ones are
    /// [`StartRefused::Full`](crate::StartRefused::Full).
    pub max_client: u32,
}

impl Default for Settings {
    /// The timers of RFC 3261, reminders, 100,000 transactions of each kind.
    fn default() -> Self {
        Settings {
            timers: Timers::default(),
            trying: TryingReminder::Remind,
            max_server: 100_000,
            max_client: 100_000,
        }
    }
}

/// What time brought about. `S` and `C` are the owner's data of server and client transactions, `M` its
/// messages.
#[derive(Debug)]
pub enum Event<S, C, M> {
    /// Nothing was answered for a while: answer 100 (Trying) with [`Transactions::respond`].
    SendTrying(ServerId),
    /// Send this response again (Timer G).
    ResendResponse {
        /// Whose.
        id: ServerId,
        /// The copy that was kept.
        message: M,
    },
    /// Send this request again (Timer A or E).
    ResendRequest {
        /// Whose.
        id: ClientId,
        /// The copy that was kept.
        message: M,
    },
    /// A server transaction ended; its id means nothing from now on.
    ServerEnded {
        /// Which.
        id: ServerId,
        /// What the owner gave with it.
        data: S,
        /// Why.
        end: ServerEnd,
    },
    /// A client transaction ended; its id means nothing from now on.
    ClientEnded {
        /// Which.
        id: ClientId,
        /// What the owner gave with it.
        data: C,
        /// Why: for [`ClientEnd::Timeout`] and [`ClientEnd::TransportError`] the owner goes on as with a 408
        /// or 503.
        end: ClientEnd,
    },
}

/// An ended transaction whose event was not taken yet.
#[derive(Clone, Copy, Debug)]
enum Ended {
    Server(ServerId, ServerEnd),
    Client(ClientId, ClientEnd),
}

/// All transactions of one owner (see the [crate] for the contract).
#[derive(Debug)]
pub struct Transactions<S, C, M> {
    pub(crate) settings: Settings,
    pub(crate) servers: Slots<Server<S, M>>,
    pub(crate) clients: Slots<Client<C, M>>,
    pub(crate) by_server_key: ServerIndex,
    pub(crate) by_client_key: HashMap<ClientKey, ClientId, BuildHasherDefault<Mix>>,
    wheel: TimerWheel,
    ended: VecDeque<Ended>,
    start: Instant,
    /// The latest time heard of; time never goes back.
    latest: Instant,
}

impl<S, C, M: Clone> Transactions<S, C, M> {
    /// An empty table. No later input may be from before `now`; one that is counts as `now`.
    pub fn new(mut settings: Settings, now: Instant) -> Self {
        settings.max_server = settings.max_server.min(MOST);
        settings.max_client = settings.max_client.min(MOST);
        Transactions {
            settings,
            servers: Slots::new(settings.max_server),
            clients: Slots::new(settings.max_client),
            by_server_key: ServerIndex::default(),
            by_client_key: HashMap::default(),
            wheel: TimerWheel::new(),
            ended: VecDeque::new(),
            start: now,
            latest: now,
        }
    }

    /// Takes the next thing that is due, until `None`.
    pub fn poll(&mut self, now: Instant) -> Option<Event<S, C, M>> {
        while let Some(ended) = self.ended.pop_front() {
            if let Some(event) = self.take_ended(ended) {
                return Some(event);
            }
        }
        self.heard(now);
        let tick = self.latest.duration_since(self.start).as_millis() as u64;
        while let Some(token) = self.wheel.pop_due(tick) {
            if let Some(event) = self.fire(token, tick) {
                return Some(event);
            }
        }
        None
    }

    /// When [`poll`](Self::poll) will have something to give if nothing else happens (in the past: now);
    /// `None` while nothing waits.
    ///
    /// With timers of more than 65 s it may be earlier than that, and is then later the next time.
    pub fn next_deadline(&self) -> Option<Instant> {
        if !self.ended.is_empty() {
            return Some(self.latest);
        }
        self.start.checked_add(Duration::from_millis(self.wheel.next_deadline()?))
    }

    /// How many server transactions there are, those included whose end was not polled yet.
    pub fn server_count(&self) -> usize {
        self.servers.len()
    }

    /// How many client transactions there are, those included whose end was not polled yet.
    pub fn client_count(&self) -> usize {
        self.clients.len()
    }

    /// Whether there is no transaction at all.
    pub fn is_empty(&self) -> bool {
        self.server_count() + self.client_count() == 0
    }

    /// The settings in force.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    fn heard(&mut self, now: Instant) {
        self.latest = self.latest.max(now);
    }

    /// `now` on the table's own clock, rounded up.
    pub(crate) fn tick(&mut self, now: Instant) -> u64 {
        self.heard(now);
        millis(self.latest.duration_since(self.start))
    }

    pub(crate) fn schedule_server(&mut self, id: ServerId, pace: Pace, tick: u64) {
        self.schedule(server_token(id), pace, tick);
    }

    pub(crate) fn schedule_client(&mut self, id: ClientId, pace: Pace, tick: u64) {
        self.schedule(client_token(id), pace, tick);
    }

    fn schedule(&mut self, token: u32, pace: Pace, tick: u64) {
        match pace.next() {
            Some(deadline) => self.wheel.schedule(token, deadline, tick),
            None => self.wheel.cancel(token),
        }
    }

    /// From here on nothing matches the transaction; its event waits to be polled.
    pub(crate) fn end_server(&mut self, id: ServerId, end: ServerEnd) {
        if self.detach_server(id) {
            self.ended.push_back(Ended::Server(id, end));
        }
    }

    /// See [`end_server`](Self::end_server).
    pub(crate) fn end_client(&mut self, id: ClientId, end: ClientEnd) {
        if self.detach_client(id) {
            self.ended.push_back(Ended::Client(id, end));
        }
    }

    /// Whether it was still attached.
    pub(crate) fn detach_server(&mut self, id: ServerId) -> bool {
        let Some(server) = self.servers.get_mut(id.0).filter(|server| !server.ended) else { return false };
        server.ended = true;
        server.message = None;
        self.by_server_key.remove(&server.key);
        self.wheel.cancel(server_token(id));
        true
    }

    /// Whether it was still attached.
    pub(crate) fn detach_client(&mut self, id: ClientId) -> bool {
        let Some(client) = self.clients.get_mut(id.0).filter(|client| !client.ended) else { return false };
        client.ended = true;
        client.message = None;
        self.by_client_key.remove(&client.key);
        self.wheel.cancel(client_token(id));
        true
    }

    fn take_ended(&mut self, ended: Ended) -> Option<Event<S, C, M>> {
        match ended {
            Ended::Server(id, end) => {
                self.servers.remove(id.0).map(|server| Event::ServerEnded { id, data: server.data, end })
            }
            Ended::Client(id, end) => {
                self.clients.remove(id.0).map(|client| Event::ClientEnded { id, data: client.data, end })
            }
        }
    }

    fn fire(&mut self, token: u32, tick: u64) -> Option<Event<S, C, M>> {
        if token.is_multiple_of(2) {
            self.servers.id_at(token / 2).and_then(|id| self.fire_server(ServerId(id), tick))
        } else {
            self.clients.id_at(token / 2).and_then(|id| self.fire_client(ClientId(id), tick))
        }
    }

    /// Ends the transaction whose ending timer fired and takes its event at once.
    pub(crate) fn finish_server(&mut self, id: ServerId, end: ServerEnd) -> Option<Event<S, C, M>> {
        self.detach_server(id);
        self.take_ended(Ended::Server(id, end))
    }

    /// See [`finish_server`](Self::finish_server).
    pub(crate) fn finish_client(&mut self, id: ClientId, end: ClientEnd) -> Option<Event<S, C, M>> {
        self.detach_client(id);
        self.take_ended(Ended::Client(id, end))
    }
}

fn server_token(id: ServerId) -> u32 {
    id.0.index * 2
}

fn client_token(id: ClientId) -> u32 {
    id.0.index * 2 + 1
}

/// Hashes keys that need no defence: client keys are our own numbers.
#[derive(Debug, Default)]
pub(crate) struct Mix(u64);

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, value: u64) {
        let product = u128::from(self.0 ^ value) * u128::from(0x9E37_79B9_7F4A_7C15_u64);
        self.0 = (product as u64) ^ (product >> 64) as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests;
