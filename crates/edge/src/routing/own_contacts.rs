//! Which Contacts of a REGISTER lead to where it came from. A registration is reached at the socket that it
//! came from and nowhere else. So nobody can make us send to third parties, and a phone behind a NAT is
//! reached. A Contact that names another host would get its requests at that socket all the same, so the
//! registration goes without it. docs/CONFORMANCE.md has the rule.

use std::net::IpAddr;

use sip_message::{Contact, Host, Message, Rewrite, Uri};
use sip_proxy::Answer;
use smallvec::SmallVec;
use upstream::{Hop, Upstreams};

use crate::routing::{backend::is_taken_back, flow_lookup::FlowLookup};

/// Where a REGISTER came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source {
    /// The client's address, if that is still known.
    ip: Option<IpAddr>,
    proxies: Proxies,
}

/// Whether we believe that a sender is a proxy, as several Vias or a Path say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proxies {
    /// We do: the sender's own connection takes what follows from it.
    Believed,
    /// We do not: a datagram may have a forged source address, whose owner would get a copy of each request
    /// for every Contact.
    Unproved,
}

impl Proxies {
    pub(crate) fn of(upstreams: &Upstreams, from: Hop) -> Self {
        match from {
            Hop::Flow(_) | Hop::Peer { .. } => Self::Believed,
            Hop::Udp { .. } if upstreams.is_upstream(from) => Self::Believed,
            Hop::Udp { .. } => Self::Unproved,
        }
    }
}

impl Source {
    pub(crate) fn of(flows: &impl FlowLookup, upstreams: &Upstreams, from: Hop) -> Self {
        Self { ip: flows.client_ip(from), proxies: Proxies::of(upstreams, from) }
    }
}

/// How many Contacts a REGISTER may bind to the socket that it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Most {
    /// One. A registrar behind us would send a copy of a request to each of them.
    One,
    /// Several. One of them gets a request.
    Several,
}

/// Where a Contact leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ContactOwner {
    /// To the socket.
    Here,
    /// To another host, by its name. It may be the same host: a phone does not know its address outside of
    /// its NAT.
    Elsewhere,
    /// To nothing that takes SIP requests.
    Nowhere,
}

/// A Contact that is to be bound.
struct RequestedContact<'m> {
    /// Its place among the values.
    at: usize,
    leads: ContactOwner,
    host: Option<Host<'m>>,
    /// Its preference in thousandths.
    q: u16,
}

/// Which Contact values are left out, by their places.
pub(crate) type LeftOut = SmallVec<[bool; 4]>;

