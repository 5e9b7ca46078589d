//! Where a response over UDP goes.

use std::net::{IpAddr, SocketAddr};

use sip_message::{Host, Message, Rport};

/// The port of a Via that names none (RFC 3261 §18.2.2).
const DEFAULT_PORT: u16 = 5060;

/// Where a response goes, if the request came from `source`. A request of ours goes to `source` itself.
///
/// RFC 3261 §18.2.2 wants the port of the Via, RFC 3581 that of the source if the sender asks for it. A
/// sender whose Via has another address than its packets is behind a NAT, or has a name. There the port of
/// the Via would be a guess, and the source is where the sender was heard from. `maddr` is not followed: it
/// would let the sender choose who gets our datagrams.
pub(crate) fn response_address(message: &[u8], source: SocketAddr) -> SocketAddr {
    if !message.starts_with(b"SIP/2.0 ") {
        return source;
    }
    let Ok(message) = Message::parse(message) else { return source };
    let Some(Ok(via)) = message.vias().next() else { return source };
    let own = match via.host() {
        Host::V4(own) => IpAddr::V4(own),
        Host::V6(own) => IpAddr::V6(own),
        Host::Name(_) => return source,
    };
    if via.rport() != Rport::Absent || own != source.ip() {
        return source;
    }
    SocketAddr::new(own, via.port().unwrap_or(DEFAULT_PORT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_of_the_via_counts_where_it_can() {
        for (source, via, goes) in [
            ("192.0.2.1:4000", "192.0.2.1:5080", "192.0.2.1:5080"),
            ("192.0.2.1:4000", "192.0.2.1", "192.0.2.1:5060"),
            ("[2001:db8::1]:4000", "[2001:DB8:0::1]:5080", "[2001:db8::1]:5080"),
            // It asks for the source's, as everybody does.
            ("192.0.2.1:4000", "192.0.2.1:5080;rport=4000;received=192.0.2.1", "192.0.2.1:4000"),
            // Behind a NAT, or known by name.
            ("192.0.2.1:4000", "10.0.0.5:5080;received=192.0.2.1", "192.0.2.1:4000"),
            ("192.0.2.1:4000", "pbx.example:5080", "192.0.2.1:4000"),
            // A third party gets nothing.
            ("192.0.2.1:4000", "192.0.2.1:5080;maddr=198.51.100.1", "192.0.2.1:5080"),
        ] {
            let message = format!("SIP/2.0 200 OK\r\nv: SIP/2.0/UDP {via};branch=z9hG4bK1\r\n\r\n");
            let source: SocketAddr = source.parse().unwrap();
            assert_eq!(response_address(message.as_bytes(), source), goes.parse().unwrap(), "{via}");
            let request = message.replace("SIP/2.0 200 OK", "BYE sip:a@b SIP/2.0");
            assert_eq!(response_address(request.as_bytes(), source), source);
        }
    }
}
