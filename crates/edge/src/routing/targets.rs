//! How a user agent is reached: by one of its bindings, or as the new side of a call (Replaces).

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use identity::DomainRef;
use lifecycle::Transport;
use location::{Binding, SocketPeer};
use sip_message::{Scheme, Uri};
use sip_proxy::{Alternative, Answer, SAME_SERVER, Target};
use smallvec::{SmallVec, smallvec};
use upstream::{ExpectedPeer, Hop, same_family};

use crate::{
    BoundListener,
    routing::{
        flow_token::Device, gruu, own_contacts::Proxies, rewritten_contact, sender::Sender, tables::Tables,
    },
};

/// The targets of a user, or of the one instance that is called. Bindings of one `+sip.instance` are flows to
/// one user agent. They are tried in turn, since it must not get a request twice (RFC 5626 §5.3).
pub(crate) fn targets(
    tables: &Tables<'_>,
    aor: &str,
    instance: Option<&[u8]>,
    now: Instant,
) -> SmallVec<[Target<Hop>; 1]> {
    let location = tables.location();
    match instance {
        Some(instance) => grouped(tables, gruu::bindings(&location, aor, instance, now)),
        None => grouped(tables, location.bindings(aor, now)),
    }
}

fn grouped<'l>(
    tables: &Tables<'_>,
    bindings: impl Iterator<Item = &'l Binding<ledger::Reservation>>,
) -> SmallVec<[Target<Hop>; 1]> {
    let mut targets: SmallVec<[Target<Hop>; 1]> = SmallVec::new();
    let mut instances: SmallVec<[Option<&[u8]>; 8]> = SmallVec::new();
    let mut sockets = Sockets::default();
    for binding in bindings.filter(|binding| takes_requests(binding)) {
        let Some(mut target) = sockets.take(tables, binding, target(tables, binding)) else { continue };
        let instance = binding.instance();
        match instances.iter().position(|known| known.is_some() && *known == instance) {
            Some(at) => {
                targets[at].alternatives.push(flow(&mut target));
                targets[at].alternatives.append(&mut target.alternatives);
            }
            None => {
                instances.push(instance);
                targets.push(target);
            }
        }
    }
    targets
}

/// The target of a device that a server behind calls by a Contact of ours: the newest of its connections,
/// then the others. None if the device is not here.
pub(crate) fn device(tables: &Tables<'_>, device: Device, now: Instant) -> Option<Target<Hop>> {
    let location = tables.location();
    let mut sockets = Sockets::default();
    let mut found: Option<Target<Hop>> = None;
    let bindings = location.bindings_of_number(device.number, now);
    for binding in
        bindings.filter(|binding| rewritten_contact::device_of(tables.flow_tokens, binding) == device)
    {
        let Some(mut target) = sockets.take(tables, binding, target(tables, binding)) else { continue };
        match &mut found {
            Some(found) => {
                found.alternatives.push(flow(&mut target));
                found.alternatives.append(&mut target.alternatives);
            }
            None => found = Some(target),
        }
    }
    found
}

/// The hops that one request goes to. It goes to none of them twice, whatever Contacts lead there, except
/// that there may be several user agents behind a proxy.
#[derive(Default)]
struct Sockets(SmallVec<[Hop; 8]>);

impl Sockets {
    fn take(
        &mut self,
        tables: &Tables<'_>,
        binding: &Binding<ledger::Reservation>,
        mut target: Target<Hop>,
    ) -> Option<Target<Hop>> {
        let is_proxy = binding.socket_peer() == SocketPeer::Proxy
            && Proxies::of(tables.upstreams, Hop::of(binding)) == Proxies::Believed;
        if is_proxy {
            return Some(target);
        }
        if self.0.contains(&target.hop) {
            return None;
        }
        target.alternatives.retain(|other| match other {
            Alternative::Hop { hop, .. } | Alternative::Flow { hop, .. } => !self.0.contains(hop),
        });
        self.0.push(target.hop);
        self.0.extend(target.alternatives.iter().map(|other| match other {
            Alternative::Hop { hop, .. } | Alternative::Flow { hop, .. } => *hop,
        }));
        Some(target)
    }
}

/// A URI that is no SIP URI cannot be a Request-URI of ours. None is bound any more, but one may have been
/// kept from before.
fn takes_requests(binding: &Binding<ledger::Reservation>) -> bool {
    Uri::parse(binding.contact()).is_ok_and(|contact| contact.is_sip())
}

