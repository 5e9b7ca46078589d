//! One test for each rule of the RFCs, against a world of paper.

mod anew;
mod believing;
mod cancelling;
mod failing;
mod flows;
mod forking;
mod forwarding;
mod gone;
#[path = "../paper/mod.rs"]
mod paper;
mod redirecting;
mod refusing;
mod repeating;
mod routing;
