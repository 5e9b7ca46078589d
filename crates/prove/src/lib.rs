//! Clients, the ways a connection can end, load, and reconciliation: speaks only ws, wss and SIP to a server,
//! any server.
//!
//! - [`Client`] is one user agent on one connection, with the habits of a [`Persona`]. It has no task of its
//!   own and no buffer while nothing comes.
//! - [`Ending`] is every way to end that connection; [`Client::end`] does it, [`Ending::expected`] says what
//!   the server must then have recorded.
//! - [`EventLog`] reads the server's events (CloudEvents, one in a line), [`reconcile`] holds them against
//!   the clients' [`Attempt`]s: every connection has one open and one close of a right cause.
//! - [`storm`] is a round of many connections with all endings, and with a `kill -9` if wanted; [`load`] is
//!   messages at a set rate.
//!
//! ```no_run
//! # use lifecycle::Transport;
//! # use prove::{Client, Ending, AfterClose, CloseWord, Farewell, Setup, Target};
//! # use std::time::Duration;
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let target = Target::new(Transport::Ws, "127.0.0.1:8080".parse()?);
//! let mut alice = Client::connect(&target, &Setup::new("alice")).await?;
//! assert_eq!(alice.register(600).await?.status, 200);
//! alice.message("sip:bob@localhost", b"hello").await?;
//! // As a browser does when its page is left.
//! let ending = Ending::Close(CloseWord::GoingAway, AfterClose::Fin);
//! println!("the server must record {}", ending.expected());
//! alice.end(ending, &Farewell::Nothing, Duration::from_secs(5)).await;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]
mod author;
mod client;
mod clock;
mod descriptors;
mod ended;
mod ending;
mod event_log;
mod feed;
mod findings;
mod latency;
mod load;
mod persona;
mod reconcile;
mod source;
mod storm;
mod target;
mod trust;
mod wire;

pub use client::{Answering, Client, Dialled, Incoming, Response, Setup, Transaction};
pub use clock::now_micros;
pub use descriptors::raise_descriptor_limit;
pub use ended::{ConnectError, Ended, RequestError};
pub use ending::{
    AfterClose, Breach, CloseWord, CodeSeen, Ending, Expected, Farewell, Notice, Outcome, Parting,
};
pub use event_log::{EventLog, SeenClose, SeenFlow, StreamFaults};
pub use feed::{Feed, Waited};
pub use findings::Findings;
pub use latency::Latencies;
pub use load::{Load, LoadError, LoadReport, load};
pub use persona::Persona;
pub use reconcile::{Attempt, Became, Registered, Report, Row, Said, Verdict, reconcile};
pub use source::{ReceiveBuffer, Sources};
pub use storm::{Disaster, Kill, LastWord, Moment, Progress, Round, Storm, StormError, storm};
pub use target::Target;
pub use trust::Trust;
