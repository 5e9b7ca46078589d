//! Which servers a SIP URI leads to, and in which order they are asked (RFC 3263, RFC 2782). Pure: chance,
//! time and the answers of DNS are arguments, and nobody is asked anything here.
#![forbid(unsafe_code)]

mod locate;
mod order;
mod server_state;

pub use locate::{First, Naptr, Place, Server, Service, Srv, Transport, fallback, first, servers, services};
pub use order::{Preference, order};
pub use server_state::{Health, HealthChange, ServerState};
