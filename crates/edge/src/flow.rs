//! A flow's opening and its end: reservation, `flow.opened`, and the one place where `flow.closed` is written.

use std::{
    cell::RefCell,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use ledger::{Batch, Reservation};
use lifecycle::{
    CLOSE_ROOM, CloseBook, Event, EventKind, FlowClosed, FlowId, FlowOpened, NAMED_BINDINGS, OpenFlow,
    RemovalCause, Text, Traffic,
};
use transport::{Link, Opening, Refused};

use crate::{
    clock,
    hop::{FlowNumber, Hop},
    metrics::Count,
    register::push_removed,
    shard::Shard,
    shared::Shared,
};

/// When a client that found no room may try again.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// An open flow of a shard.
#[derive(Debug)]
pub(crate) struct Flow {
    pub(crate) number: FlowNumber,
    open: OpenFlow<Book>,
}

/// Where a flow's end is written.
#[derive(Debug)]
pub(crate) struct Book {
    shard: Rc<Shard>,
    link: Rc<Link>,
    number: FlowNumber,
    identity: Rc<RefCell<Option<Text<128>>>>,
}

impl Flow {
    /// Opens a flow: room for its close first, then `flow.opened`, then the wait until that is durable.
    ///
    /// # Errors
    /// There is no room, the disk does not do its part, there are too many flows, or the server is ending.
    pub(crate) async fn open(shard: &Rc<Shard>, opening: Opening, link: Rc<Link>) -> Result<Self, Refused> {
        let shared = &shard.shared;
        let refuse = |reason| {
            shared.metrics.add(Count::FlowsRefused);
            Refused { retry_after: RETRY_AFTER, reason }
        };
        if shared.live() >= shared.max_flows {
            return Err(refuse("there are as many connections as there may be"));
        }
        let room = shared.ledger.reserve(CLOSE_ROOM).map_err(|_| refuse("there is no room in the ledger"))?;
        let number = shard.next_number(opening.listener.number);
        let id = number.id(shared.incarnation);
        let name: Box<str> = shared.node.flow(id).into();
        let (facts, opened_at) = (Arc::new(opening.facts), clock::micros());
        let record = Event::FlowOpened(FlowOpened { flow: &name, opened_at, facts: &facts }).to_json();
        let mut batch = Batch::new();
        batch.push(EventKind::FlowOpened.number(), opened_at, &record);
        let appended = record_opening(shared, id, batch).map_err(refuse)?;
        let identity = shard.add_flow(number, &facts, &name, opened_at, &link);
        let book = Book { shard: Rc::clone(shard), link, number, identity };
        let flow = Self { number, open: OpenFlow::new(id, name, opened_at, facts, book, room) };
        match shared.ledger.durable(appended.last_seq).await {
            Ok(()) => Ok(flow),
            Err(_) => {
                flow.open.close(
                    &lifecycle::Ending::of(lifecycle::Cause::Shutdown)
                        .reason("the ledger closed before it opened"),
                );
                Err(refuse("the ledger takes no new connections"))
            }
        }
    }

    pub(crate) fn close(self, ending: &lifecycle::Ending) {
        self.open.close(ending);
    }
}

/// Writes `flow.opened`: from here on there is a flow, and whatever happens it gets its close.
fn record_opening(shared: &Shared, id: FlowId, batch: Batch) -> Result<ledger::Appended, &'static str> {
    // Asked while the table is locked: the end of the server counts the flows that are open once it has had it.
    let mut location = shared.location();
    if shared.is_closing() {
        return Err("the server is shutting down");
    }
    let appended = shared.ledger.append(batch).map_err(|_| "the ledger takes no new connections")?;
    shared.metrics.add(Count::FlowsOpened);
    location.flow_opened(id);
    Ok(appended)
}

impl CloseBook for Book {
    type Room = Reservation;

    fn now_micros(&self) -> u64 {
        clock::micros()
    }

    fn traffic(&self) -> Traffic {
        self.link.traffic(Instant::now())
    }

    fn identity(&self) -> Option<Text<128>> {
        self.identity.borrow().clone()
    }

    fn close(&mut self, closed: FlowClosed<'_>, room: Reservation) {
        let shared = &*self.shard.shared;
        let at = clock::micros();
        self.shard.remove_flow(self.number);
        let taken = shared.location().flow_closed(self.number.id(shared.incarnation));
        let bindings: Vec<Text<160>> =
            taken.iter().take(NAMED_BINDINGS).map(|b| Text::new(b.aor())).collect();
        let bindings_total = taken.len();
        let mut batch = Batch::new();
        for binding in taken {
            push_removed(shared, &mut batch, *binding, RemovalCause::FlowClosed, at);
        }
        let record =
            Event::FlowClosed(FlowClosed { bindings: &bindings, bindings_total, ..closed }).to_json();
        shared.push(&mut batch, room, EventKind::FlowClosed, at, &record);
        shared.append(batch);
        shared.metrics.add(Count::FlowsClosed);
        self.shard.announce_gone(Hop::Flow(self.number));
    }
}
