//! Server transactions: requests that came in, and what is answered to them.

use crate::invite_server::InviteServer;
use crate::key::{RequestKey, ServerKey};
use crate::machine::{AckMeaning, Beat, OnRepeat, Refusal, Running, ServerEnd};
use crate::non_invite_server::{NonInviteServer, TryingAllowed};
use crate::pace::{Pace, millis};
use crate::slots::SlotId;
use crate::status::Status;
use crate::table::{Event, Settings, Transactions};
use crate::timers::Reliability;
use std::time::Instant;

/// One server transaction. Kept too long it finds nothing, never another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(pub(crate) SlotId);

/// Which machine a server transaction is, and where in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServerState {
    /// RFC 6026 figure 7.
    Invite(InviteServer),
    /// RFC 3261 figure 8.
    NonInvite(NonInviteServer),
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Received<M> {
    /// Not seen before: a transaction was made for it.
    New(ServerId),
    /// A CANCEL not seen before: a transaction was made for it, and here is the one it is to cancel.
    ///
    /// If that is there, the CANCEL is answered 200, whatever its method (RFC 3261 §9.2, §16.10). It changes
    /// nothing for a request other than INVITE, nor for an INVITE that has its final response, see
    /// [`Transactions::server_state`]. Without it a user agent answers 481 and a proxy may forward.
    NewCancel {
        /// The CANCEL's own.
        id: ServerId,
        /// That of the request with its branch.
        cancels: Option<ServerId>,
    },
    /// Seen before. Send the last response again, if there is one here; otherwise nothing.
    Repeat {
        /// Whose.
        id: ServerId,
        /// The last response.
        resend: Option<M>,
    },
    /// An ACK for a 3xx to 6xx (or for nothing): it goes no further.
    AckAbsorbed(ServerId),
    /// An ACK that matches an INVITE answered with 2xx, as RFC 2543 elements send it: the owner passes it on.
    AckForSuccess(ServerId),
    /// An ACK that matches nothing, as those for 2xx do: the owner passes it on.
    AckUnmatched,
    /// No room for another transaction: answer 503 statelessly.
    Full,
}

/// What a table keeps for a server transaction.
#[derive(Debug)]
pub(crate) struct Server<S, M> {
    pub(crate) key: ServerKey,
    pub(crate) state: ServerState,
    pub(crate) reliability: Reliability,
    pub(crate) ended: bool,
    pub(crate) pace: Pace,
    /// The last response, while repeats of the request want it.
    pub(crate) message: Option<M>,
    pub(crate) data: S,
}

impl ServerState {
    fn running(self, settings: &Settings, reliability: Reliability) -> Running {
        match self {
            ServerState::Invite(state) => state.running(&settings.timers, reliability, settings.trying),
            ServerState::NonInvite(state) => state.running(&settings.timers, reliability, settings.trying),
        }
    }

    fn on_repeat(self) -> OnRepeat {
        match self {
            ServerState::Invite(state) => state.on_repeat(),
            ServerState::NonInvite(state) => state.on_repeat(),
        }
    }

    fn ended(self) -> ServerEnd {
        match self {
            ServerState::Invite(state) => state.ended(),
            ServerState::NonInvite(state) => state.ended(),
        }
    }

    /// Whether a copy of the last response may still be asked for.
    ///
    /// Repeats can come over a reliable transport too, from a stateless proxy that heard them over UDP. For
    /// INVITE that is answered; a non-INVITE transaction is gone by then.
    fn keeps_response(self) -> bool {
        match self {
            ServerState::Invite(state) => state.on_repeat() == OnRepeat::Resend,
            ServerState::NonInvite(state) => state.on_repeat() == OnRepeat::Resend,
        }
    }
}

