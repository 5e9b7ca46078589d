//! A flow of a shard, from its opening to its end. `registry` writes the records of both.

use std::{
    cell::RefCell,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use ledger::Reservation;
use lifecycle::{CloseBook, FlowEnd, Identity, OpenFlow, Traffic};
use metrics::Count;
use state::clock;
use transport::{Link, Opening, Refused};
use upstream::{FlowNumber, Hop, PeerKind, Remembered};

use crate::{
    admission_control::AdmittedClient, inbox::Loss, routing::flow_lookup::Known, shard::Shard, unregister,
};

/// When a client that found no room may try again.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The same while no flow is accepted by order: that takes longer, and there may be other servers.
const RETRY_LATER: Duration = Duration::from_secs(30);

/// An open flow of a shard.
#[derive(Debug)]
pub(crate) struct Flow {
    pub(crate) number: FlowNumber,
    /// What its messages come from.
    pub(crate) hop: Hop,
    open: OpenFlow<CallWriter>,
}

/// Where a flow's end is written.
#[derive(Debug)]
pub(crate) struct CallWriter {
    shard: Rc<Shard>,
    link: Rc<Link>,
    number: FlowNumber,
    hop: Hop,
    known: Rc<RefCell<Option<Known>>>,
}

impl Flow {
    /// Opens a flow: room for its close first, then `flow.opened`, then the wait until that is durable.
    ///
    /// # Errors
    /// There is no room, the disk does not do its part, there are too many flows, or the server is ending.
    pub(crate) async fn open(
        shard: &Rc<Shard>,
        opening: Opening,
        admitted: Option<AdmittedClient>,
        link: Rc<Link>,
    ) -> Result<Self, Refused> {
        if let Some(admitted) = &admitted {
            admitted.greeted();
            if let Some(vouched) = &opening.vouched {
                admitted.proved();
                admitted.belongs_to(vouched.identity.as_str()).map_err(|too_much| {
                    let reason = "there are as many connections of this user as there may be";
                    Refused { retry_after: too_much.wait, reason }
                })?;
            }
        }
        Self::open_to(shard, opening, (link, admitted), None).await
    }

    /// The same for a connection that we made to this peer, if to one.
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn open_to(
        shard: &Rc<Shard>,
        opening: Opening,
        (link, admitted): (Rc<Link>, Option<AdmittedClient>),
        peer: Option<Hop>,
    ) -> Result<Self, Refused> {
        let shared = &shard.shared;
        let refuse = |reason| {
            shared.metrics.add(Count::FlowsRefused);
            Refused { retry_after: RETRY_AFTER, reason }
        };
        let outwards = peer.map(|_| PeerKind::Server);
        if let Some(reason) = shared.shut_because(outwards.unwrap_or(PeerKind::UserAgent)) {
            return Err(Refused { retry_after: RETRY_LATER, ..refuse(reason) });
        }
        let room = shared.admit().map_err(refuse)?;
        let number = shard.next_number(opening.listener.number);
        let hop = peer.unwrap_or(Hop::Flow(number));
        let (facts, at) = (Arc::new(opening.facts), clock::micros());
        let book = |name: &str| {
            let leads = outwards.unwrap_or_else(|| shared.upstreams.connected(number, &facts));
            let known = shard.add_flow(number, &facts, name, at, (&link, admitted, leads));
            if let Some(vouched) = &opening.vouched {
                shard.vouch(number, vouched);
            }
            CallWriter { shard: Rc::clone(shard), link, number, hop, known }
        };
        let id = number.id(shared.state.incarnation());
        let open = shared.state.open(id, Arc::clone(&facts), at, room, book).await.map_err(refuse)?;
        shard.opened(number);
        Ok(Self { number, hop, open })
    }

    pub(crate) fn close(self, ending: &lifecycle::Ending) {
        self.open.close(ending);
    }
}

impl CloseBook for CallWriter {
    type Room = Reservation;

    fn now_micros(&self) -> u64 {
        clock::micros()
    }

    fn traffic(&self) -> Traffic {
        self.link.traffic(Instant::now())
    }

    fn identity(&self) -> Option<Identity> {
        self.known.borrow().as_ref().map(|known| known.identity.clone())
    }

    fn close(&mut self, end: FlowEnd<'_>, room: Reservation) {
        self.shard.remove_flow(self.number);
        let shared = &self.shard.shared;
        let hurt = shared.calls_lose_flow(self.number, end.ending.cause);
        let end = FlowEnd { calls: &hurt.named, calls_total: hurt.total, ..end };
        let id = self.number.id(shared.state.incarnation());
        let pending_unregisters = unregister::pending_of_flow(shared, id);
        shared.state.close(id, end, room, clock::now());
        unregister::send_all(shared, pending_unregisters);
        match self.hop {
            Hop::Peer { .. } => self.shard.peer_lost(self.hop, Loss::Ended),
            Hop::Flow(_) | Hop::Udp { .. } => {
                if shared.upstreams.disconnected(self.number) == Remembered::InPlaceOfAnother {
                    shared.metrics.add(Count::ServerConnectionsForgotten);
                }
                self.shard.announce_gone(self.hop, Loss::Ended);
            }
        }
    }
}
