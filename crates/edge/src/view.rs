//! Views of the server's state for operators.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use ledger::Reservation;
use lifecycle::{CallParty, FlowFacts, Node, Traffic, Transport};
use location::Binding;
use serde::Serialize;

/// An open flow.
#[derive(Clone, Debug, Serialize)]
pub struct FlowView {
    /// Its id.
    pub flow: String,
    /// When it opened, RFC 3339.
    pub opened_at: String,
    /// The known facts.
    #[serde(flatten)]
    pub facts: Arc<FlowFacts>,
    /// The identity that the user agent proved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// The traffic so far.
    #[serde(flatten)]
    pub traffic: Traffic,
    /// Its bindings.
    pub bindings: Vec<BindingView>,
}

/// A binding.
#[derive(Clone, Debug, Serialize)]
pub struct BindingView {
    /// The address-of-record.
    pub aor: String,
    /// The contact URI.
    pub contact: String,
    /// Seconds until it ends unless it is refreshed.
    pub expires_in: u32,
}

/// A binding, and where it leads.
#[derive(Clone, Debug, Serialize)]
pub struct RegisteredView {
    /// Its bindings.
    #[serde(flatten)]
    pub binding: BindingView,
    /// How SIP travels to it.
    pub transport: Transport,
    /// The peer's address.
    pub remote: SocketAddr,
    /// The flow that it belongs to; UDP has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow: Option<String>,
    /// The User-Agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
}

impl BindingView {
    pub(crate) fn new(binding: &Binding<Reservation>, now: Instant) -> Self {
        Self {
            aor: binding.aor().into(),
            contact: String::from_utf8_lossy(binding.contact()).into(),
            expires_in: binding.seconds_left(now),
        }
    }
}

impl RegisteredView {
    pub(crate) fn new(binding: &Binding<Reservation>, node: &Node, now: Instant) -> Self {
        Self {
            binding: BindingView::new(binding, now),
            transport: binding.transport(),
            remote: binding.remote(),
            flow: binding.flow().map(|flow| node.flow(flow)),
            user_agent: binding.user_agent().map(str::to_owned),
        }
    }
}

/// An address that is banned.
#[derive(Clone, Debug, Serialize)]
pub struct BanView {
    /// The address, or the network of an IPv6 one.
    pub address: String,
    /// How it comes: by `connection` or by `datagram`.
    pub by: &'static str,
    /// Its last offence before the ban.
    pub offence: &'static str,
    /// Seconds until it may come again.
    pub seconds_left: u64,
    /// How often it was turned away since.
    pub turned_away: u64,
}

impl From<defence::Ban> for BanView {
    fn from(ban: defence::Ban) -> Self {
        Self {
            address: ban.source.to_string(),
            by: ban.source.by.as_str(),
            offence: ban.offence.as_str(),
            seconds_left: ban.left.as_secs(),
            turned_away: ban.turned,
        }
    }
}

/// A user that took more than it may.
#[derive(Clone, Debug, Serialize)]
pub struct HinderedView {
    /// The address-of-record, or for `failures` the name that was tried, whether there is such a user or not.
    pub user: String,
    /// In what: `connections`, `message_rate`, `calls` or `failures`.
    pub limit: &'static str,
    /// How often.
    pub times: u64,
    /// Seconds since the last time.
    pub seconds_ago: u64,
}

impl From<defence::HinderedUser> for HinderedView {
    fn from(user: defence::HinderedUser) -> Self {
        Self {
            user: user.name.into(),
            limit: user.what.as_str(),
            times: user.times,
            seconds_ago: user.ago.as_secs(),
        }
    }
}

/// A call.
#[derive(Clone, Debug, Serialize)]
pub struct CallView {
    /// Its id.
    pub call: String,
    /// Call-ID.
    pub call_id: String,
    /// When it started, RFC 3339.
    pub started_at: String,
    /// When it was answered, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered_at: Option<String>,
    /// Whether a side is away and expected back.
    pub waiting: bool,
    /// The caller.
    pub caller: CallParty,
    /// The callee, or the side that answered.
    pub callee: CallParty,
}
