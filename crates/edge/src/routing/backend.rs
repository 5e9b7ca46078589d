//! Domains with a server behind: where requests for it go, and how a REGISTER is handled if the users
//! register there.

use std::time::Instant;

use config::{Registration, ReplacedFlow, Unregister};
use identity::{DomainRef, Domains};
use location::{Binding, Register};
use metrics::Count;
use sip_message::{Contact, Host, Message, NameAddr, Uri};
use sip_proxy::{Answer, Contacts, Other, Target};
use smallvec::{SmallVec, smallvec};
use state::{Changed, clock};
use upstream::{FlowNumber, Hop, Number, Unserved, whole_seconds};

use crate::{
    rate_limits::too_many,
    registrations::{Held, Registering},
    routing::{
        Routing, Targets,
        flow_lookup::FlowLookup,
        flow_token::{Device, FlowTokens},
        granted::{Granted, granted},
        own_contacts::{Most, Source, left_out},
        register::{Origin, REPLACED},
        rewritten_contact,
        tables::Tables,
        targets,
    },
    shard::Shard,
    unregister::{send_all, take_back},
};

/// Seconds after which a client may try again if no server is known. Names are looked up as often.
const LOOK_AGAIN: &str = "2";

/// Where requests for an upstream go.
///
/// # Errors
/// No name of it has ever led to a server, or none of its servers answers probes: 503, with `Retry-After`.
pub(crate) fn upstream_targets(
    tables: &Tables<'_>,
    upstream: Number,
    request: &Message<'_>,
) -> Result<Targets, Answer> {
    let length = request.bytes().len();
    let asked = tables.upstreams.get(upstream).map(|upstream| upstream.ways(length));
    let ways = match asked.unwrap_or(Err(Unserved::NotFound)) {
        Ok(ways) => ways,
        Err(Unserved::NotFound) => {
            tables.metrics.add(Count::UpstreamsUnknown);
            return Err(Answer::new(503, "Server Not Found Yet").header("Retry-After", LOOK_AGAIN));
        }
        Err(Unserved::Silent(again)) => {
            tables.metrics.add(Count::UpstreamsSilent);
            let again = whole_seconds(again).to_string();
            return Err(Answer::new(503, "Server Does Not Answer").header("Retry-After", again));
        }
    };
    let Some((&(hop, _), others)) = ways.split_first() else { return Err(Answer::of_status(503)) };
    Ok(smallvec![Target {
        hop,
        request_uri: None,
        routes: SmallVec::new(),
        q: 1000,
        others: others.iter().map(|&(hop, server)| Other::Hop { hop, server }).collect(),
        when_gone: 503,
    }])
}

impl<F: FlowLookup> Routing<'_, F> {
    /// Where a REGISTER goes for users who register at an upstream.
    ///
    /// # Errors
    /// 404 if To names no user of the domain, and 403 if the sender may not register that user.
    pub(crate) fn forward_register(
        &self,
        upstream: Number,
        request: &Message<'_>,
        from: Hop,
    ) -> Result<Targets, Answer> {
        let to = request.to().ok().and_then(|to| to.uri().ok());
        let asked = request.request_uri().ok().and_then(|uri| uri.host());
        let home = to.filter(|to| to.is_sip()).and_then(|to| to.host());
        if !home.zip(asked).is_some_and(|(home, asked): (Host<'_>, Host<'_>)| home.same(&asked)) {
            return Err(Answer::new(404, "Not A User Of This Domain"));
        }
        let upstreams = self.tables.upstreams;
        if !upstreams.knows(from) && !registers_itself(request) {
            return Err(Answer::new(403, "Not Your Address"));
        }
        left_out(request, Source::of(self.flows, upstreams, from), Most::One)?;
        upstream_targets(&self.tables, upstream, request)
    }
}

/// Whether From and To name the same user. RFC 3261 §10.2 lets one user register another, and PBXs choose by
/// From whose rules hold. With the name of a trunk that needs no password, a client could register or
/// unregister anybody.
fn registers_itself(request: &Message<'_>) -> bool {
    let from = request.from().ok().and_then(|from| from.uri().ok()?.address_of_record());
    from.is_some() && from == request.to().ok().and_then(|to| to.uri().ok()?.address_of_record())
}

