//! Follows redirections: asks the contacts of a 3xx instead (RFC 3261 §16.5, §16.7 step 4).

use std::time::Instant;

use sip_message::{Contact, Message, Uri};
use sip_transaction::{ClientId, ServerId};

use crate::{Dialog, Environment, Proxy, Target, context::ReturnRoute};

/// Contacts that are followed for one request.
const MOST: usize = 10;

/// Whether a redirection was followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Followed {
    /// The branch is over; what it led to waits for its turn, or had it before.
    Yes,
    /// It is an answer like any other.
    No,
}

impl<H: Copy + Ord + std::fmt::Debug> Proxy<H> {
    /// A branch was answered with a 3xx: its contacts become targets, as far as the environment says where
    /// they lead. None is followed twice, and none that is the request's own URI.
    pub(crate) fn follow<E: Environment<Hop = H>>(
        &mut self,
        env: &mut E,
        server: ServerId,
        id: ClientId,
        (status, response): (u16, &Message<'_>),
        now: Instant,
    ) -> Followed {
        // 305 and 380 speak of no other place where the same is to be had.
        if !(300..=302).contains(&status) {
            return Followed::No;
        }
        let Some(context) = self.transactions.server(server) else { return Followed::No };
        let outside = context.forwarding.dialog == Dialog::Outside;
        if !outside || context.forwarding.way_back == ReturnRoute::Binding || !context.is_open_for(id) {
            return Followed::No;
        }
        let from = context.from;
        let mut followed = context.followed.clone();
        let Some(bytes) = context.request.clone() else { return Followed::No };
        let Some(request) = Self::kept(&bytes) else { return Followed::No };
        let Ok(asked) = request.request_uri() else { return Followed::No };
        let mut found: Vec<Target<H>> = Vec::new();
        let mut before = false;
        for (_, contact) in response.contacts() {
            let Ok(Contact::Addr(contact)) = contact else { continue };
            let Ok(uri) = contact.uri() else { continue };
            if followed.iter().any(|one| Uri::parse(one).is_ok_and(|one| one.same(&uri))) {
                before = true;
                continue;
            }
            if followed.len() >= MOST || uri.same(&asked) {
                continue;
            }
            let Some(targets) = env.resolve_redirect(&uri, &request, from, now) else { continue };
            followed.push(uri.as_bytes().into());
            let q = contact.q().unwrap_or(1000);
            found.extend(targets.into_iter().map(|target| Target { q, ..target }));
        }
        if found.is_empty() && !before {
            return Followed::No;
        }
        self.branch_done(id);
        if let Some(context) = self.transactions.server_mut(server) {
            context.pending.retain(|pending| *pending != id);
            context.followed = followed;
            context.waiting.extend(found);
            context.waiting.sort_by_key(|target| std::cmp::Reverse(target.q));
        }
        self.advance(env, server, now);
        Followed::Yes
    }
}
