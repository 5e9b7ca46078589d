//! Listeners: bound all or none, and how their names stand in SIP headers.

use std::{
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use config::{ClientCertificate, ClientIdentity, Config, Host, TlsFiles, TlsMaterial};
use lifecycle::Transport;
use sip_message::Via;
use tls_settings::certificate::{self, Certificate, Clients, Fitting, TlsConfig};
use transport::{HandshakeLimit, Settings};

use crate::StartError;

/// A listener that is bound: what everyone needs to know of it.
#[derive(Clone, Debug)]
pub struct BoundListener {
    /// Its name in events and logs.
    pub name: String,
    /// How SIP travels on it.
    pub transport: Transport,
    /// Where it listens, the port resolved.
    pub local: SocketAddr,
    /// The host by which peers reach it.
    pub(crate) host: Host,
    /// The port by which peers reach it.
    pub(crate) port: u16,
    /// `SIP/2.0/WS host:port`, the start of our Via.
    pub(crate) via: Vec<u8>,
    /// Where the host begins in it.
    via_start: usize,
    /// `@host:port;transport=ws;lr>`, the end of our Record-Route.
    pub(crate) route_end: Vec<u8>,
    config: config::Listener,
    tls: Option<TlsConfig>,
    /// Where a newer certificate goes; none where it was made at the start.
    pub(crate) certificate: Option<Arc<Certificate>>,
    handshake: Handshake,
}

/// Limits that are the same for all listeners.
#[derive(Clone, Copy, Debug)]
struct Handshake {
    timeout: std::time::Duration,
    close_timeout: std::time::Duration,
    write_timeout: std::time::Duration,
    most: u32,
    outbound_queue: usize,
}

impl BoundListener {
    /// Whether the sent-by of a Via is the one that we write on this listener. A port that is left out may be
    /// ours.
    pub(crate) fn is_sent_by(&self, via: &Via<'_>) -> bool {
        if self.via.ends_with(via.sent_by()) && self.via.len() == self.via_start + via.sent_by().len() {
            return true;
        }
        let same_host = match (&self.host, via.host()) {
            (Host::Name(own), sip_message::Host::Name(name)) => name.eq_ignore_ascii_case(own.as_bytes()),
            (Host::V4(own), sip_message::Host::V4(address)) => *own == address,
            (Host::V6(own), sip_message::Host::V6(address)) => *own == address,
            _ => false,
        };
        same_host && via.port().is_none_or(|port| port == self.port)
    }
}

/// The sockets of one listener.
#[derive(Debug)]
pub(crate) enum Sockets {
    /// One, accepted from by one task.
    Stream(TcpListener),
    /// One for each shard.
    Datagram(Vec<UdpSocket>),
}

/// Binds every listener of the configuration.
///
/// # Errors
/// The first that cannot be bound, or whose certificate cannot be used; then none stays bound.
pub(crate) fn bind(config: &Config, shards: usize) -> Result<Vec<(BoundListener, Sockets)>, StartError> {
    config.listeners.iter().map(|listener| bind_one(config, listener, shards)).collect()
}

fn bind_one(
    config: &Config,
    listener: &config::Listener,
    shards: usize,
) -> Result<(BoundListener, Sockets), StartError> {
    let transport = transport_of(listener);
    let failed = |error| StartError::Bind {
        listener: listener.name.to_string(),
        transport: transport.as_str(),
        address: listener.bind,
        error,
    };
    let wrong = |error| StartError::Certificate { listener: listener.name.to_string(), error };
    let (tls, certificate) = match listener.transport.tls() {
        None => (None, None),
        Some(TlsMaterial::SelfSigned { names }) => {
            (Some(certificate::self_signed(names.clone()).map_err(wrong)?), None)
        }
        Some(TlsMaterial::Files(files)) => {
            let first = Fitting::new(&files.chain, &files.key).map_err(wrong)?;
            let certificate = Certificate::new(first);
            (
                Some(certificate::serving(Arc::clone(&certificate), clients(files)).map_err(wrong)?),
                Some(certificate),
            )
        }
    };
    let (local, sockets) = match transport {
        Transport::Udp => {
            let sockets = transport::udp::bind(listener.bind, shards).map_err(failed)?;
            let first = sockets.first().ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))?;
            (first.local_addr().map_err(failed)?, Sockets::Datagram(sockets))
        }
        _ => {
            let socket = transport::accept::bind(listener.bind).map_err(failed)?;
            (socket.local_addr().map_err(failed)?, Sockets::Stream(socket))
        }
    };
    Ok((BoundListener::new(config, listener, local, (tls, certificate), shards), sockets))
}

fn transport_of(listener: &config::Listener) -> Transport {
    match listener.transport {
        config::Transport::Ws(_) => Transport::Ws,
        config::Transport::Wss(..) => Transport::Wss,
        config::Transport::Udp => Transport::Udp,
        config::Transport::Tcp => Transport::Tcp,
        config::Transport::Tls(_) => Transport::Tls,
    }
}

fn clients(files: &TlsFiles) -> Clients<'_> {
    match &files.clients {
        None => Clients::Unasked,
        Some(clients) => match clients.wanted {
            ClientCertificate::Required => Clients::Required(&clients.authorities),
            ClientCertificate::Optional => Clients::Optional(&clients.authorities),
        },
    }
}

