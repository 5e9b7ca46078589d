//! Contacts of ours that stand for those of user agents, for registrars that send calls along no Path:
//! `sip:TOKEN@here`. The token names a device of an address-of-record. How the device is reached is looked up
//! when it is called. So a device has the same Contact over any number of connections and after a restart,
//! and nothing is kept but its binding.
//!
//! A device is known by its `+sip.instance`. Without one it is known by its whole Contact URI, since two
//! phones of a user may have the same user part. A browser's page without an instance invents its host and
//! user, so another page is another device.

use std::time::Instant;

use location::Binding;
use sip_message::{Contact, Message, NameAddr, Scheme, Uri};
use smallvec::SmallVec;
use upstream::Number;

use crate::routing::{
    backend::{Registrar, contact_values},
    flow_token::{Device, FlowTokens},
    tables::Tables,
};

/// The key of a device among those of one address-of-record.
pub(crate) fn key(instance: Option<&[u8]>, contact: &[u8]) -> SmallVec<[u8; 128]> {
    match instance.filter(|instance| !instance.is_empty()) {
        Some(instance) => [b"i", instance].concat().into(),
        None => key_of_uri(contact),
    }
}

/// The part of a URI that is the same in all forms of one Contact. Parameters that need not stand in both
/// forms (RFC 3261 §19.1.4) are left out.
pub(crate) fn key_of_uri(contact: &[u8]) -> SmallVec<[u8; 128]> {
    let mut key = SmallVec::from_slice(b"u");
    let Ok(uri) = Uri::parse(contact) else {
        key.extend_from_slice(contact);
        return key;
    };
    let mut part = |bytes: &[u8]| {
        key.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
        key.extend_from_slice(bytes);
    };
    match (uri.scheme(), uri.host()) {
        (scheme @ (Scheme::Sip | Scheme::Sips), Some(host)) => {
            part(if scheme == Scheme::Sips { b"sips" } else { b"sip" });
            part(&uri.unescaped_user().unwrap_or_default());
            part(host.to_string().to_ascii_lowercase().as_bytes());
            part(&uri.port().unwrap_or(0).to_be_bytes());
            for name in [&b"transport"[..], b"maddr", b"user"] {
                let value = uri.param(name).and_then(|param| param.value).unwrap_or_default();
                part(&value.to_ascii_lowercase());
            }
        }
        _ => part(contact),
    }
    key
}

/// Appends the URI that stands for a device. False if there is no server that could call it.
pub(crate) fn write(tables: &Tables<'_>, upstream: Number, device: Device, out: &mut Vec<u8>) -> bool {
    let listener = tables.upstreams.get(upstream).and_then(|upstream| upstream.advertised_listener());
    let Some(bound) = listener.and_then(|number| tables.listeners.get(usize::from(number))) else {
        return false;
    };
    out.extend_from_slice(b"sip:");
    tables.flow_tokens.write_device(device, out);
    out.extend_from_slice(bound.route_end.strip_suffix(b";lr>").unwrap_or(&bound.route_end));
    true
}

/// The device that a URI of ours stands for. The caller must check that its host may be ours.
pub(crate) fn read(tokens: &FlowTokens, uri: &Uri<'_>) -> Option<Device> {
    tokens.read_device(uri.user()?)
}

/// The device of a binding, as a registrar with Contacts of ours knows it.
pub(crate) fn device_of<R>(tokens: &FlowTokens, binding: &Binding<R>) -> Device {
    tokens.device(binding.aor(), &key(binding.instance(), binding.contact()))
}

