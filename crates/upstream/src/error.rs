//! Why upstreams cannot be used.

use tls_settings::certificate::CertificateError;

/// The configuration of the upstreams cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// An upstream's certificates cannot be used.
    #[error("upstream `{upstream}`: {error}")]
    Tls {
        /// Its name.
        upstream: String,
        /// Why not.
        error: CertificateError,
    },
    /// More targets over TLS than a hop can name.
    #[error("there are more than {most} targets over TLS")]
    TooManyTlsTargets {
        /// As many as there may be.
        most: usize,
    },
}