impl<S, C, M: Clone> Transactions<S, C, M> {
    /// A request came over a transport of this `reliability`. `data` is called only for a new transaction.
    pub fn receive_request(
        &mut self,
        key: RequestKey,
        reliability: Reliability,
        now: Instant,
        data: impl FnOnce() -> S,
    ) -> Received<M> {
        match key {
            RequestKey::Invite(own) => {
                self.find_or_start(own, ServerState::Invite(InviteServer::Proceeding), reliability, now, data)
            }
            RequestKey::Other(own) => self.find_or_start(
                own,
                ServerState::NonInvite(NonInviteServer::Trying),
                reliability,
                now,
                data,
            ),
            RequestKey::Cancel { own, invite } => {
                let state = ServerState::NonInvite(NonInviteServer::Trying);
                match self.find_or_start(own, state, reliability, now, data) {
                    Received::New(id) => {
                        let invite = self.by_server_key.get(&invite);
                        let cancels = invite.or_else(|| self.by_server_key.of_another_method(&own));
                        Received::NewCancel { id, cancels }
                    }
                    other => other,
                }
            }
            RequestKey::Ack { invite, before_tag } => self.receive_ack(invite, before_tag, now),
        }
    }

    /// Whether a request belongs to a transaction that is there, or is an ACK or CANCEL for one.
    pub fn has_request(&self, key: &RequestKey) -> bool {
        let has = |key: &ServerKey| self.by_server_key.get(key).is_some();
        match key {
            RequestKey::Invite(own) | RequestKey::Other(own) => has(own),
            RequestKey::Cancel { own, invite } => has(own) || has(invite),
            RequestKey::Ack { invite, before_tag } => has(invite) || before_tag.as_ref().is_some_and(has),
        }
    }

    fn find_or_start(
        &mut self,
        key: ServerKey,
        state: ServerState,
        reliability: Reliability,
        now: Instant,
        data: impl FnOnce() -> S,
    ) -> Received<M> {
        if let Some(id) = self.by_server_key.get(&key) {
            let resend = self.servers.get(id.0).and_then(|server| match server.state.on_repeat() {
                OnRepeat::Resend => server.message.clone(),
                OnRepeat::Absorb => None,
            });
            return Received::Repeat { id, resend };
        }
        if self.servers.is_full() {
            return Received::Full;
        }
        let tick = self.tick(now);
        let pace = Pace::start(state.running(&self.settings, reliability), tick);
        let server = Server { key, state, reliability, ended: false, pace, message: None, data: data() };
        match self.servers.insert(server) {
            Ok(slot) => {
                let id = ServerId(slot);
                self.by_server_key.insert(key, id);
                self.schedule_server(id, pace, tick);
                Received::New(id)
            }
            Err(_) => Received::Full,
        }
    }

    fn receive_ack(&mut self, invite: ServerKey, before_tag: Option<ServerKey>, now: Instant) -> Received<M> {
        let found = self.by_server_key.get(&invite).or_else(|| self.by_server_key.get(&before_tag?));
        let Some(id) = found else { return Received::AckUnmatched };
        let Some(ServerState::Invite(state)) = self.server_state(id) else { return Received::AckUnmatched };
        let (next, meaning) = state.on_ack();
        if next != state {
            self.enter_server(id, ServerState::Invite(next), now);
        }
        match meaning {
            AckMeaning::Absorbed => Received::AckAbsorbed(id),
            AckMeaning::ForSuccess => Received::AckForSuccess(id),
        }
    }

    /// Asks whether a response may be sent, and counts it as sent: after `Ok` the owner sends it.
    ///
    /// `keep` makes the copy for repeats and is called only if one may be needed. 2xx may be sent to an
    /// INVITE again and again (RFC 6026 §7.1), everything else at most once.
    pub fn respond(
        &mut self,
        id: ServerId,
        status: Status,
        now: Instant,
        keep: impl FnOnce() -> M,
    ) -> Result<(), Refusal> {
        let tick = self.tick(now);
        let server = self.servers.get_mut(id.0).filter(|server| !server.ended).ok_or(Refusal::Gone)?;
        let next = match server.state {
            ServerState::Invite(state) => ServerState::Invite(state.on_respond(status)?),
            ServerState::NonInvite(state) => {
                let timers = &self.settings.timers;
                let allowed_at = server
                    .pace
                    .end_at
                    .saturating_sub(millis(timers.sixty_four_t1()))
                    .saturating_add(millis(timers.non_invite_trying_after()));
                let trying = match server.reliability {
                    Reliability::Unreliable if tick < allowed_at => TryingAllowed::NotYet,
                    _ => TryingAllowed::Yes,
                };
                ServerState::NonInvite(state.on_respond(status, trying)?)
            }
        };
        let provisional = matches!(
            next,
            ServerState::Invite(InviteServer::Proceeding)
                | ServerState::NonInvite(NonInviteServer::Proceeding)
        );
        if provisional {
            // The timers go on; only the reminder to send 100 has served.
            server.state = next;
            server.message = Some(keep());
            if server.pace.repeats() {
                server.pace.stop_repeating();
                let pace = server.pace;
                self.schedule_server(id, pace, tick);
            }
        } else if next != server.state {
            self.enter_server(id, next, now);
            if let Some(server) = self.servers.get_mut(id.0)
                && !server.ended
                && next.keeps_response()
            {
                server.message = Some(keep());
            }
        }
        Ok(())
    }

