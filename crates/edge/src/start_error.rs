//! Why a server did not start.

use std::{io, net::SocketAddr, path::PathBuf};

use state::RecoveryError;
use tls_settings::certificate::CertificateError;
use upstream::UpstreamError;

use crate::UsersError;

/// A server that did not start. Nothing of it runs.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener's address cannot be bound.
    #[error("listener `{listener}` cannot have {transport} {address}: {error}")]
    Bind {
        /// Its name.
        listener: String,
        /// How SIP travels on it.
        transport: &'static str,
        /// The address.
        address: SocketAddr,
        /// The error of the operating system.
        error: io::Error,
    },
    /// A listener's certificate cannot be used.
    #[error("listener `{listener}`: {error}")]
    Certificate {
        /// Its name.
        listener: String,
        /// Why not.
        error: CertificateError,
    },
    /// The upstreams cannot be used.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// How names are looked up on this system cannot be read.
    #[error("how names are looked up on this system cannot be read ({0}); write `servers` under [dns]")]
    Dns(String),
    /// A users file cannot be used.
    #[error(transparent)]
    Users(#[from] UsersError),
    /// The ledger cannot be opened, or does not say what was open.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// It is not known how far a sink had come.
    #[error("sink `{sink}`: {error}")]
    Cursor {
        /// Its name.
        sink: String,
        /// The fault of its cursor.
        error: ledger::CursorError,
    },
    /// A file in the ledger's directory cannot be read or written.
    #[error("{}: {error}", path.display())]
    Secret {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        error: io::Error,
    },
    /// The process may not have enough descriptors for a single flow.
    #[error(
        "this process may have {descriptors} descriptors, and {spare} are not for flows; raise its limit (ulimit -n, LimitNOFILE=)"
    )]
    TooFewDescriptors {
        /// As many as it may have.
        descriptors: u64,
        /// Those for listeners, the ledger, sinks and what lingers.
        spare: u64,
    },
    /// A thread could not be started.
    #[error("a thread cannot be started: {0}")]
    Thread(io::Error),
}
