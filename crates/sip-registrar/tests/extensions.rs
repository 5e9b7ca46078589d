//! Require, Path and outbound of a REGISTER.
#![allow(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

use sip_message::Message;
use sip_registrar::{Outbound, Refusal, returned_path, unsupported};

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
    assert_eq!(with("Require: path, Outbound\r\n", unsupported), None);
    let named = with("Require: path, gruu\r\nRequire: novel\r\n", unsupported);
    assert_eq!(named.as_deref(), Some(&b"gruu, novel"[..]));
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
