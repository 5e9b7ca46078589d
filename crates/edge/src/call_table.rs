//! The table of calls: one for all shards, whose records go into the ledger.

use std::{
    borrow::Cow,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use defence::{BurstRate, RecentEvents, Turn, UserCall};
use ledger::{Batch, Reservation};
use lifecycle::{
    CALL_ANSWERED_RESERVE, CALL_ENDED_RESERVE, CALL_HELD_RESERVE, CallAnswered, CallCause, CallEnd, CallHeld,
    CallParty, CallStarted, Certainty, ClosedAt, Event, Now, Text, Transport,
};
use metrics::{Count, Metrics};
use sip_dialog::{Call, CallWriter, Calls, End, Farewell, Party, Rooms, Side};
use sip_message::Message;
use state::{Registry, clock};
use upstream::{Hop, Upstreams, same_peer};

use crate::BoundListener;

/// The parts of the node that records of calls need.
#[derive(Clone, Copy)]
pub(crate) struct CallRecords<'s> {
    pub(crate) registry: &'s Registry,
    pub(crate) listeners: &'s [BoundListener],
    pub(crate) metrics: &'s Metrics,
}

/// How many calls that were refused here are written: for each user, for each server behind, and for all of
/// them.
const REFUSED_OF_USER: BurstRate = BurstRate { burst: 20, every: Duration::from_secs(6) };
const REFUSED_OF_SERVER: BurstRate = BurstRate { burst: 300, every: Duration::from_millis(100) };
const REFUSED_OF_ALL: BurstRate = BurstRate { burst: 2000, every: Duration::from_millis(50) };

/// The calls of this incarnation.
#[derive(Debug)]
pub(crate) struct CallTable {
    calls: Mutex<Calls<Hop, Room>>,
    /// Of those that were refused. Behind the lock of `calls`.
    refused: Mutex<RecentEvents>,
    pub(crate) farewell: Farewell,
    /// How long a side whose flow ended is waited for.
    pub(crate) hold: std::time::Duration,
}

impl CallTable {
    pub(crate) fn new(config: &config::Calls, timer_c: std::time::Duration) -> Self {
        let settings = sip_dialog::Settings {
            hold: config.hold,
            // Timer C ends the transaction before.
            ringing: timer_c + std::time::Duration::from_secs(60),
            silence: config.silence,
            most: usize::try_from(config.max).unwrap_or(usize::MAX),
        };
        let farewell = match config.at_shutdown {
            config::AtShutdown::Leave => Farewell::Silence,
            config::AtShutdown::HangUp => Farewell::Bye,
        };
        Self {
            calls: Mutex::new(Calls::new(settings)),
            refused: Mutex::new(RecentEvents::new(REFUSED_OF_ALL, Instant::now())),
            farewell,
            hold: config.hold,
        }
    }

    fn calls(&self) -> MutexGuard<'_, Calls<Hop, Room>> {
        // A panic under this lock is a bug of ours; the table's own invariants are kept by its methods.
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the calls, and gives what they want sent. Held for the length of one change;
    /// inside, the location table may not be locked.
    pub(crate) fn change<'s, T>(
        &'s self,
        records: CallRecords<'s>,
        act: impl FnOnce(&mut Calls<Hop, Room>, &mut CallRecorder<'s>, Now) -> T,
    ) -> (T, Requests) {
        let mut recorder = CallRecorder {
            node: records,
            refusals: &self.refused,
            place: None,
            refused: None,
            called: None,
            requests: Vec::new(),
        };
        let now = clock::now();
        let mut calls = self.calls();
        let untracked = calls.untracked();
        let done = act(&mut calls, &mut recorder, now);
        records.metrics.add_many(Count::CallsUntracked, calls.untracked() - untracked);
        (done, recorder.requests)
    }

