//! What the ledger records of users: who is online, by the bindings of an address-of-record and a hold-off.

use serde::{Serialize, Serializer};

use crate::{RemovalCause, Text, event::rfc3339};

/// Bytes that a `user.online` record may take.
pub const ONLINE_RESERVE: usize = 640;

/// Bytes that a `user.offline` record may take: what is reserved with `user.online`.
pub const OFFLINE_RESERVE: usize = 768;

/// `user.online`: the address-of-record got its first contact.
#[derive(Clone, Debug, Serialize)]
pub struct UserOnline {
    /// The address-of-record, `user@domain`.
    pub aor: Text<160>,
    /// When, in microseconds since the Unix epoch.
    #[serde(serialize_with = "rfc3339")]
    pub online_at: u64,
}

/// `user.offline`: the address-of-record has had no contact for the hold-off. It comes after the end of the
/// flow that it names, and is no event of that flow.
#[derive(Clone, Debug)]
pub struct UserOffline<'a> {
    /// The address-of-record, `user@domain`.
    pub aor: Text<160>,
    /// The flow that the last contact belonged to; one over UDP had none.
    pub last_flow: Option<&'a str>,
    /// Why the last contact went.
    pub cause: RemovalCause,
    /// When the user came online, in microseconds since the Unix epoch.
    pub online_at: u64,
    /// When the last contact went, in microseconds since the Unix epoch; after a crash, when that was
    /// recorded.
    pub offline_at: u64,
}

impl Serialize for UserOffline<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Wire<'a> {
            aor: &'a Text<160>,
            #[serde(skip_serializing_if = "Option::is_none")]
            last_flow: Option<&'a str>,
            cause: RemovalCause,
            #[serde(serialize_with = "rfc3339")]
            online_at: u64,
            #[serde(serialize_with = "rfc3339")]
            offline_at: u64,
            duration_ms: u64,
        }
        Wire {
            aor: &self.aor,
            last_flow: self.last_flow,
            cause: self.cause,
            online_at: self.online_at,
            offline_at: self.offline_at,
            duration_ms: self.offline_at.saturating_sub(self.online_at) / 1000,
        }
        .serialize(s)
    }
}
