//! Dialogs that outlive the process or a connection. A route of an earlier run tells what was no flow, so what goes to a server or
//! to a phone over UDP still finds it; whoever had a flow is found when it has registered again with the Contact that it had.

use std::net::SocketAddr;

use sip_message::{Method, Uri};
use sip_proxy::{Answer, Owned, Target};
use smallvec::smallvec;
use upstream::{Hop, same_peer};

use crate::routing::{
    Incoming, RequestState, Routing, Targets,
    flow_lookup::{FlowLookup, SenderProof},
    sender::Sender,
};

impl<F: FlowLookup + SenderProof> Routing<'_, F> {
    /// Where a route leads that was signed in an earlier run for a pair of hops, of which those that were flows are gone.
    ///
    /// The flow that was one of the pair cannot be recognised, so the signature alone lets a request pass, from any connection.
    /// Whoever has stolen the route can do what it lets: send what belongs to a dialog, with a To tag and a method that begins
    /// nothing, to this one server or phone. That needs the Call-ID and both tags to have an effect, and who knows these has seen
    /// the dialog itself. All other requests along the route are judged as if there were none.
    pub(crate) fn follow_earlier(
        &self,
        hop: Option<Hop>,
        incoming: Incoming<'_>,
        state: &mut RequestState,
    ) -> Owned<Hop> {
        let (tables, Incoming { request, from, .. }) = (&self.tables, incoming);
        let Some(hop) = hop.filter(|_| request.to().is_ok_and(|to| to.tag().is_some())) else {
            return Owned::Gone;
        };
        // Its own side's.
        if same_peer(hop, from) || self.is_at(hop, from) || self.same_upstream(hop, from) {
            return Owned::Flow(hop);
        }
        let behind = tables.upstreams.knows(hop);
        let still_there = behind
            || matches!(hop, Hop::Udp { listener, remote }
                if tables.location().has_phone(listener.into(), remote));
        if !still_there {
            return Owned::Gone;
        }
        let goes_on = matches!(
            request.method(),
            Some(Method::Bye | Method::Ack | Method::Prack | Method::Update | Method::Info)
        );
        if goes_on || self.may_send(incoming, hop, state) { Owned::Flow(hop) } else { Owned::Forged }
    }

    /// Where a request within a dialog goes whose route leads to a flow that is gone. The user agent has come back if the user that To
    /// names is registered with the very Contact that the request is for, at one place; or if a server behind asks for a Contact of
    /// ours that stands for it. If the flow was a server's, the Request-URI may name that. The sender must be one who may send
    /// requests there outside of dialogs, too.
    pub(crate) fn find_returned(
        &self,
        incoming: Incoming<'_>,
        state: &mut RequestState,
    ) -> Option<Result<Targets, Answer>> {
        let (tables, Incoming { request, from, now }) = (&self.tables, incoming);
        let asked = request.request_uri().ok()?;
        if tables.upstreams.knows(from)
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
                others: smallvec![],
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
            // Two devices under one name: only one of them was in the dialog.
            if same.next().is_some() {
                return None;
            }
            Target {
                hop: Hop::of(found),
                request_uri: None,
                routes: found.path().map(Box::from).into_iter().collect(),
                q: 1000,
                others: smallvec![],
                when_gone: 480,
            }
        };
        Some(self.authorize(incoming, domain, state).map(|_| smallvec![target]))
    }

    /// The server behind that a Request-URI names by its address, if the sender may send there what it will.
    fn named_server(&self, asked: &Uri<'_>, incoming: Incoming<'_>, state: &mut RequestState) -> Option<Hop> {
        let upstreams = self.tables.upstreams;
        let address = SocketAddr::new(asked.host()?.ip()?, asked.port().unwrap_or(5060));
        let hop = upstreams.at(address)?;
        let sender = self.sender(incoming, state).ok()?;
        let (Sender::User { home, .. } | Sender::Anybody(Some(home))) = sender else { return None };
        let behind = home.backend().and_then(|number| upstreams.get(number))?.has(hop);
        let may = home.registrar().is_some() || sender.may_call_outside(home, self.tables.metrics).is_ok();
        (behind && may).then_some(hop)
    }
}
