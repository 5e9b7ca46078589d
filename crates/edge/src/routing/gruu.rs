//! Public GRUUs of ours (RFC 5627): which user agent a GRUU names, and how it is reached. User agents use
//! their GRUU as the Contact of a dialog, so it is the Request-URI of the requests within.

use std::time::Instant;

use identity::DomainRef;
use location::{Binding, Location};
use sip_message::{Message, Uri};
use sip_proxy::Target;
use sip_registrar::Gruu;
use smallvec::SmallVec;
use upstream::{Hop, same_peer};

use crate::routing::{tables::Tables, targets};

type Bindings = Location<ledger::Reservation>;

/// The instance that a URI of a domain names. A registrar behind us resolves its own.
pub(crate) fn instance(
    tables: &Tables<'_>,
    domain: DomainRef<'_>,
    uri: &Uri<'_>,
) -> Option<SmallVec<[u8; 64]>> {
    if tables.policy.gruu == Gruu::Off || domain.registrar().is_some() {
        return None;
    }
    uri.unescaped_gr()
}

/// The bindings of that instance, in order of preference. An instance in another case is the same one, unless
/// there is one that is written exactly so (RFC 3261 §19.1.4, RFC 4122 §3).
pub(crate) fn bindings<'l>(
    location: &'l Bindings,
    aor: &'l str,
    instance: &[u8],
    now: Instant,
) -> impl Iterator<Item = &'l Binding<ledger::Reservation>> {
    let find = |same: fn(&[u8], &[u8]) -> bool| {
        location.bindings(aor, now).filter_map(Binding::instance).find(|known| same(known, instance))
    };
    let meant = find(|one, other| one == other).or_else(|| find(<[u8]>::eq_ignore_ascii_case));
    location.bindings(aor, now).filter(move |binding| meant.is_some() && binding.instance() == meant)
}

/// The address-of-record and the instance of a GRUU of ours.
fn read(tables: &Tables<'_>, uri: &[u8]) -> Option<(String, SmallVec<[u8; 64]>)> {
    // Very few requests have one.
    if tables.policy.gruu == Gruu::Off || !uri.windows(4).any(|part| part.eq_ignore_ascii_case(b";gr=")) {
        return None;
    }
    let uri = Uri::parse(uri).ok()?;
    let instance = instance(tables, tables.domains.find(&uri.host()?)?, &uri)?;
    Some((uri.address_of_record()?, instance))
}

/// Whether a request is for a user agent that is registered now.
pub(crate) fn is_there(tables: &Tables<'_>, request: &Message<'_>, now: Instant) -> bool {
    let Some((aor, instance)) = request.request_uri_bytes().and_then(|uri| read(tables, uri)) else {
        return false;
    };
    bindings(&tables.location(), &aor, &instance, now).next().is_some()
}

/// The target of a user agent that is called by its GRUU and reached by a hop. It has the Contact of that
/// hop, and its other flows for when the hop is gone.
pub(crate) fn target(tables: &Tables<'_>, uri: &[u8], hop: Hop, now: Instant) -> Option<Target<Hop>> {
    let (aor, instance) = read(tables, uri)?;
    let (mut request_uri, mut alternatives) = (None, SmallVec::new());
    for binding in bindings(&tables.location(), &aor, &instance, now) {
        if same_peer(Hop::of(binding), hop) {
            request_uri = Some(binding.contact().into());
        } else {
            alternatives.extend(targets::flows(tables, binding));
        }
    }
    Some(Target { hop, request_uri, routes: SmallVec::new(), q: 1000, alternatives, when_gone: 480 })
}

/// Whether a Contact of a REGISTER is a GRUU of the same user, which would lead back here (RFC 5627 §5.1).
pub(crate) fn is_registered(tables: &Tables<'_>, request: &Message<'_>, aor: &str) -> bool {
    request.contacts().any(|(_, contact)| match contact {
        Ok(sip_message::Contact::Addr(contact)) => {
            read(tables, contact.uri_bytes()).is_some_and(|(whose, _)| whose == aor)
        }
        Ok(sip_message::Contact::Star) | Err(_) => false,
    })
}
