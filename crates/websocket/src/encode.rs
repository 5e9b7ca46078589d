//! A server's frames: unmasked, never fragmented, lengths in their shortest form (RFC 6455 §5.2).

use crate::close::CloseCode;
use crate::connection::MessageKind;
use crate::frame::{MAX_CONTROL_PAYLOAD, MAX_HEADER, Opcode};
use crate::mask::MaskKey;

/// The longest header a server writes, in bytes: what to leave free in front of a message that is to be
/// framed in place.
pub const MAX_SERVER_HEADER: usize = 10;

/// A frame header as it goes on the wire; dereference it with [`as_slice`](Self::as_slice).
#[derive(Clone, Copy, Debug)]
pub struct FrameHeader {
    bytes: [u8; MAX_HEADER],
    len: u8,
}

impl FrameHeader {
    /// The header of a server's single, final frame with a payload of `length` bytes.
    #[must_use]
    pub fn server(opcode: Opcode, length: usize) -> Self {
        let mut header = Self { bytes: [0; MAX_HEADER], len: 2 };
        header.bytes[0] = 0x80 | opcode.bits();
        match (u16::try_from(length), length) {
            (_, 0..=125) => header.bytes[1] = length as u8,
            (Ok(length), _) => {
                header.bytes[1] = 126;
                header.push(&length.to_be_bytes());
            }
            (Err(_), _) => {
                header.bytes[1] = 127;
                header.push(&(length as u64).to_be_bytes());
            }
        }
        header
    }

    /// The same for a client, which must mask.
    #[must_use]
    pub fn client(opcode: Opcode, length: usize, key: MaskKey) -> Self {
        let mut header = Self::server(opcode, length);
        header.bytes[1] |= 0x80;
        header.push(&key);
        header
    }

    /// The bytes, 2 to 14 of them.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    fn push(&mut self, field: &[u8]) {
        let at = usize::from(self.len);
        self.bytes[at..at + field.len()].copy_from_slice(field);
        self.len += field.len() as u8;
    }
}

/// Text if the payload is UTF-8, else binary: a SIP body may hold any bytes (RFC 7118 §5.2 allows both).
#[must_use]
pub fn kind_for(payload: &[u8]) -> MessageKind {
    if std::str::from_utf8(payload).is_ok() { MessageKind::Text } else { MessageKind::Binary }
}

/// Appends a message of the given kind.
pub fn message(kind: MessageKind, payload: &[u8], out: &mut Vec<u8>) {
    match kind {
        MessageKind::Text => frame(Opcode::Text, payload, out),
        MessageKind::Binary => frame(Opcode::Binary, payload, out),
    }
}

/// Appends a text message.
pub fn text(payload: &str, out: &mut Vec<u8>) {
    frame(Opcode::Text, payload.as_bytes(), out);
}

/// Appends a binary message.
pub fn binary(payload: &[u8], out: &mut Vec<u8>) {
    frame(Opcode::Binary, payload, out);
}

/// Appends a Ping. Of the payload at most 125 bytes are taken.
pub fn ping(payload: &[u8], out: &mut Vec<u8>) {
    frame(Opcode::Ping, control_payload(payload), out);
}

/// Appends a Pong. Of the payload at most 125 bytes are taken; an answer repeats the Ping's.
pub fn pong(payload: &[u8], out: &mut Vec<u8>) {
    frame(Opcode::Pong, control_payload(payload), out);
}

/// Appends a Close frame. Without a code it is empty, and the reason is left out. A reason over 123 bytes is
/// cut between characters. On a [`Connection`](crate::Connection) use its methods, which keep count of what
/// was sent.
pub fn close(code: Option<CloseCode>, reason: &str, out: &mut Vec<u8>) {
    let (payload, length) = close_payload(code, reason);
    frame(Opcode::Close, &payload[..length], out);
}

/// Appends only the header of a frame, for a payload of `length` bytes that is written next.
pub fn frame_header(opcode: Opcode, length: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(FrameHeader::server(opcode, length).as_slice());
}

fn frame(opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
    out.reserve(MAX_SERVER_HEADER + payload.len());
    frame_header(opcode, payload.len(), out);
    out.extend_from_slice(payload);
}

pub(crate) fn control_payload(payload: &[u8]) -> &[u8] {
    &payload[..payload.len().min(MAX_CONTROL_PAYLOAD)]
}

/// The payload of a Close frame and its length.
pub(crate) fn close_payload(code: Option<CloseCode>, reason: &str) -> ([u8; MAX_CONTROL_PAYLOAD], usize) {
    let mut payload = [0; MAX_CONTROL_PAYLOAD];
    let Some(code) = code else { return (payload, 0) };
    let mut end = reason.len().min(MAX_CONTROL_PAYLOAD - 2);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let reason = &reason[..end];
    payload[..2].copy_from_slice(&code.get().to_be_bytes());
    payload[2..2 + reason.len()].copy_from_slice(reason.as_bytes());
    (payload, 2 + reason.len())
}
