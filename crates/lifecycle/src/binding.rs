//! What the ledger records of bindings.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{Text, cause::shown_as_its_word, event::rfc3339, facts::Transport};

macro_rules! removals {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Why a binding went.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum RemovalCause { $($(#[$doc])* $name,)* }

        impl RemovalCause {
            /// Every cause there is.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The word that consumers see.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

removals! {
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

shown_as_its_word!(RemovalCause);

/// A word that names no cause.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no cause of a binding's end")]
pub struct UnknownRemovalCause(String);

impl std::str::FromStr for RemovalCause {
    type Err = UnknownRemovalCause;

    fn from_str(word: &str) -> Result<Self, UnknownRemovalCause> {
        let known = Self::ALL.iter().copied().find(|cause| cause.as_str() == word);
        known.ok_or_else(|| UnknownRemovalCause(word.to_owned()))
    }
}

impl<'de> Deserialize<'de> for RemovalCause {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        <std::borrow::Cow<'de, str>>::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// `binding.added`.
#[derive(Clone, Debug, Serialize)]
pub struct BindingAdded<'a> {
    /// The address-of-record, `user@domain`.
    pub aor: Text<160>,
    /// The contact URI as registered.
    pub contact: Text<320>,
    /// The flow it belongs to; a binding over UDP has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow: Option<&'a str>,
    /// How SIP travels to it.
    pub transport: Transport,
    /// Where the registration came from.
    pub remote: SocketAddr,
    /// `+sip.instance` (RFC 5626 §4.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<Text<96>>,
    /// `reg-id` (RFC 5626 §4.2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reg_id: Option<u32>,
    /// Who the user agent proved to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<Text<128>>,
    /// The registering user agent's name of itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<Text<128>>,
    /// When it ends if it is not refreshed, in microseconds since the Unix epoch.
    #[serde(serialize_with = "rfc3339")]
    pub expires_at: u64,
}

/// `binding.removed`.
#[derive(Clone, Debug, Serialize)]
pub struct BindingRemoved<'a> {
    /// The address-of-record, `user@domain`.
    pub aor: Text<160>,
    /// The contact URI as registered.
    pub contact: Text<320>,
    /// The flow it belonged to; a binding over UDP has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow: Option<&'a str>,
    /// Why it went.
    pub cause: RemovalCause,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_reads_back_from_its_word() {
        for &cause in RemovalCause::ALL {
            assert_eq!(cause.as_str().parse(), Ok(cause));
            let json = serde_json::to_string(&cause).unwrap();
            assert_eq!(serde_json::from_str::<RemovalCause>(&json).unwrap(), cause);
        }
        assert!("gone".parse::<RemovalCause>().is_err());
    }
}