/// Which Contact values of a REGISTER are left out. Values that are to be removed do not count.
///
/// # Errors
/// 403: no Contact that is to be bound is left.
pub(crate) fn left_out(request: &Message<'_>, source: Source, most: Most) -> Result<LeftOut, Answer> {
    // Behind a proxy the socket is the proxy's, and the proxy knows the way from there.
    let via = match (request.vias().next(), request.vias().nth(1), source.proxies) {
        (Some(Ok(via)), None, _) | (Some(Ok(via)), Some(_), Proxies::Unproved) => Some(via),
        _ => None,
    };
    let mut asked: SmallVec<[RequestedContact<'_>; 4]> = SmallVec::new();
    let mut count = 0;
    for (at, (_, contact)) in request.contacts().enumerate() {
        count = at + 1;
        match contact {
            Ok(Contact::Addr(address)) if !is_taken_back(request, &address) => {
                let uri = address.uri().ok();
                let leads = uri.map_or(ContactOwner::Nowhere, |uri| match &via {
                    _ if !uri.is_sip() => ContactOwner::Nowhere,
                    Some(via) => leads(&uri, via.host(), source.ip),
                    None => ContactOwner::Here,
                });
                let host = uri.and_then(|uri| uri.host());
                asked.push(RequestedContact { at, leads, host, q: address.q().unwrap_or(1000) });
            }
            // `*`, or one that the registrar refuses.
            Ok(Contact::Star) | Err(_) => return Ok(LeftOut::new()),
            Ok(Contact::Addr(_)) => {}
        }
    }
    let here = asked.iter().any(|asked| asked.leads == ContactOwner::Here);
    let best = if here { ContactOwner::Here } else { ContactOwner::Elsewhere };
    let mut kept: SmallVec<[&RequestedContact<'_>; 4]> =
        asked.iter().filter(|asked| asked.leads == best).collect();
    // Two names of others cannot both be the phone's own.
    let first = kept.first().and_then(|kept| kept.host);
    let is_first =
        |kept: &&RequestedContact<'_>| kept.host.zip(first).is_some_and(|(host, first)| host.same(&first));
    if !here && !kept.iter().all(is_first) {
        kept.clear();
    }
    if most == Most::One && via.is_some() {
        // The first of those that are preferred.
        let preferred = kept.iter().map(|kept| kept.q).max();
        let one = kept.iter().find(|kept| Some(kept.q) == preferred).copied();
        kept = one.into_iter().collect();
    }
    if kept.is_empty() && !asked.is_empty() {
        return Err(Answer::new(403, "Contact Leads Elsewhere"));
    }
    if kept.len() == asked.len() {
        return Ok(LeftOut::new());
    }
    let is = |at: usize| move |asked: &RequestedContact<'_>| asked.at == at;
    Ok((0..count).map(|at| asked.iter().any(is(at)) && !kept.iter().copied().any(is(at))).collect())
}

fn leads(uri: &Uri<'_>, via: Host<'_>, source: Option<IpAddr>) -> ContactOwner {
    let Some(host) = uri.host() else { return ContactOwner::Nowhere };
    let is_source = host.ip().is_some_and(|ip| Some(ip) == source);
    // RFC 7118 §5: a name in `.invalid` stands for the connection.
    let invalid = matches!(host, Host::Name(name) if ends_in_invalid(name));
    if is_source || invalid || host.same(&via) { ContactOwner::Here } else { ContactOwner::Elsewhere }
}

fn ends_in_invalid(name: &[u8]) -> bool {
    const INVALID: &[u8] = b".invalid";
    name.len().checked_sub(INVALID.len()).is_some_and(|at| name[at..].eq_ignore_ascii_case(INVALID))
}

/// The request without the values that are left out. None if none is left out.
pub(crate) fn without(request: &Message<'_>, left_out: &[bool]) -> Option<Vec<u8>> {
    if !left_out.contains(&true) {
        return None;
    }
    let mut rewrite = Rewrite::new(request);
    for ((value, _), left_out) in request.contacts().zip(left_out) {
        if *left_out {
            rewrite.remove_value(&value);
        }
    }
    let mut out = Vec::new();
    rewrite.write(&mut out).ok().map(|_| out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(via: &str, contacts: &str) -> String {
        format!(
            "REGISTER sip:x SIP/2.0\r\nVia: SIP/2.0/UDP {via}\r\nFrom: <sip:u@x>;tag=1\r\nTo: <sip:u@x>\r\nCall-ID: 1\r\n\
             CSeq: 1 REGISTER\r\nContact: {contacts}\r\nContent-Length: 0\r\n\r\n"
        )
    }

    /// The contacts that are left, joined by `|`; or none.
    fn left(via: &str, contacts: &str, most: Most) -> Option<String> {
        left_of(via, contacts, most, Proxies::Believed)
    }

    fn left_of(via: &str, contacts: &str, most: Most, proxies: Proxies) -> Option<String> {
        let text = request(via, contacts);
        let message = Message::parse(text.as_bytes()).unwrap();
        let source = Source { ip: "127.0.0.2".parse().ok(), proxies };
        let left_out = left_out(&message, source, most).ok()?;
        let shortened = without(&message, &left_out);
        let message = shortened.as_ref().map_or(message.clone(), |bytes| Message::parse(bytes).unwrap());
        let text = |value: sip_message::Value<'_>| String::from_utf8_lossy(value.bytes).into_owned();
        Some(message.contacts().map(|(value, _)| text(value)).collect::<Vec<_>>().join("|"))
    }

    #[test]
    fn contacts_that_name_somebody_else_are_left_out() {
        let own = "127.0.0.2:5070;branch=z9hG4bK1";
        let natted = "192.168.1.5;branch=z9hG4bK1";
        let relayed = "p.test;branch=z9hG4bK2, SIP/2.0/UDP 10.0.0.5;branch=z9hG4bK1";
        for (via, contacts, kept) in [
            (
                own,
                "<sip:u@127.0.0.2:5070>, <sip:u@127.0.0.7:5066>, <mailto:u@example.com>",
                Some("<sip:u@127.0.0.2:5070>"),
            ),
            (own, "<mailto:u@example.com>, <sip:u@127.0.0.2>", Some("<sip:u@127.0.0.2>")),
            (own, "<sip:u@127.0.0.2:5070>, <sip:u@127.0.0.2:5071;transport=tcp>", None::<&str>),
            (own, "<sip:u@x.invalid>", Some("<sip:u@x.invalid>")),
            // Behind a NAT it names itself as it can.
            (natted, "<sip:u@192.168.1.5>, <sip:u@203.0.113.9>", Some("<sip:u@192.168.1.5>")),
            (own, "<sip:u@10.9.8.7:5060>", Some("<sip:u@10.9.8.7:5060>")),
            (own, "<sip:u@x>", Some("<sip:u@x>")),
            (own, "<sip:u@10.9.8.7>, <sip:u@10.9.8.7:5062>", None),
            // What is taken back may be anything.
            (own, "<sip:u@127.0.0.7>;expires=0", Some("<sip:u@127.0.0.7>;expires=0")),
            (own, "<mailto:u@x>;expires=0, <sip:u@127.0.0.2>", None),
            (own, "*", Some("*")),
            // The proxy leads on.
            (relayed, "<sip:u@10.0.0.5>, <sip:u@10.0.0.6>", None),
            (relayed, "<sip:u@10.0.0.5>, <tel:+1>", Some("<sip:u@10.0.0.5>")),
        ] {
            let all = contacts.replace(", ", "|");
            assert_eq!(
                left(via, contacts, Most::Several).as_deref(),
                Some(kept.unwrap_or(&all)),
                "{via} {contacts}"
            );
        }
        for contacts in ["<mailto:u@x>", "<tel:+1>, <http://x>", "<sip:u@10.9.8.7>, <sip:u@10.9.8.6>"] {
            assert_eq!(left(own, contacts, Most::Several), None, "{contacts}");
        }
    }

    #[test]
    fn nobody_is_a_proxy_by_its_own_word_on_a_datagram() {
        let relayed = "127.0.0.2;branch=z9hG4bK2, SIP/2.0/UDP 10.0.0.5;branch=z9hG4bK1";
        let contacts = "<sip:u@127.0.0.2>, <sip:v@127.0.0.2>, <sip:w@127.0.0.7>";
        let left = |proxies| left_of(relayed, contacts, Most::One, proxies);
        assert_eq!(left(Proxies::Unproved).as_deref(), Some("<sip:u@127.0.0.2>"));
        assert_eq!(left(Proxies::Believed), Some(contacts.replace(", ", "|")));
    }

    #[test]
    fn a_registrar_behind_gets_one_contact_of_a_socket() {
        let own = "127.0.0.2:5070;branch=z9hG4bK1";
        let relayed = "p.test;branch=z9hG4bK2, SIP/2.0/UDP 10.0.0.5;branch=z9hG4bK1";
        for (via, contacts, kept) in [
            (
                own,
                "<sip:u@127.0.0.2>;q=0.5, <sip:v@127.0.0.2>;q=0.7, <sip:w@127.0.0.2>;q=0.7",
                "<sip:v@127.0.0.2>;q=0.7",
            ),
            (
                own,
                "<sip:u@127.0.0.2>;expires=0, <sip:v@127.0.0.2>",
                "<sip:u@127.0.0.2>;expires=0|<sip:v@127.0.0.2>",
            ),
            (relayed, "<sip:u@10.0.0.5>, <sip:u@10.0.0.6>", "<sip:u@10.0.0.5>|<sip:u@10.0.0.6>"),
        ] {
            assert_eq!(left(via, contacts, Most::One).as_deref(), Some(kept), "{contacts}");
        }
    }
}
