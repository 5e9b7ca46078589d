//! The author of each cause, as the documentation of events promises it (docs/ENDINGS.md).
//!
//! The server has a table of its own. This one is written again on purpose: a proof must not ask the server
//! what is right.

use lifecycle::{By, Cause};

/// The word that `by` must have beside a cause.
pub(crate) const fn author(cause: Cause) -> By {
    match cause {
        Cause::CloseFrame | Cause::Eof | Cause::Reset => By::Client,
        Cause::PingTimeout | Cause::TcpTimeout | Cause::WriteTimeout | Cause::Unreachable => By::Network,
        Cause::NodeCrash | Cause::NodeLost => By::Node,
        Cause::ProtocolError
        | Cause::MessageTooBig
        | Cause::InvalidPayload
        | Cause::TlsError
        | Cause::SlowReader
        | Cause::RateLimited
        | Cause::AuthFailed
        | Cause::Banned
        | Cause::Idle
        | Cause::Lifetime
        | Cause::TokenExpired
        | Cause::Admin
        | Cause::Replaced
        | Cause::Drain
        | Cause::Shutdown
        | Cause::InternalError => By::Server,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both tables were written by hand: where they differ, one of them is wrong.
    #[test]
    fn the_server_says_the_same() {
        for &cause in Cause::ALL {
            assert_eq!(author(cause), cause.by(), "{cause}");
        }
    }
}
