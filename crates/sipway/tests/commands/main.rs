//! The `sipway` binary as its users meet it: exit codes, what it says when something is wrong, signals, and a
//! server that runs as the annotated configuration says.
#![allow(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

mod behind;
mod calling;
mod certificates;
mod check;
mod churn;
mod counts;
mod crowd;
mod defence;
mod descriptors;
mod directory;
mod draining;
mod event_source;
mod events;
mod example;
mod flows;
mod full_disk;
mod head;
mod held;
mod hostile;
mod http;
mod init;
mod ipv6;
mod kept;
mod mistakes;
mod namespace;
mod operator;
mod presence;
mod private;
mod process;
mod prove;
mod reading;
mod signals;
mod sinks;
mod sipvicious;
mod systemd;
mod taken;
mod tokens;
mod unread;
mod unregister;
mod version;
mod webhook;
mod why;
