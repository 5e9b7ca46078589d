//! Client transactions: requests that went out, and what was answered to them.

use crate::invite_client::InviteClient;
use crate::key::{ClientKey, MethodClass};
use crate::machine::{Beat, ClientEnd, OnResponse, Running};
use crate::non_invite_client::NonInviteClient;
use crate::pace::{Pace, millis};
use crate::slots::SlotId;
use crate::status::Status;
use crate::table::{Event, Transactions};
use crate::timers::{Reliability, Timers};
use std::time::Instant;

/// One client transaction. Kept too long it finds nothing, never another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub(crate) SlotId);

/// Which machine a client transaction is, and where in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientState {
    /// RFC 6026 figure 5.
    Invite(InviteClient),
    /// RFC 3261 figure 6.
    NonInvite(NonInviteClient),
}

/// What to do with a response.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum ResponseFor<M> {
    /// The owner handles it: a proxy forwards it or weighs it, a user agent acts on it.
    Pass(ClientId),
    /// The first 3xx to 6xx to an INVITE: the owner handles it, builds the ACK of RFC 3261 §17.1.1.3, sends
    /// it where the INVITE went, and gives it to [`Transactions::ack_sent`].
    PassAndAck(ClientId),
    /// A 3xx to 6xx again: send the same ACK again; the response goes no further.
    ResendAck {
        /// Whose.
        id: ClientId,
        /// The ACK that was kept.
        message: M,
    },
    /// The response goes no further.
    Absorb(ClientId),
    /// No transaction of ours: drop it (RFC 6026 §7.3; RFC 4320).
    Unmatched,
}

/// Why a client transaction was not started. The data comes back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartRefused<C> {
    /// There are as many as there may be.
    #[error("too many client transactions")]
    Full(C),
    /// A transaction with this branch and class exists: branches must be unique (RFC 3261 §8.1.1.7).
    #[error("the branch is in use")]
    BranchInUse(C),
}

/// What a table keeps for a client transaction.
#[derive(Debug)]
pub(crate) struct Client<C, M> {
    pub(crate) key: ClientKey,
    pub(crate) state: ClientState,
    pub(crate) reliability: Reliability,
    pub(crate) ended: bool,
    pub(crate) pace: Pace,
    /// The request while Timer A or E may want it, the ACK in Completed.
    pub(crate) message: Option<M>,
    pub(crate) data: C,
}

impl ClientState {
    fn running(self, timers: &Timers, reliability: Reliability) -> Running {
        match self {
            ClientState::Invite(state) => state.running(timers, reliability),
            ClientState::NonInvite(state) => state.running(timers, reliability),
        }
    }

    fn ended(self) -> ClientEnd {
        match self {
            ClientState::Invite(state) => state.ended(),
            ClientState::NonInvite(state) => state.ended(),
        }
    }
}

impl<S, C, M: Clone> Transactions<S, C, M> {
    /// Starts a transaction for a request the owner sends now. Never for ACK.
    ///
    /// `keep` makes the copy for repeats and is called only for an unreliable transport.
    pub fn start_client(
        &mut self,
        key: ClientKey,
        reliability: Reliability,
        now: Instant,
        data: C,
        keep: impl FnOnce() -> M,
    ) -> Result<ClientId, StartRefused<C>> {
        if self.by_client_key.contains_key(&key) {
            return Err(StartRefused::BranchInUse(data));
        }
        if self.clients.is_full() {
            return Err(StartRefused::Full(data));
        }
        let tick = self.tick(now);
        let state = match key.class {
            MethodClass::Invite => ClientState::Invite(InviteClient::Calling),
            MethodClass::NonInvite => ClientState::NonInvite(NonInviteClient::Trying),
        };
        let pace = Pace::start(state.running(&self.settings.timers, reliability), tick);
        let message = match reliability {
            Reliability::Reliable => None,
            Reliability::Unreliable => Some(keep()),
        };
        let client = Client { key, state, reliability, ended: false, pace, message, data };
        match self.clients.insert(client) {
            Ok(slot) => {
                let id = ClientId(slot);
                self.by_client_key.insert(key, id);
                self.schedule_client(id, pace, tick);
                Ok(id)
            }
            Err(client) => Err(StartRefused::Full(client.data)),
        }
    }

    /// A response came, with our branch in its topmost Via and this class of method in its CSeq.
    ///
    /// `believed` is asked, with the owner's data of the transaction that has this key, whether the response
    /// is an answer to its request. One that is not changes nothing and is [`ResponseFor::Unmatched`] (RFC
    /// 3261 §17.1.3).
    pub fn receive_response(
        &mut self,
        key: ClientKey,
        status: Status,
        now: Instant,
        believed: impl FnOnce(&C) -> bool,
    ) -> ResponseFor<M> {
        let Some(&id) = self.by_client_key.get(&key) else { return ResponseFor::Unmatched };
        let Some(client) = self.clients.get(id.0).filter(|client| believed(&client.data)) else {
            return ResponseFor::Unmatched;
        };
        let (next, action) = match client.state {
            ClientState::Invite(state) => {
                let (next, action) = state.on_response(status.class());
                (ClientState::Invite(next), action)
            }
            ClientState::NonInvite(state) => {
                let (next, action) = state.on_response(status.class());
                (ClientState::NonInvite(next), action)
            }
        };
        if next != client.state {
            self.enter_client(id, next, now);
        }
        match action {
            OnResponse::Pass => ResponseFor::Pass(id),
            OnResponse::PassAndAck => ResponseFor::PassAndAck(id),
            OnResponse::Absorb => ResponseFor::Absorb(id),
            OnResponse::ResendAck => match self.clients.get(id.0).and_then(|client| client.message.clone()) {
                Some(message) => ResponseFor::ResendAck { id, message },
                None => ResponseFor::Absorb(id),
            },
        }
    }

