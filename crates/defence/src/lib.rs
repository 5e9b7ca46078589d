//! Where a connection really comes from, and what one address may take.
//!
//! - [`Network`], [`Networks`]: ranges of addresses, as operators write them.
//! - [`ClientAddress`]: by what a listener knows its clients: by their sockets, or by what a trusted proxy in front of it tells,
//!   with the PROXY protocol ([`proxy_header`]), `X-Forwarded-For` or `Forwarded` ([`forwarded`]).
//! - [`Standings`]: how every address stands by [`Limits`]: what it has open, how fast it comes, how often it failed, whether
//!   it is banned.
//!
//! Pure: no sockets, no clock.
#![forbid(unsafe_code)]

mod client;
pub mod forwarded;
mod limits;
mod network;
pub mod proxy_header;
mod source;
mod standings;

pub use client::{Client, ClientAddress};
pub use limits::{Limits, Offence, Why};
pub use network::{BadNetwork, Network, Networks};
pub use source::{By, Source};
pub use standings::{Arrived, Ban, Judgement, Log, Standings, Turned};
