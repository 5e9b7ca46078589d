//! HTTP: softphone page, JSON, event stream, metrics.
//!
//! One [`Router`](axum::Router) for every place that serves it: the admin listener of the configuration
//! ([`serve`]), or a `ws` or `wss` listener in development, which hands over what is no upgrade
//! ([`serve_connection`]).
#![forbid(unsafe_code)]

mod api;
mod metrics;
mod serve;
mod softphone;
#[cfg(test)]
mod test_server;

pub use api::{Access, Development, router};
pub use serve::{serve, serve_connection};
