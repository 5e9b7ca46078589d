//! UDP: one socket for each shard and listener, all on one port.

use std::{io, net::SocketAddr, rc::Rc};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::{io::Interest, net::UdpSocket};

use crate::Scratch;

/// Datagrams taken from the socket before others get their turn.
const BURST: usize = 64;

/// Bytes that the kernel may hold for us; a registration storm comes in waves.
const RECEIVE_BUFFER: usize = 4 << 20;

/// The sockets of a listener, one for each shard, all on one address. The kernel keeps the datagrams of one peer on one
/// socket.
///
/// # Errors
/// The address is taken, by another process of this program too, or not ours.
pub fn bind(address: SocketAddr, sockets: usize) -> io::Result<Vec<std::net::UdpSocket>> {
    // Bound alone, the first finds out whether anyone else has the address; only then may the others share it.
    let first = bind_one(address, Sharing::No)?;
    first.set_reuse_port(true)?;
    let first = std::net::UdpSocket::from(first);
    let local = first.local_addr()?;
    let mut all = vec![first];
    for _ in 1..sockets {
        all.push(bind_one(local, Sharing::Yes)?.into());
    }
    Ok(all)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sharing {
    No,
    Yes,
}

fn bind_one(address: SocketAddr, sharing: Sharing) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    if sharing == Sharing::Yes {
        socket.set_reuse_port(true)?;
    }
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // The kernel may grant less; that is no reason not to serve.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    socket.bind(&address.into())?;
    Ok(socket)
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
