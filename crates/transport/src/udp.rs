//! UDP: one socket for each shard and listener, all on one port.

use std::{io, net::SocketAddr, rc::Rc};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::{io::Interest, net::UdpSocket};

use crate::Scratch;

/// Datagrams taken from the socket before others get their turn.
const BURST: usize = 64;

/// Bytes that the kernel may hold for us; a registration storm comes in waves.
const RECEIVE_BUFFER: usize = 4 << 20;

/// One socket of a listener that each shard has a socket of. The kernel keeps the datagrams of one peer on
/// one socket.
///
/// # Errors
/// The address is taken or not ours.
pub fn bind(address: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    socket.set_reuse_port(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // The kernel may grant less; that is no reason not to serve.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Hands each datagram to `datagram`, for as long as the process lives. Errors that the kernel reports for
/// earlier sends (ICMP) go to `failed` and cost nothing else.
pub async fn receive(
    socket: Rc<UdpSocket>,
    scratch: Rc<Scratch>,
    mut datagram: impl FnMut(SocketAddr, &[u8]),
    mut failed: impl FnMut(io::Error),
) {
    loop {
        if let Err(error) = socket.ready(Interest::READABLE).await {
            failed(error);
            return;
        }
        for _ in 0..BURST {
            let mut input = scratch.input.borrow_mut();
            match socket.try_recv_from(&mut input) {
                Ok((length, remote)) => datagram(remote, input.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => failed(error),
            }
        }
        tokio::task::yield_now().await;
    }
}
