//! What the ledger records of bindings.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{Identity, Text, Transport, Word, vocabulary::vocabulary, wire::time};

vocabulary! {
    /// Why a binding went.
    RemovalCause, "a cause of a binding's end", {
        /// Its flow closed.
        FlowClosed = "flow_closed",
        /// The user agent removed it (`Expires: 0`).
        Unregistered = "unregistered",
        /// It was not refreshed in time.
        Expired = "expired",
        /// A newer registration of the same user agent took its place.
        Replaced = "replaced",
        /// The process that held it died.
        NodeCrash = "node_crash",
        /// The process that held it ended in order.
        Shutdown = "shutdown",
    }
}

/// `binding.added`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindingAdded<'a> {
    /// The address-of-record, `user@domain`.
    pub aor: Text<160>,
    /// The contact URI as registered.
    pub contact: Text<320>,
    /// The flow it belongs to; a binding over UDP has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow: Option<&'a str>,
    /// How SIP travels to it.
    pub transport: Transport,
    /// Where the registration came from.
    pub remote: SocketAddr,
    /// `+sip.instance` (RFC 5626 §4.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<Text<96>>,
    /// `reg-id` (RFC 5626 §4.2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reg_id: Option<u32>,
    /// The identity that the user agent proved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// The registering user agent's name of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<Text<128>>,
    /// When it ends if it is not refreshed, in microseconds since the Unix epoch.
    #[serde(with = "time")]
    pub expires_at: u64,
}

/// `binding.removed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindingRemoved<'a> {
    /// The address-of-record, `user@domain`.
    pub aor: Text<160>,
    /// The contact URI as registered.
    pub contact: Text<320>,
    /// The flow it belonged to; a binding over UDP has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow: Option<&'a str>,
    /// Why it went.
    pub cause: Word<RemovalCause>,
}
