//! Certificates: given by the operator, or made on the fly for a laptop.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::CryptoProvider,
    server::{
        ClientHello, ResolvesServerCert, VerifierBuilderError, WebPkiClientVerifier,
        danger::ClientCertVerifier,
    },
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// TLS settings, shared by a listener's connections.
pub type TlsConfig = Arc<ServerConfig>;

/// A certificate or key that cannot be served with.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The certificate and key do not fit, or are of a kind that TLS cannot use.
    #[error("this certificate and key cannot be used together: {0}")]
    Unusable(#[from] rustls::Error),
    /// What should sign the certificates of clients cannot.
    #[error("`client_ca` cannot be used: {0}")]
    NoAuthority(#[from] VerifierBuilderError),
    /// A certificate could not be made.
    #[error("no certificate could be made: {0}")]
    NotMade(#[from] rcgen::Error),
    /// Nobody could ever prove who it is.
    #[error(
        "there is no certificate to trust servers by: install ca-certificates, or name a file of certificates with `ca` or `ca_file`"
    )]
    NoRoots,
    /// A certificate that servers are to be trusted by is none.
    #[error("a certificate in `ca` or `ca_file` cannot be used: {0}")]
    BadRoot(rustls::Error),
}

/// A certificate that handshakes are served with, and that another can take the place of at any time.
/// Connections that are there already keep theirs.
#[derive(Debug)]
pub struct Certificate(RwLock<Arc<CertifiedKey>>);

/// A chain and a key that fit.
#[derive(Debug)]
pub struct Fitting(Arc<CertifiedKey>);

impl Fitting {
    /// A chain (leaf first) with its private key.
    ///
    /// # Errors
    /// A key that does not belong to the chain, or is of a kind that TLS cannot use.
    pub fn new(
        chain: &[CertificateDer<'static>],
        key: &PrivateKeyDer<'static>,
    ) -> Result<Self, CertificateError> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        Ok(Self(Arc::new(CertifiedKey::from_der(chain.to_vec(), key.clone_key(), &provider)?)))
    }

    pub(crate) fn into_inner(self) -> Arc<CertifiedKey> {
        self.0
    }
}

impl Certificate {
    /// The place for a certificate, with the first one.
    #[must_use]
    pub fn new(first: Fitting) -> Arc<Self> {
        Arc::new(Self(RwLock::new(first.0)))
    }

    /// The first of the chain that is served with now.
    #[must_use]
    pub fn own(&self) -> Option<CertificateDer<'static>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).cert.first().cloned()
    }

    /// New handshakes are served with this one from now on. Says whether it is another than before.
    pub fn replace(&self, with: Fitting) -> Replaced {
        // Nothing can panic under this lock.
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let replaced = if current.cert == with.0.cert { Replaced::Same } else { Replaced::Other };
        *current = with.0;
        replaced
    }
}

/// Whether a certificate took the place of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replaced {
    /// It is another.
    Other,
    /// It is the one that was there.
    Same,
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// Whether clients are asked for a certificate, and who must have signed it.
#[derive(Clone, Copy, Debug)]
pub enum Clients<'a> {
    /// They are not.
    Unasked,
    /// One that has none, or will not show it, is accepted all the same; one of another signer is not.
    Optional(&'a [CertificateDer<'static>]),
    /// Without one the handshake fails.
    Required(&'a [CertificateDer<'static>]),
}

impl Clients<'_> {
    fn verifier(
        self,
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ClientCertVerifier>, CertificateError> {
        let (Self::Optional(authorities) | Self::Required(authorities)) = self else {
            return Ok(WebPkiClientVerifier::no_client_auth());
        };
        let mut roots = RootCertStore::empty();
        for authority in authorities {
            roots.add(authority.clone())?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let verifier = match self {
            Self::Optional(_) => verifier.allow_unauthenticated(),
            Self::Required(_) | Self::Unasked => verifier,
        };
        Ok(verifier.build()?)
    }
}

/// TLS settings for a listener that serves with whatever certificate is current.
///
/// # Errors
/// The system gives no randomness for the keys of session tickets, or an authority of clients is none.
pub fn serving(certificate: Arc<Certificate>, clients: Clients<'_>) -> Result<TlsConfig, CertificateError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = clients.verifier(Arc::clone(&provider))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(certificate);
    // Tickets keep no state here; one instead of two saves a reconnect storm half of its bytes.
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
    config.send_tls13_tickets = 1;
    config.alpn_protocols = vec![b"http/1.1".to_vec(), b"sip".to_vec()];
    Ok(Arc::new(config))
}

/// TLS settings with a certificate that is made now, signed by itself, for these names: for development.
///
/// # Errors
/// A name that cannot stand in a certificate.
pub fn self_signed(names: Vec<String>) -> Result<TlsConfig, CertificateError> {
    let made = rcgen::generate_simple_self_signed(names)?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    serving(Certificate::new(Fitting::new(&[made.cert.der().clone()], &key.into())?), Clients::Unasked)
}
