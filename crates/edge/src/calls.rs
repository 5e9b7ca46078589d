//! Calls on this node: one table for all shards, whose records go into the ledger and whose BYEs leave by the shards.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use defence::{Often, Paced, Turn, UserCall};
use ledger::{Batch, Reservation};
use lifecycle::{
    CALL_ANSWERED_RESERVE, CALL_ENDED_RESERVE, CALL_HELD_RESERVE, CallAnswered, CallCause, CallEnded,
    CallHeld, CallParty, CallStarted, Cause, Certainty, ClosedAt, Event, Text, Transport,
};
use location::Binding;
use metrics::{Count, Gauge};
use sip_dialog::{
    AffectedCalls, Agent, Call, CallWriter, Calls, End, Farewell, Moment, Party, Refusal, Registered, Rooms,
    Sent, Side,
};
use sip_message::{Message, Method};
use sip_proxy::Answer;
use state::{Changed, clock};
use upstream::{FlowNumber, Hop, Upstreams, same_peer};

use crate::{
    audit::Tally,
    dialling,
    inbox::ShardMessage,
    routing::{rewritten_contact, tables::Tables},
    shared::Shared,
    view::CallView,
};

/// Calls looked at before others get the table.
const AT_ONCE: usize = 128;

/// How many calls that were refused here are written: for each user, for each server behind, and for all of them.
const REFUSED_OF_USER: Often = Often { burst: 20, every: Duration::from_secs(6) };
const REFUSED_OF_SERVER: Often = Often { burst: 300, every: Duration::from_millis(100) };
const REFUSED_OF_ALL: Often = Often { burst: 2000, every: Duration::from_millis(50) };

/// The calls of this incarnation.
#[derive(Debug)]
pub(crate) struct CallTable {
    calls: Mutex<Calls<Hop, Room>>,
    /// Of those that were refused. Behind the lock of `calls`.
    refused: Mutex<Paced>,
    farewell: Farewell,
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
            refused: Mutex::new(Paced::new(REFUSED_OF_ALL, Instant::now())),
            farewell,
            hold: config.hold,
        }
    }

    fn calls(&self) -> MutexGuard<'_, Calls<Hop, Room>> {
        // A panic under this lock is a bug of ours; the table's own invariants are kept by its methods.
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the calls, and gives what they want sent. Held for the length of one change; inside, the location table may
    /// not be locked.
    fn change<'s, T>(
        &'s self,
        tables: Tables<'s>,
        act: impl FnOnce(&mut Calls<Hop, Room>, &mut Desk<'s>, Moment) -> T,
    ) -> (T, Requests) {
        let mut desk = Desk { tables, place: None, refused: None, called: None, requests: Vec::new() };
        let now = Moment { instant: Instant::now(), micros: clock::micros() };
        let mut calls = self.calls();
        let untracked = calls.untracked();
        let done = act(&mut calls, &mut desk, now);
        tables.metrics.add_many(Count::CallsUntracked, calls.untracked() - untracked);
        (done, desk.requests)
    }

    /// A request of interest goes on from one hop to another. If a call begins with it, it has this place, and this callee where the
    /// Request-URI does not say.
    pub(crate) fn forwarded<'s>(
        &'s self,
        tables: Tables<'s>,
        request: &Message<'_>,
        (from, to): (Hop, Hop),
        (place, called): (Option<UserCall>, Option<String>),
    ) -> Requests {
        let change = |calls: &mut Calls<Hop, Room>, desk: &mut Desk<'s>, now| {
            (desk.place, desk.called) = (place, called);
            calls.forwarded(desk, request, from, to, now);
        };
        self.change(tables, change).1
    }

    /// A response of interest goes to the hop that asked.
    pub(crate) fn answered<'s>(
        &'s self,
        tables: Tables<'s>,
        status: u16,
        head: &Message<'_>,
        hops: (Hop, Option<Hop>),
    ) -> Requests {
        self.change(tables, |calls, desk, now| calls.answered(desk, status, head, hops, now)).1
    }

    /// Where a route that names a hop leads a request of a call.
    pub(crate) fn way(
        &self,
        upstreams: &Upstreams,
        request: &Message<'_>,
        named: Hop,
        from: Hop,
    ) -> sip_dialog::RouteOutcome<Hop> {
        // A call that a proxy behind us sends back here is seen from both its ends: between them the proxy speaks for each.
        let speaks_for = |side, from| same_peer(side, from) || upstreams.knows(from);
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
        let hop = replaced.hop.map(|hop| upstreams.now(hop, None));
        Some(sip_dialog::Replaced { hop, ..replaced })
    }
}

