use super::*;
use crate::Via;

const REQUEST: &str = "INVITE sip:b@x SIP/2.0\r\n\
v: SIP/2.0/UDP a;rport;branch=z9hG4bK1 , SIP/2.0/TCP b;branch=z9hG4bK2\r\n\
Via: SIP/2.0/TCP c\r\n\
Route: <sip:r1;lr>, \"q,\" <sip:r2;lr> ,<sip:r3;lr>\r\n\
Route: <sip:r4;lr>\r\n\
X-Odd \t:  \0ÿ kept \r\n \t as it is  \r\n\
Max-Forwards: 0070\r\n\
l: 4\r\n\
\r\n\
body";

fn edited(text: &str, edit: impl for<'m> FnOnce(&mut Rewrite<'m>)) -> String {
    let message = Message::parse(text.as_bytes()).unwrap();
    let mut rewrite = Rewrite::new(&message);
    edit(&mut rewrite);
    let mut out = b"before".to_vec();
    let written = rewrite.write(&mut out).unwrap();
    assert_eq!(written + 6, out.len());
    Message::parse(&out[6..]).unwrap();
    String::from_utf8(out.split_off(6)).unwrap()
}

fn refused(edit: impl for<'m> FnOnce(&mut Rewrite<'m>)) -> EditError {
    let message = Message::parse(REQUEST.as_bytes()).unwrap();
    let mut rewrite = Rewrite::new(&message);
    edit(&mut rewrite);
    let mut out = b"x".to_vec();
    let error = rewrite.write(&mut out).unwrap_err();
    assert_eq!(out, b"x");
    error
}

#[test]
fn no_edit_changes_nothing() {
    assert_eq!(edited(REQUEST, |_| {}), REQUEST);
    assert_eq!(edited(&format!("\r\n\r\n{REQUEST}noise"), |_| {}), REQUEST);
}

#[test]
fn a_proxy_s_edits_together() {
    let out = edited(REQUEST, |rewrite| {
        rewrite.set_request_uri(b"sip:b@y");
        rewrite.stamp_via("192.0.2.9".parse().unwrap(), Some(5062));
        rewrite.push_via(b"SIP/2.0/TLS me;branch=z9hG4bK0");
        rewrite.push_record_route(b"<sip:in;lr>");
        rewrite.push_record_route(b"<sip:out;lr>");
        rewrite.set_max_forwards(69);
        rewrite.pop_route();
        rewrite.append(b"P-A", b"1");
        rewrite.append(b"P-B", b"2");
    });
    let expected = REQUEST
        .replace("sip:b@x", "sip:b@y")
        .replace("v: SIP/2.0/UDP a;rport;branch=z9hG4bK1 ,", "Via: SIP/2.0/TLS me;branch=z9hG4bK0\r\nv: SIP/2.0/UDP a;rport=5062;branch=z9hG4bK1;received=192.0.2.9 ,")
        .replace("Via: SIP/2.0/TCP c", "Record-Route: <sip:out;lr>\r\nRecord-Route: <sip:in;lr>\r\nVia: SIP/2.0/TCP c")
        .replace("0070", "69")
        .replace("<sip:r1;lr>, ", "")
        .replace("l: 4\r\n", "l: 4\r\nP-A: 1\r\nP-B: 2\r\n");
    assert_eq!(out, expected);
}

#[test]
fn stamps_overwrite_what_the_sender_claims() {
    let via = |text: &str, received: &str, rport: Option<u16>| {
        let request = format!("OPTIONS sip:a SIP/2.0\r\nVia: {text}\r\n\r\n");
        let out = edited(&request, |rewrite| rewrite.stamp_via(received.parse().unwrap(), rport));
        out.lines().nth(1).unwrap()[5..].to_string()
    };
    assert_eq!(via("SIP/2.0/UDP a", "192.0.2.1", None), "SIP/2.0/UDP a;received=192.0.2.1");
    assert_eq!(via("SIP/2.0/UDP a;rport", "::1", Some(7)), "SIP/2.0/UDP a;rport=7;received=::1");
    assert_eq!(via("SIP/2.0/UDP a;rport", "::1", None), "SIP/2.0/UDP a;rport;received=::1");
    assert_eq!(
        via("SIP/2.0/UDP a", "10.20.30.4", Some(65535)),
        "SIP/2.0/UDP a;received=10.20.30.4;rport=65535"
    );
    assert_eq!(
        via("SIP/2.0/UDP a ; Received = 6.6.6.6 ;x; received=[::6];rport=6;rport", "192.0.2.1", Some(5)),
        "SIP/2.0/UDP a ; received=192.0.2.1 ;x;rport=5"
    );
}

