//! The kernel's view: the sockets that this process holds and that are connected to its listeners.
//!
//! Read from `/proc/self`, which is there in any container and shows this process's own network namespace.

use std::{
    collections::HashSet,
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use crate::audit::comparison::Kernel;

/// A TCP socket that is connected, or was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Socket {
    /// The kernel's number for it.
    pub(crate) inode: u64,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
}

/// The state of a socket that listens, in the kernel's tables.
const LISTEN: &str = "0A";

/// Takes the kernel's view: sockets at these listeners, and those that flows have, which may be connections
/// of our own making. Blocks for about as long as there are sockets in this network namespace.
///
/// # Errors
/// There is no `/proc`, or it may not be read.
pub(crate) fn look(listeners: &[SocketAddr], flows: &HashSet<u64>) -> io::Result<Kernel> {
    let mut held = HashSet::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        // What was closed since it was listed is not held any more.
        let Ok(target) = fs::read_link(entry?.path()) else { continue };
        if let Some(inode) = target.to_str().and_then(socket_number) {
            held.insert(inode);
        }
    }
    let mut connected = Vec::new();
    for table in ["/proc/self/net/tcp", "/proc/self/net/tcp6"] {
        let text = match fs::read_to_string(table) {
            Ok(text) => text,
            // A kernel without IPv6.
            Err(error) if table.ends_with('6') && error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        connected.extend(text.lines().skip(1).filter_map(row).filter(|socket| {
            let at_listener = || listeners.iter().any(|listener| is_at(socket.local, *listener));
            held.contains(&socket.inode) && (flows.contains(&socket.inode) || at_listener())
        }));
    }
    Ok(Kernel { held, connected })
}

/// The number in `socket:[4711]`.
fn socket_number(target: &str) -> Option<u64> {
    target.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

fn is_at(local: SocketAddr, listener: SocketAddr) -> bool {
    local.port() == listener.port() && (listener.ip().is_unspecified() || local.ip() == listener.ip())
}

/// One row of a table; none for a socket that listens or that no process holds.
fn row(line: &str) -> Option<Socket> {
    let mut columns = line.split_ascii_whitespace();
    let (local, remote, state) = (columns.nth(1)?, columns.next()?, columns.next()?);
    let inode = columns.nth(5)?.parse().ok()?;
    (state != LISTEN && inode != 0).then_some(())?;
    Some(Socket { inode, local: address(local)?, remote: address(remote)? })
}

/// `0100007F:1F90`: words of the address as they lie in memory, read as numbers of this machine.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word =
        |index: usize| u32::from_str_radix(ip.get(index * 8..index * 8 + 8)?, 16).ok().map(u32::to_ne_bytes);
    let ip: IpAddr = match ip.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let mut bytes = [0; 16];
            for (index, part) in bytes.chunks_exact_mut(4).enumerate() {
                part.copy_from_slice(&word(index)?);
            }
            Ipv6Addr::from(bytes).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use proptest::prelude::*;

    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn rows_are_read() {
        let established = "   1: 0100007F:1F90 0200000A:D431 01 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0000000000000000 20 4 30 10 -1";
        let socket = Socket {
            inode: 4711,
            local: "127.0.0.1:8080".parse().unwrap(),
            remote: "10.0.0.2:54321".parse().unwrap(),
        };
        assert_eq!(row(established), Some(socket));
        assert_eq!(row(&established.replace(" 01 ", " 0A ")), None, "it listens");
        assert_eq!(row(&established.replace(" 4711 ", " 0 ")), None, "nobody holds it");
        assert_eq!(address("00000000000000000000000001000000:0050"), Some("[::1]:80".parse().unwrap()));
        assert_eq!(address("0000000000000000FFFF00000100007F:0050"), Some("127.0.0.1:80".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_passed_over(line in "[ 0-9A-F:é]{0,160}") {
            let _ = row(&line);
        }
    }

    #[test]
    fn a_connection_of_this_process_is_seen_by_its_number_until_it_is_let_go() {
        use std::os::fd::AsFd as _;
        for bind in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(bind) else { continue };
            let local = listener.local_addr().unwrap();
            let client = TcpStream::connect(local).unwrap();
            let (server, remote) = listener.accept().unwrap();
            let inode = rustix::fs::fstat(server.as_fd()).unwrap().st_ino;
            let seen = look(&[local], &HashSet::new()).unwrap();
            assert_eq!(seen.connected, [Socket { inode, local, remote }]);
            assert!(seen.held.contains(&inode));
            assert!(look(&[], &HashSet::new()).unwrap().connected.is_empty());
            drop((server, client));
            assert!(!look(&[local], &HashSet::new()).unwrap().held.contains(&inode));
        }
    }
}
