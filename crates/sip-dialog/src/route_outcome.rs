//! Where a request within a dialog goes when its routes name a flow that has ended.

use sip_message::Message;

use crate::{Calls, Hop, Side, call::LegLocation};

/// Where a route of ours leads a request of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteOutcome<H> {
    /// This way: the hop that the route names, or the one that its user agent has moved to.
    To(H),
    /// Its user agent is away, and may come back.
    Held,
    /// Its user agent is away for good, or said BYE.
    Gone,
    /// The request comes from nobody in the call.
    NotAParty,
    /// The table knows no such call: the route itself says all there is to know.
    Unknown,
}

impl<H: Hop, R> Calls<H, R> {
    /// Where a route that names `named` leads a request that came from `from`. `same_peer` says whether two
    /// hops lead to one peer.
    #[must_use]
    pub fn way(
        &self,
        request: &Message<'_>,
        named: H,
        from: H,
        same_peer: impl Fn(H, H) -> bool,
    ) -> RouteOutcome<H> {
        let Some((call, at, side)) = self.find(request) else { return RouteOutcome::Unknown };
        let dialog = &call.dialogs[at];
        let (sender, receiver) = match side {
            Side::Caller => (&call.caller, &dialog.callee),
            Side::Callee => (&dialog.callee, &call.caller),
        };
        if named != sender.named && named != receiver.named {
            return RouteOutcome::Unknown;
        }
        // While its old connection stands, it may speak over that one too. A proxy behind may speak for who
        // is away.
        if from != sender.named && !same_peer(sender.hop().unwrap_or(sender.named), from) {
            return RouteOutcome::NotAParty;
        }
        if named == sender.named && named != receiver.named {
            return RouteOutcome::To(from);
        }
        match receiver.location {
            LegLocation::At(hop) => RouteOutcome::To(hop),
            LegLocation::Away { .. } => RouteOutcome::Held,
            LegLocation::Gone => RouteOutcome::Gone,
        }
    }

    /// Whether a request within a dialog came from the user agent that its routes name by `named`, and which
    /// has moved to another hop since. Where a proxy stands between the two sides, no route that the sender
    /// has names the other one.
    #[must_use]
    pub fn has_moved(
        &self,
        request: &Message<'_>,
        named: H,
        from: H,
        same_peer: impl Fn(H, H) -> bool,
    ) -> bool {
        let Some((call, at, side)) = self.find(request) else { return false };
        let sender = match side {
            Side::Caller => &call.caller,
            Side::Callee => &call.dialogs[at].callee,
        };
        sender.named == named && sender.hop().is_some_and(|hop| same_peer(hop, from))
    }
}