    /// A request of interest goes on from one hop to another. If a call begins with it, it has this place,
    /// and this callee where the Request-URI does not say.
    pub(crate) fn forwarded<'s>(
        &'s self,
        records: CallRecords<'s>,
        request: &Message<'_>,
        (from, to): (Hop, Hop),
        (place, called): (Option<UserCall>, Option<String>),
    ) -> Requests {
        let change = |calls: &mut Calls<Hop, Room>, recorder: &mut CallRecorder<'s>, now| {
            (recorder.place, recorder.called) = (place, called);
            calls.forwarded(recorder, request, from, to, now);
        };
        self.change(records, change).1
    }

    /// A response of interest goes to the hop that asked.
    pub(crate) fn answered<'s>(
        &'s self,
        records: CallRecords<'s>,
        status: u16,
        head: &Message<'_>,
        hops: (Hop, Option<Hop>),
    ) -> Requests {
        self.change(records, |calls, recorder, now| calls.answered(recorder, status, head, hops, now)).1
    }

    /// Where a route that names a hop leads a request of a call.
    pub(crate) fn way(
        &self,
        upstreams: &Upstreams,
        request: &Message<'_>,
        named: Hop,
        from: Hop,
    ) -> sip_dialog::RouteOutcome<Hop> {
        // A call that a proxy behind us sends back here is seen from both its ends: between them the proxy
        // speaks for each.
        let speaks_for = |side, from| same_peer(side, from) || upstreams.is_upstream(from);
        self.calls().way(request, named, from, speaks_for)
    }

    /// Whether a request within a dialog came from who was at another hop when its routes were made.
    pub(crate) fn has_moved(&self, request: &Message<'_>, named: Hop, from: Hop) -> bool {
        self.calls().has_moved(request, named, from, same_peer)
    }

    /// The user agent whose call an INVITE is to take the place of (RFC 3891).
    pub(crate) fn replaced(
        &self,
        upstreams: &Upstreams,
        invite: &Message<'_>,
    ) -> Option<sip_dialog::Replaced<Hop>> {
        let replaced = self.calls().replaced(invite)?;
        let hop = replaced.hop.map(|hop| upstreams.current_hop(hop, None));
        Some(sip_dialog::Replaced { hop, ..replaced })
    }
}

/// The caller of a refused call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// This user's, who has proved to be it or is registered over the way that it came.
    User(String),
    /// That of a server behind, at this address.
    Server(String),
}

/// Requests that calls want to send, and their hops.
pub(crate) type Requests = Vec<(Hop, Vec<u8>)>;

/// The facts that the record of a call has from its beginning.
#[derive(Debug)]
pub(crate) struct Room {
    reservation: Reservation,
    /// Its place among those of its user, which is free again with the call's end.
    _place: Option<UserCall>,
}

/// Where calls are written down while the table is locked.
pub(crate) struct CallRecorder<'s> {
    node: CallRecords<'s>,
    /// How often refused calls are written.
    refusals: &'s Mutex<RecentEvents>,
    /// For the call that begins.
    place: Option<UserCall>,
    /// Whose it is, if it was refused.
    pub(crate) refused: Option<&'s Refused>,
    /// The callee, if the Request-URI does not name it.
    called: Option<String>,
    /// They leave when the table is free again.
    requests: Requests,
}

/// A change of hold.
enum Toggle {
    Held,
    Resumed,
}

impl CallRecorder<'_> {
    pub(crate) fn name(&self, call: &Call<Hop>) -> String {
        self.node.registry.node().call(self.node.registry.incarnation(), call.number())
    }

    pub(crate) fn party(&self, party: &Party<Hop>) -> CallParty {
        let (flow, transport, remote) = match party.hop {
            None => (None, None, None),
            Some(Hop::Flow(number)) => {
                let bound = self.node.listeners.get(usize::from(number.listener()));
                let name = self.node.registry.node().flow(number.id(self.node.registry.incarnation()));
                (Some(Text::new(name)), bound.map(|bound| bound.transport), None)
            }
            Some(Hop::Udp { remote, .. }) => (None, Some(Transport::Udp), Some(remote)),
            Some(Hop::Peer { listener, remote, .. }) => {
                let bound = self.node.listeners.get(usize::from(listener));
                (None, bound.map(|bound| bound.transport), Some(remote))
            }
        };
        CallParty {
            aor: party.aor.clone(),
            display: party.display.clone(),
            contact: party.contact.clone(),
            user_agent: party.user_agent.clone(),
            flow,
            transport,
            remote,
        }
    }

    fn toggled(&self, call: &Call<Hop>, by: Side, at: Now, toggle: Toggle) {
        let held = CallHeld {
            call: &self.name(call),
            call_id: Cow::Borrowed(call.call_id()),
            by: by.by().into(),
            at: at.unix_micros,
        };
        let event = match toggle {
            Toggle::Held => Event::CallHeld(held),
            Toggle::Resumed => Event::CallResumed(held),
        };
        match self.node.registry.ledger().reserve(CALL_HELD_RESERVE) {
            Ok(room) => self.node.registry.write(room, at.unix_micros, &event),
            Err(_) => self.node.metrics.add(Count::CallHoldsUnwritten),
        }
    }
}