#[test]
fn values_are_popped_one_by_one() {
    let routes = |pops: usize| {
        let out = edited(REQUEST, |rewrite| (0..pops).for_each(|_| rewrite.pop_route()));
        out.lines().filter(|line| line.starts_with("Route")).map(str::to_string).collect::<Vec<_>>()
    };
    assert_eq!(routes(1), ["Route: \"q,\" <sip:r2;lr> ,<sip:r3;lr>", "Route: <sip:r4;lr>"]);
    assert_eq!(routes(2), ["Route: <sip:r3;lr>", "Route: <sip:r4;lr>"]);
    assert_eq!(routes(3), ["Route: <sip:r4;lr>"]);
    assert!(routes(4).is_empty() && routes(5).is_empty());
    let out = edited(REQUEST, |rewrite| {
        rewrite.stamp_via("192.0.2.9".parse().unwrap(), None);
        rewrite.pop_via();
    });
    assert_eq!(out, REQUEST.replace("SIP/2.0/UDP a;rport;branch=z9hG4bK1 , ", ""));
}

#[test]
fn any_of_several_values_goes() {
    for mask in 0u32..16 {
        let message = Message::parse(REQUEST.as_bytes()).unwrap();
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]] {
            let mut rewrite = Rewrite::new(&message);
            let values: Vec<_> = message.values(HeaderId::Route).collect();
            for nth in order.into_iter().filter(|nth| mask & (1 << nth) != 0) {
                rewrite.remove_value(&values[nth]);
            }
            let mut out = Vec::new();
            rewrite.write(&mut out).unwrap();
            let again = Message::parse(&out).unwrap();
            let left: Vec<_> = again.values(HeaderId::Route).map(|value| value.bytes).collect();
            let kept: Vec<_> =
                (0..4).filter(|nth| mask & (1 << nth) == 0).map(|nth| values[nth].bytes).collect();
            assert_eq!(left, kept, "{mask:b}");
            for header in again.all(HeaderId::Route) {
                assert!(!header.value.starts_with(b",") && !header.value.ends_with(b","), "{mask:b}");
            }
        }
    }
}

#[test]
fn the_later_edit_of_a_place_counts() {
    let out = edited(REQUEST, |rewrite| {
        rewrite.set_max_forwards(1);
        rewrite.remove(HeaderId::MaxForwards);
        rewrite.set_max_forwards(2);
        rewrite.set_request_uri(b"sip:1");
        rewrite.set_request_uri(b"sip:2");
        rewrite.remove(HeaderId::Via);
        rewrite.push_via(b"SIP/2.0/UDP new");
        rewrite.set(HeaderId::Subject, b"one");
        rewrite.set(HeaderId::Subject, b"two");
        rewrite.set(HeaderId::Route, b"<sip:only>");
    });
    assert!(
        out.starts_with("INVITE sip:2 SIP/2.0\r\nVia: SIP/2.0/UDP new\r\nRoute: <sip:only>\r\nX-Odd"),
        "{out}"
    );
    assert!(
        out.contains("\r\nMax-Forwards: 2\r\n") && out.ends_with("l: 4\r\nSubject: two\r\n\r\nbody"),
        "{out}"
    );
}

#[test]
fn what_is_absent_is_added() {
    let out = edited("ACK sip:a SIP/2.0\r\n\r\nxyz", |rewrite| {
        rewrite.set_max_forwards(70);
        rewrite.ensure_content_length();
        rewrite.push_route(b"<sip:r>");
        rewrite.push_via(b"SIP/2.0/UDP v");
        rewrite.pop_route();
        rewrite.pop_via();
        rewrite.stamp_via("::1".parse().unwrap(), None);
    });
    assert!(Via::parse(Message::parse(out.as_bytes()).unwrap().value(HeaderId::Via).unwrap()).is_ok());
    assert!(out.contains("\r\nContent-Length: 3\r\n") && out.ends_with("\r\n\r\nxyz"), "{out}");
    assert!(out.contains("Max-Forwards: 70\r\n") && out.contains("Route: <sip:r>\r\n"), "{out}");
    let out = edited("ACK sip:a SIP/2.0\r\nSubject:\r\n\r\n", |rewrite| {
        rewrite.set(HeaderId::Subject, b"a");
        rewrite.set(HeaderId::Subject, b"b");
    });
    assert_eq!(out, "ACK sip:a SIP/2.0\r\nSubject: b\r\n\r\n");
}

