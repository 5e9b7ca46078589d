//! Clients, faults, load and reconciliation for a SIP server over ws, wss, TCP and UDP.
#![forbid(unsafe_code)]
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
pub use reconcile::{Attempt, Became, Registered, Report, Row, Verdict, reconcile};
pub use source::{ReceiveBuffer, Sources};
pub use storm::{Disaster, KillAt, Progress, Round, Storm, StormError, storm};
pub use target::Target;
pub use trust::Trust;
