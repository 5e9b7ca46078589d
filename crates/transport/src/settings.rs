//! Settings for the connections of a listener.

use std::{net::SocketAddr, rc::Rc, time::Duration};

use defence::ClientAddress;
use lifecycle::{FlowLimits, Transport};
pub use websocket::handshake::MissingOrigin;

use tls_settings::certificate::TlsConfig;

use crate::HandshakeLimit;

/// How SIP messages are told apart on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// One message in one WebSocket message (RFC 7118).
    WebSocket,
    /// By Content-Length (RFC 3261 §18.3).
    Stream,
}

impl Framing {
    /// How messages are told apart on this transport; UDP has datagrams instead.
    #[must_use]
    pub const fn of(transport: Transport) -> Option<Self> {
        match transport {
            Transport::Ws | Transport::Wss => Some(Self::WebSocket),
            Transport::Tcp | Transport::Tls => Some(Self::Stream),
            Transport::Udp => None,
        }
    }
}

/// Limits and times of one listener's connections.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Largest SIP message, bytes.
    pub max_message: u32,
    /// From the accepted connection to the upgrade request (or a stream's first message).
    pub handshake_timeout: Duration,
    /// How long a closed connection may linger until its peer lets go.
    pub close_timeout: Duration,
    /// Silence before a ping; a flow may have up to a quarter less of its own. Where the kernel asks instead,
    /// whole seconds.
    pub ping_after: Duration,
    /// From the ping to the verdict.
    pub pong_timeout: Duration,
    /// How long a flow may live, how long it may say nothing, and how much it may say.
    pub limits: FlowLimits,
    /// Unsent bytes of one flow beyond which the peer is a slow reader.
    pub outbound_queue: usize,
    /// Time in which the peer must take at least one of our bytes.
    pub write_timeout: Duration,
}

/// One listener.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its number among all listeners.
    pub number: u8,
    /// Its name in events and logs.
    pub name: String,
    /// How SIP travels on it.
    pub transport: Transport,
    /// Where it listens, the port resolved.
    pub local: SocketAddr,
    /// By what it knows its clients.
    pub client_address: ClientAddress,
    /// Its connections that are no flows yet.
    pub waiting: Rc<HandshakeLimit>,
    /// WebSocket paths that exist; empty: any.
    pub paths: Vec<String>,
    /// Origins that may come in; empty: any.
    pub origins: Vec<String>,
    /// What to do without an Origin header.
    pub missing_origin: MissingOrigin,
    /// TLS, for wss and tls.
    pub tls: Option<TlsConfig>,
    /// Limits and times.
    pub settings: Rc<Settings>,
}
