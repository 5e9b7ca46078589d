//! Accept, connect, TLS, read, write, bound, time out: WebSocket, TCP, TLS and UDP under SIP.
//!
//! Everything here runs on a shard: one thread with a single-threaded runtime, so nothing is locked. What a
//! message means is the [`ConnectionHandler`]'s business; this crate sees to it that
//!
//! - a connection becomes a flow only when the owner says so ([`ConnectionHandler::open`]), and every flow it
//!   opened is given back exactly once ([`ConnectionHandler::close`], or by being dropped);
//! - an idle flow holds no buffer: it waits for readability and borrows the shard's [`Scratch`];
//! - everything is bounded: message size, handshake time, unsent bytes, time without progress.
//!
//! What happens when a tab closes: [`flow::run`] sees a Close frame, the end of the stream or an error and
//! returns an [`Ending`](lifecycle::Ending); the owner closes the flow; `linger` lets go of the socket.
#![forbid(unsafe_code)]

pub mod accept;
mod connection_handler;
mod dial;
pub mod flow;
mod handshake;
mod handshake_limit;
mod http;
mod linger;
mod link;
mod read_priority;
mod scratch;
mod settings;
mod tls;
pub mod udp;

pub use connection_handler::{ConnectionHandler, Grant, Opening, Refused, UnopenedCause, VerifiedClient};
pub use defence::ClientAddress;
pub use dial::{Dial, DialError, Dialled, converse};
pub use handshake::receive_connection;
pub use handshake_limit::HandshakeLimit;
pub use http::{DetachedHttp, HttpStream, PlainHttp};
pub use link::{Link, PingFailed, SendFailed};
pub use read_priority::ReadPriority;
pub use scratch::Scratch;
pub use settings::{Framing, Listener, MissingOrigin, Settings};
pub use websocket::handshake as upgrade;
