use super::*;

const REQUEST: &[u8] = b"INVITE sip:b SIP/2.0\r\n\
Via: SIP/2.0/UDP a;rport, SIP/2.0/UDP b\r\n\
v: SIP/2.0/TCP\r\n  c\r\n\
f: <sip:a>;tag=1\r\n\
t: <sip:b>\r\n\
Record-Route: <sip:r2;lr>\r\n\
i: call\r\n\
CSeq: 7\r\n INVITE\r\n\
Record-Route: <sip:r1;lr>\r\n\
Timestamp: 54\r\n\
l: 0\r\n\r\n";

fn respond<'m>(
    request: &'m Message<'m>,
    status: u16,
    build: impl FnOnce(ResponseBuilder<'m>) -> ResponseBuilder<'m>,
) -> Result<String, EditError> {
    let mut out = Vec::new();
    let len = build(ResponseBuilder::new(request, status, "Why")).write(&mut out)?;
    assert_eq!(len, out.len());
    Message::parse(&out).unwrap().check_response().unwrap();
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn what_a_response_copies() {
    let request = Message::parse(REQUEST).unwrap();
    let out = respond(&request, 404, |response| {
        response
            .to_tag(b"t2")
            .stamp_via("192.0.2.1".parse().unwrap(), Some(9))
            .header(b"Warning", b"399 x \"y\"")
    });
    assert_eq!(
        out.unwrap(),
        "SIP/2.0 404 Why\r\n\
         Via: SIP/2.0/UDP a;rport=9;received=192.0.2.1, SIP/2.0/UDP b\r\n\
         Via: SIP/2.0/TCP\r\n  c\r\n\
         From: <sip:a>;tag=1\r\n\
         To: <sip:b>;tag=t2\r\n\
         Call-ID: call\r\n\
         CSeq: 7\r\n INVITE\r\n\
         Warning: 399 x \"y\"\r\n\
         Content-Length: 0\r\n\r\n"
    );
    let trying = respond(&request, 100, |response| response.to_tag(b"t2")).unwrap();
    assert!(trying.contains("To: <sip:b>\r\n") && trying.contains("Timestamp: 54\r\n"));
    assert!(!trying.contains("Record-Route"));
    let ringing = respond(&request, 180, |response| response.to_tag(b"t2")).unwrap();
    assert!(ringing.contains("Record-Route: <sip:r2;lr>\r\nRecord-Route: <sip:r1;lr>\r\n"));
    let ok = respond(&request, 200, |response| response.body(b"text/plain", b"a\r\nb")).unwrap();
    assert!(ok.ends_with("Content-Type: text/plain\r\nContent-Length: 4\r\n\r\na\r\nb"));
}

#[test]
fn a_tag_that_is_there_stays() {
    let text = REQUEST.strip_suffix(b"l: 0\r\n\r\n").unwrap().to_vec();
    let text = String::from_utf8(text).unwrap().replace("t: <sip:b>", "t: <sip:b>;tag=mine") + "\r\n";
    let request = Message::parse(text.as_bytes()).unwrap();
    assert!(
        respond(&request, 486, |response| response.to_tag(b"x"))
            .unwrap()
            .contains("To: <sip:b>;tag=mine\r\n")
    );
}

#[test]
fn damaged_requests_are_answered() {
    let bytes =
        b"OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP a\r\nFrom: \"x <sip:a>\r\nnonsense\nCSeq: 1 OPTIONS";
    let error = crate::ParseError::BareLf(64);
    let request = Message::salvage(bytes, error).unwrap();
    let mut out = Vec::new();
    ResponseBuilder::new(&request, 400, "Bad").write(&mut out).unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "SIP/2.0 400 Bad\r\nVia: SIP/2.0/UDP a\r\nFrom: \"x <sip:a>\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    );
    for silent in [
        &b"ACK sip:a SIP/2.0\r\nVia: SIP/2.0/UDP a\r\nnonsense\r\n\r\n"[..],
        b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP a\r\nnonsense\r\n\r\n",
        b"OPTIONS sip:a SIP/2.0\r\nnonsense\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"",
    ] {
        assert!(Message::salvage(silent, error).is_none());
    }
    assert!(Message::salvage(bytes, crate::ParseError::Empty).is_none());
}

#[test]
fn nothing_can_be_smuggled_in() {
    let request = Message::parse(REQUEST).unwrap();
    let error = |status, build: fn(ResponseBuilder<'_>) -> ResponseBuilder<'_>| {
        respond(&request, status, build).unwrap_err()
    };
    assert_eq!(error(400, |response| response.header(b"X", b"a\r\nY: b")), EditError::LineEnd);
    assert_eq!(error(400, |response| response.header(b"X:", b"a")), EditError::HeaderName);
    assert_eq!(error(400, |response| response.to_tag(b"\n")), EditError::LineEnd);
    assert_eq!(error(400, |response| response.body(b"a\r\nb", b"")), EditError::LineEnd);
    assert_eq!(error(99, |response| response), EditError::Status);
    assert_eq!(error(700, |response| response), EditError::Status);
    let mut out = Vec::new();
    assert_eq!(ResponseBuilder::new(&request, 400, "a\r\nX: y").write(&mut out), Err(EditError::LineEnd));
    let orphan = Message::parse(b"OPTIONS sip:a SIP/2.0\r\n\r\n").unwrap();
    assert_eq!(ResponseBuilder::new(&orphan, 400, "a").write(&mut out), Err(EditError::NoVia));
    let response = Message::parse(b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP a\r\n\r\n").unwrap();
    assert_eq!(ResponseBuilder::new(&response, 400, "a").write(&mut out), Err(EditError::WrongKind));
    assert!(out.is_empty());
}

#[test]
fn the_stamp_finds_the_topmost_via_behind_an_empty_one() {
    let request = b"OPTIONS sip:a@b SIP/2.0\r\nVia:  \r\nVia: SIP/2.0/UDP c;rport, SIP/2.0/UDP d\r\nVia: SIP/2.0/UDP e\r\n\r\n";
    let message = Message::parse(request).unwrap();
    let mut out = Vec::new();
    let response = ResponseBuilder::new(&message, 200, "OK").stamp_via([192, 0, 2, 255].into(), Some(70));
    response.write(&mut out).unwrap();
    let again = Message::parse(&out).unwrap();
    let vias: Vec<_> = again.values(HeaderId::Via).map(|value| value.bytes).collect();
    assert_eq!(
        vias,
        [&b"SIP/2.0/UDP c;rport=70;received=192.0.2.255"[..], b"SIP/2.0/UDP d", b"SIP/2.0/UDP e"]
    );
}
