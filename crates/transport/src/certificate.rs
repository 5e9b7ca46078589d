//! Certificates: given by the operator, or made on the fly for a laptop.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// TLS settings, shared by a listener's connections.
pub type TlsConfig = Arc<ServerConfig>;

/// A certificate or key that cannot be served with.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The certificate and key do not fit, or are of a kind that TLS cannot use.
    #[error("this certificate and key cannot be used together: {0}")]
    Unusable(#[from] rustls::Error),
    /// A certificate could not be made.
    #[error("no certificate could be made: {0}")]
    NotMade(#[from] rcgen::Error),
}

/// TLS settings for a listener from a chain (leaf first) and its private key.
///
/// # Errors
/// A key that does not belong to the chain, or is of a kind that TLS cannot use.
pub fn from_chain(
    chain: &[CertificateDer<'static>],
    key: &PrivateKeyDer<'static>,
) -> Result<TlsConfig, CertificateError> {
    server_config(chain.to_vec(), key.clone_key())
}

/// TLS settings with a certificate that is made now, signed by itself, for these names: for development.
///
/// # Errors
/// A name that cannot stand in a certificate.
pub fn self_signed(names: Vec<String>) -> Result<TlsConfig, CertificateError> {
    let made = rcgen::generate_simple_self_signed(names)?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    server_config(vec![made.cert.der().clone()], key.into())
}

fn server_config(
    certificates: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<TlsConfig, CertificateError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(certificates, key)?;
    // Tickets keep no state here; one instead of two saves a reconnect storm half of its bytes.
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
    config.send_tls13_tickets = 1;
    config.alpn_protocols = vec![b"http/1.1".to_vec(), b"sip".to_vec()];
    Ok(Arc::new(config))
}
