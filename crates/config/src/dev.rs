//! The configuration of `sipway dev`: no file, no certificate, loopback only.

use std::net::{Ipv4Addr, SocketAddr};

use crate::Config;
use crate::admin::Admin;
use crate::domain::Domain;
use crate::host::Host;
use crate::listener::{Listener, Transport};
use crate::tls::TlsMaterial;
use crate::value::Name;
use crate::websocket::WebSocket;

/// The ports of `sipway dev`, all on 127.0.0.1; 0 takes a free one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DevPorts {
    /// For `ws`.
    pub ws: u16,
    /// For `wss`.
    pub wss: u16,
    /// For UDP and TCP.
    pub sip: u16,
    /// For the admin API.
    pub admin: u16,
}

impl Default for DevPorts {
    fn default() -> Self {
        Self { ws: 8080, wss: 8443, sip: 5060, admin: 8090 }
    }
}

impl Config {
    /// The configuration of `sipway dev`: ws, wss with a self-signed certificate, UDP and TCP on 127.0.0.1,
    /// everybody may use the domains `localhost` and `127.0.0.1`, the ledger lies in the working directory.
    #[must_use]
    pub fn dev(ports: DevPorts) -> Self {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let wss = Transport::Wss(WebSocket::default(), TlsMaterial::SelfSigned { names });
        let listeners = vec![
            local("ws", Transport::Ws(WebSocket::default()), ports.ws),
            local("wss", wss, ports.wss),
            local("udp", Transport::Udp, ports.sip),
            local("tcp", Transport::Tcp, ports.sip),
        ];
        Self { listeners, admin: Some(Admin { bind: loopback(ports.admin), token: None }), ..Self::default() }
    }
}

/// What a file without any `[[listener]]` gets: reachable from this machine alone.
pub(crate) fn default_listeners() -> Vec<Listener> {
    vec![
        local("ws", Transport::Ws(WebSocket::default()), 8080),
        local("udp", Transport::Udp, 5060),
        local("tcp", Transport::Tcp, 5060),
    ]
}

/// What a file without any `[[domain]]` gets, as long as it is reachable from this machine alone.
pub(crate) fn default_domains() -> Vec<Domain> {
    vec![Domain::open(Host::Name("localhost".to_owned())), Domain::open(Host::V4(Ipv4Addr::LOCALHOST))]
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn local(name: &str, transport: Transport, port: u16) -> Listener {
    let name = Name::new(name).expect("transports are named in lower case letters");
    Listener::new(name, transport, loopback(port))
}
