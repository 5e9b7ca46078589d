//! Domains with a server behind: where requests for them go, and how a REGISTER is handled if their users
//! register there.

use config::Registration;
use identity::{DomainRef, Domains};
use location::Binding;
use metrics::Count;
use sip_message::{Contact, Host, Message, NameAddr};
use sip_proxy::{Alternative, Answer, Contacts, Target};
use smallvec::{SmallVec, smallvec};
use upstream::{Hop, Number, Unserved, whole_seconds};

use crate::routing::{
    Routing, Targets,
    flow_lookup::FlowLookup,
    flow_token::{Device, FlowTokens},
    own_contacts::{Most, Source, left_out},
    rewritten_contact,
    tables::Tables,
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
    let Some((&(hop, _), alternatives)) = ways.split_first() else { return Err(Answer::of_status(503)) };
    Ok(smallvec![Target {
        hop,
        request_uri: None,
        routes: SmallVec::new(),
        q: 1000,
        alternatives: alternatives.iter().map(|&(hop, server)| Alternative::Hop { hop, server }).collect(),
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
        if !upstreams.is_upstream(from) && !registers_itself(request) {
            return Err(Answer::new(403, "Not Your Address"));
        }
        left_out(request, Source::of(self.flows, upstreams, from), Most::One)?;
        upstream_targets(&self.tables, upstream, request)
    }

    /// Appends the Contact values of a REGISTER as its registrar is to see them.
    pub(crate) fn write_contacts(&self, request: &Message<'_>, from: Hop, out: &mut Vec<u8>) -> Contacts {
        let tables = &self.tables;
        let registrar = Registrar::for_request(tables.domains, request);
        let (Some(registrar), Ok(aor)) = (registrar, sip_registrar::address_of_record(request)) else {
            return Contacts::AsTheyAre;
        };
        if contact_values(request).next().is_none() {
            return Contacts::AsTheyAre;
        }
        let left_out =
            left_out(request, Source::of(self.flows, tables.upstreams, from), Most::One).unwrap_or_default();
        if registrar.by != Registration::Path {
            return match rewritten_contact::write_all(tables, registrar, (request, &left_out), &aor, out) {
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

    /// The devices that a REGISTER is for, as its registrar knows them.
    pub(crate) fn devices(
        &self,
        registrar: Registrar,
        request: &Message<'_>,
        from: Hop,
    ) -> SmallVec<[Device; 1]> {
        let Ok(aor) = sip_registrar::address_of_record(request) else { return SmallVec::new() };
        let left_out = left_out(request, Source::of(self.flows, self.tables.upstreams, from), Most::One)
            .unwrap_or_default();
        let forwarded = contact_values(request).filter(|(at, ..)| left_out.get(*at) != Some(&true));
        let mut devices: SmallVec<[Device; 1]> = SmallVec::new();
        for (_, address, _) in forwarded.take(sip_registrar::CONTACT_VALUES) {
            let device = registrar.device(self.tables.flow_tokens, &aor, &address);
            if !devices.contains(&device) {
                devices.push(device);
            }
        }
        devices
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
}
