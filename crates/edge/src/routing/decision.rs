//! Where a request goes if no route of this server leads it on, or the answer to it.

use std::{net::SocketAddr, time::Instant};

use identity::DomainRef;
use sip_message::{HeaderId, Message, Method, Scheme, Uri, write_address_of_record};
use sip_proxy::{Answer, RouteResolution, Target};
use smallvec::{SmallVec, smallvec};
use upstream::Hop;

use crate::routing::{
    Incoming, RequestState, Routing, Targets,
    backend::upstream_targets,
    event_state::{self, Keeper},
    flow_lookup::{FlowLookup, SenderProof},
    gruu, rewritten_contact,
    sender::Sender,
    tables::Tables,
    targets::{self, in_its_place, nobody_there},
};

/// Where a request goes that no route of ours leads on.
#[derive(Debug)]
pub(crate) enum Destination<'t> {
    /// To these.
    Forward(Targets),
    /// Nowhere: it is a REGISTER for a domain whose users register here.
    Registrar(DomainRef<'t>),
}

impl<'t, F: FlowLookup + SenderProof> Routing<'t, F> {
    /// Where another element's URI in the topmost Route is reached.
    ///
    /// Requests leave for other elements in two cases only: along routes that we signed, and for users whose
    /// domain has this server behind it and who have its name as a Service-Route (RFC 3608). So this is never
    /// an open relay.
    ///
    /// # Errors
    /// The answer to send instead.
    pub(crate) fn next_hop(
        &self,
        uri: &Uri<'_>,
        incoming: Incoming<'_>,
        state: &mut RequestState,
    ) -> Result<Hop, Answer> {
        let denied = || Answer::new(403, "Relaying Denied");
        let upstreams = self.tables.upstreams;
        let address =
            uri.host().and_then(|host| Some(SocketAddr::new(host.ip()?, uri.port().unwrap_or(5060))));
        let hop = address.and_then(|address| upstreams.hop_at(address)).ok_or_else(denied)?;
        self.refuse_if_throttled(incoming.request, state)?;
        let sender = self.sender(incoming, state)?;
        self.reserve_call_slot(incoming, &sender, state)?;
        let (Sender::User { home, .. } | Sender::Unproved(Some(home))) = sender else { return Err(denied()) };
        let behind = home.backend().and_then(|number| upstreams.get(number)).ok_or_else(denied)?;
        // A user who registers here has nothing to register there. A server behind may take everything from
        // users who register there.
        let registers = incoming.request.method() == Some(Method::Register);
        if !behind.has(hop) || registers && home.registrar().is_none() {
            return Err(denied());
        }
        sender.may_call_outside(home, self.tables.metrics)?;
        Ok(hop)
    }