impl CallWriter for CallRecorder<'_> {
    type Hop = Hop;
    type Room = Room;

    fn called(&self) -> Option<&str> {
        self.called.as_deref()
    }

    fn started(&mut self, call: &Call<Hop>) -> Option<Rooms<Room>> {
        // Asked while the table is locked: the end of the server ends the calls that are there once it has
        // had it.
        if self.node.registry.is_closing() {
            return None;
        }
        if let Some(refused) = self.refused {
            let (name, often) = match refused {
                Refused::User(aor) => (aor, REFUSED_OF_USER),
                Refused::Server(address) => (address, REFUSED_OF_SERVER),
            };
            let mut paced = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
            if paced.turn(name, often, Instant::now()) == Turn::TooOften {
                return None;
            }
        }
        let ledger = &self.node.registry.ledger();
        let (ended, answered) =
            (ledger.reserve(CALL_ENDED_RESERVE).ok()?, ledger.reserve(CALL_ANSWERED_RESERVE).ok()?);
        let event = Event::CallStarted(CallStarted {
            call: &self.name(call),
            call_id: Cow::Borrowed(call.call_id()),
            started_at: call.started_at(),
            caller: Cow::Owned(self.party(call.caller())),
            callee: Cow::Owned(self.party(call.callee())),
        });
        let mut batch = Batch::new();
        batch.push(event.kind().number(), call.started_at(), &event.to_json());
        ledger.append(batch).ok()?;
        self.node.metrics.add(Count::CallsStarted);
        let room = |reservation, place| Room { reservation, _place: place };
        Some(Rooms { answered: room(answered, None), ended: room(ended, self.place.take()) })
    }

    fn answered(&mut self, call: &Call<Hop>, room: Room) {
        let at = call.answered_at().unwrap_or(call.started_at());
        let event = Event::CallAnswered(CallAnswered {
            call: &self.name(call),
            call_id: Cow::Borrowed(call.call_id()),
            answered_at: at,
            ring_ms: at.saturating_sub(call.started_at()) / 1000,
            callee: Cow::Owned(self.party(call.callee())),
        });
        self.node.registry.write(room.reservation, at, &event);
        self.node.metrics.add(Count::CallsAnswered);
    }

    fn held(&mut self, call: &Call<Hop>, by: Side, at: Now) {
        self.toggled(call, by, at, Toggle::Held);
    }

    fn resumed(&mut self, call: &Call<Hop>, by: Side, at: Now) {
        self.toggled(call, by, at, Toggle::Resumed);
    }

    fn ended(&mut self, call: &Call<Hop>, end: &End, room: Room) {
        let event = Event::CallEnded(CallEnd {
            call: &self.name(call),
            call_id: call.call_id(),
            by: end.by,
            cause: end.cause,
            status: end.status,
            reason: end.reason.as_ref(),
            certainty: Certainty::Observed,
            started_at: call.started_at(),
            ringing_at: call.ringing_at(),
            answered_at: call.answered_at(),
            lost_at: end.lost_at,
            ended_at: ClosedAt::Seen(end.at),
            caller: &self.party(call.caller()),
            callee: &self.party(call.callee()),
            holds: Some(call.holds()),
            moves: Some(call.moves()),
        });
        self.node.registry.write(room.reservation, end.at, &event);
        self.node.metrics.add(match end.cause {
            CallCause::Hangup => Count::CallsHungUp,
            CallCause::Cancelled => Count::CallsCancelled,
            CallCause::Rejected => Count::CallsRejected,
            CallCause::NoAnswer => Count::CallsUnanswered,
            CallCause::Failed => Count::CallsFailed,
            CallCause::FlowLost => Count::CallsLost,
            CallCause::DialogLost => Count::CallsForgotten,
            CallCause::Expired => Count::CallsExpired,
            CallCause::Shutdown | CallCause::NodeCrash => Count::CallsShutDown,
        });
    }

    fn send(&mut self, hop: Hop, request: Vec<u8>) {
        self.node.metrics.add(Count::ByesMade);
        self.requests.push((hop, request));
    }
}
