//! Remarks about certificates of a configuration: what is wrong with them, or soon will be.

use std::fmt;

use config::{Config, Host, TlsFiles, TlsMaterial};
use rustls_pki_types::CertificateDer;
use tls_settings::certificate::{CertificateError, Fitting};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

#[cfg(test)]
mod tests;

/// Certificates with less time left than this are named in the log, in seconds.
const SOON: u64 = 14 * DAY;

const DAY: u64 = 24 * 60 * 60;

/// Remarks on the authorities of one file at most: whole bundles are given, where the first say enough.
const MOST_ON_AUTHORITIES: usize = 3;

/// Something that there is to say of a certificate.
#[derive(Debug)]
pub struct CertificateRemark {
    /// Whose it is, such as ``listener `wss` ``.
    whose: String,
    flaw: CertificateFlaw,
}

/// Whether a certificate can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It cannot: its peers refuse it.
    Wrong,
    /// It can, by some peers or for a while.
    Doubtful,
}

/// What is wrong.
#[derive(Debug, thiserror::Error)]
enum CertificateFlaw {
    #[error("{which} is no X.509 certificate")]
    Unreadable { which: CertificateRank },
    #[error("{0}")]
    Unusable(CertificateError),
    #[error("{which} has expired at {}", time(*.at))]
    Expired { which: CertificateRank, at: i64 },
    #[error("{which} is not valid before {}", time(*.at))]
    NotYet { which: CertificateRank, at: i64 },
    #[error("{which} expires in {days} days, at {}", time(*.at))]
    Soon { which: CertificateRank, days: u64, at: i64 },
    #[error("{which} is not for `{host}`, which the listener advertises, but for {for_whom}")]
    ForOthers { which: CertificateRank, host: String, for_whom: String },
    #[error(
        "{which} is not by the one behind it in the file: the server's own comes first, then that of its issuer, and so on"
    )]
    OutOfOrder { which: CertificateRank },
    #[error(
        "{which} is by `{issuer}`, whose certificate is not in the file: clients that do not know it refuse this one"
    )]
    Incomplete { which: CertificateRank, issuer: String },
    #[error("{which} may sign no others: what it has signed is refused")]
    NoAuthority { which: CertificateRank },
}

/// Which certificate of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
enum CertificateRank {
    /// Its own.
    Own,
    /// One of its issuers, by this name.
    Issuer(String),
    /// An authority of others, by this name.
    Authority(String),
}

impl fmt::Display for CertificateRank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own => f.write_str("its certificate"),
            Self::Issuer(name) => write!(f, "the issuer's certificate `{name}`"),
            Self::Authority(name) => write!(f, "the authority `{name}`"),
        }
    }
}

impl fmt::Display for CertificateRemark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.whose, self.flaw)
    }
}

impl CertificateRemark {
    /// Whether the certificate can be used all the same.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match &self.flaw {
            CertificateFlaw::Unreadable { which }
            | CertificateFlaw::Expired { which, .. }
            | CertificateFlaw::NotYet { which, .. } => {
                match which {
                    CertificateRank::Own | CertificateRank::Issuer(_) => Severity::Wrong,
                    // There may be others.
                    CertificateRank::Authority(_) => Severity::Doubtful,
                }
            }
            CertificateFlaw::Unusable(_) => Severity::Wrong,
            CertificateFlaw::Soon { .. }
            | CertificateFlaw::ForOthers { .. }
            | CertificateFlaw::OutOfOrder { .. }
            | CertificateFlaw::Incomplete { .. }
            | CertificateFlaw::NoAuthority { .. } => Severity::Doubtful,
        }
    }
}

/// All that there is to say of the certificates of listeners and upstreams, at this time in seconds since the
/// Unix epoch.
#[must_use]
pub fn certificate_remarks(config: &Config, now: u64) -> Vec<CertificateRemark> {
    let mut remarks = Vec::new();
    let mut note = |whose: String, flaws: Vec<CertificateFlaw>| {
        remarks.extend(flaws.into_iter().map(|flaw| CertificateRemark { whose: whose.clone(), flaw }));
    };
    for listener in &config.listeners {
        let Some(TlsMaterial::Files(files)) = listener.transport.tls() else { continue };
        let whose = format!("listener `{}`", listener.name);
        let mut flaws = of_chain(files, now);
        if let Host::Name(name) = &listener.advertise.host {
            flaws.extend(for_others(&files.chain, name));
        }
        note(whose.clone(), flaws);
        if let Some(clients) = &files.clients {
            note(whose, of_authorities(&clients.authorities, now));
        }
    }
    for upstream in &config.upstreams {
        let whose = format!("upstream `{}`", upstream.name);
        if let Some(files) = &upstream.identity {
            note(whose.clone(), of_chain(files, now));
        }
        if let Some(authorities) = &upstream.ca {
            note(whose, of_authorities(authorities, now));
        }
    }
    remarks
}

