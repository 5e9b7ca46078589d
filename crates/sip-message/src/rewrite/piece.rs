//! What an edit puts in place.

use std::io::Write;
use std::net::IpAddr;

use crate::syntax::digits;

/// A text to write, composed while it is written.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Piece<'m> {
    Nothing,
    /// Nothing, where a value of several was removed.
    Cut,
    Bytes(&'m [u8]),
    Number(u32),
    /// A whole header field.
    Line(&'m [u8], &'m [u8]),
    NumberLine(&'m [u8], u32),
    Received(IpAddr),
    /// With a semicolon before it.
    NewReceived(IpAddr),
    Rport(u16),
    /// With a semicolon before it.
    NewRport(u16),
}

impl<'m> Piece<'m> {
    /// At least the bytes it takes.
    #[inline]
    pub(crate) fn room(&self) -> usize {
        match self {
            Piece::Nothing | Piece::Cut => 0,
            Piece::Bytes(bytes) => bytes.len(),
            Piece::Number(_) => 10,
            Piece::Line(name, value) => name.len() + value.len() + 4,
            Piece::NumberLine(name, _) => name.len() + 14,
            Piece::Received(_) | Piece::NewReceived(_) => 49,
            Piece::Rport(_) | Piece::NewRport(_) => 12,
        }
    }

    /// The name, if this is a whole header field.
    pub(crate) fn line_name(&self) -> Option<&'m [u8]> {
        match *self {
            Piece::Line(name, _) | Piece::NumberLine(name, _) => Some(name),
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match *self {
            Piece::Nothing | Piece::Cut => {}
            Piece::Bytes(bytes) => out.extend_from_slice(bytes),
            Piece::Number(number) => push_number(out, number),
            Piece::Line(name, value) => push_line(out, name, value),
            Piece::NumberLine(name, number) => push_line(out, name, digits(number, &mut [0; 10])),
            Piece::Received(address) => push_received(out, b"received=", address),
            Piece::NewReceived(address) => push_received(out, b";received=", address),
            Piece::Rport(port) => push_rport(out, b"rport=", port),
            Piece::NewRport(port) => push_rport(out, b";rport=", port),
        }
    }
}

/// Appends `name: value` and a line end.
#[inline]
pub(crate) fn push_line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[inline]
pub(crate) fn push_number(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(digits(number, &mut [0; 10]));
}

fn push_rport(out: &mut Vec<u8>, name: &[u8], port: u16) {
    out.extend_from_slice(name);
    push_number(out, u32::from(port));
}

fn push_received(out: &mut Vec<u8>, name: &[u8], address: IpAddr) {
    out.extend_from_slice(name);
    match address {
        IpAddr::V4(address) => {
            let mut room = [b'.'; 15];
            let mut at = 0;
            for octet in address.octets() {
                for (digit, least) in [(octet / 100, 100), (octet / 10 % 10, 10), (octet % 10, 0)] {
                    if octet >= least {
                        room[at] = b'0' + digit;
                        at += 1;
                    }
                }
                at += 1;
            }
            out.extend_from_slice(&room[..at - 1]);
        }
        // No brackets here (RFC 3261 §25.1). Writing into a Vec cannot fail.
        IpAddr::V6(address) => {
            let _ = write!(out, "{address}");
        }
    }
}
