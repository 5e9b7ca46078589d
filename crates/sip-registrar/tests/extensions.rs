//! Require, Path and outbound of a REGISTER.
#![allow(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

use sip_message::{Message, Uri};
use sip_registrar::{
    Gruu, Outbound, Policy, Refusal, granted_gruu, returned_path, supported, unsupported, write_gruu,
};

const FLOW: &str = "Contact: <sip:a@h.invalid;transport=ws>;reg-id=1;+sip.instance=\"<urn:uuid:1>\"\r\n";
const BEHIND: &str = "Via: SIP/2.0/UDP h.invalid;branch=z9hG4bK2\r\n";

fn request(lines: &str) -> Vec<u8> {
    let start = "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP p.invalid;branch=z9hG4bK1\r\n";
    let rest = "From: <sip:a@example.com>;tag=1\r\nTo: <sip:a@example.com>\r\nCall-ID: c\r\nCSeq: 1 REGISTER\r\n\r\n";
    format!("{start}{lines}{rest}").into_bytes()
}

fn with<R>(lines: &str, look: impl Fn(&Message<'_>) -> R) -> R {
    look(&Message::parse(&request(lines)).unwrap())
}

#[test]
fn only_what_is_not_understood_is_named() {
    let off = |request: &Message<'_>| unsupported(request, Gruu::Off);
    assert_eq!(with("Require: path, Outbound\r\n", off), None);
    let asked = "Require: path, gruu\r\nRequire: novel\r\n";
    assert_eq!(with(asked, off).as_deref(), Some(&b"gruu, novel"[..]));
    assert_eq!(with(asked, |request| unsupported(request, Gruu::Public)).as_deref(), Some(&b"novel"[..]));
    assert_eq!((supported(Gruu::Off), supported(Gruu::Public)), ("path, outbound", "path, outbound, gruu"));
}

#[test]
fn a_gruu_is_for_whoever_knows_what_it_is() {
    let public = Policy { gruu: Gruu::Public, ..Policy::default() };
    for (lines, policy, granted) in [
        ("Supported: path, GRUU\r\n", public, Gruu::Public),
        ("Require: gruu\r\n", public, Gruu::Public),
        ("Supported: path\r\n", public, Gruu::Off),
        ("Supported: gruu\r\n", Policy::default(), Gruu::Off),
    ] {
        assert_eq!(with(lines, |request| granted_gruu(request, &policy)), granted, "{lines}");
    }
}

#[test]
fn a_gruu_says_whose_it_is_and_which() {
    for (aor, instance, written) in [
        ("ada@example.com", "urn:uuid:F81d-1", Some("sip:ada@example.com;gr=urn:uuid:F81d-1")),
        (
            "a b@[2001:db8::1]",
            "x\";y=%<>,é",
            Some("sip:a%20b@[2001:db8::1];gr=x%22%3By%3D%25%3C%3E%2C%C3%A9"),
        ),
        ("example.com", "urn:uuid:1", None),
    ] {
        let mut out = Vec::new();
        assert_eq!(write_gruu(aor, instance.as_bytes(), &mut out).is_some(), written.is_some());
        assert_eq!(String::from_utf8_lossy(&out), written.unwrap_or_default());
        if written.is_some() {
            assert_eq!(Uri::parse(&out).unwrap().unescaped_gr().as_deref(), Some(instance.as_bytes()));
        }
    }
}

#[test]
fn path_goes_back_to_whoever_knows_it() {
    let path =
        "Path: <sip:p1.example.com;lr>, <sip:p2.example.com;lr>\r\nPath: <sip:p3.example.com;lr;ob>\r\n";
    assert_eq!(with(path, returned_path), None);
    let returned = with(&format!("{path}Supported: PATH\r\n"), returned_path).unwrap();
    assert_eq!(returned, b"<sip:p1.example.com;lr>, <sip:p2.example.com;lr>, <sip:p3.example.com;lr;ob>");
    assert_eq!(with("Supported: path\r\n", returned_path), None);
}

#[test]
fn a_flow_is_meant_only_by_whoever_says_so() {
    assert_eq!(with(FLOW, Outbound::of), Ok(Outbound::No));
    assert_eq!(with(&format!("{FLOW}Supported: path, outbound\r\n"), Outbound::of), Ok(Outbound::Direct));
    let no_reg_id = "Contact: <sip:a@h.invalid>;+sip.instance=\"<urn:uuid:1>\"\r\nSupported: outbound\r\n";
    assert_eq!(with(no_reg_id, Outbound::of), Ok(Outbound::No));
    assert_eq!(with("Contact: *\r\nExpires: 0\r\nSupported: outbound\r\n", Outbound::of), Ok(Outbound::No));
}

#[test]
fn behind_a_proxy_the_nearest_one_must_keep_the_flow() {
    let behind = |path: &str| with(&format!("{BEHIND}{FLOW}Supported: outbound\r\n{path}"), Outbound::of);
    assert_eq!(behind(""), Err(Refusal::FirstHop));
    assert_eq!(behind("Path: <sip:p;lr;ob>, <sip:edge;lr>\r\n"), Err(Refusal::FirstHop));
    assert_eq!(behind("Path: <sip:p;lr>, <sip:edge;lr;ob>\r\n"), Ok(Outbound::AtEdge));
    assert_eq!(Refusal::FirstHop.status(), 439);
}
