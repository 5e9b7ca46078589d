//! Dialogs that outlive the process or a connection. A route of an earlier run still tells hops that were no
//! flows, so a request still finds a server behind, or a phone over UDP. A device that had a flow is found
//! once it has registered again with the Contact of the dialog.

use std::net::SocketAddr;

use sip_message::{Method, Uri};
use sip_proxy::{Answer, RouteResolution, Target};
use smallvec::smallvec;
use upstream::{Hop, same_peer};

use crate::routing::{
    Incoming, RequestState, Routing, Targets,
    flow_lookup::{FlowLookup, SenderProof},
    sender::Sender,
};

impl<F: FlowLookup + SenderProof> Routing<'_, F> {
    /// Where a route leads that an earlier run signed for a pair of hops. Those that were flows are gone.
    ///
    /// The flow of the pair cannot be recognised any more, so the signature alone lets a request pass, from
    /// any connection. With a stolen route a client can therefore send requests that belong to a dialog and
    /// begin nothing, to this one server or phone. They have an effect only with the Call-ID and both tags,
    /// and a client that knows these has seen the dialog itself. Every other request along the route is
    /// judged as if there were no route.
    pub(crate) fn follow_earlier(
        &self,
        hop: Option<Hop>,
        incoming: Incoming<'_>,
        state: &mut RequestState,
    ) -> RouteResolution<Hop> {
        let (tables, Incoming { request, from, .. }) = (&self.tables, incoming);
        let Some(hop) = hop.filter(|_| request.to().is_ok_and(|to| to.tag().is_some())) else {
            return RouteResolution::Gone;
        };
        // The sender is that hop itself.
        if same_peer(hop, from) || self.is_at(hop, from) || self.same_upstream(hop, from) {
            return RouteResolution::Flow(hop);
        }
        let behind = tables.upstreams.is_upstream(hop);
        let still_there = behind
            || matches!(hop, Hop::Udp { listener, remote }
                if tables.location().has_phone(listener.into(), remote));
        if !still_there {
            return RouteResolution::Gone;
        }
        let goes_on = matches!(
            request.method(),
            Some(Method::Bye | Method::Ack | Method::Prack | Method::Update | Method::Info)
        );
        if goes_on || self.may_send(incoming, hop, state) {
            RouteResolution::Flow(hop)
        } else {
            RouteResolution::Forged
        }
    }

    /// Where a request within a dialog goes if its route leads to a flow that is gone. The user agent has
    /// come back if the user in To is registered at one place with the very Contact of the request, or if a
    /// server behind asks for a Contact of ours that stands for it. If the flow was a server's, the
    /// Request-URI may name that server. The sender must be one that may send requests there outside of
    /// dialogs, too.
    pub(crate) fn find_returned(
        &self,
        incoming: Incoming<'_>,
        state: &mut RequestState,
    ) -> Option<Result<Targets, Answer>> {
        let (tables, Incoming { request, from, now }) = (&self.tables, incoming);
        let asked = request.request_uri().ok()?;
        if tables.upstreams.is_upstream(from)
            && let Some(Ok(targets)) = self.to_contact(&asked, now)
        {
            return Some(Ok(targets));
        }
        if let Some(hop) = self.named_server(&asked, incoming, state) {
            return Some(Ok(smallvec![Target {
                hop,
                request_uri: None,
                routes: smallvec![],
                q: 1000,
                alternatives: smallvec![],
                when_gone: 503,
            }]));
        }
        let to = request.to().ok()?.uri().ok()?;
        let domain = tables.domains.find(&to.host()?)?;
        let target = {
            let (aor, location) = (to.address_of_record()?, tables.location());
            let mut same = location
                .bindings(&aor, now)
                .filter(|binding| Uri::parse(binding.contact()).is_ok_and(|contact| contact.same(&asked)));
            let found = same.next()?;
            // There are two devices under one name, and only one of them was in the dialog.
            if same.next().is_some() {
                return None;
            }
            Target {
                hop: Hop::of(found),
                request_uri: None,
                routes: found.path().map(Box::from).into_iter().collect(),
                q: 1000,
                alternatives: smallvec![],
                when_gone: 480,
            }
        };
        Some(self.authorize(incoming, domain, state).map(|_| smallvec![target]))
    }

    /// The server behind whose address is in the Request-URI, if the sender may send it any request.
    fn named_server(&self, asked: &Uri<'_>, incoming: Incoming<'_>, state: &mut RequestState) -> Option<Hop> {
        let upstreams = self.tables.upstreams;
        let address = SocketAddr::new(asked.host()?.ip()?, asked.port().unwrap_or(5060));
        let hop = upstreams.hop_at(address)?;
        let sender = self.sender(incoming, state).ok()?;
        let (Sender::User { home, .. } | Sender::Unproved(Some(home))) = sender else { return None };
        let behind = home.backend().and_then(|number| upstreams.get(number))?.has(hop);
        let may = home.registrar().is_some() || sender.may_call_outside(home, self.tables.metrics).is_ok();
        (behind && may).then_some(hop)
    }
}
