//! The server as clients see it.

use std::net::SocketAddr;
use std::sync::Arc;

use lifecycle::Transport;

use crate::trust::Trust;

/// One listener of a server.
#[derive(Clone, Debug)]
pub struct Target {
    /// How SIP travels to it.
    pub transport: Transport,
    /// Where it listens.
    pub address: SocketAddr,
    /// The host name for TLS (SNI) and for the handshake's Host; the address if none.
    pub host: Option<Arc<str>>,
    /// The WebSocket path, with its query.
    pub path: Arc<str>,
    /// The SIP domain of its users.
    pub domain: Arc<str>,
    /// Which certificates are good.
    pub trust: Trust,
    /// The Origin to send, as a browser does.
    pub origin: Option<Arc<str>>,
}

impl Target {
    /// A listener that takes any path, whose users are of the domain `localhost`; over TLS any certificate is
    /// good.
    #[must_use]
    pub fn new(transport: Transport, address: SocketAddr) -> Self {
        Self {
            transport,
            address,
            host: None,
            path: "/".into(),
            domain: "localhost".into(),
            trust: Trust::anyone(),
            origin: None,
        }
    }

    /// The same for users of another domain.
    #[must_use]
    pub fn domain(mut self, domain: &str) -> Self {
        self.domain = domain.into();
        self
    }

    /// Whether SIP travels in WebSocket messages.
    #[must_use]
    pub const fn is_websocket(&self) -> bool {
        matches!(self.transport, Transport::Ws | Transport::Wss)
    }

    pub(crate) const fn is_tls(&self) -> bool {
        matches!(self.transport, Transport::Wss | Transport::Tls)
    }

    /// What stands in the handshake's Host.
    pub(crate) fn host_header(&self) -> String {
        match &self.host {
            Some(host) => format!("{host}:{}", self.address.port()),
            None => self.address.to_string(),
        }
    }
}
