//! TLS towards destinations.

use hyper_rustls::ConfigBuilderExt as _;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

/// A client that trusts these authorities; without any, those that this machine trusts. Reads the machine's
/// from disk.
pub(crate) fn client(authorities: &[CertificateDer<'static>]) -> Result<ClientConfig, String> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let builder = ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS: {error}"))?;
    let builder = if authorities.is_empty() {
        builder.with_native_roots().map_err(|error| {
            format!("this machine trusts no certificate authority: {error}. Install ca-certificates")
        })?
    } else {
        let mut roots = RootCertStore::empty();
        for authority in authorities {
            roots
                .add(authority.clone())
                .map_err(|error| format!("a certificate in `ca_file` is of no use: {error}"))?;
        }
        builder.with_root_certificates(roots)
    };
    Ok(builder.with_no_client_auth())
}
