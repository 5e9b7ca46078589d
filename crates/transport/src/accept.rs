//! Listening sockets: bind them all before any is served, accept without spinning when descriptors run out,
//! and without taking the last ones.

use std::{io, net::SocketAddr, os::fd::AsRawFd as _, time::Duration};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

/// Connections that the kernel holds ready for us.
const BACKLOG: i32 = 4096;

/// Pause after an accept that failed for want of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(100);

/// A listening TCP socket at `address`; port 0 takes a free one.
///
/// # Errors
/// The address is taken or not ours.
pub fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// What became of one accept.
#[derive(Debug)]
pub enum Accepted {
    /// A connection.
    Connection(TcpStream, SocketAddr),
    /// Descriptors or memory ran out; a pause was made so that the listener does not spin. Told for the log.
    Starved(io::Error),
}

/// Waits for the next connection. Connections that were gone before we took them are passed over. Descriptors
/// are numbered from the lowest free one on, so one that is numbered `most` or higher says that this many are
/// in use: then it is given back, for the process needs some for other things than connections.
pub async fn accept(listener: &TcpListener, most: u64) -> Accepted {
    let error = loop {
        match listener.accept().await {
            Ok((stream, _)) if u64::try_from(stream.as_raw_fd()).is_ok_and(|number| number >= most) => {
                break io::Error::other(format!("all {most} descriptors for connections are in use"));
            }
            Ok((stream, remote)) => return Accepted::Connection(stream, remote),
            Err(error) if gone_already(&error) => {}
            Err(error) => break error,
        }
    };
    tokio::time::sleep(PAUSE).await;
    Accepted::Starved(error)
}

/// Whether this error is the one connection's, not ours: Linux hands over what the network already said of it
/// (accept(2)). Anything else may come back at once, so it costs a pause.
fn gone_already(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::TimedOut
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::PermissionDenied
    )
}
