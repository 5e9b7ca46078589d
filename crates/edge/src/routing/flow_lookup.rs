//! What the rules for requests ask the shard of a sender. Tests answer from a plain struct.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use defence::User;
use identity::{DomainRef, Proof, QuotaExceeded};
use lifecycle::Identity;
use sip_auth::Role;
use sip_message::Message;
use sip_proxy::Answer;
use transport::Grant;
use upstream::{FlowNumber, Hop};

/// The identity that the user agent on a flow proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// The address-of-record.
    pub(crate) identity: Identity,
    /// Whether what proved it lets it call to the outside.
    pub(crate) outside: Grant,
    pub(crate) by: By,
}

/// The proof of a user agent's identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// A password, in a REGISTER; or the registrar behind us.
    Password,
    /// A proof that expires; the flow ends with it.
    Voucher,
}

/// Facts about flows.
pub(crate) trait FlowLookup {
    /// The identity that the user agent on a flow has proved.
    fn identity(&self, flow: FlowNumber) -> Option<Known>;

    /// The address of the client at the other end of a flow.
    fn remote(&self, flow: FlowNumber) -> Option<SocketAddr>;

    /// Whether a flow is surely gone. Flows of other shards report it when something is sent to them.
    fn is_gone(&self, flow: FlowNumber) -> bool;

    /// The flow that a hop stands for now, if it is one.
    fn current_flow(&self, hop: Hop) -> Option<FlowNumber>;

    /// The user against whose quota a call counts that comes by this hop: the proved one, or else the one
    /// that has registered over it. None if no limits hold.
    fn quota_holder(&self, from: Hop, proved: Option<&str>) -> Option<Arc<User>>;

    /// Where messages on a hop come from; 0.0.0.0:0 if that is not known any more.
    fn address(&self, hop: Hop) -> SocketAddr {
        let remote = match hop {
            Hop::Flow(number) => self.remote(number),
            Hop::Udp { remote, .. } | Hop::Peer { remote, .. } => Some(remote),
        };
        remote.unwrap_or_else(|| (Ipv4Addr::UNSPECIFIED, 0).into())
    }

    /// The address that messages on a hop come from.
    fn client_ip(&self, hop: Hop) -> Option<IpAddr> {
        let remote = match hop {
            Hop::Flow(number) => self.remote(number),
            Hop::Udp { remote, .. } | Hop::Peer { remote, .. } => Some(remote),
        };
        remote.map(|remote| remote.ip())
    }
}

/// How a request proves who sends it, and what that changes for its flow.
pub(crate) trait SenderProof {
    /// Judges the credentials in a request. Those that are wrong are counted against the sender.
    ///
    /// # Errors
    /// The answer: a challenge, 400 for credentials that no client should send, 403 if no request proves
    /// anything here, or 503 for credentials that were not looked at.
    fn prove(
        &self,
        domain: DomainRef<'_>,
        request: &Message<'_>,
        from: Hop,
        role: Role,
    ) -> Result<Proof, Answer>;

    /// The credentials in a request were good: its sender counts as authenticated from now on.
    fn authenticated(&self, from: Hop);

    /// A request has proved to come from this user, whose quota it counts against from now on.
    ///
    /// # Errors
    /// The user has sent more datagrams than it may.
    fn charge(&self, from: Hop, aor: &str) -> Result<(), QuotaExceeded>;
}
