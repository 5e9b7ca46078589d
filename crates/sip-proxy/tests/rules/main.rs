//! One test for each rule of the RFCs, against a fake network.

mod caller_gone;
mod cancelling;
mod failing;
#[path = "../fake_network/mod.rs"]
mod fake_network;
mod flows;
mod forking;
mod forwarding;
mod reconnect;
mod redirecting;
mod refusing;
mod repeating;
mod response_matching;
mod routing;
