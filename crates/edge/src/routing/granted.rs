//! What a registrar behind has granted. Its 2xx proves that it obeyed the REGISTER, however it lists the
//! Contacts: registrars rewrite hosts (NAT handling), drop or reorder parameters, and some list nothing.

use sip_message::{Contact, HeaderId, Message, NameAddr, Rewrite, Uri};
use smallvec::SmallVec;

use crate::routing::{
    backend::{Registrar, contact_values},
    flow_token::{Device, FlowTokens},
    rewritten_contact,
};

/// Seconds that a registration lasts if nobody says how long (RFC 3261 §10.2.1.1).
const USUAL: u32 = 3600;

/// A REGISTER as it was granted.
#[derive(Debug)]
pub(crate) struct Granted {
    /// With each Contact that was forwarded, and the time that it has.
    pub(crate) request: Vec<u8>,
    /// The longest of them, in seconds.
    pub(crate) longest: u32,
}

/// One Contact of the answer.
struct GrantedContact<'m> {
    uri: Option<Uri<'m>>,
    device: Option<Device>,
    address: NameAddr<'m>,
}

/// The grant. None for a query, which changes nothing.
pub(crate) fn granted(
    tokens: &FlowTokens,
    registrar: Registrar,
    aor: &str,
    (request, left_out): (&Message<'_>, &[bool]),
    response: &Message<'_>,
) -> Option<Granted> {
    if request.contacts().any(|(_, contact)| matches!(contact, Ok(Contact::Star))) {
        return Some(Granted { request: request.bytes().to_vec(), longest: 0 });
    }
    let listed: SmallVec<[GrantedContact<'_>; 4]> = contact_values(response)
        .map(|(_, address, _)| {
            let uri = address.uri().ok();
            let device = uri.as_ref().and_then(|uri| rewritten_contact::read(tokens, uri));
            GrantedContact { uri, device, address }
        })
        .collect();
    let overall = response.expires().ok().flatten();
    let forwarded = || contact_values(request).filter(|(at, ..)| left_out.get(*at) != Some(&true));
    let only_one = forwarded().filter(|(_, _, own)| *own != Some(0)).count() == 1;
    let mut longest = None;
    let mut values = Vec::new();
    for (_, address, own) in forwarded() {
        let lasts = if own == Some(0) {
            0
        } else {
            let device = registrar.device(tokens, aor, &address);
            let given = find(&listed, &address, device, only_one).and_then(|listed| listed.address.expires());
            given.or(overall).or(own).unwrap_or(USUAL)
        };
        longest = longest.max(Some(lasts));
        if !values.is_empty() {
            values.extend_from_slice(b", ");
        }
        values.push(b'<');
        values.extend_from_slice(address.uri_bytes());
        values.push(b'>');
        for param in address.params().iter().filter(|param| !param.name.eq_ignore_ascii_case(b"expires")) {
            values.push(b';');
            values.extend_from_slice(param.bytes);
        }
        values.extend_from_slice(format!(";expires={lasts}").as_bytes());
    }
    let longest = longest?;
    let mut rewrite = Rewrite::new(request);
    rewrite.remove(HeaderId::Contact);
    rewrite.append(HeaderId::Contact.name(), &values);
    let mut out = Vec::new();
    rewrite.write(&mut out).ok()?;
    Some(Granted { request: out, longest })
}

/// The Contact of the answer that is one of the request's.
fn find<'l, 'm>(
    listed: &'l [GrantedContact<'m>],
    address: &NameAddr<'_>,
    device: Device,
    only_one: bool,
) -> Option<&'l GrantedContact<'m>> {
    let uri = address.uri().ok();
    let one = |so: &dyn Fn(&GrantedContact<'_>) -> bool| listed.iter().find(|listed| so(listed));
    let alone = |so: &dyn Fn(&GrantedContact<'_>) -> bool| {
        one(so).filter(|_| listed.iter().filter(|l| so(l)).count() == 1)
    };
    let same_instance = |listed: &GrantedContact<'_>| {
        let (own, given) = (address.reg_id(), listed.address.reg_id());
        let instance = address.instance().filter(|instance| !instance.is_empty());
        instance.is_some()
            && listed.address.instance() == instance
            && own.zip(given).is_none_or(|(own, given)| own == given)
    };
    let user = |uri: &Uri<'_>| uri.unescaped_user();
    one(&|listed| listed.device == Some(device))
        .or_else(|| one(&|listed| uri.is_some_and(|uri| listed.uri.is_some_and(|listed| listed.same(&uri)))))
        .or_else(|| one(&same_instance))
        .or_else(|| {
            let wanted = user(&uri?)?;
            alone(&|listed| {
                listed.device.is_none()
                    && listed.uri.is_some_and(|uri| user(&uri).is_some_and(|user| user == wanted))
            })
        })
        .or_else(|| alone(&|_| true).filter(|_| only_one))
}
