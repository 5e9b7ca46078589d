//! Certificates: from PEM files, or made on the fly for a laptop.

use std::{path::PathBuf, sync::Arc};

use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject};

/// A certificate or key that cannot be served with.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The PEM file is not readable or holds no certificate or key.
    #[error("{}: {error}; give a PEM file with {wanted}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What should be in it.
        wanted: &'static str,
        /// What is wrong.
        error: rustls_pki_types::pem::Error,
    },
    /// The certificate and key do not fit, or are of a kind that TLS cannot use.
    #[error("this certificate and key cannot be used together: {0}")]
    Unusable(#[from] rustls::Error),
    /// A certificate could not be made.
    #[error("no certificate could be made: {0}")]
    NotMade(#[from] rcgen::Error),
}

/// TLS settings for a listener from a chain (leaf first) and its private key, both PEM.
///
/// # Errors
/// Files that cannot be read, or hold nothing usable.
pub fn from_files(chain: PathBuf, key: PathBuf) -> Result<Arc<ServerConfig>, CertificateError> {
    let pem = |path: &PathBuf, wanted| {
        let path = path.clone();
        move |error| CertificateError::Pem { path, wanted, error }
    };
    let read_chain = CertificateDer::pem_file_iter(&chain).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = read_chain.map_err(pem(&chain, "the certificate chain, the server's own first"))?;
    let private_key = PrivateKeyDer::from_pem_file(&key).map_err(pem(&key, "the private key"))?;
    server_config(certificates, private_key)
}

/// TLS settings with a certificate that is made now, signed by itself, for these names: for development.
///
/// # Errors
/// A name that cannot stand in a certificate.
pub fn self_signed(names: Vec<String>) -> Result<Arc<ServerConfig>, CertificateError> {
    let made = rcgen::generate_simple_self_signed(names)?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    server_config(vec![made.cert.der().clone()], key.into())
}

fn server_config(
    certificates: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<ServerConfig>, CertificateError> {
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
