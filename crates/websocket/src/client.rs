//! The client's frames: masked with a key the caller chooses anew, and unforeseeably, for each frame (RFC
//! 6455 §5.3).
//!
//! For tests and load; a client reads with a [`Connection`](crate::Connection) of
//! [`Role::Client`](crate::Role::Client).

use crate::close::CloseCode;
use crate::connection::MessageKind;
use crate::encode::{FrameHeader, close_payload, control_payload};
use crate::frame::{MAX_HEADER, Opcode};
use crate::mask::{MaskKey, apply_mask};

mod handshake;

pub use handshake::{Answer, AnswerError, Opening, read_answer};

/// Appends a message of the given kind.
pub fn message(kind: MessageKind, payload: &[u8], key: MaskKey, out: &mut Vec<u8>) {
    match kind {
        MessageKind::Text => frame(Opcode::Text, payload, key, out),
        MessageKind::Binary => frame(Opcode::Binary, payload, key, out),
    }
}

/// Appends a text message.
pub fn text(payload: &str, key: MaskKey, out: &mut Vec<u8>) {
    frame(Opcode::Text, payload.as_bytes(), key, out);
}

/// Appends a binary message.
pub fn binary(payload: &[u8], key: MaskKey, out: &mut Vec<u8>) {
    frame(Opcode::Binary, payload, key, out);
}

/// Appends a Ping. Of the payload at most 125 bytes are taken.
pub fn ping(payload: &[u8], key: MaskKey, out: &mut Vec<u8>) {
    frame(Opcode::Ping, control_payload(payload), key, out);
}

/// Appends a Pong. Of the payload at most 125 bytes are taken.
pub fn pong(payload: &[u8], key: MaskKey, out: &mut Vec<u8>) {
    frame(Opcode::Pong, control_payload(payload), key, out);
}

/// Appends a Close frame; as [`encode::close`](crate::encode::close), masked.
pub fn close(code: Option<CloseCode>, reason: &str, key: MaskKey, out: &mut Vec<u8>) {
    let (payload, length) = close_payload(code, reason);
    frame(Opcode::Close, &payload[..length], key, out);
}

fn frame(opcode: Opcode, payload: &[u8], key: MaskKey, out: &mut Vec<u8>) {
    out.reserve(MAX_HEADER + payload.len());
    out.extend_from_slice(FrameHeader::client(opcode, payload.len(), key).as_slice());
    let start = out.len();
    out.extend_from_slice(payload);
    apply_mask(&mut out[start..], key, 0);
}
