//! Calls on this node: one table for all shards, whose records go into the ledger and whose BYEs leave by the
//! shards.

use std::{collections::BTreeSet, time::Instant};

use defence::UserCall;
use ledger::Reservation;
use lifecycle::{CallCause, Cause, Now};
use location::Binding;
use metrics::{Count, Gauge};
use sip_dialog::{AffectedCalls, Agent, Call, Calls, Refusal, Registered, Sent};
use sip_message::{Message, Method};
use sip_proxy::Answer;
use state::Changed;
use upstream::{FlowNumber, Hop};

use crate::{
    audit::Tally,
    call_table::{CallRecorder, Refused, Requests, Room},
    inbox::ShardMessage,
    routing::rewritten_contact,
    shared::Shared,
    view::CallView,
};

/// Calls looked at before others get the table.
const AT_ONCE: usize = 128;

impl Shared {
    /// Does something with the calls; what they want sent leaves by the shards.
    fn with_calls<'s, T>(
        &'s self,
        act: impl FnOnce(&mut Calls<Hop, Room>, &mut CallRecorder<'s>, Now) -> T,
    ) -> T {
        let (done, requests) = self.calls.change(self.tables().call_records(), act);
        self.originate_all(requests);
        done
    }

    fn originate_all(&self, requests: Requests) {
        for (hop, request) in requests {
            let hop = self.upstreams.current_hop(hop, None);
            let message = ShardMessage::Originate { hop, request: request.into(), answer: None };
            let _ = self.tell(self.inboxes.shard_of(hop), message);
        }
    }

    /// A request of interest went on. If a call begins with it, it has this place.
    pub(crate) fn call_request(&self, request: &Message<'_>, from: Hop, to: Hop, place: Option<UserCall>) {
        let called = self.called(request, to);
        let requests =
            self.calls.forwarded(self.tables().call_records(), request, (from, to), (place, called));
        self.originate_all(requests);
    }

    /// Whose user agent an INVITE that begins a call goes to, if that is not the user whom it names: a server
    /// behind us names the Contact.
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

    /// A response that matters for a call goes upstream.
    pub(crate) fn call_response(&self, status: u16, head: &Message<'_>, asked: Hop, by: Option<Hop>) {
        let requests = self.calls.answered(self.tables().call_records(), status, head, (asked, by));
        self.originate_all(requests);
    }

    /// An INVITE was refused here and has gone to nobody. Of those whose sender is known there is a record,
    /// as long as there are not too many.
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
            Some(_) => self.with_calls(|calls, recorder, now| {
                recorder.refused = refused;
                let sent = match refused {
                    Some(Refused::Server(_)) => Sent::ByServer,
                    Some(Refused::User(_)) | None => Sent::ByUserAgent,
                };
                calls.refused(recorder, (answer.status, &answer.reason), invite, (from, sent), now)
            }),
        };
        if written == Refusal::Unwritten {
            self.metrics.add(Count::CallsRefusedUnwritten);
        }
    }

    /// A flow is about to lose its bindings and to be closed. Its calls are held for the user agents that are
    /// registered over it, or go on over another flow of theirs; at the end of the process they end. Those of
    /// a server behind us do not mind: it is no user agent, and is reached by another connection.
    pub(crate) fn calls_lose_flow(&self, number: FlowNumber, cause: Cause) -> AffectedCalls {
        let (hop, id) = (Hop::Flow(number), number.id(self.state.incarnation()));
        if cause == Cause::Shutdown {
            let farewell = self.calls.farewell;
            return self.with_calls(|calls, recorder, now| {
                calls.hop_shut(recorder, hop, CallCause::Shutdown, farewell, now)
            });
        }
        // Nobody registers elsewhere meanwhile.
        let location = self.state.location();
        let agents: Vec<Agent> = location.bindings_of_flow(id).map(agent).collect();
        if agents.is_empty() && self.upstreams.reconnect_hop(hop).is_some() {
            return AffectedCalls::default();
        }
        self.with_calls(|calls, recorder, now| {
            let hurt = calls.hop_gone(recorder, hop, &agents, now);
            for aor in &hurt.expected {
                for binding in location.bindings(aor, now.instant) {
                    let other = Hop::of(binding);
                    if other != hop {
                        calls.came_back(recorder, &agent(binding), other);
                    }
                }
            }
            hurt
        })
    }

    /// A REGISTER that came over a hop changed something, while the location table is locked. Whose binding
    /// came has its held calls there from now on; where it took the place of another, calls follow it.
    pub(crate) fn calls_heed(&self, changed: &Changed<'_>, from: Hop) {
        self.with_calls(|calls, recorder, _| match changed {
            Changed::Added(binding) => calls.came_back(recorder, &agent(binding), Hop::of(binding)),
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
        while self.with_calls(|calls, recorder, now| calls.expire(recorder, now, AT_ONCE)) == AT_ONCE {
            tokio::task::yield_now().await;
        }
        let (live, held) = self.with_calls(|calls, _, _| (calls.live(), calls.held()));
        self.metrics.set(Gauge::CallsLive, live as u64);
        self.metrics.set(Gauge::CallsHeld, held as u64);
    }

    /// Ends what is left, at the end of the process.
    pub(crate) fn end_calls(&self) {
        let farewell = self.calls.farewell;
        self.with_calls(|calls, recorder, now| calls.end_all(recorder, CallCause::Shutdown, farewell, now));
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
        let mut views = self.with_calls(|calls, recorder, _| {
            let mut all: Vec<_> = calls.all().collect();
            all.sort_unstable_by_key(|call| call.number());
            let views = all.into_iter().take(most).map(|call| CallView {
                call: recorder.name(call),
                call_id: call.call_id().to_string(),
                started_at: lifecycle::event_time(call.started_at()),
                answered_at: call.answered_at().map(lifecycle::event_time),
                waiting: call.is_held(),
                caller: recorder.party(call.caller()),
                callee: recorder.party(call.callee()),
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