/// Whose call was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// This user's, who has proved to be it or is registered over the way that it came.
    User(String),
    /// That of a server behind, at this address.
    Server(String),
}

/// What calls want sent, and by which hops.
pub(crate) type Requests = Vec<(Hop, Vec<u8>)>;

/// What the record of a call has from its beginning.
#[derive(Debug)]
struct Room {
    reservation: Reservation,
    /// Its place among those of its user, which is free again with the call's end.
    _place: Option<UserCall>,
}

/// Where calls are written down while the table is locked.
struct Desk<'s> {
    tables: Tables<'s>,
    /// For the call that begins.
    place: Option<UserCall>,
    /// Whose it is, if it was refused.
    refused: Option<&'s Refused>,
    /// Whom it is for, where its Request-URI does not say.
    called: Option<String>,
    /// They leave when the table is free again.
    requests: Requests,
}

impl Shared {
    /// Does something with the calls; what they want sent leaves by the shards.
    fn with_calls<'s, T>(&'s self, act: impl FnOnce(&mut Calls<Hop, Room>, &mut Desk<'s>, Moment) -> T) -> T {
        let (done, requests) = self.calls.change(self.tables(), act);
        self.originate_all(requests);
        done
    }

    fn originate_all(&self, requests: Requests) {
        for (hop, request) in requests {
            let hop = self.upstreams.now(hop, None);
            let message = ShardMessage::Originate { hop, request: request.into(), answer: None };
            let _ = self.tell(dialling::shard_of(self, hop), message);
        }
    }

    /// A request of interest went on. If a call begins with it, it has this place.
    pub(crate) fn call_request(&self, request: &Message<'_>, from: Hop, to: Hop, place: Option<UserCall>) {
        let called = self.called(request, to);
        let requests = self.calls.forwarded(self.tables(), request, (from, to), (place, called));
        self.originate_all(requests);
    }

    /// Whose user agent an INVITE that begins a call goes to, if that is not the user whom it names: a server behind us names the Contact.
    fn called(&self, request: &Message<'_>, to: Hop) -> Option<String> {
        let Hop::Flow(number) = to else { return None };
        let begins =
            request.method() == Some(Method::Invite) && request.to().is_ok_and(|to| to.tag().is_none());
        let uri = request.request_uri().ok().filter(|_| begins)?;
        if let Some(device) = rewritten_contact::read(&self.flow_tokens, &uri) {
            let location = self.state.location();
            let mut bindings = location.bindings_of_number(device.number, Instant::now());
            let binding = bindings
                .find(|binding| rewritten_contact::device_of(&self.flow_tokens, binding) == device)?;
            return Some(binding.aor().to_owned());
        }
        if uri.host().is_some_and(|host| self.domains.find(&host).is_some()) {
            return None;
        }
        let location = self.state.location();
        let bindings = || location.bindings_of_flow(number.id(self.state.incarnation()));
        let named = bindings().find(|binding| binding.contact() == uri.as_bytes());
        let aor = named.or_else(|| bindings().next())?.aor();
        let sure = named.is_some() || bindings().all(|binding| binding.aor() == aor);
        sure.then(|| aor.to_owned())
    }

    /// A response of interest goes to whoever asked.
    pub(crate) fn call_response(&self, status: u16, head: &Message<'_>, asked: Hop, by: Option<Hop>) {
        let requests = self.calls.answered(self.tables(), status, head, (asked, by));
        self.originate_all(requests);
    }