    /// The ACK that [`ResponseFor::PassAndAck`] asked for was sent. `keep` makes the copy for repeats and is
    /// called only if one may be needed.
    pub fn ack_sent(&mut self, id: ClientId, keep: impl FnOnce() -> M) {
        if let Some(client) = self.clients.get_mut(id.0).filter(|client| !client.ended)
            && client.state == ClientState::Invite(InviteClient::Completed)
        {
            client.message = Some(keep());
        }
    }

    /// A CANCEL for this INVITE was sent: without a final response within 64*T1 it ends as
    /// [`ClientEnd::Timeout`] (RFC 3261 §9.1). Counts once, and only in Proceeding, before which no CANCEL
    /// may be sent.
    pub fn cancel_sent(&mut self, id: ClientId, now: Instant) {
        let tick = self.tick(now);
        let wait = millis(self.settings.timers.sixty_four_t1());
        let Some(client) = self.clients.get_mut(id.0).filter(|client| !client.ended) else { return };
        if client.state == ClientState::Invite(InviteClient::Proceeding) && !client.pace.ends() {
            client.pace.end_at = tick.saturating_add(wait);
            let pace = client.pace;
            self.schedule_client(id, pace, tick);
        }
    }

    /// The request or its ACK could not be sent, or the flow it went over is gone: ends the transaction.
    ///
    /// In Accepted nothing is sent any more, so nothing changes: 2xx of other forks may still come another
    /// way.
    pub fn client_transport_error(&mut self, id: ClientId) {
        match self.client_state(id) {
            None | Some(ClientState::Invite(InviteClient::Accepted)) => {}
            // Its final response is with the owner already: only the linger ends.
            Some(ClientState::NonInvite(NonInviteClient::Completed)) => self.end_client(id, ClientEnd::Done),
            Some(_) => self.end_client(id, ClientEnd::TransportError),
        }
    }

    /// Forgets a transaction and returns its data; no event follows, and late responses will be unmatched.
    pub fn abandon_client(&mut self, id: ClientId) -> Option<C> {
        self.detach_client(id);
        self.clients.remove(id.0).map(|client| client.data)
    }

    /// Where a transaction stands; `None` once it has ended.
    pub fn client_state(&self, id: ClientId) -> Option<ClientState> {
        self.clients.get(id.0).filter(|client| !client.ended).map(|client| client.state)
    }

    /// The transaction that was started with a key, up to its end.
    pub fn find_client(&self, key: &ClientKey) -> Option<ClientId> {
        self.by_client_key.get(key).copied()
    }

    /// The key a transaction was started with.
    pub fn client_key(&self, id: ClientId) -> Option<ClientKey> {
        self.clients.get(id.0).map(|client| client.key)
    }

    /// The owner's data, up to the moment [`Event::ClientEnded`] hands it back.
    pub fn client(&self, id: ClientId) -> Option<&C> {
        self.clients.get(id.0).map(|client| &client.data)
    }

    /// See [`client`](Self::client).
    pub fn client_mut(&mut self, id: ClientId) -> Option<&mut C> {
        self.clients.get_mut(id.0).map(|client| &mut client.data)
    }

    /// All client transactions that have not ended.
    pub fn clients(&self) -> impl Iterator<Item = (ClientId, ClientState, &C)> {
        let live = self.clients.iter().filter(|(_, client)| !client.ended);
        live.map(|(id, client)| (ClientId(id), client.state, &client.data))
    }

    fn enter_client(&mut self, id: ClientId, state: ClientState, now: Instant) {
        let tick = self.tick(now);
        let timers = self.settings.timers;
        let Some(client) = self.clients.get_mut(id.0) else { return };
        client.state = state;
        if state == ClientState::NonInvite(NonInviteClient::Proceeding) {
            // E and F go on as they are; only the next pause is another.
            return;
        }
        client.message = None;
        let running = state.running(&timers, client.reliability);
        client.pace = Pace::start(running, tick);
        let pace = client.pace;
        if running.end.is_some_and(|end| end.is_zero()) {
            self.end_client(id, state.ended());
        } else {
            self.schedule_client(id, pace, tick);
        }
    }

    pub(crate) fn fire_client(&mut self, id: ClientId, tick: u64) -> Option<Event<S, C, M>> {
        let client = self.clients.get_mut(id.0)?;
        if client.pace.end_at <= tick {
            let end = client.state.ended();
            return self.finish_client(id, end);
        }
        let mut event = None;
        if client.pace.repeat_at <= tick {
            let pause = client.pace.pause();
            let beat = match client.state {
                ClientState::Invite(state) => state.on_beat(pause),
                ClientState::NonInvite(state) => state.on_beat(pause, &self.settings.timers),
            };
            match beat {
                Beat::Resend { next } => {
                    client.pace.repeat_after(next, tick);
                    event = client.message.clone().map(|message| Event::ResendRequest { id, message });
                }
                Beat::Remind | Beat::Nothing => client.pace.stop_repeating(),
            }
        }
        let pace = client.pace;
        self.schedule_client(id, pace, tick);
        event
    }
}
