//! Contacts of ours that stand for those of user agents, at registrars that call along no Path: `sip:TOKEN.CONTACT@here`. The token
//! is the way to the user agent, for servers behind us alone; the rest is its own Contact URI. So they are understood without
//! being remembered, and the same user agent has the same one as long as its flow lasts.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sip_message::{Contact, Message, NameAddr, Uri};

use crate::{
    hop::Hop,
    listeners::Bound,
    shared::Shared,
    token::{Token, Tokens},
    upstream::Number,
};

/// Stands between the token and the Contact; in neither of them.
const DOT: u8 = b'.';

/// The longest Contact URI that one can stand for; registrars keep no longer ones.
const LONGEST: usize = 192;

/// In place of a server in a token: any server behind us.
pub(crate) const BEHIND: Hop = Hop::Udp {
    listener: u8::MAX,
    remote: std::net::SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::UNSPECIFIED, 0)),
};

/// What one of ours stands for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// The user agent's own Contact URI, reached by this hop.
    Of(Hop, Vec<u8>),
    /// It was made in an earlier run: the flow is gone.
    Stale,
}

/// Appends the URI that stands for a contact reached by a hop. False if it cannot be made.
pub(crate) fn write(shared: &Shared, upstream: Number, hop: Hop, contact: &[u8], out: &mut Vec<u8>) -> bool {
    let listener = shared.upstreams.get(upstream).and_then(|upstream| upstream.face());
    let Some(bound) = listener.and_then(|number| shared.listeners.get(usize::from(number))) else {
        return false;
    };
    if contact.len() > LONGEST {
        return false;
    }
    write_by(&shared.tokens, bound, hop, contact, out);
    true
}

fn write_by(tokens: &Tokens, bound: &Bound, hop: Hop, contact: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"sip:");
    tokens.write(hop, BEHIND, out);
    out.push(DOT);
    out.extend_from_slice(URL_SAFE_NO_PAD.encode(contact).as_bytes());
    out.extend_from_slice(bound.route_end.strip_suffix(b";lr>").unwrap_or(&bound.route_end));
}

/// What a URI of ours stands for; none if it is none of these. That its host is ours is for the caller to see.
pub(crate) fn read(tokens: &Tokens, uri: &Uri<'_>) -> Option<Meaning> {
    let user = uri.user()?;
    let at = user.iter().position(|&byte| byte == DOT)?;
    let contact = URL_SAFE_NO_PAD.decode(&user[at + 1..]).ok().filter(|contact| contact.len() <= LONGEST)?;
    match tokens.read(&user[..at]) {
        Token::Ours { hop, other: BEHIND } => Some(Meaning::Of(hop, contact)),
        Token::Earlier { .. } => Some(Meaning::Stale),
        Token::Ours { .. } | Token::NotOurs => None,
    }
}

/// Appends the Contact values of a REGISTER as the registrar is to see them: ours in place of the user agent's, which has no flow
/// to the registrar itself. Nothing if one of them cannot be written.
pub(crate) fn write_all(
    shared: &Shared,
    upstream: Number,
    request: &Message<'_>,
    from: Hop,
    out: &mut Vec<u8>,
) {
    for (value, contact) in request.contacts() {
        if !out.is_empty() {
            out.extend_from_slice(b", ");
        }
        match contact {
            Ok(Contact::Addr(address)) => {
                out.push(b'<');
                if !write(shared, upstream, from, address.uri_bytes(), out) {
                    return out.clear();
                }
                out.push(b'>');
                write_params(&address, out);
            }
            Ok(Contact::Star) | Err(_) => out.extend_from_slice(value.bytes),
        }
    }
}

/// Appends the Contact values of a registrar's answer as the user agent is to see them. Nothing if none of them is ours.
pub(crate) fn restore_all(tokens: &Tokens, response: &Message<'_>, out: &mut Vec<u8>) {
    let mut any = false;
    for (value, contact) in response.contacts() {
        if !out.is_empty() {
            out.extend_from_slice(b", ");
        }
        match contact {
            Ok(Contact::Addr(address)) => match original(tokens, &address) {
                Some(own) => {
                    any = true;
                    out.push(b'<');
                    out.extend_from_slice(&own);
                    out.push(b'>');
                    write_params(&address, out);
                }
                None => out.extend_from_slice(value.bytes),
            },
            Ok(Contact::Star) | Err(_) => out.extend_from_slice(value.bytes),
        }
    }
    if !any {
        out.clear();
    }
}

/// The user agent's own Contact URI that a registrar's stands for.
pub(crate) fn original(tokens: &Tokens, address: &NameAddr<'_>) -> Option<Vec<u8>> {
    match read(tokens, &address.uri().ok()?)? {
        Meaning::Of(_, contact) => Some(contact),
        Meaning::Stale => None,
    }
}

/// All of a Contact's parameters but `reg-id`: flows are our affair, and a registrar that knows RFC 5626 would refuse one that
/// comes through somebody without a Path.
fn write_params(address: &NameAddr<'_>, out: &mut Vec<u8>) {
    for param in address.params().iter().filter(|param| !param.name.eq_ignore_ascii_case(b"reg-id")) {
        out.push(b';');
        out.extend_from_slice(param.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hop::FlowNumber;

    const CONTACT: &[u8] = b"sip:8fk2@192.0.2.5;transport=ws";

    fn made(tokens: &Tokens) -> String {
        let mut text = b"sip:".to_vec();
        tokens.write(Hop::Flow(FlowNumber::new(7, 1, 2)), BEHIND, &mut text);
        text.push(DOT);
        text.extend_from_slice(URL_SAFE_NO_PAD.encode(CONTACT).as_bytes());
        text.extend_from_slice(b"@edge.test:5060;transport=udp");
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn what_stands_for_a_contact_says_which() {
        let tokens = Tokens::new(&[7; 32], 4);
        let text = made(&tokens);
        let read = |tokens: &Tokens, text: &str| read(tokens, &Uri::parse(text.as_bytes()).unwrap());
        let hop = Hop::Flow(FlowNumber::new(7, 1, 2));
        assert_eq!(read(&tokens, &text), Some(Meaning::Of(hop, CONTACT.to_vec())));
        assert_eq!(read(&Tokens::new(&[7; 32], 5), &text), Some(Meaning::Stale));
        assert_eq!(read(&Tokens::new(&[8; 32], 4), &text), None, "nobody else can make one");
        for other in ["sip:alice@edge.test", "sip:al.ice@edge.test", "sip:edge.test"] {
            assert_eq!(read(&tokens, other), None, "{other}");
        }
    }

    /// A route of ours, which one side of a dialog knows, leads to no contact.
    #[test]
    fn a_route_is_none() {
        let tokens = Tokens::new(&[7; 32], 4);
        let mut text = b"sip:".to_vec();
        let hop = Hop::Flow(FlowNumber::new(7, 1, 2));
        tokens.write(hop, hop, &mut text);
        text.extend_from_slice(b".c2lwOng@edge.test");
        assert_eq!(read(&tokens, &Uri::parse(&text).unwrap()), None);
    }
}
