//! The first bytes of a connection, and the upgrade request.

use std::{net::SocketAddr, rc::Rc};

use defence::{Client, ClientAddress, forwarded};
use lifecycle::Text;
use websocket::handshake::{self, HeaderValue, Outcome, Policy, Refusal, Request};

use crate::{ConnectionHandler, Listener, VerifiedClient};

/// The answer to a refused client behind a proxy.
const TURNED_AWAY: Refusal = Refusal::RateLimited { retry_after: 60 };

/// Whether a request asks for the head of the answer alone (RFC 9110 §9.3.2), as far as it has come.
pub(super) fn asks_for_head(received: &[u8]) -> bool {
    let begin = received.iter().position(|byte| !matches!(byte, b'\r' | b'\n'));
    begin.is_some_and(|begin| received[begin..].starts_with(b"HEAD "))
}

/// Appends the answer to a request that is refused.
pub(super) fn refuse(refusal: Refusal, received: &[u8], out: &mut Vec<u8>) {
    if asks_for_head(received) { refusal.write_head(out) } else { refusal.write_response(out) }
}

/// The first bytes of a connection.
pub(super) enum Greeting {
    Upgrade(Box<Upgrade>),
    Message,
    Http,
    Refuse(Refusal),
    NotSip(Option<Vec<u8>>),
    /// HTTP without TLS, where TLS is spoken.
    HttpWithoutTls,
}

/// An upgrade request that may be accepted.
pub(super) struct Upgrade {
    pub(super) host: Option<Text<128>>,
    pub(super) origin: Option<Text<128>>,
    pub(super) path: Option<Text<200>>,
    pub(super) user_agent: Option<Text<200>>,
    /// Length of the request head.
    pub(super) head: usize,
    /// The 101.
    pub(super) response: Vec<u8>,
    pub(super) vouched: Option<VerifiedClient>,
    /// Whose connection a proxy says in the request that it is.
    pub(super) client: Option<Client>,
}

/// The upgrade request as far as it has come; nothing while it is not whole.
pub(super) fn examine<O: ConnectionHandler>(
    owner: &Rc<O>,
    received: &[u8],
    remote: SocketAddr,
    known: Option<VerifiedClient>,
    listener: &Listener,
    admission: &mut Option<O::Admission>,
) -> Option<Greeting> {
    // Whom the request is for, by a proxy in front; none if it says nothing that is believed.
    let mut client = None;
    let mut meet = |request: &Request<'_>| {
        client = client_in(request, remote, listener);
        match client {
            Some(client) => {
                *admission = owner.admit(client.ip);
                if admission.is_some() { Ok(()) } else { Err(Greeting::Refuse(TURNED_AWAY)) }
            }
            None => Ok(()),
        }
    };
    let paths: Vec<&str> = listener.paths.iter().map(String::as_str).collect();
    let origins: Vec<&str> = listener.origins.iter().map(String::as_str).collect();
    let policy = Policy {
        paths: &paths,
        origins: &origins,
        missing_origin: listener.missing_origin,
        ..Policy::default()
    };
    match handshake::examine(received, &policy) {
        Outcome::Incomplete => None,
        Outcome::NotUpgrade(_) => Some(Greeting::Http),
        Outcome::Refuse(refused) => {
            let met = refused.request.as_ref().map_or(Ok(()), meet);
            Some(met.err().unwrap_or(Greeting::Refuse(refused.refusal)))
        }
        Outcome::Accept(accepted) => {
            if let Err(greeting) = meet(&accepted.request) {
                return Some(greeting);
            }
            let admit = || owner.authorize(&accepted.request, admission.as_ref());
            let vouched = match known.map_or_else(admit, |known| Ok(Some(known))) {
                Ok(vouched) => vouched,
                Err(refusal) => return Some(Greeting::Refuse(refusal)),
            };
            let mut response = Vec::new();
            accepted.write_response(&mut response, &[]);
            let request = &accepted.request;
            Some(Greeting::Upgrade(Box::new(Upgrade {
                host: request.host().map(|host| Text::new(host.as_bytes())),
                origin: request.origin().map(|origin| Text::new(origin.as_bytes())),
                // Queries hold tokens.
                path: Some(Text::new(request.path())),
                user_agent: request.user_agent().map(|agent| Text::new(agent.as_bytes())),
                head: request.head_len,
                response,
                vouched,
                client,
            })))
        }
    }
}

/// Whose request a proxy in front says in it that it is.
fn client_in(request: &Request<'_>, remote: SocketAddr, listener: &Listener) -> Option<Client> {
    if !listener.client_address.trusts(remote.ip()) {
        return None;
    }
    match &listener.client_address {
        ClientAddress::Socket | ClientAddress::ProxyProtocol(_) => None,
        ClientAddress::XForwardedFor(proxies) => {
            forwarded::by_x_forwarded_for(lines(request, "x-forwarded-for"), proxies)
        }
        ClientAddress::Forwarded(proxies) => forwarded::by_forwarded(lines(request, "forwarded"), proxies),
    }
}

fn lines<'a>(request: &Request<'a>, name: &str) -> impl DoubleEndedIterator<Item = &'a [u8]> {
    request.values(name).map(HeaderValue::as_bytes).collect::<Vec<_>>().into_iter()
}
