//! Redirections (3xx) by users of domains that follow them. They lead only where the caller's own requests
//! may go.

use std::net::SocketAddr;

use config::Redirects;
use identity::DomainRef;
use metrics::Count;
use sip_message::{Scheme, Uri};
use sip_proxy::Target;
use smallvec::{SmallVec, smallvec};

use crate::routing::{
    Incoming, Routing, Targets,
    backend::upstream_targets,
    flow_lookup::{FlowLookup, SenderProof},
    gruu,
    sender::Sender,
    targets,
};

impl<F: FlowLookup + SenderProof> Routing<'_, F> {
    /// Where a contact of a redirection leads. None if the redirection is passed on, or if the caller's
    /// requests may not go there.
    pub(crate) fn follow_redirect(&self, contact: &Uri<'_>, incoming: Incoming<'_>) -> Option<Targets> {
        let tables = &self.tables;
        let asked = incoming.request.request_uri().ok()?.host()?;
        let home = tables.domains.find(&asked).filter(|home| home.redirects() == Redirects::Follow)?;
        let targets = self.way_of(contact, home, incoming).filter(|targets| !targets.is_empty());
        match &targets {
            Some(_) => tables.metrics.add(Count::RedirectsFollowed),
            None => {
                let contact = String::from_utf8_lossy(contact.as_bytes());
                tracing::debug!(%contact, "a redirection is not followed");
                tables.metrics.add(Count::RedirectsLeft);
            }
        }
        targets
    }

    fn way_of(&self, contact: &Uri<'_>, home: DomainRef<'_>, incoming: Incoming<'_>) -> Option<Targets> {
        let (tables, Incoming { request, now, .. }) = (&self.tables, incoming);
        // Header fields in the contact would get into the request (RFC 3261 §19.1.5). The callee must not
        // choose these.
        if !matches!(contact.scheme(), Scheme::Sip | Scheme::Sips) || contact.headers().is_some() {
            return None;
        }
        // A sender that proves its identity in each request was accepted to this domain only. The same proof
        // is good once.
        let sender = self.known_sender(incoming);
        let Some(domain) = tables.domains.find(&contact.host()?) else {
            return self.behind(contact, home, sender?);
        };
        contact.user()?;
        let let_in = domain.is(home)
            || domain.is_open()
            || matches!(&sender, Some(Sender::User { .. } | Sender::Server));
        if !let_in || domain.registrar().is_some() {
            return None;
        }
        let instance = gruu::instance(tables, domain, contact);
        let targets = targets::targets(tables, &contact.address_of_record()?, instance.as_deref(), now);
        if !targets.is_empty() || instance.is_some() {
            return Some(targets);
        }
        let sender = sender.filter(|sender| !matches!(sender, Sender::Server))?;
        let upstream = domain.backend()?;
        sender.may_call_outside(domain, tables.metrics).ok()?;
        let mut targets = upstream_targets(tables, upstream, request).ok()?;
        for target in &mut targets {
            target.request_uri = Some(contact.as_bytes().into());
        }
        Some(targets)
    }

    /// The hop to a server behind the domain, if the contact names it by its address.
    fn behind(&self, contact: &Uri<'_>, home: DomainRef<'_>, sender: Sender<'_>) -> Option<Targets> {
        let tables = &self.tables;
        let address = SocketAddr::new(contact.host()?.ip()?, contact.port().unwrap_or(5060));
        let hop = tables.upstreams.hop_at(address)?;
        // A request from a backend is never sent back to it.
        if matches!(sender, Sender::Server) || !tables.upstreams.get(home.backend()?)?.has(hop) {
            return None;
        }
        sender.may_call_outside(home, tables.metrics).ok()?;
        Some(smallvec![Target {
            hop,
            request_uri: Some(contact.as_bytes().into()),
            routes: SmallVec::new(),
            q: 1000,
            alternatives: SmallVec::new(),
            when_gone: 503,
        }])
    }
}
