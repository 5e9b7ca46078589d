//! What the ledger records of users: who is online, by the bindings of an address-of-record and a hold-off.

use serde::{Deserialize, Serialize};

use crate::{RemovalCause, Text, Word, wire::time};

/// Bytes that a `user.online` record may take.
pub const ONLINE_RESERVE: usize = 640;

/// Bytes that a `user.offline` record may take: what is reserved with `user.online`.
pub const OFFLINE_RESERVE: usize = 768;

/// `user.online`: the address-of-record got its first contact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserOnline {
    /// The address-of-record, `user@domain`.
    pub aor: Text<160>,
    /// When, in microseconds since the Unix epoch.
    #[serde(with = "time")]
    pub online_at: u64,
}

/// `user.offline`: the address-of-record has had no contact for the hold-off. It comes after the end of the
/// flow that it names, and is no event of that flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserOffline<'a> {
    /// The address-of-record, `user@domain`.
    pub aor: Text<160>,
    /// The flow that the last contact belonged to; one over UDP had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_flow: Option<&'a str>,
    /// Why the last contact went.
    pub cause: Word<RemovalCause>,
    /// When the user came online, in microseconds since the Unix epoch.
    #[serde(with = "time")]
    pub online_at: u64,
    /// When the last contact went, in microseconds since the Unix epoch; after a crash, when that was
    /// recorded.
    #[serde(with = "time")]
    pub offline_at: u64,
    /// Milliseconds from the one to the other.
    pub duration_ms: u64,
}

impl<'a> UserOffline<'a> {
    /// The record of a user whose last contact went; times are in microseconds since the Unix epoch.
    #[must_use]
    pub fn new(
        aor: Text<160>,
        last_flow: Option<&'a str>,
        cause: RemovalCause,
        online_at: u64,
        offline_at: u64,
    ) -> Self {
        let duration_ms = offline_at.saturating_sub(online_at) / 1000;
        Self { aor, last_flow, cause: cause.into(), online_at, offline_at, duration_ms }
    }
}
