//! The whole server in this process: what becomes of flows when something else is wrong, or newer.
#![allow(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

mod audited;
mod backend;
mod banned;
mod believed;
mod called;
mod calls_behind;
mod certificates;
mod database;
mod digest;
mod ephemeral;
mod farewell;
mod flows;
mod gruu;
mod house;
mod in_flight;
mod ipv6;
mod kamailio;
mod keepalives;
mod keys;
mod named;
mod outgoing;
mod own_uris;
mod reconnected;
mod redirects;
mod replaced;
mod sent_away;
mod server_behind;
mod stalled_disk;
mod told;
mod trunk;
mod two_phones;
mod unregister;
mod users;
mod who;
