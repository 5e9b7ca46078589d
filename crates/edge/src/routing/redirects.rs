//! Redirections (3xx) by users of domains that follow them: only to where the caller's own requests may go.

use std::{net::SocketAddr, time::Instant};

use config::Redirects;
use metrics::Count;
use sip_message::{Message, Scheme, Uri};
use sip_proxy::Target;
use smallvec::{SmallVec, smallvec};

use crate::{
    domains::DomainRef,
    hop::Hop,
    routing::{backend::towards, environment::World, gruu, sender::Sender, targets},
};

type Targets = SmallVec<[Target<Hop>; 1]>;

impl World<'_> {
    /// Where a contact of a redirection leads; none where it is passed on, or leads nowhere that requests may go.
    pub(crate) fn follow_redirect(
        &self,
        contact: &Uri<'_>,
        request: &Message<'_>,
        from: Hop,
        now: Instant,
    ) -> Option<Targets> {
        let shared = &*self.shard.shared;
        let asked = request.request_uri().ok()?.host()?;
        let home = shared.domains.find(&asked).filter(|home| home.redirects() == Redirects::Follow)?;
        let targets = self.way_of(contact, home, request, (from, now)).filter(|targets| !targets.is_empty());
        match &targets {
            Some(_) => shared.metrics.add(Count::RedirectsFollowed),
            None => {
                let contact = String::from_utf8_lossy(contact.as_bytes());
                tracing::debug!(%contact, "a redirection is not followed");
                shared.metrics.add(Count::RedirectsLeft);
            }
        }
        targets
    }

    fn way_of(
        &self,
        contact: &Uri<'_>,
        home: DomainRef<'_>,
        request: &Message<'_>,
        (from, now): (Hop, Instant),
    ) -> Option<Targets> {
        let shared = &*self.shard.shared;
        // Header fields in it would be put into the request (RFC 3261 §19.1.5): not by a stranger to the caller.
        if !matches!(contact.scheme(), Scheme::Sip | Scheme::Sips) || contact.headers().is_some() {
            return None;
        }
        // Whoever proves itself by each request was let in to this domain, and to no other. The same proof is good once.
        let sender = self.standing(request, from, now);
        let Some(domain) = shared.domains.find(&contact.host()?) else {
            return self.behind(contact, home, sender?);
        };
        contact.user()?;
        let let_in = domain.is(home)
            || domain.is_open()
            || matches!(&sender, Some(Sender::User { .. } | Sender::Behind));
        if !let_in || domain.registrar().is_some() {
            return None;
        }
        let instance = gruu::instance(shared, domain, contact);
        let targets = targets::targets(shared, &contact.address_of_record()?, instance.as_deref(), now);
        if !targets.is_empty() || instance.is_some() {
            return Some(targets);
        }
        let sender = sender.filter(|sender| !matches!(sender, Sender::Behind))?;
        let upstream = domain.backend()?;
        sender.may_call_outside(domain, &shared.metrics).ok()?;
        let mut targets = towards(shared, upstream, request).ok()?;
        for target in &mut targets {
            target.request_uri = Some(contact.as_bytes().into());
        }
        Some(targets)
    }

    /// The way to a server behind the domain that a contact names by its address.
    fn behind(&self, contact: &Uri<'_>, home: DomainRef<'_>, sender: Sender<'_>) -> Option<Targets> {
        let shared = &*self.shard.shared;
        let address = SocketAddr::new(contact.host()?.ip()?, contact.port().unwrap_or(5060));
        let hop = shared.upstreams.at(address)?;
        // What comes from a backend is never sent back to it.
        if matches!(sender, Sender::Behind) || !shared.upstreams.get(home.backend()?)?.has(hop) {
            return None;
        }
        sender.may_call_outside(home, &shared.metrics).ok()?;
        Some(smallvec![Target {
            hop,
            request_uri: Some(contact.as_bytes().into()),
            routes: SmallVec::new(),
            q: 1000,
            others: SmallVec::new(),
            when_gone: 503,
        }])
    }
}
