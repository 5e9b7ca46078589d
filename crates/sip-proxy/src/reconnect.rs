//! A connection ended whose peer can be reached by a new one (RFC 5923 §8.1). A server is no user agent: its
//! transactions go on.

use std::time::Instant;

use sip_transaction::{ClientId, ClientState, InviteClient, NonInviteClient};
use smallvec::SmallVec;

use crate::{
    Alternative, Environment, Notice, Proxy, SAME_SERVER, Target,
    context::{Purpose, Resend},
    proxy::Waiting,
};

/// A hop as where to send something again that goes nowhere else.
pub(crate) fn reconnect_target<E: Environment>(env: &E, hop: E::Hop) -> Option<Box<Target<E::Hop>>> {
    let (request_uri, routes, alternatives) = (None, SmallVec::new(), SmallVec::new());
    let target = |hop| Target { hop, request_uri, routes, q: 1000, alternatives, when_gone: 503 };
    env.reconnect_hop(hop).map(|hop| Box::new(target(hop)))
}

impl<H: Copy + Ord + std::fmt::Debug> Proxy<H> {
    /// A connection ended. Where [`Hops::reconnect_hop`](crate::Hops::reconnect_hop) knows how to get to its
    /// peer again, requests of which nothing was heard are sent once more by a new one, and all else goes on
    /// waiting, with answers to what the peer asked going there; elsewhere the hop is gone, as by
    /// [`Proxy::hop_gone`].
    pub fn connection_lost<E: Environment<Hop = H>>(&mut self, env: &mut E, hop: H, now: Instant) {
        let Some(next) = env.reconnect_hop(hop) else { return self.hop_gone(env, hop, now) };
        for waiting in self.hanging(hop) {
            self.waiting_on.remove(&(hop, waiting));
            match waiting {
                Waiting::Lowest => {}
                Waiting::Server(server) => {
                    if let Some(context) = self.transactions.server_mut(server) {
                        context.from = next;
                        self.waiting_on.insert((next, waiting));
                    }
                }
                Waiting::Client(client) => self.resume_on(env, client, (hop, next)),
            }
        }
        self.expire(env, now);
    }

    /// A request that was sent by one hop goes on by the next.
    fn resume_on<E: Environment<Hop = H>>(&mut self, env: &mut E, id: ClientId, (hop, next): (H, H)) {
        let unheard = matches!(
            self.transactions.client_state(id),
            Some(
                ClientState::Invite(InviteClient::Calling) | ClientState::NonInvite(NonInviteClient::Trying)
            )
        );
        let Some(branch) = self.transactions.client_mut(id) else { return };
        if !unheard {
            branch.hop = next;
            self.waiting_on.insert((next, Waiting::Client(id)));
            return;
        }
        let Some(reconnect) = branch.reconnect.take() else {
            return self.transactions.client_transport_error(id);
        };
        let (server, purpose, sent) = (branch.server, branch.purpose, branch.sent.clone());
        if let Some(context) = server.and_then(|server| self.transactions.server_mut(server)) {
            context.second = Resend::Had;
        }
        match (sent, server) {
            // The same transaction: who has it already takes it for a repeat.
            (Some(bytes), _) if next == hop => {
                env.notice(Notice::Resent);
                match env.send(next, &bytes) {
                    Ok(()) => drop(self.waiting_on.insert((next, Waiting::Client(id)))),
                    Err(_) => self.transactions.client_transport_error(id),
                }
            }
            // By another listener perhaps, so with another Via.
            (_, Some(_)) if purpose == Purpose::Forward => {
                if let Some(branch) = self.transactions.client_mut(id) {
                    let alternatives =
                        branch.otherwise.take().map(|target| target.alternatives).unwrap_or_default();
                    let first = Alternative::Hop { hop: reconnect.hop, server: SAME_SERVER };
                    let alternatives = std::iter::once(first).chain(alternatives).collect();
                    branch.otherwise = Some(Box::new(Target { alternatives, ..*reconnect }));
                }
                env.notice(Notice::Resent);
                self.transactions.client_transport_error(id);
            }
            _ => self.transactions.client_transport_error(id),
        }
    }
}