/// When a certificate expires, in seconds since the Unix epoch; none if it cannot be read.
pub(crate) fn expires_at(certificate: &CertificateDer<'_>) -> Option<i64> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

fn of_chain(files: &TlsFiles, now: u64) -> Vec<CertificateFlaw> {
    let mut flaws: Vec<CertificateFlaw> =
        Fitting::new(&files.chain, &files.key).err().map(CertificateFlaw::Unusable).into_iter().collect();
    let parsed: Option<Vec<X509Certificate<'_>>> = files
        .chain
        .iter()
        .map(|der| X509Certificate::from_der(der).ok().map(|(_, certificate)| certificate))
        .collect();
    let Some(parsed) = parsed else {
        flaws.push(CertificateFlaw::Unreadable { which: CertificateRank::Own });
        return flaws;
    };
    let which = |at: usize, certificate: &X509Certificate<'_>| match at {
        0 => CertificateRank::Own,
        _ => CertificateRank::Issuer(certificate.subject().to_string()),
    };
    for (at, certificate) in parsed.iter().enumerate() {
        flaws.extend(in_time(certificate, which(at, certificate), now));
        let issuer = certificate.issuer();
        match parsed.get(at + 1) {
            Some(next) if next.subject().as_raw() != issuer.as_raw() => {
                flaws.push(CertificateFlaw::OutOfOrder { which: which(at, certificate) });
            }
            // A longer chain may end with one by an authority that everybody has.
            None if at == 0 && certificate.subject().as_raw() != issuer.as_raw() => {
                flaws.push(CertificateFlaw::Incomplete {
                    which: CertificateRank::Own,
                    issuer: issuer.to_string(),
                });
            }
            Some(_) | None => {}
        }
    }
    flaws
}

fn of_authorities(authorities: &[CertificateDer<'static>], now: u64) -> Vec<CertificateFlaw> {
    let mut flaws = Vec::new();
    for der in authorities {
        let Ok((_, certificate)) = X509Certificate::from_der(der) else {
            flaws.push(CertificateFlaw::Unreadable { which: CertificateRank::Authority("?".to_owned()) });
            continue;
        };
        let which = || CertificateRank::Authority(certificate.subject().to_string());
        flaws.extend(in_time(&certificate, which(), now));
        let limits = certificate.basic_constraints().ok().flatten();
        if limits.is_some_and(|limits| !limits.value.ca) {
            flaws.push(CertificateFlaw::NoAuthority { which: which() });
        }
    }
    flaws.truncate(MOST_ON_AUTHORITIES);
    flaws
}

/// Its validity.
fn in_time(certificate: &X509Certificate<'_>, which: CertificateRank, now: u64) -> Option<CertificateFlaw> {
    let validity = certificate.validity();
    let (from, until) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    // Before 1970 is before now.
    let left = u64::try_from(until).unwrap_or(0).checked_sub(now);
    match left {
        None => Some(CertificateFlaw::Expired { which, at: until }),
        Some(_) if u64::try_from(from).is_ok_and(|from| from > now) => {
            Some(CertificateFlaw::NotYet { which, at: from })
        }
        Some(left) if left < SOON => Some(CertificateFlaw::Soon { which, days: left / DAY, at: until }),
        Some(_) => None,
    }
}

/// Whether the first certificate is for a name (RFC 6125 §6.4: alternative names, and `*` for the leftmost
/// label alone).
fn for_others(chain: &[CertificateDer<'static>], host: &str) -> Option<CertificateFlaw> {
    let (_, certificate) = X509Certificate::from_der(chain.first()?).ok()?;
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let names: Vec<&str> = alternative
        .iter()
        .flat_map(|names| &names.value.general_names)
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(*name),
            _ => None,
        })
        .collect();
    let fits = |name: &&str| {
        let beneath = |parent: &str| host.split_once('.').is_some_and(|(_, rest)| rest == parent);
        let name = name.to_ascii_lowercase();
        name == host || name.strip_prefix("*.").is_some_and(beneath)
    };
    if names.iter().any(fits) {
        return None;
    }
    let for_whom = match &names[..] {
        [] => "no name at all (subjectAltName)".to_owned(),
        [first] => format!("`{first}`"),
        [first, rest @ ..] => format!("`{first}` and {} more", rest.len()),
    };
    Some(CertificateFlaw::ForOthers { which: CertificateRank::Own, host: host.to_owned(), for_whom })
}

fn time(seconds: i64) -> String {
    lifecycle::event_time(u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000_000))
}
