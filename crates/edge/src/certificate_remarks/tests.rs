use std::path::Path;

use config::FakeEnvironment;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};

use super::*;

/// The first of December 2026.
const NOW: u64 = 1_796_083_200;

/// Days of validity: years, months and days.
type Time = ((i32, u8, u8), (i32, u8, u8));

const GOOD: Time = ((2026, 1, 1), (2027, 12, 1));

fn params(names: &[&str], (from, until): Time) -> CertificateParams {
    let mut params =
        CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    params.not_before = date_time_ymd(from.0, from.1, from.2);
    params.not_after = date_time_ymd(until.0, until.1, until.2);
    params.distinguished_name.push(rcgen::DnType::CommonName, names.first().copied().unwrap_or("leaf"));
    params
}

fn authority(name: &str, time: Time) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = params(&[name], time);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A chain and its key, as PEM.
fn chain(names: &[&str], time: Time, by: &CertifiedIssuer<'static, KeyPair>) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let own = params(names, time).signed_by(&key, by).unwrap();
    (format!("{}{}", own.pem(), by.pem()), key.serialize_pem())
}

/// What is said of a wss listener that advertises `sip.example.com`, and of an upstream with the same
/// identity and this authority.
fn said(chain: &str, key: &str, ca: &str) -> Vec<(String, Severity)> {
    let text = "[[listener]]\nname = \"wss\"\ntransport = \"wss\"\nbind = \"127.0.0.1:0\"\nadvertise = \"sip.example.com\"\n\
                certificate = \"chain.pem\"\nprivate_key = \"key.pem\"\n\
                [[listener]]\nname = \"tls\"\ntransport = \"tls\"\nbind = \"127.0.0.1:0\"\n\
                certificate = \"good.pem\"\nprivate_key = \"good.key\"\nclient_ca = \"ca.pem\"\n\
                [[upstream]]\nname = \"pbx\"\ntargets = [\"sips:pbx.example.com\"]\nca = \"ca.pem\"\n\
                certificate = \"chain.pem\"\nprivate_key = \"key.pem\"\n";
    let good = self::chain(&["x.example.com"], GOOD, &authority("root", GOOD));
    let files = FakeEnvironment::new()
        .file("chain.pem", chain)
        .file("key.pem", key)
        .file("ca.pem", ca)
        .file("good.pem", good.0)
        .file("good.key", good.1);
    let config = Config::parse(text, Path::new("sipway.toml"), &files).unwrap();
    let remarks = certificate_remarks(&config, NOW);
    remarks.iter().map(|remark| (remark.to_string(), remark.severity())).collect()
}

#[test]
fn a_good_chain_is_not_remarked_on() {
    let root = authority("root", GOOD);
    for name in ["sip.example.com", "*.example.com", "SIP.Example.com"] {
        let (chain, key) = chain(&["other.example.com", name], GOOD, &root);
        assert_eq!(said(&chain, &key, &root.pem()), [], "{name}");
    }
}

#[test]
fn dates_are_seen() {
    let root = authority("root", GOOD);
    for (time, words, severity) in [
        (((2026, 1, 1), (2026, 11, 30)), "has expired at 2026-11-30T00:00:00", Severity::Wrong),
        (((2026, 12, 2), (2027, 12, 1)), "is not valid before 2026-12-02T00:00:00", Severity::Wrong),
        (((2026, 1, 1), (2026, 12, 14)), "expires in 13 days, at 2026-12-14T00:00:00", Severity::Doubtful),
    ] {
        let (chain, key) = chain(&["sip.example.com"], time, &root);
        let said = said(&chain, &key, &root.pem());
        assert_eq!(said.len(), 2, "{said:?}");
        for ((text, is), whose) in said.iter().zip(["listener `wss`", "upstream `pbx`"]) {
            assert!(text.starts_with(&format!("{whose}: its certificate {words}")), "{text}");
            assert_eq!(*is, severity);
        }
        // Of an issuer as well, and of an authority of others.
        let old = authority("old", time);
        let (chain, key) = self::chain(&["sip.example.com"], GOOD, &old);
        let said = self::said(&chain, &key, &root.pem());
        assert!(said[0].0.contains(&format!("the issuer's certificate `CN=old` {words}")), "{said:?}");
        assert_eq!(said[0].1, severity);
        let (chain, key) = self::chain(&["sip.example.com"], GOOD, &root);
        let said = self::said(&chain, &key, &old.pem());
        assert_eq!(said.len(), 2, "{said:?}");
        for ((text, is), whose) in said.iter().zip(["listener `tls`", "upstream `pbx`"]) {
            assert!(text.starts_with(&format!("{whose}: the authority `CN=old` {words}")), "{text}");
            assert_eq!(*is, Severity::Doubtful);
        }
    }
}

#[test]
fn what_does_not_belong_together_is_seen() {
    let root = authority("root", GOOD);
    let (good, key) = chain(&["sip.example.com"], GOOD, &root);
    let other = KeyPair::generate().unwrap().serialize_pem();
    let own = good.split_inclusive("-----END CERTIFICATE-----\n").next().unwrap();
    let foreign = authority("other", GOOD);
    let (named, named_key) = chain(&["a.example.com", "b.a.example.com"], GOOD, &root);
    for (chain, key, words, severity) in [
        (good.clone(), &other, "cannot be used together", Severity::Wrong),
        (format!("{}{own}", root.pem()), &key, "cannot be used together", Severity::Wrong),
        (format!("{own}{}", foreign.pem()), &key, "is not by the one behind it", Severity::Doubtful),
        (own.to_owned(), &key, "is by `CN=root`, whose certificate is not in", Severity::Doubtful),
        (named, &named_key, "is not for `sip.example.com`, which", Severity::Doubtful),
    ] {
        let said = said(&chain, key, &root.pem());
        assert!(said[0].0.contains(words), "{said:?}");
        assert_eq!(said[0].1, severity);
    }
    let own = params(&["leaf"], GOOD);
    let mut own = own;
    own.is_ca = IsCa::ExplicitNoCa;
    let own = own.self_signed(&KeyPair::generate().unwrap()).unwrap();
    let said = said(&good, &key, &own.pem());
    assert!(said[0].0.contains("the authority `CN=leaf` may sign no others"), "{said:?}");
}
