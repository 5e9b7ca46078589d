use super::*;

const INVITE: &str = "INVITE sip:b@x SIP/2.0\r\n\
Via: SIP/2.0/UDP me;branch=z9hG4bK1, SIP/2.0/UDP before\r\n\
Via: SIP/2.0/UDP first\r\n\
Route: <sip:r1;lr>,<sip:r2;lr>\r\n\
Max-Forwards: 3\r\n\
From: <sip:a>;tag=1\r\n\
To: <sip:b>\r\n\
Call-ID: call\r\n\
CSeq: 7 INVITE\r\n\
Route: <sip:r3;lr>\r\n\
Content-Length: 0\r\n\r\n";

#[test]
fn cancel_and_ack() {
    let invite = Message::parse(INVITE.as_bytes()).unwrap();
    let expected = |method: &str, to: &str, reason: &str| {
        format!(
            "{method} sip:b@x SIP/2.0\r\nVia: SIP/2.0/UDP me;branch=z9hG4bK1\r\nRoute: <sip:r1;lr>,<sip:r2;lr>\r\n\
             Route: <sip:r3;lr>\r\nFrom: <sip:a>;tag=1\r\nTo: {to}\r\nCall-ID: call\r\nCSeq: 7 {method}\r\n\
             Max-Forwards: 70\r\n{reason}Content-Length: 0\r\n\r\n"
        )
    };
    let mut out = Vec::new();
    let len = cancel_for(&invite, Some(b"SIP;cause=200"), &mut out).unwrap();
    assert_eq!(String::from_utf8_lossy(&out), expected("CANCEL", "<sip:b>", "Reason: SIP;cause=200\r\n"));
    assert_eq!(len, out.len());
    assert!(Message::parse(&out).unwrap().check_request().unwrap().is_empty());

    let busy = b"SIP/2.0 486 Busy\r\nTo: <sip:b>;tag=9\r\n\r\n";
    let response = Message::parse(busy).unwrap();
    out.clear();
    ack_for_non2xx(&invite, &response, &mut out).unwrap();
    assert_eq!(String::from_utf8_lossy(&out), expected("ACK", "<sip:b>;tag=9", ""));
    assert!(Message::parse(&out).unwrap().check_request().unwrap().is_empty());
}

#[test]
fn wrong_ingredients() {
    let invite = Message::parse(INVITE.as_bytes()).unwrap();
    let mut out = Vec::new();
    let error = |result: Result<usize, EditError>| result.unwrap_err();
    assert_eq!(error(cancel_for(&invite, Some(b"a\nb"), &mut out)), EditError::LineEnd);
    let ok = Message::parse(b"SIP/2.0 200 OK\r\nTo: <sip:b>\r\n\r\n").unwrap();
    assert_eq!(error(ack_for_non2xx(&invite, &ok, &mut out)), EditError::WrongKind);
    assert_eq!(error(ack_for_non2xx(&invite, &invite, &mut out)), EditError::WrongKind);
    for (cut, expected) in [
        ("INVITE sip", EditError::WrongKind),
        ("Via", EditError::NoVia),
        ("To:", EditError::Missing(HeaderId::To)),
        ("From:", EditError::Missing(HeaderId::From)),
        ("Call-ID:", EditError::Missing(HeaderId::CallId)),
        ("CSeq:", EditError::Missing(HeaderId::CSeq)),
    ] {
        let text: String = match cut {
            "INVITE sip" => INVITE.replace("INVITE", "OPTIONS"),
            _ => INVITE.split_inclusive("\r\n").filter(|line| !line.starts_with(cut)).collect(),
        };
        let message = Message::parse(text.as_bytes()).unwrap();
        assert_eq!(error(cancel_for(&message, None, &mut out)), expected, "{cut}");
    }
    assert!(out.is_empty());
}
