//! Why a flow ended: a closed vocabulary.

use crate::vocabulary::vocabulary;

vocabulary! {
    /// The author of a flow's end.
    By, "an author of a flow's end", {
        /// The peer: it said so, or its host did.
        Client = "client",
        /// This server, by a rule or an order.
        Server = "server",
        /// The path between: it went silent or broke.
        Network = "network",
        /// The node that held the flow is gone.
        Node = "node",
    }
}

vocabulary! {
    /// How surely the cause is known.
    Certainty, "a certainty", {
        /// Seen by the process that held the flow.
        Observed = "observed",
        /// Concluded at start from what an earlier incarnation left open in the ledger.
        JournalReplay = "journal_replay",
        /// Concluded by a peer that holds the dead node's lapsed lease.
        LeaseExpired = "lease_expired",
    }
}

vocabulary! {
    /// Why a flow ended.
    Cause, "a cause of a flow's end", {
        /// The peer sent a WebSocket Close frame (RFC 6455 §5.5.1).
        CloseFrame = "close_frame",
        /// The peer ended the TCP stream without a Close frame.
        Eof = "eof",
        /// The peer's host reset the connection.
        Reset = "reset",
        /// Nothing was received in time after our ping.
        PingTimeout = "ping_timeout",
        /// TCP gave up retransmitting.
        TcpTimeout = "tcp_timeout",
        /// The peer took none of our bytes for the whole write timeout.
        WriteTimeout = "write_timeout",
        /// The host or its network became unreachable.
        Unreachable = "unreachable",
        /// The peer broke RFC 6455, or the framing of SIP over a stream.
        ProtocolError = "protocol_error",
        /// A message over the size limit.
        MessageTooBig = "message_too_big",
        /// A text message that is not UTF-8.
        InvalidPayload = "invalid_payload",
        /// TLS failed after the flow was open.
        TlsError = "tls_error",
        /// More bytes waited for the peer than its queue may hold.
        SlowReader = "slow_reader",
        /// The peer went over a rate limit.
        RateLimited = "rate_limited",
        /// The peer's credentials were wrong too often.
        AuthFailed = "auth_failed",
        /// The peer's address is banned for what was done from it.
        Banned = "banned",
        /// No SIP for longer than the idle limit.
        Idle = "idle",
        /// The flow reached the age limit.
        Lifetime = "lifetime",
        /// The credentials that opened the flow ran out.
        TokenExpired = "token_expired",
        /// An operator closed it.
        Admin = "admin",
        /// A newer flow of the same user agent took its place.
        Replaced = "replaced",
        /// The node is being emptied.
        Drain = "drain",
        /// The process was told to end.
        Shutdown = "shutdown",
        /// A fault of our own: the task that held the flow panicked or was dropped.
        InternalError = "internal_error",
        /// The process that held the flow died.
        NodeCrash = "node_crash",
        /// The machine that held the flow was lost.
        NodeLost = "node_lost",
    }
}

impl Cause {
    /// The author of this cause; each cause has one.
    #[must_use]
    pub const fn by(self) -> By {
        match self {
            Self::CloseFrame | Self::Eof | Self::Reset => By::Client,
            Self::PingTimeout | Self::TcpTimeout | Self::WriteTimeout | Self::Unreachable => By::Network,
            Self::ProtocolError
            | Self::MessageTooBig
            | Self::InvalidPayload
            | Self::TlsError
            | Self::SlowReader
            | Self::RateLimited
            | Self::AuthFailed
            | Self::Banned
            | Self::Idle
            | Self::Lifetime
            | Self::TokenExpired
            | Self::Admin
            | Self::Replaced
            | Self::Drain
            | Self::Shutdown
            | Self::InternalError => By::Server,
            Self::NodeCrash | Self::NodeLost => By::Node,
        }
    }
}