    /// Decides on a request by its Request-URI, where no route leads it on.
    ///
    /// # Errors
    /// The answer to send instead.
    pub(crate) fn decide(
        &self,
        incoming: Incoming<'_>,
        state: &mut RequestState,
    ) -> Result<Destination<'t>, Answer> {
        let Incoming { request, from, now } = incoming;
        self.refuse_if_throttled(request, state)?;
        let uri = request.request_uri().map_err(|_| Answer::new(400, "Malformed Request-URI"))?;
        if !matches!(uri.scheme(), Scheme::Sip | Scheme::Sips) {
            return Err(Answer::new(416, "Unsupported URI Scheme"));
        }
        let tables = &self.tables;
        let method = request.method();
        if tables.upstreams.is_upstream(from)
            && let Some(way) = self.to_contact(&uri, now).or_else(|| self.along_path(incoming, state))
        {
            return way.map(Destination::Forward);
        }
        if method == Some(Method::Invite)
            && let Some((domain, replaced)) = self.replaced(request, from)
        {
            let sender = self.authorize(incoming, domain, state)?;
            if domain.registrar().is_none()
                && replaced.hop.is_some_and(|hop| tables.upstreams.is_upstream(hop))
            {
                sender.may_call_outside(domain, tables.metrics)?;
            }
            return in_its_place(tables, replaced, now).map(Destination::Forward);
        }
        let domain = uri.host().and_then(|host| tables.domains.find(&host));
        let Some(domain) = domain else {
            if let Some(targets) = self.over_trunk(&uri, incoming) {
                return targets.map(Destination::Forward);
            }
            return Err(match method {
                Some(Method::Register) => Answer::new(403, "Domain Not Served"),
                Some(Method::Options) if self.is_here(&uri) => about_ourselves(tables, None),
                _ => Answer::new(403, "Relaying Denied"),
            });
        };
        match (method, uri.user()) {
            (Some(Method::Register), _) => {
                return match domain.registrar() {
                    Some(upstream) => {
                        self.forward_register(upstream, request, from).map(Destination::Forward)
                    }
                    None => Ok(Destination::Registrar(domain)),
                };
            }
            (Some(Method::Options), None) => return Err(about_ourselves(tables, Some(domain))),
            (_, None) => return Err(Answer::new(404, "No User In Request-URI")),
            (_, Some(_)) => {}
        }
        let sender = self.authorize(incoming, domain, state)?;
        self.targets_of_user(&uri, domain, &sender, incoming).map(Destination::Forward)
    }

    /// Where a request for a user of a domain goes, after its sender was accepted.
    fn targets_of_user(
        &self,
        uri: &Uri<'_>,
        domain: DomainRef<'_>,
        sender: &Sender<'_>,
        Incoming { request, now, .. }: Incoming<'_>,
    ) -> Result<Targets, Answer> {
        let tables = &self.tables;
        let from_upstream = matches!(sender, Sender::Server);
        // A request from a backend is never sent back to it.
        let backend = domain.backend().filter(|_| !from_upstream && request.method() != Some(Method::Ack));
        if let Some(upstream) = backend.filter(|_| domain.registrar().is_some()) {
            return upstream_targets(tables, upstream, request);
        }
        let Some(aor) = uri.address_of_record() else { return Err(Answer::new(404, "Not Found")) };
        let instance = gruu::instance(tables, domain, uri);
        // A server behind may ask any device.
        if instance.is_none() && !from_upstream && event_state::is_asked_for(request) {
            if let Some(upstream) = backend {
                sender.may_call_outside(domain, tables.metrics)?;
                return upstream_targets(tables, upstream, request);
            }
            if let Some(answer) = event_state::refuse(request) {
                return Err(answer);
            }
        }
        let targets = targets::targets(tables, &aor, instance.as_deref(), now);
        match backend.filter(|_| instance.is_none()) {
            _ if !targets.is_empty() => Ok(targets),
            Some(upstream) => {
                sender.may_call_outside(domain, tables.metrics)?;
                upstream_targets(tables, upstream, request)
            }
            None => Err(nobody_there(domain, uri, sender)),
        }
    }

    /// Where a request goes that a server behind sends to a user at our own address. PBXs that know a trunk
    /// by its address alone do so: `sip:alice@10.0.0.1` is alice of the domain that has a trunk. None if the
    /// request is of another kind, or if several domains have a trunk.
    fn over_trunk(
        &self,
        uri: &Uri<'_>,
        Incoming { request, from, now }: Incoming<'_>,
    ) -> Option<Result<Targets, Answer>> {
        let tables = &self.tables;
        let user = uri.user().filter(|_| request.method() != Some(Method::Register))?;
        if !tables.upstreams.is_upstream(from) || !self.is_here(uri) {
            return None;
        }
        let (host, domain) = tables.domains.with_trunk()?;
        let mut meant = b"sip:".to_vec();
        meant.extend_from_slice(user);
        meant.extend_from_slice(format!("@{host}").as_bytes());
        let meant = Uri::parse(&meant).ok()?;
        let targets = targets::targets(tables, &meant.address_of_record()?, None, now);
        Some(if targets.is_empty() {
            Err(nobody_there(domain, &meant, &Sender::Server))
        } else {
            Ok(targets)
        })
    }

    /// The side of a call that an INVITE takes the place of, and the domain of that side's user. The user is
    /// called there on that device, whatever the Request-URI is. In a domain whose calls a server behind
    /// decides about, only the server's own side is reached this way.
    fn replaced(
        &self,
        invite: &Message<'_>,
        from: Hop,
    ) -> Option<(DomainRef<'t>, sip_dialog::Replaced<Hop>)> {
        let Tables { upstreams, calls, domains, .. } = self.tables;
        let replaced = invite.value(HeaderId::Replaces).and_then(|_| calls.replaced(upstreams, invite))?;
        let mut uri = Vec::new();
        write_address_of_record(&replaced.aor, &mut uri)?;
        let domain = domains.find(&Uri::parse(&uri).ok()?.host()?)?;
        let knows = |hop| upstreams.is_upstream(hop);
        let may = domain.backend().is_none() || replaced.hop.is_some_and(knows) && !knows(from);
        may.then_some((domain, replaced))
    }

    /// Where a request goes that a server behind sends to a Contact of ours, which stands for a device. None
    /// if the URI is no such Contact.
    pub(crate) fn to_contact(&self, uri: &Uri<'_>, now: Instant) -> Option<Result<Targets, Answer>> {
        if !self.may_be_signed(uri) {
            return None;
        }
        let device = rewritten_contact::read(self.tables.flow_tokens, uri)?;
        let target = targets::device(&self.tables, device, now);
        Some(target.map(|target| smallvec![target]).ok_or_else(|| Answer::of_status(480)))
    }

    /// Where a request goes that a server behind sends along a Path of ours. None if there is no Path of ours
    /// in it.
    fn along_path(
        &self,
        incoming: Incoming<'_>,
        state: &mut RequestState,
    ) -> Option<Result<Targets, Answer>> {
        let uri = incoming.request.routes().find_map(|(_, route)| {
            let route = route.ok()?;
            route.uri().ok().filter(|uri| uri.user().is_some())
        })?;
        match self.resolve_route(&uri, incoming, state) {
            RouteResolution::Flow(hop) => Some(Ok(smallvec![Target {
                hop,
                request_uri: None,
                routes: SmallVec::new(),
                q: 1000,
                alternatives: SmallVec::new(),
                when_gone: 430,
            }])),
            RouteResolution::Gone => Some(Err(Answer::of_status(430))),
            RouteResolution::Held
            | RouteResolution::Over
            | RouteResolution::Foreign
            | RouteResolution::Ours
            | RouteResolution::Domain
            | RouteResolution::Forged => None,
        }
    }
}

/// The answer to OPTIONS for the server itself, or for one domain of it (RFC 3261 §11.2).
fn about_ourselves(tables: &Tables<'_>, domain: Option<DomainRef<'_>>) -> Answer {
    let behind = match domain {
        Some(domain) => domain.backend().is_some(),
        None => tables.domains.have_backend(),
    };
    let keeper = if behind { Keeper::ServerBehind } else { Keeper::Nobody };
    event_state::allowing(Answer::new(200, "OK"), keeper)
        .header("Accept", "application/sdp")
        .header("Supported", sip_registrar::supported(tables.policy.gruu))
}
