//! Why a flow ended: a closed vocabulary.

use std::str::FromStr;

/// Who ended the flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum By {
    /// The peer: it said so, or its host did.
    Client,
    /// This server, by a rule or an order.
    Server,
    /// Nobody's word: the path between went silent or broke.
    Network,
    /// The node that held the flow is gone.
    Node,
}

/// How surely the cause is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Certainty {
    /// Seen by the process that held the flow.
    Observed,
    /// Concluded at start from what an earlier incarnation left open in the ledger.
    JournalReplay,
    /// Concluded by a peer that holds the dead node's lapsed lease.
    LeaseExpired,
}

macro_rules! causes {
    ($($(#[$doc:meta])* $name:ident = $text:literal by $by:ident,)*) => {
        /// Why a flow ended.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Cause { $($(#[$doc])* $name,)* }

        impl Cause {
            /// Every cause there is.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The word that consumers see.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Who ends a flow by this cause; each cause has one author.
            #[must_use]
            pub const fn by(self) -> By {
                match self { $(Self::$name => By::$by,)* }
            }
        }
    };
}

causes! {
    /// The peer sent a WebSocket Close frame (RFC 6455 §5.5.1).
    CloseFrame = "close_frame" by Client,
    /// The peer ended the TCP stream without a Close frame.
    Eof = "eof" by Client,
    /// The peer's host reset the connection.
    Reset = "reset" by Client,
    /// Nothing was received in time after our ping.
    PingTimeout = "ping_timeout" by Network,
    /// TCP gave up retransmitting.
    TcpTimeout = "tcp_timeout" by Network,
    /// The peer took none of our bytes for the whole write timeout.
    WriteTimeout = "write_timeout" by Network,
    /// The host or its network became unreachable.
    Unreachable = "unreachable" by Network,
    /// The peer broke RFC 6455, or the framing of SIP over a stream.
    ProtocolError = "protocol_error" by Server,
    /// A message over the size limit.
    MessageTooBig = "message_too_big" by Server,
    /// A text message that is not UTF-8.
    InvalidPayload = "invalid_payload" by Server,
    /// TLS failed after the flow was open.
    TlsError = "tls_error" by Server,
    /// More bytes waited for the peer than its queue may hold.
    SlowReader = "slow_reader" by Server,
    /// The peer went over a rate limit.
    RateLimited = "rate_limited" by Server,
    /// The peer's credentials were wrong too often.
    AuthFailed = "auth_failed" by Server,
    /// The peer's address is banned for what was done from it.
    Banned = "banned" by Server,
    /// No SIP for longer than the idle limit.
    Idle = "idle" by Server,
    /// The flow reached the age limit.
    Lifetime = "lifetime" by Server,
    /// The credentials that opened the flow ran out.
    TokenExpired = "token_expired" by Server,
    /// An operator closed it.
    Admin = "admin" by Server,
    /// A newer flow of the same user agent took its place.
    Replaced = "replaced" by Server,
    /// The node is being emptied.
    Drain = "drain" by Server,
    /// The process was told to end.
    Shutdown = "shutdown" by Server,
    /// A fault of our own: the task that held the flow panicked or was dropped.
    InternalError = "internal_error" by Server,
    /// The process that held the flow died.
    NodeCrash = "node_crash" by Node,
    /// The machine that held the flow was lost.
    NodeLost = "node_lost" by Node,
}

/// A word that names no cause.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a cause")]
pub struct UnknownCause(String);

impl FromStr for Cause {
    type Err = UnknownCause;

    fn from_str(text: &str) -> Result<Self, UnknownCause> {
        Self::ALL.iter().copied().find(|c| c.as_str() == text).ok_or_else(|| UnknownCause(text.into()))
    }
}

impl By {
    /// The word that consumers see.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
            Self::Network => "network",
            Self::Node => "node",
        }
    }
}

impl Certainty {
    /// The word that consumers see.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Observed => "observed",
            Self::JournalReplay => "journal_replay",
            Self::LeaseExpired => "lease_expired",
        }
    }
}

macro_rules! shown_as_its_word {
    ($($type:ty),*) => {$(
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(self.as_str())
            }
        }
    )*};
}
pub(crate) use shown_as_its_word;

shown_as_its_word!(By, Cause, Certainty);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_reads_back_from_its_word() {
        for &cause in Cause::ALL {
            assert_eq!(cause.as_str().parse(), Ok(cause));
        }
        assert!("gone".parse::<Cause>().is_err());
    }
}
