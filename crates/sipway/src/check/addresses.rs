//! The addresses that the server listens on: whether it can have them, and if not, who has them.

use std::{
    fs,
    io::{self, ErrorKind},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
};

use config::{Config, Transport};
use socket2::{Domain, Protocol, Socket, Type};

use super::Findings;
use crate::speech::say;

/// What is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Stream,
    Datagram,
}

/// A process that has an address.
#[derive(Debug, PartialEq, Eq)]
struct Holder {
    process: u32,
    name: String,
}

/// `running` is the process that has this configuration's ledger open.
pub(super) fn look(config: &Config, running: Option<u32>, findings: &mut Findings) {
    let listeners = config.listeners.iter().map(|listener| {
        let kind = if listener.transport == Transport::Udp { Kind::Datagram } else { Kind::Stream };
        (format!("listener `{}`", listener.name), kind, listener.bind)
    });
    let admin = config.admin.iter().map(|admin| ("[admin]".to_owned(), Kind::Stream, admin.bind));
    for (who, kind, address) in listeners.chain(admin) {
        let Err(error) = bind(kind, address) else { continue };
        match error.kind() {
            ErrorKind::AddrInUse => match (holder(kind, address), running) {
                (Some(holder), Some(running)) if holder.process == running => {
                    say!("{who}: {address} is in use by the server that runs with this ledger (process {running})");
                }
                (Some(Holder { process, name }), _) => findings.error(format_args!(
                    "{who} cannot have {address}: `{name}` (process {process}) has it; end that, or give another `bind` address"
                )),
                // Only root can see the sockets of other users' processes.
                (None, Some(running)) => findings.warning(format_args!(
                    "{who}: {address} is in use, perhaps by the server that runs with this ledger (process {running})"
                )),
                (None, None) => findings.error(format_args!(
                    "{who} cannot have {address}: another process has it; root can see which. End that, or give another `bind` address"
                )),
            },
            // The service may have a right that the user who runs `check` does not have.
            ErrorKind::PermissionDenied => findings.warning(format_args!(
                "{who}: this user may not have {address}: ports below 1024 need the capability CAP_NET_BIND_SERVICE"
            )),
            ErrorKind::AddrNotAvailable => findings.error(format_args!(
                "{who} cannot have {address}: this machine has no address {}",
                address.ip()
            )),
            _ => findings.error(format_args!("{who} cannot have {address}: {error}")),
        }
    }
}

/// Takes an address as the server would, but neither listens nor shares: no connection and no datagram comes
/// here instead.
fn bind(kind: Kind, address: SocketAddr) -> io::Result<()> {
    let (kind, protocol) = match kind {
        Kind::Stream => (Type::STREAM, Protocol::TCP),
        Kind::Datagram => (Type::DGRAM, Protocol::UDP),
    };
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if kind == Type::STREAM {
        socket.set_reuse_address(true)?;
    }
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())
}

/// Who has an address, as far as this user may see.
fn holder(kind: Kind, address: SocketAddr) -> Option<Holder> {
    let tables = match kind {
        Kind::Stream => ["/proc/net/tcp", "/proc/net/tcp6"],
        Kind::Datagram => ["/proc/net/udp", "/proc/net/udp6"],
    };
    let rows = tables.iter().filter_map(|table| fs::read_to_string(table).ok());
    let inodes: Vec<String> = rows
        .flat_map(|table| table.lines().filter_map(|row| bound(row, kind, address)).collect::<Vec<_>>())
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    let processes = fs::read_dir("/proc").ok()?.filter_map(|entry| {
        let process: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        Some(process)
    });
    processes.filter(|process| has_one_of(*process, &inodes)).find_map(|process| {
        let name = fs::read_to_string(format!("/proc/{process}/comm")).ok()?;
        Some(Holder { process, name: name.trim().to_owned() })
    })
}

/// The inode in a row of such a table, if that socket stands in the way of the address.
fn bound(row: &str, kind: Kind, wanted: SocketAddr) -> Option<u64> {
    let fields: Vec<&str> = row.split_whitespace().collect();
    let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
    // 0A listens. What is left of connections stands in nobody's way.
    if kind == Kind::Stream && *state != "0A" {
        return None;
    }
    let local = address(local)?;
    let (one, other) = (local.ip().to_canonical(), wanted.ip().to_canonical());
    let meet = one == other || one.is_unspecified() || other.is_unspecified();
    (meet && local.port() == wanted.port()).then(|| inode.parse().ok()).flatten()
}

/// `0100007F:1F90`: words of four bytes in the order of this machine, then the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let words = (0..ip.len()).step_by(8).map(|at| {
        let word = u32::from_str_radix(ip.get(at..at + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    });
    let bytes = words.collect::<Option<Vec<_>>>()?.concat();
    let ip = match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(four) => IpAddr::V4(Ipv4Addr::from(four)),
        Err(_) => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

fn has_one_of(process: u32, inodes: &[String]) -> bool {
    let Ok(descriptors) = fs::read_dir(Path::new("/proc").join(process.to_string()).join("fd")) else {
        return false;
    };
    descriptors.flatten().any(|descriptor| {
        let leads = fs::read_link(descriptor.path()).ok();
        leads.is_some_and(|leads| inodes.iter().any(|inode| leads.as_os_str() == inode.as_str()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_the_kernel() {
        let row = "0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 4711 1 0 100 0 0 10 0";
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert_eq!(bound(row, Kind::Stream, at("127.0.0.1:8080")), Some(4711));
        assert_eq!(bound(row, Kind::Stream, at("0.0.0.0:8080")), Some(4711));
        assert_eq!(bound(row, Kind::Stream, at("127.0.0.2:8080")), None);
        assert_eq!(bound(row, Kind::Stream, at("127.0.0.1:8081")), None);
        assert_eq!(bound(&row.replace(" 0A ", " 01 "), Kind::Stream, at("127.0.0.1:8080")), None);
        let any = row.replace("0100007F", "00000000000000000000000000000000");
        assert_eq!(bound(&any, Kind::Stream, at("[::1]:8080")), Some(4711));
        for odd in
            ["", "sl local_address rem_address st", "0: x:y z 0A 0 0 0 0 0 1", "0: 01:1 0 0A 0 0 0 0 0 1"]
        {
            assert_eq!(bound(odd, Kind::Stream, at("127.0.0.1:1")), None, "{odd}");
        }
    }

    #[test]
    fn the_holder_of_an_address_is_found() {
        let stream = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let datagram = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        for (kind, address) in
            [(Kind::Stream, stream.local_addr().unwrap()), (Kind::Datagram, datagram.local_addr().unwrap())]
        {
            assert_eq!(bind(kind, address).unwrap_err().kind(), ErrorKind::AddrInUse);
            assert_eq!(holder(kind, address).unwrap().process, std::process::id());
        }
        let free = stream.local_addr().unwrap();
        drop(stream);
        assert!(bind(Kind::Stream, free).is_ok() && holder(Kind::Stream, free).is_none());
    }
}
