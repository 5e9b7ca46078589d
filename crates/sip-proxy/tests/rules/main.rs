//! One test for each rule of the RFCs, against a fake network.

mod anew;
mod believing;
mod cancelling;
mod failing;
#[path = "../fake_network/mod.rs"]
mod fake_network;
mod flows;
mod forking;
mod forwarding;
mod gone;
mod redirecting;
mod refusing;
mod repeating;
mod routing;
