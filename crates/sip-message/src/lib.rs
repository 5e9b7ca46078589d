//! SIP messages (RFC 3261) as an index over the received bytes: typed reading on demand, edits spliced into
//! one output pass.
//!
//! [`Message::parse`] finds the start line, every header field and the body, and copies nothing. A typed
//! accessor ([`Message::via_top`], [`Message::cseq`], ...) parses its value when it is asked. [`Rewrite`]
//! collects edits and writes the message once; whatever was not edited leaves exactly as it came, unknown
//! header fields included.
//!
//! Framing is strict, because two elements that disagree about where a message ends can be played against
//! each other: a bare CR or LF, a line that is no header field, and a negative, contradicting or too large
//! Content-Length are refused. Grammar is lenient where RFC 4475 and the field ask for it; every [`Leniency`]
//! used is named.
//!
//! A refused request can often still be answered: see [`ParseError::answer`] and [`Message::salvage`].
#![forbid(unsafe_code)]

mod check;
mod contact;
mod cseq;
mod error;
mod header;
mod host;
mod index;
mod leniency;
mod message;
mod method;
mod name_addr;
mod params;
pub mod request;
pub mod response;
mod rewrite;
mod salvage;
mod sip_or_not;
mod start_line;
mod stream;
mod syntax;
mod uri;
mod values;
mod via;
mod words;

pub use contact::{Contact, Contacts};
pub use cseq::CSeq;
pub use error::{
    CSeqError, EditError, Invalid, NameAddrError, NumberError, ParseError, StartLineError, UriError, ViaError,
};
pub use header::{Header, HeaderId};
pub use host::Host;
pub use leniency::{Leniencies, Leniency};
pub use message::{Headers, Limits, Message, Span};
pub use method::Method;
pub use name_addr::{NameAddr, NameAddrs};
pub use params::{Param, Params};
pub use rewrite::Rewrite;
pub use sip_or_not::{is_padding, tries_to_be_sip};
pub use start_line::StartLine;
pub use stream::{Frame, FrameError, FrameLimits, StreamFramer};
pub use uri::{Scheme, Uri, address_of_record_of, write_address_of_record};
pub use values::{Value, Values};
pub use via::{MAGIC_COOKIE, Rport, Transport, Via};
