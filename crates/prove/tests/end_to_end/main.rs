//! The real `sipway` with real clients: what it records of every ending, of its own death, of its shutdown,
//! and that messages get through. Takes the binary from `SIPWAY_BIN`, or builds it.
#![allow(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

mod binary;
mod calls;
mod crash;
mod digest;
mod endings;
mod forgiven;
mod gruu;
mod registering;
mod relay;
mod server;
mod shutdown;
mod timers;
mod torture;
mod vanished;
