//! How a user agent is reached: at one of its bindings, or in a call that another takes the place of.

use std::net::SocketAddr;

use lifecycle::Transport;
use location::Binding;
use sip_message::{Scheme, Uri};
use sip_proxy::{Answer, Target};
use smallvec::{SmallVec, smallvec};

use crate::{
    Bound,
    calls::hop_of,
    hop::{Hop, Proves},
    shared::Shared,
    upstream::same_family,
};

/// The way to a binding.
pub(crate) fn target(shared: &Shared, binding: &Binding<ledger::Reservation>) -> Target<Hop> {
    let (hop, others) = match wants_tcp(shared, binding) {
        Some(peer) => (peer, std::iter::once(hop_of(binding)).collect()),
        None => (hop_of(binding), SmallVec::new()),
    };
    Target {
        hop,
        request_uri: Some(binding.contact().into()),
        routes: binding.path().map(Box::from).into_iter().collect(),
        q: binding.q().unwrap_or(1000),
        others,
        when_gone: 480,
    }
}

/// The way to whoever has a call that another takes the place of.
pub(crate) fn in_its_place(
    replaced: sip_dialog::Replaced<Hop>,
) -> Result<SmallVec<[Target<Hop>; 1]>, Answer> {
    let sip_dialog::Replaced { hop, target, routes, aor: _ } = replaced;
    let hop = hop.ok_or_else(|| Answer::of_status(480))?;
    Ok(smallvec![Target {
        hop,
        request_uri: Some(target),
        routes: Some(routes).filter(|routes| !routes.is_empty()).into_iter().collect(),
        q: 1000,
        others: SmallVec::new(),
        when_gone: 480,
    }])
}

/// The way to a phone that has registered over UDP and says in its Contact that it wants to be reached by TCP. We connect to nobody
/// but to where the registration came from.
fn wants_tcp(shared: &Shared, binding: &Binding<ledger::Reservation>) -> Option<Hop> {
    let Hop::Udp { remote, .. } = hop_of(binding) else { return None };
    let contact = Uri::parse(binding.contact()).ok()?;
    let by_tcp = contact.scheme() == Scheme::Sip && contact.transport() == Some(sip_message::Transport::Tcp);
    if !by_tcp || contact.host()?.ip()? != remote.ip() {
        return None;
    }
    let fits =
        |bound: &Bound| bound.transport == Transport::Tcp && same_family(bound.local.ip(), remote.ip());
    let listener = (0..).zip(&shared.listeners).find(|(_, bound)| fits(bound))?.0;
    let remote = SocketAddr::new(remote.ip(), contact.port().unwrap_or(5060));
    Some(Hop::Peer { listener, proves: Proves::NOTHING, remote })
}
