//! TLS: the certificates that listeners serve with, the servers that this server trusts, and HTTP clients.
//!
//! There is one policy for all connections that are made from here. [`trust::client`] is the only place that
//! decides which certificates of servers are good, and [`http::client`] the only place that makes HTTP
//! clients.
#![forbid(unsafe_code)]

pub mod certificate;
pub mod http;
pub mod trust;
