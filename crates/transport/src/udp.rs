//! UDP: one socket for each shard and listener, all on one port.

use std::{
    io::{self, IoSliceMut},
    net::SocketAddr,
    os::fd::AsRawFd as _,
    rc::Rc,
};

use nix::{
    libc::{self, sock_extended_err},
    sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt},
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{io::Interest, net::UdpSocket};

use crate::Scratch;

/// Datagrams taken from the socket before others get their turn.
const BURST: usize = 64;

/// Bytes that the kernel may hold for us; a registration storm comes in waves.
const RECEIVE_BUFFER: usize = 4 << 20;

/// The sockets of a listener, one for each shard, all on one address. The kernel keeps the datagrams of one
/// peer on one socket.
///
/// # Errors
/// The address is taken, by another process of this program too, or not ours.
pub fn bind(address: SocketAddr, sockets: usize) -> io::Result<Vec<std::net::UdpSocket>> {
    // Bound alone, the first finds out whether anyone else has the address; only then may the others share
    // it.
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
    // Nor is it that nobody tells what comes back: then requests wait for their time.
    let _ = if address.is_ipv6() {
        setsockopt(&socket, sockopt::Ipv6RecvErr, &true)
    } else {
        setsockopt(&socket, sockopt::Ipv4RecvErr, &true)
    };
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Hands each datagram to `datagram`, for as long as the process lives. What was sent and came back, because
/// its address cannot be reached (ICMP, RFC 3261 §18.4), goes to `returned`: where it was sent, and its first
/// bytes, as many as the one who returned it has quoted. Anybody may have done that who can write such a
/// packet; who has not seen the datagram cannot quote it. All other errors go to `failed` and cost nothing
/// else.
pub async fn receive(
    socket: Rc<UdpSocket>,
    scratch: Rc<Scratch>,
    mut datagram: impl FnMut(SocketAddr, &[u8]),
    mut returned: impl FnMut(SocketAddr, &[u8]),
    mut failed: impl FnMut(io::Error),
) {
    loop {
        let ready = match socket.ready(Interest::READABLE | Interest::ERROR).await {
            Ok(ready) => ready,
            Err(error) => {
                failed(error);
                return;
            }
        };
        if ready.is_error() {
            for _ in 0..BURST {
                let mut input = scratch.input.borrow_mut();
                match socket.try_io(Interest::ERROR, || take_returned(&socket, &mut input)) {
                    Ok(Some((remote, length))) => {
                        returned(remote, input.get(..length).unwrap_or_default());
                    }
                    Ok(None) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => {
                        failed(error);
                        break;
                    }
                }
            }
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

/// Takes one report out of the socket's queue of errors: where the datagram was sent, and how much of it is
/// quoted. None if it tells something else, such as that a hop on the way wants smaller ones.
fn take_returned(socket: &UdpSocket, input: &mut [u8]) -> io::Result<Option<(SocketAddr, usize)>> {
    let mut control = nix::cmsg_space!(sock_extended_err, libc::sockaddr_in6);
    let mut parts = [IoSliceMut::new(input)];
    let report = recvmsg::<SockaddrStorage>(
        socket.as_raw_fd(),
        &mut parts,
        Some(&mut control),
        MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT,
    )?;
    let unreachable = report.cmsgs()?.any(|message| match message {
        ControlMessageOwned::Ipv4RecvErr(error, _) => {
            error.ee_origin == libc::SO_EE_ORIGIN_ICMP
                && error.ee_type == ICMP_UNREACHABLE
                && is_final(&error)
        }
        ControlMessageOwned::Ipv6RecvErr(error, _) => {
            error.ee_origin == libc::SO_EE_ORIGIN_ICMP6
                && error.ee_type == ICMP6_UNREACHABLE
                && is_final(&error)
        }
        _ => false,
    });
    let remote = report.address.and_then(|address| {
        let v4 = address.as_sockaddr_in().map(|&v4| SocketAddr::V4(v4.into()));
        v4.or_else(|| address.as_sockaddr_in6().map(|&v6| SocketAddr::V6(v6.into())))
    });
    Ok(remote.filter(|_| unreachable).map(|remote| (remote, report.bytes)))
}

/// Destination unreachable (RFC 792).
const ICMP_UNREACHABLE: u8 = 3;

/// Destination unreachable (RFC 4443).
const ICMP6_UNREACHABLE: u8 = 1;

/// Whether a datagram would come back again. One that is too large is sent in parts.
fn is_final(error: &sock_extended_err) -> bool {
    i32::try_from(error.ee_errno).is_ok_and(|errno| errno != libc::EMSGSIZE)
}
