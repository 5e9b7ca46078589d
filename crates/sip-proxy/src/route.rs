//! Where a request goes: along routes of this proxy, along another element's route, or by decision (RFC 3261
//! §16.4 to §16.6).

use std::time::Instant;

use sip_message::{HeaderId, Message, Method, NameAddr, Rewrite, Uri};
use smallvec::{SmallVec, smallvec};

use crate::{Answer, Decision, Environment, Proxy, RouteResolution, Target};

/// A request's targets.
#[derive(Debug)]
pub(crate) struct Routed<H> {
    pub(crate) targets: SmallVec<[Target<H>; 1]>,
    /// Route values on top that were ours: they are taken off.
    pub(crate) own_routes: u8,
    pub(crate) dialog: Dialog,
}

/// Whether the request belongs to a dialog that has its routes already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialog {
    /// It has a To tag, and goes along the routes that it has.
    Within,
    /// It begins one, or makes none.
    Outside,
}

/// The most routes of ours on top of a request: two for each time it comes by, and it comes by only so often.
const MOST_OWN_ROUTES: u8 = 32;

/// A flow that a route of ours named is gone (RFC 5626 §5.3).
pub(crate) const FLOW_FAILED: u16 = 430;

impl<H: Copy + Ord + std::fmt::Debug> Proxy<H> {
    pub(crate) fn route<E: Environment<Hop = H>>(
        &self,
        env: &mut E,
        from: H,
        request: &Message<'_>,
        now: Instant,
    ) -> Result<Routed<H>, Answer> {
        // A REGISTER belongs to no dialog, whatever it says: along a route of ours it would pass by those who
        // judge it.
        let within =
            request.method() != Some(Method::Register) && request.to().is_ok_and(|to| to.tag().is_some());
        let dialog = if within { Dialog::Within } else { Dialog::Outside };
        let mut own_routes = 0;
        // Whether one of them named a way.
        let mut signed = false;
        let mut onward = RouteResolution::Foreign;
        let mut next: Option<Uri<'_>> = None;
        for (_, route) in request.routes() {
            let uri = route
                .ok()
                .and_then(|route| route.uri().ok())
                .ok_or_else(|| Answer::new(400, "Malformed Route"))?;
            if own_routes > MOST_OWN_ROUTES {
                return Err(Answer::new(400, "Too Many Routes"));
            }
            match env.resolve_route(&uri, from, request) {
                RouteResolution::Foreign => {
                    next = Some(uri);
                    break;
                }
                RouteResolution::Forged => return Err(Answer::new(403, "Forbidden Route")),
                RouteResolution::Domain
                    if within && !matches!(onward, RouteResolution::Foreign | RouteResolution::Ours) =>
                {
                    next = Some(uri);
                    break;
                }
                RouteResolution::Domain => {
                    own_routes += 1;
                    onward = RouteResolution::Ours;
                }
                // The sender's own flow: it names the way that the request came (RFC 5626 §5.3). Behind
                // another way of ours it is a call to oneself.
                RouteResolution::Flow(hop) if hop == from && !signed => {
                    own_routes += 1;
                    signed = true;
                    onward = RouteResolution::Ours;
                }
                owned => {
                    own_routes += 1;
                    signed |= owned != RouteResolution::Ours;
                    onward = owned;
                }
            }
        }
        let one = |hop, when_gone| {
            let (request_uri, routes, alternatives) = (None, SmallVec::new(), SmallVec::new());
            let target = Target { hop, request_uri, routes, q: 1000, alternatives, when_gone };
            Routed { targets: smallvec![target], own_routes, dialog }
        };
        match (onward, next) {
            // Not asked of the environment: within a dialog a flow that we named ourselves is the way,
            // whatever stands below it. Outside of one it proves nothing about who asks, and the environment
            // decides.
            (RouteResolution::Flow(hop), None) if within => {
                let named = env.resolve_gruu(request, from, hop, now).map(|target| {
                    let targets = smallvec![Target { when_gone: FLOW_FAILED, ..target }];
                    Routed { targets, own_routes, dialog }
                });
                Ok(named.unwrap_or_else(|| one(hop, FLOW_FAILED)))
            }
            (RouteResolution::Flow(hop), Some(_)) if within => Ok(one(hop, FLOW_FAILED)),
            (lost @ (RouteResolution::Gone | RouteResolution::Over), next) if within => {
                let mut found = None;
                if next.is_none() {
                    found = env.reroute_lost(request, from, now);
                    if found.is_none() && lost == RouteResolution::Gone {
                        found = env.reroute_returned(request, from, now);
                    }
                }
                match found {
                    Some(Decision::Forward(targets)) => Ok(Routed { targets, own_routes, dialog }),
                    Some(Decision::Answer(answer)) => Err(answer),
                    None if lost == RouteResolution::Gone => Err(Answer::of_status(FLOW_FAILED)),
                    None => Err(Answer::new(481, "Call/Transaction Does Not Exist")),
                }
            }
            (RouteResolution::Held, _) if within => Err(meanwhile(request)),
            (_, Some(uri)) => Ok(one(env.next_hop(&uri, request, from, now)?, 503)),
            (_, None) => match env.decide(request, from, now) {
                Decision::Forward(targets) => Ok(Routed { targets, own_routes, dialog }),
                Decision::Answer(answer) => Err(answer),
            },
        }
    }

    /// A request whose Request-URI is a route of ours comes from a strict router: where it wants to go stands
    /// in the last Route. This is the request as a loose router would have sent it (RFC 3261 §16.4).
    pub(crate) fn loosened<E: Environment<Hop = H>>(
        env: &mut E,
        from: H,
        request: &Message<'_>,
    ) -> Option<Vec<u8>> {
        if !looks_loose(request.request_uri_bytes()?) {
            return None;
        }
        let last = request.values(HeaderId::Route).last()?;
        let uri = request.request_uri().ok()?;
        if uri.param(b"lr").is_none()
            || matches!(
                env.resolve_route(&uri, from, request),
                RouteResolution::Foreign | RouteResolution::Domain | RouteResolution::Forged
            )
        {
            return None;
        }
        let remote = NameAddr::parse(last.bytes).ok()?;
        let mut rewrite = Rewrite::new(request);
        rewrite.set_request_uri(remote.uri_bytes());
        rewrite.remove_value(&last);
        let mut out = Vec::new();
        rewrite.write(&mut out).ok()?;
        Some(out)
    }
}

/// What a request within a dialog is answered while the user agent it is for is expected back. A BYE has its
/// effect at once; what changes the session is asked to come again, as if both sides had asked at a time (RFC
/// 3261 §14.2); nothing of it ends the dialog (RFC 5057 §5.1).
fn meanwhile(request: &Message<'_>) -> Answer {
    match request.method() {
        Some(Method::Bye) => Answer::new(200, "OK"),
        Some(Method::Invite | Method::Update) => Answer::new(491, "Request Pending"),
        _ => Answer::new(500, "Alternative Side Reconnecting").header("Retry-After", "2"),
    }
}

/// Whether a URI may have an `lr` parameter, as every route of ours and next to no Request-URI does.
fn looks_loose(uri: &[u8]) -> bool {
    uri.windows(3).any(|part| part.eq_ignore_ascii_case(b";lr"))
}
