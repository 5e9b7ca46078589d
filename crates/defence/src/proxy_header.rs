//! The PROXY protocol, versions 1 and 2, seen from the receiver: the header by which a load balancer tells
//! whose connection it passes on, before anything else is said.
//!
//! Extensions of version 2 (TLVs) are passed over, the checksum among them: anyone who could change the
//! header could change that.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::Client;

/// A header of version 2 begins so.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The longest header of version 1, with its line end.
const LONGEST_LINE: usize = 107;

/// The longest header of version 2 that is taken. Its extensions may be longer by the protocol; none in use
/// is by far.
pub const LONGEST: usize = 4096;

/// What was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// It has not ended yet, and all is well so far.
    Incomplete,
    /// It is whole: the first so many bytes.
    Whole {
        /// What follows is the client's.
        length: usize,
        /// Whose connection it is; none if it is the proxy's own (a health check), or one that has no
        /// address.
        client: Option<Client>,
    },
}

/// What came is no header of the PROXY protocol: nothing of the connection can be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAHeader;

/// Reads a header. `input` starts at the first byte of the connection; what is whole stays whole however much
/// follows.
///
/// # Errors
/// It cannot become a header, whatever follows.
pub fn read(input: &[u8]) -> Result<Header, NotAHeader> {
    let common = SIGNATURE.len().min(input.len());
    if input.get(..common) == SIGNATURE.get(..common) {
        return if common < SIGNATURE.len() { Ok(Header::Incomplete) } else { read_binary(input) };
    }
    const WORD: &[u8] = b"PROXY ";
    let common = WORD.len().min(input.len());
    if input.get(..common) == WORD.get(..common) { read_line(input) } else { Err(NotAHeader) }
}

