//! Where a request goes: along the routes that we gave out ourselves, along another element's, or by
//! decision (RFC 3261 §16.4 to §16.6).

use std::time::Instant;

use sip_message::{Message, Uri};
use smallvec::{SmallVec, smallvec};

use crate::{Answer, Decision, Environment, Owned, Proxy, Target};

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
pub(crate) enum Dialog {
    Within,
    Outside,
}

/// A flow that a route of ours named is gone (RFC 5626 §5.3).
const FLOW_FAILED: u16 = 430;

impl<H: Copy + Ord + std::fmt::Debug> Proxy<H> {
    pub(crate) fn route<E: Environment<Hop = H>>(
        &self,
        env: &mut E,
        from: H,
        request: &Message<'_>,
        now: Instant,
    ) -> Result<Routed<H>, Answer> {
        let within = request.to().is_ok_and(|to| to.tag().is_some());
        let dialog = if within { Dialog::Within } else { Dialog::Outside };
        let mut own_routes = 0;
        let mut onward = Owned::No;
        let mut next: Option<Uri<'_>> = None;
        for (_, route) in request.routes() {
            let uri = route
                .ok()
                .and_then(|route| route.uri().ok())
                .ok_or_else(|| Answer::new(400, "Malformed Route"))?;
            match env.owns(&uri) {
                Owned::No => {
                    next = Some(uri);
                    break;
                }
                Owned::Forged => return Err(Answer::new(403, "Forbidden Route")),
                owned => {
                    own_routes += 1;
                    onward = owned;
                }
            }
        }
        let one = |hop, when_gone| {
            let target = Target { hop, request_uri: None, routes: SmallVec::new(), q: 1000, when_gone };
            Routed { targets: smallvec![target], own_routes, dialog }
        };
        match (onward, next) {
            (Owned::Flow(hop), _) => Ok(one(hop, FLOW_FAILED)),
            (Owned::Gone, _) => Err(Answer::of_status(FLOW_FAILED)),
            (_, Some(uri)) => Ok(one(env.next_hop(&uri, from)?, 503)),
            (_, None) => match env.decide(request, from, now) {
                Decision::Forward(targets) => Ok(Routed { targets, own_routes, dialog }),
                Decision::Answer(answer) => Err(answer),
            },
        }
    }
}