    /// A response could not be sent. Ends a non-INVITE transaction; an INVITE transaction stays as it is and
    /// its timers end it (RFC 6026), so that the call outlives a change of flow.
    pub fn server_transport_error(&mut self, id: ServerId) {
        if let Some(ServerState::NonInvite(_)) = self.server_state(id) {
            self.end_server(id, ServerEnd::TransportError);
        }
    }

    /// Forgets a transaction and returns its data; no event follows. For requests that will never be
    /// answered.
    pub fn abandon_server(&mut self, id: ServerId) -> Option<S> {
        self.detach_server(id);
        self.servers.remove(id.0).map(|server| server.data)
    }

    /// Where a transaction stands; `None` once it has ended.
    pub fn server_state(&self, id: ServerId) -> Option<ServerState> {
        self.servers.get(id.0).filter(|server| !server.ended).map(|server| server.state)
    }

    /// The owner's data, up to the moment [`Event::ServerEnded`] hands it back.
    pub fn server(&self, id: ServerId) -> Option<&S> {
        self.servers.get(id.0).map(|server| &server.data)
    }

    /// See [`server`](Self::server).
    pub fn server_mut(&mut self, id: ServerId) -> Option<&mut S> {
        self.servers.get_mut(id.0).map(|server| &mut server.data)
    }

    /// All server transactions that have not ended.
    pub fn servers(&self) -> impl Iterator<Item = (ServerId, ServerState, &S)> {
        let live = self.servers.iter().filter(|(_, server)| !server.ended);
        live.map(|(id, server)| (ServerId(id), server.state, &server.data))
    }

    fn enter_server(&mut self, id: ServerId, state: ServerState, now: Instant) {
        let tick = self.tick(now);
        let settings = self.settings;
        let Some(server) = self.servers.get_mut(id.0) else { return };
        let running = state.running(&settings, server.reliability);
        server.state = state;
        server.message = None;
        server.pace = Pace::start(running, tick);
        let pace = server.pace;
        if running.end.is_some_and(|end| end.is_zero()) {
            self.end_server(id, state.ended());
        } else {
            self.schedule_server(id, pace, tick);
        }
    }

    pub(crate) fn fire_server(&mut self, id: ServerId, tick: u64) -> Option<Event<S, C, M>> {
        let server = self.servers.get_mut(id.0)?;
        if server.pace.end_at <= tick {
            let end = server.state.ended();
            return self.finish_server(id, end);
        }
        let mut event = None;
        if server.pace.repeat_at <= tick {
            let beat = match server.state {
                ServerState::Invite(state) => state.on_beat(server.pace.pause(), &self.settings.timers),
                ServerState::NonInvite(state) => state.on_beat(),
            };
            match beat {
                Beat::Resend { next } => {
                    server.pace.repeat_after(next, tick);
                    event = server.message.clone().map(|message| Event::ResendResponse { id, message });
                }
                Beat::Remind => {
                    server.pace.stop_repeating();
                    event = Some(Event::SendTrying(id));
                }
                Beat::Nothing => server.pace.stop_repeating(),
            }
        }
        let pace = server.pace;
        self.schedule_server(id, pace, tick);
        event
    }
}