/// Appends the Contact values of a REGISTER as the registrar is to see them: ours in place of the user
/// agents', which have no flow to the registrar. Each device has one Contact. If a REGISTER has several of
/// one device, the one that is to stay counts. A Contact that is to be removed stays if the device is here by
/// another connection. False if they cannot be written.
pub(crate) fn write_all(
    tables: &Tables<'_>,
    registrar: Registrar,
    (request, left_out): (&Message<'_>, &[bool]),
    aor: &str,
    out: &mut Vec<u8>,
) -> bool {
    let mut written: SmallVec<[Device; 2]> = SmallVec::new();
    for stays in [true, false] {
        for (at, address, expires) in contact_values(request) {
            if left_out.get(at) == Some(&true) || (expires != Some(0)) != stays {
                continue;
            }
            let device = registrar.device(tables.flow_tokens, aor, &address);
            if written.contains(&device) || (!stays && is_elsewhere(tables, device, &address)) {
                continue;
            }
            written.push(device);
            if !out.is_empty() {
                out.extend_from_slice(b", ");
            }
            out.push(b'<');
            if !write(tables, registrar.upstream, device, out) {
                out.clear();
                return false;
            }
            out.push(b'>');
            write_params(&address, out);
        }
    }
    true
}

/// Whether a device is bound under another Contact than this one, which another connection of it has
/// registered.
fn is_elsewhere(tables: &Tables<'_>, device: Device, address: &NameAddr<'_>) -> bool {
    let uri = address.uri().ok();
    let pair = address.instance().zip(address.reg_id());
    let location = tables.location();
    location.bindings_of_number(device.number, Instant::now()).any(|binding| {
        let same_pair = pair.is_some() && binding.instance().zip(binding.reg_id()) == pair;
        let same_uri = uri.is_some_and(|uri| Uri::parse(binding.contact()).is_ok_and(|own| own.same(&uri)));
        !same_pair && !same_uri && device_of(tables.flow_tokens, binding) == device
    })
}

/// Appends the Contact values of a registrar's answer as the user agent is to see them. Appends nothing if
/// none of them is ours.
pub(crate) fn restore_all(
    tables: &Tables<'_>,
    registrar: Registrar,
    (request, response): (&Message<'_>, &Message<'_>),
    out: &mut Vec<u8>,
) {
    let Ok(aor) = sip_registrar::address_of_record(request) else { return };
    let mut any = false;
    for (value, contact) in response.contacts() {
        if !out.is_empty() {
            out.extend_from_slice(b", ");
        }
        let restored = match contact {
            Ok(Contact::Addr(address)) => {
                original(tables, registrar, request, &aor, &address).map(|own| (own, address))
            }
            Ok(Contact::Star) | Err(_) => None,
        };
        match restored {
            Some((own, address)) => {
                any = true;
                out.push(b'<');
                out.extend_from_slice(&own);
                out.push(b'>');
                write_params(&address, out);
            }
            None => out.extend_from_slice(value.bytes),
        }
    }
    if !any {
        out.clear();
    }
}

/// The user agent's own Contact URI behind one of the registrar's list: as this REGISTER names it, or as it
/// is bound.
fn original(
    tables: &Tables<'_>,
    registrar: Registrar,
    request: &Message<'_>,
    aor: &str,
    listed: &NameAddr<'_>,
) -> Option<Vec<u8>> {
    let device = read(tables.flow_tokens, &listed.uri().ok()?)?;
    let asked = contact_values(request).find(|(_, address, expires)| {
        *expires != Some(0) && registrar.device(tables.flow_tokens, aor, address) == device
    });
    if let Some((_, address, _)) = asked {
        return Some(address.uri_bytes().to_vec());
    }
    let location = tables.location();
    let mut bindings = location.bindings(aor, Instant::now());
    bindings.find(|binding| device_of(tables.flow_tokens, binding) == device).map(|b| b.contact().to_vec())
}

/// Appends all parameters of a Contact but `reg-id`. Flows are our affair, and a registrar that knows RFC
/// 5626 would refuse a `reg-id` that comes through a proxy without a Path.
fn write_params(address: &NameAddr<'_>, out: &mut Vec<u8>) {
    for param in address.params().iter().filter(|param| !param.name.eq_ignore_ascii_case(b"reg-id")) {
        out.push(b';');
        out.extend_from_slice(param.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(one: (Option<&str>, &str), other: (Option<&str>, &str)) -> bool {
        let key =
            |(instance, contact): (Option<&str>, &str)| key(instance.map(str::as_bytes), contact.as_bytes());
        key(one) == key(other)
    }

    #[test]
    fn a_device_is_known_by_its_instance_and_without_one_by_its_whole_contact() {
        let page = "sip:8fk2@a1.invalid;transport=ws";
        for (one, other) in [
            // A page that was loaded again, of a client with an instance id.
            ((Some("urn:uuid:1"), page), (Some("urn:uuid:1"), "sip:x7@b2.invalid;transport=ws")),
            // A page that connected again.
            ((None, page), (None, page)),
            (
                (None, "sip:bob@Host.Test:5060;ob;transport=TCP"),
                (None, "sip:bob@host.test:5060;transport=tcp;x=1"),
            ),
            ((None, "sip:b%6Fb@h"), (None, "SIP:bob@h")),
            ((Some(""), page), (None, page)),
        ] {
            assert!(same(one, other), "{one:?} {other:?}");
        }
        for (one, other) in [
            ((Some("urn:uuid:1"), page), (Some("urn:uuid:2"), page)),
            ((Some("urn:uuid:1"), page), (None, page)),
            // Two desk phones of one user.
            ((None, "sip:bob@192.0.2.1"), (None, "sip:bob@192.0.2.2")),
            ((None, "sip:bob@192.0.2.1:5060"), (None, "sip:bob@192.0.2.1:5062")),
            ((None, "sip:bob@192.0.2.1"), (None, "sips:bob@192.0.2.1")),
            ((None, "sip:bob@192.0.2.1"), (None, "sip:bob@192.0.2.1;transport=tcp")),
            ((None, "sip:Bob@192.0.2.1"), (None, "sip:bob@192.0.2.1")),
            // Nothing tells a page that was loaded again from another one.
            ((None, page), (None, "sip:8fk2@b2.invalid;transport=ws")),
            ((None, page), (Some("u"), page)),
        ] {
            assert!(!same(one, other), "{one:?} {other:?}");
        }
    }
}
