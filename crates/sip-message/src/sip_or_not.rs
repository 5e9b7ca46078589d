//! What phones, NAT helpers and strays send to a SIP port that is no SIP at all.

use crate::syntax::is_token_byte;

/// Octets that mean nothing before a message: line ends, blanks and NUL. Phones send some of them to keep a
/// NAT binding open.
#[inline]
#[must_use]
pub fn is_padding(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n' | b' ' | b'\t' | 0)
}

/// Whether a datagram or a WebSocket message may be meant as a SIP message, however damaged: its first line
/// begins with a token and names the protocol. Everything else is a keepalive or another protocol, and needs
/// neither an answer nor a judgement:
///
/// - nothing, line ends, blanks, NULs: keepalives of phones and of NAT helpers;
/// - a few characters (`jaK`, `PING`, `Cirpack KeepAlive Packet`, `;`): keepalives, too;
/// - STUN (RFC 8489), which begins with a byte below 4, DTLS (20 to 63), TURN channels (64 to 79), RTP and
///   RTCP (128 to 191).
#[must_use]
pub fn tries_to_be_sip(bytes: &[u8]) -> bool {
    let Some(start) = bytes.iter().position(|&byte| !is_padding(byte)) else { return false };
    let message = &bytes[start..];
    if !is_token_byte(message[0]) {
        return false;
    }
    let line = &message[..memchr::memchr(b'\n', message).unwrap_or(message.len())];
    memchr::memchr2_iter(b'S', b's', line)
        .any(|at| line.get(at..at + PROTOCOL.len()).is_some_and(|found| found.eq_ignore_ascii_case(PROTOCOL)))
}

const PROTOCOL: &[u8] = b"SIP/";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keepalives_and_other_protocols_are_no_sip() {
        let stun = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], b"SIP/2.0 SIP/"].concat();
        let rtp = [&[0x80, 0, 0, 1][..], b"SIP/2.0"].concat();
        let turn = [&[0x40, 1, 0, 4][..], b"data"].concat();
        for other in [
            &b""[..],
            b"\0",
            b"\0\0\0\0",
            b"\r\n",
            b"\r\n\r\n",
            b"\r\n\0",
            b"\n",
            b" ",
            b"\t\0 \r",
            b"jaK",
            b"jaK\0",
            b"PING",
            b"$NOTIFY",
            b"Cirpack KeepAlive Packet",
            b";",
            b".",
            b"sip:keep@alive",
            b"GET / HTTP/1.1\r\nX: SIP/2.0\r\n\r\n",
            b"{\"type\":\"ping\",\"of\":\"SIP/2.0\"}",
            b"\x16\x03\x01\x02\0SIP/2.0",
            b"\xff\xff\xff\xffSIP/2.0",
            &stun,
            &rtp,
            &turn,
        ] {
            assert!(!tries_to_be_sip(other), "{:?}", String::from_utf8_lossy(other));
        }
    }

    #[test]
    fn damaged_sip_is_sip() {
        for message in [
            &b"OPTIONS sip:a SIP/2.0\r\n\r\n"[..],
            b"\r\n\r\nSIP/2.0 200 OK\r\n\r\n",
            b"OPTIONS sip:a sip/7.0",
            b"SIP/2.0",
            b"\0\0REGISTER sip:a SIP/2.0\n\n",
            b"OPTIONS  SIP/2.0",
        ] {
            assert!(tries_to_be_sip(message), "{:?}", String::from_utf8_lossy(message));
        }
    }
}
