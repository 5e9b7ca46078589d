//! Trust in the servers that this server connects to, and the certificate that it shows them.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore, client::ResolvesClientCert, sign::SingleCertAndKey};
use rustls_pki_types::CertificateDer;

use crate::certificate::{CertificateError, Fitting};

/// TLS settings for connections that we make.
pub type ClientTls = Arc<ClientConfig>;

/// Whose signature makes a server's certificate good.
#[derive(Clone, Debug)]
pub enum Roots {
    /// What the system trusts.
    System,
    /// These alone.
    Only(Vec<CertificateDer<'static>>),
    /// Nobody's: there is no TLS on the way.
    Nobody,
}

/// TLS settings for connections to servers that prove who they are, with our own certificate if they ask for
/// one.
///
/// # Errors
/// There is no root, or one of those that were given cannot be used.
pub fn client(roots: Roots, own: Option<Fitting>) -> Result<ClientTls, CertificateError> {
    let needed = !matches!(roots, Roots::Nobody);
    let mut store = RootCertStore::empty();
    match roots {
        // A certificate of the system that cannot be read is left out: the operator did not choose it.
        Roots::System => {
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        Roots::Only(certificates) => {
            for certificate in certificates {
                store.add(certificate).map_err(CertificateError::BadRoot)?;
            }
        }
        Roots::Nobody => {}
    }
    if store.is_empty() && needed {
        return Err(CertificateError::NoRoots);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(store);
    let config = match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let resolver: Arc<dyn ResolvesClientCert> = Arc::new(SingleCertAndKey::from(own.into_inner()));
            builder.with_client_cert_resolver(resolver)
        }
    };
    Ok(Arc::new(config))
}
