//! Whether an address is one of this machine.

use std::net::{IpAddr, UdpSocket};

/// Nothing is sent for it: only what is here can be bound.
pub(crate) fn is_here(address: IpAddr) -> bool {
    address.is_loopback() || UdpSocket::bind((address, 0)).is_ok()
}
