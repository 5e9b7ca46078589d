//! What is known of a flow when it opens.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{Text, vocabulary::vocabulary};

vocabulary! {
    /// How SIP travels on a flow.
    Transport, "a transport", {
        /// WebSocket over TCP (RFC 7118).
        Ws = "ws",
        /// WebSocket over TLS.
        Wss = "wss",
        /// TCP (RFC 3261 §18).
        Tcp = "tcp",
        /// TLS over TCP.
        Tls = "tls",
        /// UDP.
        Udp = "udp",
    }
}

impl Transport {
    /// The word in a Via header (RFC 3261 §20.42, RFC 7118 §5.2).
    #[must_use]
    pub const fn via(self) -> &'static str {
        match self {
            Self::Ws => "WS",
            Self::Wss => "WSS",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Udp => "UDP",
        }
    }
}

vocabulary! {
    /// The side that opened the connection.
    Direction, "a direction", {
        /// The peer connected to one of our listeners.
        Accepted = "accepted",
        /// We connected to the peer.
        Connected = "connected",
    }
}

/// What TLS agreed on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TlsFacts {
    /// `TLSv1_3` or `TLSv1_2`.
    pub version: Text<16>,
    /// The cipher suite's IANA name.
    pub cipher: Text<48>,
}

/// What is known of a flow when it opens; told again when it closes, so that a close is useful alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FlowFacts {
    /// How SIP travels on it.
    pub transport: Transport,
    /// The side that opened it.
    pub direction: Direction,
    /// The listener's name.
    pub listener: Text<32>,
    /// Our end.
    pub local: SocketAddr,
    /// The peer's end, as the socket has it.
    pub remote: SocketAddr,
    /// The client address that a trusted proxy in front told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwarded: Option<Text<96>>,
    /// The handshake's Host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Text<128>>,
    /// The handshake's Origin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Text<128>>,
    /// The handshake's path without its query, which may hold a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<Text<200>>,
    /// The handshake's User-Agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<Text<200>>,
    /// What TLS agreed on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsFacts>,
}