    /// An INVITE was refused here and has gone to nobody. Of those whose sender is known there is a record, as long as there are not too
    /// many.
    pub(crate) fn call_refused<'s>(
        &'s self,
        answer: &Answer,
        invite: &Message<'_>,
        from: Hop,
        refused: Option<&'s Refused>,
    ) {
        self.metrics.add(Count::CallsRefused);
        let written = match refused {
            None => Refusal::Unwritten,
            Some(_) => self.with_calls(|calls, desk, now| {
                desk.refused = refused;
                let sent = match refused {
                    Some(Refused::Server(_)) => Sent::ByServer,
                    Some(Refused::User(_)) | None => Sent::ByUserAgent,
                };
                calls.refused(desk, (answer.status, &answer.reason), invite, (from, sent), now)
            }),
        };
        if written == Refusal::Unwritten {
            self.metrics.add(Count::CallsRefusedUnwritten);
        }
    }

    /// A flow is about to lose its bindings and to be closed. Its calls are held for the user agents that are registered over it, or
    /// go on over another flow of theirs; at the end of the process they end. Those of a server behind us do not mind: it is no user
    /// agent, and is reached by another connection.
    pub(crate) fn calls_lose_flow(&self, number: FlowNumber, cause: Cause) -> AffectedCalls {
        let (hop, id) = (Hop::Flow(number), number.id(self.state.incarnation()));
        if cause == Cause::Shutdown {
            let farewell = self.calls.farewell;
            return self.with_calls(|calls, desk, now| {
                calls.hop_shut(desk, hop, CallCause::Shutdown, farewell, now)
            });
        }
        // Nobody registers elsewhere meanwhile.
        let location = self.state.location();
        let agents: Vec<Agent> = location.bindings_of_flow(id).map(agent).collect();
        if agents.is_empty() && self.upstreams.anew(hop).is_some() {
            return AffectedCalls::default();
        }
        self.with_calls(|calls, desk, now| {
            let hurt = calls.hop_gone(desk, hop, &agents, now);
            for aor in &hurt.expected {
                for binding in location.bindings(aor, now.instant) {
                    let other = Hop::of(binding);
                    if other != hop {
                        calls.came_back(desk, &agent(binding), other);
                    }
                }
            }
            hurt
        })
    }

    /// A REGISTER that came over a hop changed something, while the location table is locked. Whose binding came has its held calls
    /// there from now on; where it took the place of another, calls follow it.
    pub(crate) fn calls_heed(&self, changed: &Changed<'_>, from: Hop) {
        self.with_calls(|calls, desk, _| match changed {
            Changed::Added(binding) => calls.came_back(desk, &agent(binding), Hop::of(binding)),
            Changed::Replaced(replaced, registration) => {
                let old = agent(replaced);
                let came = || registration.added().map(agent);
                let Some(new) = came().find(|new| new.is_surely(&old)).or_else(|| came().next()) else {
                    return;
                };
                let others: Vec<Agent> = match replaced.flow() {
                    Some(flow) => registration.of_flow(flow).map(agent).collect(),
                    None => Vec::new(),
                };
                calls.moved(&old, &new, &others, Hop::of(replaced), from);
            }
        });
    }

    /// Does what is due. Called once a second.
    pub(crate) async fn keep_calls(&self) {
        while self.with_calls(|calls, desk, now| calls.expire(desk, now, AT_ONCE)) == AT_ONCE {
            tokio::task::yield_now().await;
        }
        let (live, held) = self.with_calls(|calls, _, _| (calls.live(), calls.held()));
        self.metrics.set(Gauge::CallsLive, live as u64);
        self.metrics.set(Gauge::CallsHeld, held as u64);
    }

    /// Ends what is left, at the end of the process.
    pub(crate) fn end_calls(&self) {
        let farewell = self.calls.farewell;
        self.with_calls(|calls, desk, now| calls.end_all(desk, CallCause::Shutdown, farewell, now));
    }

    /// The ids of the calls there are now, and what was counted of calls by then.
    pub(crate) fn roll_of_calls(&self) -> (BTreeSet<Box<str>>, Tally) {
        let (numbers, tally) = self.with_calls(|calls, _, _| {
            let numbers: Vec<u64> = calls.all().map(Call::number).collect();
            let (opened, closed) = (self.metrics.get(Count::CallsStarted), self.metrics.calls_ended());
            (numbers, Tally { opened, closed, held: calls.live() as u64 })
        });
        let name = |number| self.state.node().call(self.state.incarnation(), number).into();
        (numbers.into_iter().map(name).collect(), tally)
    }

    /// The calls there are now, the oldest first, at most so many.
    pub(crate) fn look_at_calls(&self, most: usize) -> Vec<CallView> {
        let mut views = self.with_calls(|calls, desk, _| {
            let mut all: Vec<_> = calls.all().collect();
            all.sort_unstable_by_key(|call| call.number());
            let views = all.into_iter().take(most).map(|call| CallView {
                call: desk.name(call),
                call_id: call.call_id().to_string(),
                started_at: lifecycle::event_time(call.started_at()),
                answered_at: call.answered_at().map(lifecycle::event_time),
                waiting: call.is_held(),
                caller: desk.party(call.caller()),
                callee: desk.party(call.callee()),
            });
            views.collect::<Vec<_>>()
        });
        views.shrink_to_fit();
        views
    }
}

/// The user agent of a binding.
fn agent(binding: &Binding<Reservation>) -> Agent {
    Agent::new(&Registered {
        aor: binding.aor(),
        contact: binding.contact(),
        instance: binding.instance(),
        identity: binding.identity(),
        call_id: binding.call_id(),
        source: binding.remote().ip(),
    })
}

