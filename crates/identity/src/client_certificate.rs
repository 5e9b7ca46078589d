//! The user that a TLS client certificate names. The handshake has already checked that an authority of the
//! listener signed it.

use std::time::Duration;

use config::ClientIdentity;
use lifecycle::Now;
use sip_message::Uri;
use transport::{Grant, VerifiedClient};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::{Domains, bearer_tokens::lasting};

/// The user of a domain of ours that a certificate names, until it runs out; none if it names nobody here.
pub fn verified_by_certificate(
    certificate: &[u8],
    rule: ClientIdentity,
    domains: &Domains,
    now: Now,
) -> Option<VerifiedClient> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let left =
        u64::try_from(certificate.validity().not_after.timestamp()).ok()?.checked_sub(now.unix_seconds())?;
    let identity = names(&certificate, rule).into_iter().find_map(|name| domains.identity(&name))?;
    Some(VerifiedClient {
        identity,
        until: now.instant + lasting(Duration::from_secs(left)),
        outside: Grant::NotGiven,
    })
}

/// The users that a certificate names by this rule, `user@domain` each.
fn names(certificate: &X509Certificate<'_>, rule: ClientIdentity) -> Vec<String> {
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let alternative = alternative.iter().flat_map(|names| &names.value.general_names);
    match rule {
        ClientIdentity::Uri => alternative
            .filter_map(|name| match name {
                GeneralName::URI(uri) => Some(Uri::parse(uri.as_bytes()).ok()?),
                _ => None,
            })
            .filter(Uri::is_sip)
            .filter_map(|uri| Some(format!("{}@{}", user_of(&uri)?, uri.host()?)))
            .collect(),
        ClientIdentity::Email => alternative
            .filter_map(|name| match name {
                GeneralName::RFC822Name(address) => Some((*address).to_owned()),
                _ => None,
            })
            .collect(),
        ClientIdentity::CommonName => certificate
            .subject()
            .iter_common_name()
            .filter_map(|name| name.as_str().ok())
            .map(str::to_owned)
            .collect(),
    }
}

fn user_of(uri: &Uri<'_>) -> Option<String> {
    String::from_utf8(uri.unescaped_user()?.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(subject: &str, names: Vec<rcgen::SanType>) -> Vec<u8> {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, subject);
        params.subject_alt_names = names;
        params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn each_rule_reads_its_own_names() {
        let text = |text: &str| text.try_into().unwrap();
        let names = vec![
            rcgen::SanType::URI(text("https://example.com/ada")),
            rcgen::SanType::URI(text("sip:ada%20l@example.com")),
            rcgen::SanType::Rfc822Name(text("bob@example.com")),
        ];
        let der = certificate("eve@example.com", names);
        let (_, certificate) = X509Certificate::from_der(&der).unwrap();
        for (rule, name) in [
            (ClientIdentity::Uri, "ada l@example.com"),
            (ClientIdentity::Email, "bob@example.com"),
            (ClientIdentity::CommonName, "eve@example.com"),
        ] {
            assert_eq!(super::names(&certificate, rule), [name]);
        }
    }
}