impl BoundListener {
    /// A listener of the configuration that listens here.
    pub(crate) fn new(
        config: &Config,
        listener: &config::Listener,
        local: SocketAddr,
        (tls, certificate): (Option<TlsConfig>, Option<Arc<Certificate>>),
        shards: usize,
    ) -> Self {
        let transport = transport_of(listener);
        let port = listener.advertised_port(local);
        let host = listener.advertise.host.clone();
        // RFC 7118 §5.2: URIs say `ws` for both kinds of WebSocket; the Via tells them apart.
        let in_uri = if transport == Transport::Wss { Transport::Ws } else { transport };
        let protocol = format!("SIP/2.0/{} ", transport.via());
        Self {
            name: listener.name.to_string(),
            transport,
            local,
            via: format!("{protocol}{host}:{port}").into_bytes(),
            via_start: protocol.len(),
            route_end: format!("@{host}:{port};transport={in_uri};lr>").into_bytes(),
            host,
            port,
            config: listener.clone(),
            tls,
            certificate,
            handshake: Handshake {
                timeout: config.limits.handshake_timeout,
                close_timeout: config.limits.close_timeout,
                write_timeout: config.limits.write_timeout,
                most: config.limits.max_handshakes.div_ceil(u32::try_from(shards).unwrap_or(1).max(1)),
                outbound_queue: usize::try_from(config.limits.outbound_queue).unwrap_or(usize::MAX),
            },
        }
    }

    /// The part of client certificates that names the user, if clients are asked for one.
    pub(crate) fn client_identity(&self) -> Option<ClientIdentity> {
        match self.config.transport.tls()? {
            TlsMaterial::Files(files) => files.clients.as_ref().map(|clients| clients.identity),
            TlsMaterial::SelfSigned { .. } => None,
        }
    }

    /// The settings of its connections, for one shard.
    pub(crate) fn for_shard(&self, number: u8) -> transport::Listener {
        let websocket = self.config.transport.websocket();
        let list = |only: Option<&Vec<String>>| only.cloned().unwrap_or_default();
        let paths = websocket.map(|websocket| match &websocket.paths {
            config::Paths::Any => Vec::new(),
            config::Paths::Only(paths) => list(Some(paths)),
        });
        let origins = websocket.map(|websocket| match &websocket.origins {
            config::Origins::Any => Vec::new(),
            config::Origins::Only(origins) => list(Some(origins)),
        });
        let missing_origin = match websocket.map(|websocket| &websocket.missing_origin) {
            Some(config::MissingOrigin::Refuse) => transport::MissingOrigin::Refuse,
            Some(config::MissingOrigin::Accept) | None => transport::MissingOrigin::Allow,
        };
        transport::Listener {
            number,
            name: self.name.clone(),
            transport: self.transport,
            local: self.local,
            client_address: self.config.client_address.clone(),
            waiting: Rc::new(HandshakeLimit::new(usize::try_from(self.handshake.most).unwrap_or(usize::MAX))),
            paths: paths.unwrap_or_default(),
            origins: origins.unwrap_or_default(),
            missing_origin,
            tls: self.tls.clone(),
            settings: Rc::new(Settings {
                max_message: u32::try_from(self.config.max_message).unwrap_or(u32::MAX),
                handshake_timeout: self.handshake.timeout,
                close_timeout: self.handshake.close_timeout,
                ping_after: self.config.keepalive.ping_after,
                pong_timeout: self.config.keepalive.pong_timeout,
                outbound_queue: self.handshake.outbound_queue,
                write_timeout: self.handshake.write_timeout,
                limits: self.config.flow_limits,
            }),
        }
    }

    /// Whether peers reach it by this host, or it is bound there.
    pub(crate) fn is_at(&self, host: &sip_message::Host<'_>) -> bool {
        match (host.ip(), &self.host) {
            (Some(ip), _) if ip == self.local.ip() => true,
            (Some(ip), Host::V4(own)) => ip == *own,
            (Some(ip), Host::V6(own)) => ip == *own,
            (None, Host::Name(own)) => host.same(&sip_message::Host::Name(own.as_bytes())),
            (Some(_), Host::Name(_)) | (None, Host::V4(_) | Host::V6(_)) => false,
        }
    }

    /// Whether peers reach it by this port, or it is bound there; a URI without a port may mean any.
    pub(crate) fn has_port(&self, port: Option<u16>) -> bool {
        port.is_none_or(|port| port == self.port || port == self.local.port())
    }

    /// Whole seconds of silence after which a flow is given up; nothing if that is less than one.
    pub(crate) fn flow_timer(&self) -> Option<u64> {
        let keepalive = self.config.keepalive;
        Some((keepalive.ping_after + keepalive.pong_timeout).as_secs()).filter(|&seconds| seconds > 0)
    }

    /// How long a peer may leave a ping unanswered.
    pub(crate) fn pong_timeout(&self) -> Duration {
        self.config.keepalive.pong_timeout
    }

    /// `host:port` by which peers reach it.
    #[must_use]
    pub fn advertised(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}
