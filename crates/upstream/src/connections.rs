//! Connections that servers behind make to this one. A message for such a connection that has ended goes to
//! its server.

use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, SocketAddr},
    sync::{
        PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicUsize, Ordering},
    },
};

use lifecycle::{FlowFacts, Transport};
use sip_message::Message;
use targets::Transport as Spoken;

use crate::{
    hop::{FlowNumber, Hop, PeerKind},
    upstream::{Server, Upstreams},
};

/// Connections that are remembered after their end; the oldest is forgotten for the newest.
const MOST_ENDED: usize = 16_384;

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    table: RwLock<Table>,
    open: AtomicUsize,
    /// Open and ended ones.
    known: AtomicUsize,
}

#[derive(Debug, Default)]
struct Table {
    open: HashMap<FlowNumber, Origin>,
    ended: HashMap<FlowNumber, Origin>,
    /// The ended ones, the oldest first.
    order: VecDeque<FlowNumber>,
}

/// Where one comes from.
#[derive(Clone, Copy, Debug)]
struct Origin {
    ip: IpAddr,
    transport: Transport,
}

/// The fate of a connection's memory after its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remembered {
    /// It was no server's, or there was room.
    Well,
    /// Another was forgotten for it.
    InPlaceOfAnother,
}

impl Origin {
    /// Whether it may be this server's: one that connects by itself comes from any port.
    fn is(&self, server: &Server) -> bool {
        let speaks = match self.transport {
            Transport::Tcp => server.transport != Spoken::Tls,
            Transport::Tls => server.transport == Spoken::Tls,
            Transport::Ws | Transport::Wss | Transport::Udp => false,
        };
        speaks && server.address.ip() == self.ip
    }
}

impl Connections {
    fn read(&self) -> RwLockReadGuard<'_, Table> {
        // Nothing can panic under this lock.
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn counted(&self, table: &Table) {
        self.open.store(table.open.len(), Ordering::Release);
        self.known.store(table.open.len() + table.ended.len(), Ordering::Release);
    }

    /// Whether it is open.
    pub(crate) fn has(&self, number: FlowNumber) -> bool {
        self.open.load(Ordering::Acquire) > 0 && self.read().open.contains_key(&number)
    }
}

impl Upstreams {
    /// A flow was opened to us. A server that does so by itself comes from any port, so it is known by its
    /// address; but what comes from the address that it comes to may be anyone on this machine, and what
    /// comes by way of a proxy anyone at all.
    pub fn connected(&self, number: FlowNumber, facts: &FlowFacts) -> PeerKind {
        let from = Origin { ip: facts.remote.ip().to_canonical(), transport: facts.transport };
        if from.ip == facts.local.ip().to_canonical() || facts.forwarded.is_some() {
            return PeerKind::UserAgent;
        }
        if !self.servers().any(|(_, server)| from.is(&server)) {
            return PeerKind::UserAgent;
        }
        let mut table = self.connections.write();
        table.open.insert(number, from);
        self.connections.counted(&table);
        PeerKind::Server
    }

    /// A flow that was opened to us is over.
    pub fn disconnected(&self, number: FlowNumber) -> Remembered {
        let mut remembered = Remembered::Well;
        if !self.connections.has(number) {
            return remembered;
        }
        let mut table = self.connections.write();
        if let Some(from) = table.open.remove(&number) {
            table.ended.insert(number, from);
            table.order.push_back(number);
            if table.order.len() > MOST_ENDED
                && let Some(oldest) = table.order.pop_front()
            {
                table.ended.remove(&oldest);
                remembered = Remembered::InPlaceOfAnother;
            }
        }
        self.connections.counted(&table);
        remembered
    }

    /// A hop as it is to be used now: for a connection of a server's that has ended, the server; else itself.
    /// Of several servers at one address it is the one that the Request-URI names, or the first.
    pub fn current_hop(&self, hop: Hop, request: Option<&Message<'_>>) -> Hop {
        let Hop::Flow(number) = hop else { return hop };
        if self.connections.known.load(Ordering::Acquire) == 0 {
            return hop;
        }
        let ended = self.connections.read().ended.get(&number).copied();
        ended.and_then(|from| self.at_its_end(from, request)).unwrap_or(hop)
    }

    /// Whether a hop leads to a server of this upstream: also by a connection that the server made, which may
    /// have ended.
    pub fn leads_to(&self, number: crate::Number, hop: Hop) -> bool {
        let Some(upstream) = self.get(number) else { return false };
        let Hop::Flow(flow) = hop else { return upstream.has(hop) };
        let table = self.connections.read();
        let from = table.open.get(&flow).or_else(|| table.ended.get(&flow)).copied();
        drop(table);
        from.is_some_and(|from| upstream.servers().iter().any(|server| from.is(server)))
    }

    /// How to reach the server behind us that a hop leads to once the connection that there is has ended;
    /// none if it leads to no server, or by datagrams.
    pub fn reconnect_hop(&self, hop: Hop) -> Option<Hop> {
        match hop {
            Hop::Udp { .. } => None,
            Hop::Peer { .. } => self.server(hop).map(|_| hop),
            Hop::Flow(_) if self.connections.known.load(Ordering::Acquire) == 0 => None,
            Hop::Flow(number) => {
                let table = self.connections.read();
                let from = table.open.get(&number).or_else(|| table.ended.get(&number)).copied();
                drop(table);
                self.at_its_end(from?, None)
            }
        }
    }

    fn at_its_end(&self, from: Origin, request: Option<&Message<'_>>) -> Option<Hop> {
        let uri = request.and_then(|request| request.request_uri().ok());
        let named = uri.and_then(|uri| Some(SocketAddr::new(uri.host()?.ip()?, uri.port().unwrap_or(5060))));
        let mut fitting = self.servers().filter(|(_, server)| from.is(server)).peekable();
        let first = fitting.peek().map(|(_, server)| server.way.hop)?;
        let named = fitting.find(|(_, server)| Some(server.address) == named);
        Some(named.map_or(first, |(_, server)| server.way.hop))
    }
}