/// A change of hold.
enum Toggle {
    Held,
    Resumed,
}

impl Desk<'_> {
    fn name(&self, call: &Call<Hop>) -> String {
        self.tables.registry.node().call(self.tables.registry.incarnation(), call.number())
    }

    fn party(&self, party: &Party<Hop>) -> CallParty {
        let (flow, transport, remote) = match party.hop {
            None => (None, None, None),
            Some(Hop::Flow(number)) => {
                let bound = self.tables.listeners.get(usize::from(number.listener()));
                let name = self.tables.registry.node().flow(number.id(self.tables.registry.incarnation()));
                (Some(Text::new(name)), bound.map(|bound| bound.transport), None)
            }
            Some(Hop::Udp { remote, .. }) => (None, Some(Transport::Udp), Some(remote)),
            Some(Hop::Peer { listener, remote, .. }) => {
                let bound = self.tables.listeners.get(usize::from(listener));
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

    fn toggled(&self, call: &Call<Hop>, by: Side, at: Moment, toggle: Toggle) {
        let held = CallHeld { call: &self.name(call), call_id: call.call_id(), by: by.by(), at: at.micros };
        let event = match toggle {
            Toggle::Held => Event::CallHeld(held),
            Toggle::Resumed => Event::CallResumed(held),
        };
        match self.tables.registry.ledger().reserve(CALL_HELD_RESERVE) {
            Ok(room) => self.tables.registry.write(room, at.micros, &event),
            Err(_) => self.tables.metrics.add(Count::CallHoldsUnwritten),
        }
    }
}

impl CallWriter for Desk<'_> {
    type Hop = Hop;
    type Room = Room;

    fn called(&self) -> Option<&str> {
        self.called.as_deref()
    }

    fn started(&mut self, call: &Call<Hop>) -> Option<Rooms<Room>> {
        // Asked while the table is locked: the end of the server ends the calls that are there once it has had it.
        if self.tables.registry.is_closing() {
            return None;
        }
        if let Some(refused) = self.refused {
            let (name, often) = match refused {
                Refused::User(aor) => (aor, REFUSED_OF_USER),
                Refused::Server(address) => (address, REFUSED_OF_SERVER),
            };
            let mut paced = self.tables.calls.refused.lock().unwrap_or_else(PoisonError::into_inner);
            if paced.turn(name, often, Instant::now()) == Turn::TooOften {
                return None;
            }
        }
        let ledger = &self.tables.registry.ledger();
        let (ended, answered) =
            (ledger.reserve(CALL_ENDED_RESERVE).ok()?, ledger.reserve(CALL_ANSWERED_RESERVE).ok()?);
        let event = Event::CallStarted(CallStarted {
            call: &self.name(call),
            call_id: call.call_id(),
            started_at: call.started_at(),
            caller: &self.party(call.caller()),
            callee: &self.party(call.callee()),
        });
        let mut batch = Batch::new();
        batch.push(event.kind().number(), call.started_at(), &event.to_json());
        ledger.append(batch).ok()?;
        self.tables.metrics.add(Count::CallsStarted);
        let room = |reservation, place| Room { reservation, _place: place };
        Some(Rooms { answered: room(answered, None), ended: room(ended, self.place.take()) })
    }

    fn answered(&mut self, call: &Call<Hop>, room: Room) {
        let at = call.answered_at().unwrap_or(call.started_at());
        let event = Event::CallAnswered(CallAnswered {
            call: &self.name(call),
            call_id: call.call_id(),
            answered_at: at,
            ring_ms: at.saturating_sub(call.started_at()) / 1000,
            callee: &self.party(call.callee()),
        });
        self.tables.registry.write(room.reservation, at, &event);
        self.tables.metrics.add(Count::CallsAnswered);
    }

    fn held(&mut self, call: &Call<Hop>, by: Side, at: Moment) {
        self.toggled(call, by, at, Toggle::Held);
    }

    fn resumed(&mut self, call: &Call<Hop>, by: Side, at: Moment) {
        self.toggled(call, by, at, Toggle::Resumed);
    }

    fn ended(&mut self, call: &Call<Hop>, end: &End, room: Room) {
        let event = Event::CallEnded(CallEnded {
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
        self.tables.registry.write(room.reservation, end.at, &event);
        self.tables.metrics.add(match end.cause {
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
        self.tables.metrics.add(Count::ByesMade);
        self.requests.push((hop, request));
    }
}
