//! Where connections come from: many loopback addresses, so that ports are no limit.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpSocket, TcpStream};

/// Connections from one address before the next one is taken: well below the ports one address has.
const EACH: u32 = 4096;

/// Source addresses, handed out in turn.
#[derive(Debug)]
pub struct Sources {
    kind: Kind,
    handed_out: AtomicU32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    System,
    Loopback,
}

impl Sources {
    /// Whatever address the system chooses: for servers that are not on this machine. Some 28,000 ports.
    #[must_use]
    pub const fn system() -> Self {
        Self { kind: Kind::System, handed_out: AtomicU32::new(0) }
    }

    /// 127.0.0.2, 127.0.0.3, …: 4,096 connections from each, then the next. Every address has all ports for
    /// itself.
    #[must_use]
    pub const fn loopback() -> Self {
        Self { kind: Kind::Loopback, handed_out: AtomicU32::new(0) }
    }

    /// The loopback addresses if the server is on one, else the system's choice.
    #[must_use]
    pub const fn fitting(server: SocketAddr) -> Self {
        match server.ip() {
            IpAddr::V4(address) if address.is_loopback() => Self::loopback(),
            IpAddr::V4(_) | IpAddr::V6(_) => Self::system(),
        }
    }

    /// The address for the next connection; `None` leaves it to the system.
    #[must_use]
    pub fn next(&self) -> Option<IpAddr> {
        match self.kind {
            Kind::System => None,
            Kind::Loopback => {
                let n = self.handed_out.fetch_add(1, Ordering::Relaxed) / EACH % 60_000;
                let [_, _, high, low] = (n + 2).to_be_bytes();
                Some(Ipv4Addr::new(127, 0, high, low).into())
            }
        }
    }
}

/// How much the kernel may hold for a connection that its owner does not read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReceiveBuffer {
    /// As the system sizes it.
    #[default]
    System,
    /// As little as the system allows: a peer that stops reading is felt at once.
    Small,
}

/// Connects from this address.
pub(crate) async fn connect(
    source: Option<IpAddr>,
    server: SocketAddr,
    buffer: ReceiveBuffer,
) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(server), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if buffer == ReceiveBuffer::Small {
        // Before the connection is made: the window scale is agreed on then.
        socket.set_recv_buffer_size(4096)?;
    }
    if let Some(source) = source {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    TcpSocket::from_std_stream(socket.into()).connect(server).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_loopback_address_is_used_up() {
        let sources = Sources::loopback();
        let first: Vec<_> = (0..EACH).map(|_| sources.next()).collect();
        assert!(first.iter().all(|&source| source == Some(Ipv4Addr::new(127, 0, 0, 2).into())));
        assert_eq!(sources.next(), Some(Ipv4Addr::new(127, 0, 0, 3).into()));
    }
}