fn read_line(input: &[u8]) -> Result<Header, NotAHeader> {
    let seen = input.get(..LONGEST_LINE).unwrap_or(input);
    let Some(end) = seen.windows(2).position(|pair| pair == b"\r\n") else {
        return if seen.len() < LONGEST_LINE { Ok(Header::Incomplete) } else { Err(NotAHeader) };
    };
    let line = seen.get(..end).and_then(|line| std::str::from_utf8(line).ok()).ok_or(NotAHeader)?;
    let mut words = line.split(' ').skip(1);
    let length = end + 2;
    let family = words.next();
    if family == Some("UNKNOWN") {
        return Ok(Header::Whole { length, client: None });
    }
    let mut addresses = [IpAddr::V4(Ipv4Addr::UNSPECIFIED); 2];
    for address in &mut addresses {
        let word = words.next().ok_or(NotAHeader)?;
        *address = match family {
            Some("TCP4") => IpAddr::V4(word.parse().map_err(|_| NotAHeader)?),
            Some("TCP6") => IpAddr::V6(word.parse().map_err(|_| NotAHeader)?),
            _ => return Err(NotAHeader),
        };
    }
    let mut ports = [0_u16; 2];
    for port in &mut ports {
        let word = words.next().ok_or(NotAHeader)?;
        let plain = word.bytes().all(|byte| byte.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
        *port = word.parse().ok().filter(|_| plain).ok_or(NotAHeader)?;
    }
    match words.next() {
        None => Ok(Header::Whole { length, client: Some(Client::new(addresses[0], Some(ports[0]))) }),
        Some(_) => Err(NotAHeader),
    }
}

fn read_binary(input: &[u8]) -> Result<Header, NotAHeader> {
    let mut rest = input.get(SIGNATURE.len()..).unwrap_or_default();
    let Some((&[version_and_command], more)) = rest.split_first_chunk() else {
        return Ok(Header::Incomplete);
    };
    let proxied = match version_and_command {
        0x20 => false,
        0x21 => true,
        _ => return Err(NotAHeader),
    };
    rest = more;
    let Some((&[family_and_transport], more)) = rest.split_first_chunk() else {
        return Ok(Header::Incomplete);
    };
    let family = family_and_transport >> 4;
    if proxied && (family > 3 || family_and_transport & 0x0f > 2) {
        return Err(NotAHeader);
    }
    rest = more;
    let Some((&length, more)) = rest.split_first_chunk() else { return Ok(Header::Incomplete) };
    rest = more;
    let announced = usize::from(u16::from_be_bytes(length));
    let length = SIGNATURE.len() + 4 + announced;
    if length > LONGEST {
        return Err(NotAHeader);
    }
    let Some(body) = rest.get(..announced) else { return Ok(Header::Incomplete) };
    let client = match family {
        _ if !proxied => None,
        1 => {
            // Source, destination, their ports.
            let Some((&[a, b, c, d, _, _, _, _, high, low, _, _], _)) = body.split_first_chunk() else {
                return Err(NotAHeader);
            };
            Some(SocketAddr::from((Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low]))))
        }
        2 => {
            let Some((addresses, _)) = body.split_first_chunk::<36>() else { return Err(NotAHeader) };
            let (source, rest) = addresses.split_first_chunk::<16>().ok_or(NotAHeader)?;
            let (_, ports) = rest.split_first_chunk::<16>().ok_or(NotAHeader)?;
            let (&port, _) = ports.split_first_chunk::<2>().ok_or(NotAHeader)?;
            Some(SocketAddr::from((Ipv6Addr::from(*source), u16::from_be_bytes(port))))
        }
        // A UNIX socket, or nothing that is said.
        _ => None,
    };
    Ok(Header::Whole { length, client: client.map(Client::from) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn client(input: &[u8]) -> Option<String> {
        match read(input) {
            Ok(Header::Whole { length, client }) if length == input.len() => {
                Some(client.map_or("itself".to_owned(), |client| client.to_string()))
            }
            _ => None,
        }
    }

    fn binary(version_and_command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let mut header = SIGNATURE.to_vec();
        header.extend([version_and_command, family]);
        header.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
        header.extend(body);
        header
    }

    const V4: [u8; 12] = [192, 0, 2, 1, 10, 0, 0, 1, 0x13, 0xc4, 0, 80];

    #[test]
    fn lines() {
        for (line, shown) in [
            ("PROXY TCP4 192.0.2.1 10.0.0.1 5060 80\r\n", "192.0.2.1:5060"),
            ("PROXY TCP6 2001:db8::1 ::1 65535 0\r\n", "[2001:db8::1]:65535"),
            ("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", "192.0.2.1:1"),
            ("PROXY UNKNOWN\r\n", "itself"),
            ("PROXY UNKNOWN what ever 1 2 3\r\n", "itself"),
        ] {
            assert_eq!(client(line.as_bytes()).as_deref(), Some(shown), "{line}");
        }
        for line in [
            "PROXY TCP4 192.0.2.1 10.0.0.1 5060\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 5060 80 1\r\n",
            "PROXY TCP4  192.0.2.1 10.0.0.1 5060 80\r\n",
            "PROXY TCP4 2001:db8::1 ::1 5060 80\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 05060 80\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 +5060 80\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 70000 80\r\n",
            "PROXY UDP4 192.0.2.1 10.0.0.1 5060 80\r\n",
            "PROXY \r\n",
            "PROXYTCP4 192.0.2.1 10.0.0.1 5060 80\r\n",
            "GET / HTTP/1.1\r\n",
            "\r\n\r\nOPTIONS",
        ] {
            assert_eq!(read(line.as_bytes()), Err(NotAHeader), "{line}");
        }
        let endless = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200]].concat();
        assert_eq!(read(&endless[..106]), Ok(Header::Incomplete));
        assert_eq!(read(&endless), Err(NotAHeader), "a line has an end");
    }

    #[test]
    fn binary_headers() {
        let v6 = [&Ipv6Addr::from_bits(1).octets()[..], &[0; 16], &[0, 7, 0, 80]].concat();
        assert_eq!(client(&binary(0x21, 0x11, &V4)).as_deref(), Some("192.0.2.1:5060"));
        assert_eq!(client(&binary(0x21, 0x21, &v6)).as_deref(), Some("[::1]:7"));
        let extended = [&V4[..], &[0x03, 0, 4, 1, 2, 3, 4], &[0xee; 300]].concat();
        assert_eq!(client(&binary(0x21, 0x11, &extended)).as_deref(), Some("192.0.2.1:5060"), "TLVs");
        for (command, family, body) in [
            (0x20, 0x00, &[][..]),
            (0x20, 0x11, &V4),
            (0x20, 0xff, &[1]),
            (0x21, 0x00, &[]),
            (0x21, 0x31, &[0; 216]),
        ] {
            assert_eq!(
                client(&binary(command, family, body)).as_deref(),
                Some("itself"),
                "{command} {family}"
            );
        }
        for (command, family, body) in [
            (0x11, 0x11, &V4[..]),
            (0x22, 0x11, &V4),
            (0x21, 0x41, &V4),
            (0x21, 0x13, &V4),
            (0x21, 0x11, &V4[..11]),
            (0x21, 0x21, &V4),
            (0x21, 0x11, &[0; LONGEST]),
        ] {
            assert_eq!(read(&binary(command, family, body)), Err(NotAHeader), "{command} {family}");
        }
    }

    proptest! {
        /// What a byte-wise arrival shows: nothing is decided too early, and what was decided stays.
        #[test]
        fn every_beginning_is_incomplete_and_what_follows_changes_nothing(
            v2: bool, v6: bool, source: u128, port: u16, tlvs in prop::collection::vec(any::<u8>(), 0..64),
            behind in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            let ip = if v6 { IpAddr::from(source.to_be_bytes()) } else { IpAddr::from((source as u32).to_be_bytes()) };
            let header = match (v2, ip) {
                (false, IpAddr::V4(ip)) => format!("PROXY TCP4 {ip} 10.0.0.1 {port} 80\r\n").into_bytes(),
                (false, IpAddr::V6(ip)) => format!("PROXY TCP6 {ip} ::1 {port} 80\r\n").into_bytes(),
                (true, IpAddr::V4(ip)) => {
                    let body = [&ip.octets()[..], &[0; 4], &port.to_be_bytes(), &[0, 80], &tlvs].concat();
                    binary(0x21, 0x11, &body)
                }
                (true, IpAddr::V6(ip)) => {
                    let body = [&ip.octets()[..], &[0; 16], &port.to_be_bytes(), &[0, 80], &tlvs].concat();
                    binary(0x21, 0x21, &body)
                }
            };
            for length in 0..header.len() {
                prop_assert_eq!(read(&header[..length]), Ok(Header::Incomplete));
            }
            let client = Some(Client::new(ip, Some(port)));
            let whole = Ok(Header::Whole { length: header.len(), client });
            prop_assert_eq!(read(&[header, behind].concat()), whole);
        }

        #[test]
        fn nothing_panics_and_what_is_whole_is_there(input in prop::collection::vec(any::<u8>(), 0..300), start in 0..3_usize) {
            let starts: [&[u8]; 3] = [b"", b"PROXY TCP4 ", b"\r\n\r\n\0\r\nQUIT\n\x21"];
            let input = [starts[start], &input[..]].concat();
            if let Ok(Header::Whole { length, .. }) = read(&input) {
                prop_assert!(length <= input.len());
            }
        }
    }
}
