//! What a TLS listener proves itself with.

use std::path::PathBuf;
use std::sync::Arc;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::document::{At, Reading, Section};
use crate::report::{Problem, ProblemKind};
use crate::value::Keyword;

/// What a TLS listener proves itself with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsMaterial {
    /// A certificate chain and its key, read from PEM files.
    Files(TlsFiles),
    /// A certificate to be made at start, for these names or IP addresses. For development.
    SelfSigned {
        /// The names that the certificate is for.
        names: Vec<String>,
    },
}

/// A certificate chain and its key as they were read. That they belong together is not yet known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Where the chain was read from.
    pub certificate: PathBuf,
    /// Where the key was read from.
    pub private_key: PathBuf,
    /// The chain, the server's own certificate first; never empty.
    pub chain: Arc<[CertificateDer<'static>]>,
    /// The key. Its `Debug` does not show it.
    pub key: Arc<PrivateKeyDer<'static>>,
    /// Authorities of client certificates, if clients are asked for one.
    pub clients: Option<ClientAuthorities>,
}

/// The authorities of client certificates, and what the certificates name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientAuthorities {
    /// The authorities; never empty.
    pub authorities: Arc<[CertificateDer<'static>]>,
    /// Whether a client must have a certificate.
    pub wanted: ClientCertificate,
    /// What in a certificate names its user.
    pub identity: ClientIdentity,
}

/// Whether a client must have a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCertificate {
    /// Without one the handshake fails.
    Required,
    /// One that has none is nobody yet.
    Optional,
}

impl Keyword for ClientCertificate {
    const CHOICES: &'static [(&'static str, Self)] =
        &[("required", Self::Required), ("optional", Self::Optional)];
}

/// What in a client's certificate names its user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientIdentity {
    /// A SIP URI among its alternative names (RFC 5922).
    Uri,
    /// An e-mail address among its alternative names.
    Email,
    /// The subject's common name, `user@domain`.
    CommonName,
}

impl Keyword for ClientIdentity {
    const CHOICES: &'static [(&'static str, Self)] =
        &[("uri", Self::Uri), ("email", Self::Email), ("cn", Self::CommonName)];
}

impl TlsMaterial {
    /// What a listener proves itself with, and asks its clients for.
    pub(crate) fn read(reading: &mut Reading<'_>, section: &Section<'_>) -> Option<Self> {
        // Both are read before either is judged, so that the faults of both are seen.
        let (files, clients) = (TlsFiles::read(reading, section), ClientAuthorities::read(reading, section));
        Some(Self::Files(TlsFiles { clients: clients?, ..files? }))
    }
}

impl TlsFiles {
    /// A certificate and its key where there may be none: both or neither.
    pub(crate) fn optional(reading: &mut Reading<'_>, section: &Section<'_>) -> Option<Self> {
        if !section.has("certificate") && !section.has("private_key") {
            return None;
        }
        Self::read(reading, section)
    }

    fn read(reading: &mut Reading<'_>, section: &Section<'_>) -> Option<Self> {
        let certificate = path(reading, section, "certificate", "\"fullchain.pem\"");
        let private_key = path(reading, section, "private_key", "\"privkey.pem\"");
        let chain = certificate.as_ref().and_then(|at| chain(reading, at));
        let key = private_key.as_ref().and_then(|at| key(reading, at));
        Some(Self {
            certificate: certificate?.value,
            private_key: private_key?.value,
            chain: chain?.into(),
            key: Arc::new(key?),
            clients: None,
        })
    }
}

impl ClientAuthorities {
    /// Reads them if there are any; nothing if something is wrong, which has been noted then.
    fn read(reading: &mut Reading<'_>, section: &Section<'_>) -> Option<Option<Self>> {
        let authorities = section.path_field(reading, "client_ca");
        if authorities.is_absent() {
            let keys = &["client_certificate", "client_identity"];
            let why = "clients are asked for no certificate";
            section.not_applicable(reading, keys, why, "remove it, or name `client_ca`");
            return Some(None);
        }
        let wanted = section.or(reading, "client_certificate", ClientCertificate::Required);
        let identity = section.or(reading, "client_identity", ClientIdentity::Uri);
        let authorities = chain(reading, &authorities.given()?)?.into();
        Some(Some(Self { authorities, wanted, identity }))
    }
}

fn path(
    reading: &mut Reading<'_>,
    section: &Section<'_>,
    key: &'static str,
    example: &str,
) -> Option<At<PathBuf>> {
    let field = section.path_field(reading, key);
    if field.is_absent() {
        section.missing(reading, key, example);
    }
    field.given()
}

/// The certificates in a PEM file; at least one.
pub(crate) fn chain(reading: &mut Reading<'_>, path: &At<PathBuf>) -> Option<Vec<CertificateDer<'static>>> {
    let content = reading.file("the certificate", path)?;
    let wrong = match CertificateDer::pem_slice_iter(&content).collect::<Result<Vec<_>, _>>() {
        Ok(chain) if !chain.is_empty() => return Some(chain),
        Ok(_) if PrivateKeyDer::from_pem_slice(&content).is_ok() => {
            "it holds a private key, but no certificate".to_owned()
        }
        Ok(_) => "it holds no `BEGIN CERTIFICATE`".to_owned(),
        Err(error) => format!("broken PEM: {error}"),
    };
    reading.error(
        Problem::new(
            ProblemKind::BadFile,
            path.span.clone(),
            format!("no certificate in `{}`", path.value.display()),
        )
        .label(wrong)
        .help("name the PEM file with the certificate and those of its issuers (often fullchain.pem)"),
    );
    None
}

fn key(reading: &mut Reading<'_>, path: &At<PathBuf>) -> Option<PrivateKeyDer<'static>> {
    let content = reading.secret_file("the private key", path)?;
    let wrong = match PrivateKeyDer::from_pem_slice(&content) {
        Ok(key) => return Some(key),
        Err(rustls_pki_types::pem::Error::NoItemsFound) => {
            let wrong = if content.windows(9).any(|window| window == b"ENCRYPTED") {
                "the key is encrypted"
            } else if CertificateDer::from_pem_slice(&content).is_ok() {
                "it holds a certificate, but no private key"
            } else {
                "it holds no `BEGIN PRIVATE KEY`"
            };
            wrong.to_owned()
        }
        Err(error) => format!("broken PEM: {error}"),
    };
    reading.error(
        Problem::new(
            ProblemKind::BadFile,
            path.span.clone(),
            format!("no private key in `{}`", path.value.display()),
        )
        .label(wrong)
        .help("name the PEM file with the unencrypted key (often privkey.pem)"),
    );
    None
}
