//! RFC 6455 for a server and the sub-protocol rules of RFC 7118, without I/O.
//!
//! Bytes go in, events and bytes come out; sockets, clocks and randomness are the caller's. The crate is made
//! for many idle connections: the I/O layer reads into one large buffer that all connections share, hands the
//! slice to [`Connection::receive`], and nothing is kept but what is incomplete. A [`Connection`] between
//! messages owns no heap at all.
//!
//! A connection's life, and the piece for each step:
//!
//! 1. [`handshake::examine`] looks at the request head as far as it has come and says: incomplete, plain
//!    HTTP, acceptable, or refused for a named reason. [`Accepted`](handshake::Accepted) and
//!    [`Refusal`](handshake::Refusal) write the answer.
//! 2. [`Connection::receive`] turns bytes into [`Event`]s; [`encode`] turns messages into frames.
//! 3. [`Connection::close`] and [`Connection::answer_close`] write the Close frame; [`Connection::phase`]
//!    says what the closing handshake still waits for.
//!
//! [`client`] is the other role, for tests and load.
//!
//! ```
//! use websocket::{Connection, Event, Limits, Phase, Role, encode};
//!
//! fn on_bytes(connection: &mut Connection, input: &mut [u8], out: &mut Vec<u8>) {
//!     let mut at = 0;
//!     while at < input.len() {
//!         let received = match connection.receive(&mut input[at..]) {
//!             Ok(received) => received,
//!             Err(error) => {
//!                 connection.close(error.close_code(), error.reason(), out);
//!                 return; // what follows would be ignored
//!             }
//!         };
//!         at += received.consumed;
//!         match received.event {
//!             Some(Event::Message(message)) => { /* message.data */ }
//!             Some(Event::Ping(payload)) if connection.phase() == Phase::Open => encode::pong(&payload, out),
//!             Some(Event::Close(_)) => { connection.answer_close(out); }
//!             Some(Event::Ping(_) | Event::Pong(_)) | None => {}
//!         }
//!     }
//! }
//! let mut connection = Connection::new(Role::Server, Limits::default());
//! let mut out = Vec::new();
//! on_bytes(&mut connection, &mut [0x89, 0x80, 1, 2, 3, 4], &mut out);
//! assert_eq!(out, [0x8a, 0x00]);
//! ```
#![forbid(unsafe_code)]

pub mod client;
mod close;
mod connection;
pub mod encode;
mod error;
mod frame;
pub mod handshake;
mod mask;
mod message_assembler;
pub mod sip;
mod utf8;

pub use close::{CloseCode, CloseFrame};
pub use connection::{
    CloseSent, Connection, Event, Limits, Message, MessageKind, Phase, Received, Role, Side,
};
pub use error::ProtocolError;
pub use frame::Opcode;
pub use mask::{MaskKey, apply_mask};