/// A target as another flow to the same user agent.
fn flow(target: &mut Target<Hop>) -> Alternative<Hop> {
    Alternative::Flow {
        hop: target.hop,
        request_uri: target.request_uri.take().unwrap_or_default(),
        routes: std::mem::take(&mut target.routes),
    }
}

/// The other hops to a binding, for when the ones before fail.
pub(crate) fn flows(
    tables: &Tables<'_>,
    binding: &Binding<ledger::Reservation>,
) -> impl Iterator<Item = Alternative<Hop>> + use<> {
    let Target { hop, request_uri, routes, alternatives, .. } = target(tables, binding);
    let request_uri = request_uri.unwrap_or_default();
    std::iter::once(Alternative::Flow { hop, request_uri, routes }).chain(alternatives)
}

/// The target of a binding.
fn target(tables: &Tables<'_>, binding: &Binding<ledger::Reservation>) -> Target<Hop> {
    let (hop, alternatives) = match wants_tcp(tables, binding) {
        Some(peer) => (peer, smallvec![Alternative::Hop { hop: Hop::of(binding), server: SAME_SERVER }]),
        None => (Hop::of(binding), SmallVec::new()),
    };
    Target {
        hop,
        request_uri: Some(binding.contact().into()),
        routes: binding.path().map(Box::from).into_iter().collect(),
        q: binding.q().unwrap_or(1000),
        alternatives,
        when_gone: 480,
    }
}

/// How long a user agent may be silent on one flow before another of its flows is tried: as long as it may
/// leave a ping unanswered there.
pub(crate) fn patience(tables: &Tables<'_>, hop: Hop) -> Option<Duration> {
    match hop {
        Hop::Flow(_) | Hop::Udp { .. } => tables.listener(hop.listener()).map(BoundListener::pong_timeout),
        Hop::Peer { .. } => None,
    }
}

/// The target of the side of a call that another takes the place of.
pub(crate) fn in_its_place(
    tables: &Tables<'_>,
    replaced: sip_dialog::Replaced<Hop>,
    now: Instant,
) -> Result<SmallVec<[Target<Hop>; 1]>, Answer> {
    let sip_dialog::Replaced { hop, target, routes, aor: _ } = replaced;
    let hop = hop.ok_or_else(|| Answer::of_status(480))?;
    let contact = gruu::target(tables, &target, hop, now).and_then(|target| target.request_uri);
    Ok(smallvec![Target {
        hop,
        request_uri: contact.or(Some(target)),
        routes: Some(routes).filter(|routes| !routes.is_empty()).into_iter().collect(),
        q: 1000,
        alternatives: SmallVec::new(),
        when_gone: 480,
    }])
}

/// The answer if the user is not registered. Users of the domain learn whether there is such a user (404 or
/// 480). For others all users who are away look alike (480).
pub(crate) fn nobody_there(domain: DomainRef<'_>, uri: &Uri<'_>, sender: &Sender<'_>) -> Answer {
    if !sender.is_at_home_in(domain) {
        return Answer::of_status(480);
    }
    let user = uri.unescaped_user();
    let known = user
        .as_deref()
        .and_then(|user| std::str::from_utf8(user).ok())
        .is_some_and(|user| domain.may_have(user));
    if known { Answer::of_status(480) } else { Answer::new(404, "Not Found") }
}

/// The hop to a phone that has registered over UDP and whose Contact asks for TCP. We connect only to the
/// address that the registration came from.
fn wants_tcp(tables: &Tables<'_>, binding: &Binding<ledger::Reservation>) -> Option<Hop> {
    let Hop::Udp { remote, .. } = Hop::of(binding) else { return None };
    let contact = Uri::parse(binding.contact()).ok()?;
    let by_tcp = contact.scheme() == Scheme::Sip && contact.transport() == Some(sip_message::Transport::Tcp);
    if !by_tcp || contact.host()?.ip()? != remote.ip() {
        return None;
    }
    let fits = |bound: &BoundListener| {
        bound.transport == Transport::Tcp && same_family(bound.local.ip(), remote.ip())
    };
    let listener = (0..).zip(tables.listeners).find(|(_, bound)| fits(bound))?.0;
    let remote = SocketAddr::new(remote.ip(), contact.port().unwrap_or(5060));
    Some(Hop::Peer { listener, proves: ExpectedPeer::NOTHING, remote })
}