#[test]
fn surplus_spaces_of_the_request_line_go() {
    let out =
        edited("INVITE   sip:a  SIP/2.0 \r\nSubject: x\r\n\r\n", |rewrite| rewrite.set_request_uri(b"sip:b"));
    assert_eq!(out, "INVITE sip:b SIP/2.0\r\nSubject: x\r\n\r\n");
}

#[test]
fn nothing_can_be_smuggled_in() {
    assert_eq!(refused(|rewrite| rewrite.push_via(b"SIP/2.0/UDP a\r\nX: y")), EditError::LineEnd);
    assert_eq!(refused(|rewrite| rewrite.append(b"X", b"a\rb")), EditError::LineEnd);
    assert_eq!(refused(|rewrite| rewrite.append(b"X: y\r\nZ", b"a")), EditError::HeaderName);
    assert_eq!(refused(|rewrite| rewrite.append(b"", b"a")), EditError::HeaderName);
    assert_eq!(refused(|rewrite| rewrite.set(HeaderId::Subject, b"\n")), EditError::LineEnd);
    assert_eq!(refused(|rewrite| rewrite.set(HeaderId::Other, b"x")), EditError::HeaderName);
    assert_eq!(refused(|rewrite| rewrite.push_front(HeaderId::Other, b"x")), EditError::HeaderName);
    assert_eq!(refused(|rewrite| rewrite.remove(HeaderId::Other)), EditError::HeaderName);
    assert_eq!(refused(|rewrite| rewrite.set_request_uri(b"sip:a SIP/2.0\r\nX: y")), EditError::RequestUri);
    assert_eq!(refused(|rewrite| rewrite.set_request_uri(b"")), EditError::RequestUri);
    assert_eq!(refused(|rewrite| rewrite.replace(Span { start: 0, end: u32::MAX }, b"")), EditError::Span);
    assert_eq!(refused(|rewrite| rewrite.replace(Span { start: 9, end: 8 }, b"")), EditError::Span);
    assert_eq!(refused(|rewrite| rewrite.replace(Span { start: 8, end: 9 }, b"\r\n")), EditError::LineEnd);
    let foreign = Value { bytes: b"x", header: Span { start: 0, end: 3 } };
    assert_eq!(refused(|rewrite| rewrite.remove_value(&foreign)), EditError::Span);
}

#[test]
fn a_response_has_no_request_uri_and_a_damaged_message_is_not_forwarded() {
    let message = Message::parse(b"SIP/2.0 200 OK\r\n\r\n").unwrap();
    let mut rewrite = Rewrite::new(&message);
    rewrite.set_request_uri(b"sip:a");
    assert_eq!(rewrite.write(&mut Vec::new()), Err(EditError::RequestUri));
    let bytes = b"OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP a\r\nnonsense\r\n\r\n";
    let error = Message::parse(bytes).unwrap_err();
    let message = Message::salvage(bytes, error).unwrap();
    assert_eq!(Rewrite::new(&message).write(&mut Vec::new()), Err(EditError::Damaged));
    assert_eq!(message.check_request(), Err(crate::Invalid::Damaged(error)));
}

#[test]
fn one_header_field_and_one_part_of_it() {
    let out = edited(REQUEST, |rewrite| {
        let message = rewrite.message;
        let odd = message.first_named(b"x-odd").unwrap();
        rewrite.remove_header(&odd);
        let span = message.span_of(&message.value(HeaderId::MaxForwards).unwrap()[..2]).unwrap();
        rewrite.replace(span, b"1");
    });
    assert!(!out.contains("X-Odd") && out.contains("Max-Forwards: 170\r\n"), "{out}");
}