/// The Contact values of a REGISTER or of its answer, by their places, with the seconds that each asks for or
/// has. Without `*` and malformed values.
pub(crate) fn contact_values<'m>(
    message: &Message<'m>,
) -> impl Iterator<Item = (usize, NameAddr<'m>, Option<u32>)> {
    let overall = message.expires().ok().flatten();
    message.contacts().enumerate().filter_map(move |(at, (_, contact))| match contact {
        Ok(Contact::Addr(address)) => Some((at, address, address.expires().or(overall))),
        Ok(Contact::Star) | Err(_) => None,
    })
}

/// Whether a Contact of a REGISTER is to be removed.
pub(crate) fn is_taken_back(request: &Message<'_>, address: &NameAddr<'_>) -> bool {
    address.expires().or(request.expires().ok().flatten()) == Some(0)
}

/// Appends the Contact values of a REGISTER as its registrar is to see them.
pub(crate) fn write_contacts(shard: &Shard, request: &Message<'_>, from: Hop, out: &mut Vec<u8>) -> Contacts {
    let shared = &*shard.shared;
    let registrar = Registrar::for_request(&shared.domains, request);
    let (Some(registrar), Ok(aor)) = (registrar, sip_registrar::address_of_record(request)) else {
        return Contacts::AsTheyAre;
    };
    if contact_values(request).next().is_none() {
        return Contacts::AsTheyAre;
    }
    let left_out =
        left_out(request, Source::of(shard, &shard.shared.upstreams, from), Most::One).unwrap_or_default();
    if registrar.by != Registration::Path {
        return match rewritten_contact::write_all(
            &shared.tables(),
            registrar,
            (request, &left_out),
            &aor,
            out,
        ) {
            true => Contacts::These,
            false => Contacts::AsTheyAre,
        };
    }
    if !left_out.contains(&true) {
        return Contacts::AsTheyAre;
    }
    for ((value, _), _) in request.contacts().zip(&left_out).filter(|(_, left_out)| !**left_out) {
        if !out.is_empty() {
            out.extend_from_slice(b", ");
        }
        out.extend_from_slice(value.bytes);
    }
    Contacts::These
}

/// A REGISTER is about to be forwarded. From here on it is known what it may leave behind at the registrar.
pub(crate) fn registering(shard: &Shard, request: &Message<'_>, from: Hop) -> Option<Registering> {
    let shared = &shard.shared;
    let registrar = Registrar::for_request(&shared.domains, request)?;
    // If the registrar sees Contacts of ours, a request to one of them waits for the REGISTER that is under
    // way.
    let takes_back = shared.upstreams.get(registrar.upstream)?.unregister == Unregister::AtClose;
    if !takes_back && registrar.by == Registration::Path {
        return None;
    }
    Some(Registering::new(shared, registrar.devices(shard, request, from)))
}

/// The un-REGISTER of ours that a REGISTER must wait for: one for the same registration that is under way.
pub(crate) fn held(shard: &Shard, request: &Message<'_>, from: Hop) -> Option<Held> {
    let shared = &*shard.shared;
    let registrar = Registrar::for_request(&shared.domains, request)?;
    shared.registrations.hold(&registrar.devices(shard, request, from))
}

/// The REGISTER that a request must wait for: that of the device it is for, if the device is not registered
/// yet.
pub(crate) fn held_call(shard: &Shard, request: &[u8]) -> Option<Held> {
    let shared = &*shard.shared;
    let mut words = request.split(|byte| *byte == b' ');
    let uri = Uri::parse(words.nth(1)?).ok()?;
    let device = rewritten_contact::read(&shared.flow_tokens, &uri)?;
    if targets::device(&shared.tables(), device, Instant::now()).is_some() {
        return None;
    }
    shared.registrations.hold_call(device)
}

/// The registrar has accepted a REGISTER. The same bindings are made here, so that they end with their
/// connection.
pub(crate) fn registered(
    shard: &Shard,
    domain: DomainRef<'_>,
    request: &Message<'_>,
    from: Hop,
    response: &Message<'_>,
    now: Instant,
) {
    let shared = &*shard.shared;
    shared.metrics.add(Count::RegistersAccepted);
    let (Some(registrar), Ok(aor)) = (Registrar::of(domain), sip_registrar::address_of_record(request))
    else {
        return;
    };
    let left_out =
        left_out(request, Source::of(shard, &shard.shared.upstreams, from), Most::One).unwrap_or_default();
    let granted = granted(&shared.flow_tokens, registrar, &aor, (request, &left_out), response);
    let Some(Granted { request: granted, longest }) = granted else { return };
    let Ok(request) = &Message::parse(&granted) else { return };
    let Some(Origin { way, transport, remote, flow }) = Origin::of(shard, from) else {
        return take_back(shared, registrar, request, &aor);
    };
    // The registrar decides what may be registered and for how long. The bound of the whole table still
    // holds.
    let policy = sip_registrar::Policy {
        min_expires: 0,
        shorter: sip_registrar::Shorter::Raised,
        max_expires: u32::MAX,
        default_expires: longest,
        max_contacts: u32::MAX,
        gruu: sip_registrar::Gruu::Off,
    };
    let register = Register { request, aor: &aor, way, transport, remote, identity: Some(&aor) };
    let times = (now, clock::micros());
    let mut left = Vec::new();
    let heed = |changed: Changed<'_>| {
        shared.calls_heed(&changed, from);
        if let Changed::Replaced(old, _) = changed {
            left.extend(registrar.left_by(shared, old, (request, response)));
        }
    };
    let done =
        shared.state.register_and_tell(&register, flow.as_deref(), &policy, times, &mut Vec::new(), heed);
    send_all(shared, left);
    match done {
        Ok(flows_left) => {
            if shared.replaced_flow == ReplacedFlow::Close {
                for flow in flows_left {
                    let ending =
                        lifecycle::Ending::of(lifecycle::Cause::Replaced).code(1000).reason(REPLACED);
                    shard.end_flow(FlowNumber(flow.counter), ending);
                }
            }
            // A client that removes a binding has proved nothing: a registrar may let anybody do that.
            if longest == 0 {
                return;
            }
            shard.proved(from);
            if let Some(number) = shard.flow_of(from) {
                shard.identify(number, &aor);
                // Its registrar has let it in, so its connection ends with a reason.
                if shard.belongs_to(from, &aor).is_err() {
                    shard.end_flow(number, too_many());
                }
            }
        }
        // Nobody would remove it when its connection ends.
        Err(error) => {
            tracing::debug!(%aor, %error, "a registration at the backend is not kept here");
            take_back(shared, registrar, request, &aor);
        }
    }
}

/// Where the users of a domain register, and by what the registrar knows them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registrar {
    pub(crate) upstream: Number,
    pub(crate) by: Registration,
}

impl Registrar {
    pub(crate) fn of(domain: DomainRef<'_>) -> Option<Self> {
        Some(Self { upstream: domain.registrar()?, by: domain.registration()? })
    }

    /// The one that a REGISTER is for.
    pub(crate) fn for_request(domains: &Domains, request: &Message<'_>) -> Option<Self> {
        Self::of(domains.find(&request.request_uri().ok()?.host()?)?)
    }

    /// Which registration a Contact is at the registrar. If the registrar sees Contacts of ours, each device
    /// has one.
    pub(crate) fn device(self, tokens: &FlowTokens, aor: &str, address: &NameAddr<'_>) -> Device {
        self.device_by(tokens, aor, address.instance(), address.reg_id(), address.uri_bytes())
    }

    /// The same of a binding.
    pub(crate) fn device_of<R>(self, tokens: &FlowTokens, binding: &Binding<R>) -> Device {
        self.device_by(tokens, binding.aor(), binding.instance(), binding.reg_id(), binding.contact())
    }

    fn device_by(
        self,
        tokens: &FlowTokens,
        aor: &str,
        instance: Option<&[u8]>,
        reg_id: Option<u32>,
        contact: &[u8],
    ) -> Device {
        let key = match (self.by, instance.zip(reg_id)) {
            // The registrar knows flows apart, or else Contacts.
            (Registration::Path, Some((instance, reg_id))) => {
                [b"f", &reg_id.to_be_bytes()[..], instance].concat().into()
            }
            (Registration::Path, None) => rewritten_contact::key_of_uri(contact),
            _ => rewritten_contact::key(instance, contact),
        };
        tokens.device(aor, &key)
    }

    /// The devices that a REGISTER is for.
    fn devices(self, shard: &Shard, request: &Message<'_>, from: Hop) -> SmallVec<[Device; 1]> {
        let Ok(aor) = sip_registrar::address_of_record(request) else { return SmallVec::new() };
        let left_out = left_out(request, Source::of(shard, &shard.shared.upstreams, from), Most::One)
            .unwrap_or_default();
        let forwarded = contact_values(request).filter(|(at, ..)| left_out.get(*at) != Some(&true));
        let mut devices: SmallVec<[Device; 1]> = SmallVec::new();
        for (_, address, _) in forwarded.take(sip_registrar::CONTACT_VALUES) {
            let device = self.device(&shard.shared.flow_tokens, &aor, &address);
            if !devices.contains(&device) {
                devices.push(device);
            }
        }
        devices
    }
}
