//! What holds for every message: noise never panics, what is not edited stays, what is edited is there.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use sip_message::response::ResponseBuilder;
use sip_message::{HeaderId, Message, Rewrite, Span, tries_to_be_sip};

const SEED: &[u8] = include_bytes!("torture/rfc4475/wsinv.dat");

/// Reads everything there is to read.
fn read_all(message: &Message<'_>) {
    if let Ok(from) = message.from() {
        assert_eq!(message.from_tag(), from.tag());
    }
    let _ =
        (message.check_request(), message.check_response(), message.via_top(), message.from(), message.to());
    let _ = (
        message.cseq(),
        message.max_forwards(),
        message.expires(),
        message.content_length(),
        message.request_uri(),
    );
    for (_, contact) in message.contacts() {
        if let Ok(sip_message::Contact::Addr(contact)) = contact {
            let _ = (contact.q(), contact.expires(), contact.instance(), contact.reg_id());
            let _ = contact
                .uri()
                .map(|uri| (uri.address_of_record(), uri.same(&uri), uri.maddr(), uri.transport()));
        }
    }
    for via in message.vias().flatten() {
        let _ = (via.branch(), via.received(), via.rport(), via.maddr(), via.transport(), via.is_rfc3261());
    }
    let mut out = Vec::new();
    for header in message.headers() {
        assert_eq!(message.span_of(header.value).map(|span| span.end <= header.span.end), Ok(true));
        header.unfold_into(&mut out);
        message.values(header.id).for_each(|value| assert!(!value.bytes.is_empty()));
    }
}

fn exercise(bytes: &[u8]) {
    // What can be read is not dropped before it is.
    assert!(Message::parse(bytes).is_err() || tries_to_be_sip(bytes));
    match Message::parse(bytes) {
        Ok(message) => {
            read_all(&message);
            let mut out = Vec::new();
            let mut rewrite = Rewrite::new(&message);
            rewrite.write(&mut out).unwrap();
            assert!(out.len() <= message.len_on_wire());
            rewrite.stamp_via([192, 0, 2, 1].into(), Some(5060));
            rewrite.pop_route();
            rewrite.pop_via();
            rewrite.push_via(b"SIP/2.0/UDP a;branch=z9hG4bK1");
            rewrite.set_max_forwards(7);
            rewrite.ensure_content_length();
            out.clear();
            rewrite.write(&mut out).unwrap();
            let again = Message::parse(&out).unwrap();
            assert_eq!(again.body(), message.body());
            assert_eq!(again.value(HeaderId::MaxForwards), Some(&b"7"[..]));
            assert_eq!(again.via_top().unwrap().branch(), Some(&b"z9hG4bK1"[..]));
        }
        Err(error) => {
            if let Some(message) = Message::salvage(bytes, error) {
                read_all(&message);
                let mut out = Vec::new();
                ResponseBuilder::new(&message, 400, "Bad").to_tag(b"t").write(&mut out).unwrap();
                assert_eq!(Message::parse(&out).unwrap().status(), Some(400));
            }
        }
    }
}

/// Header fields of a made-up request, name and raw value.
fn headers() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    let name = prop_oneof![
        "(Via|v|Route|record-route|Path|To|f|CSeq|Contact|m|Subject|Supported)",
        "[A-Za-z0-9!%*_+`'~.-]{1,20}"
    ];
    let byte = prop_oneof![8 => 32u8..127, 1 => 128u8.., 1 => Just(0u8), 2 => Just(b','), 1 => Just(b'"')];
    let part = proptest::collection::vec(byte, 0..30);
    let value = proptest::collection::vec(part, 1..4).prop_map(|parts| parts.join(&b"\r\n\t "[..]));
    proptest::collection::vec((name, value), 0..40).prop_map(|headers| {
        headers
            .into_iter()
            .filter(|(name, _)| HeaderId::from_name(name.as_bytes()) != HeaderId::ContentLength)
            .collect()
    })
}

fn compose(headers: &[(String, Vec<u8>)], body: &[u8]) -> Vec<u8> {
    let mut bytes = b"MESSAGE sip:a@b SIP/2.0\r\n".to_vec();
    for (name, value) in headers {
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(b" : ");
        bytes.extend_from_slice(value);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// Names and values of all header fields but those of `but`.
fn others(message: &Message<'_>, but: &[HeaderId]) -> Vec<(Vec<u8>, Vec<u8>)> {
    message
        .headers()
        .filter(|header| !but.contains(&header.id))
        .map(|header| (header.name.to_vec(), header.value.to_vec()))
        .collect()
}

proptest! {
    #[test]
    fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        exercise(&bytes);
        exercise(&[b"INVITE sip:a SIP/2.0\r\nv:SIP/2.0/UDP a\r\n", &bytes[..], b"\r\n\r\n"].concat());
    }

    #[test]
    fn a_damaged_seed_never_panics(changes in proptest::collection::vec((0..SEED.len(), any::<u8>(), 0u8..3), 1..12)) {
        let mut bytes = SEED.to_vec();
        for (at, byte, kind) in changes {
            let at = at % bytes.len().max(1);
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => { bytes.remove(at); }
            }
        }
        exercise(&bytes);
    }

    #[test]
    fn what_is_not_edited_stays(headers in headers(), body in proptest::collection::vec(any::<u8>(), 0..50)) {
        let bytes = compose(&headers, &body);
        let message = Message::parse(&bytes).unwrap();
        read_all(&message);
        prop_assert_eq!(message.headers().count(), headers.len() + 1);
        prop_assert_eq!(message.body(), &body[..]);
        let mut out = Vec::new();
        Rewrite::new(&message).write(&mut out).unwrap();
        prop_assert_eq!(&out, &bytes);
    }

    #[test]
    fn edits_are_seen_and_nothing_else_changes(headers in headers(), body in proptest::collection::vec(any::<u8>(), 0..50),
                                               pops in 0usize..4, hops in any::<u8>()) {
        let bytes = compose(&headers, &body);
        let message = Message::parse(&bytes).unwrap();
        let mut rewrite = Rewrite::new(&message);
        for _ in 0..pops {
            rewrite.pop_route();
        }
        rewrite.push_record_route(b"<sip:inner;lr>");
        rewrite.push_record_route(b"<sip:outer;lr>");
        rewrite.set_max_forwards(hops);
        rewrite.set_request_uri(b"sip:new@target");
        rewrite.remove(HeaderId::Subject);
        let mut out = Vec::new();
        rewrite.write(&mut out).unwrap();
        let again = Message::parse(&out).unwrap();

        let routes: Vec<_> = message.values(HeaderId::Route).map(|value| value.bytes).skip(pops).collect();
        prop_assert_eq!(again.values(HeaderId::Route).map(|value| value.bytes).collect::<Vec<_>>(), routes);
        let mut records = vec![&b"<sip:outer;lr>"[..], b"<sip:inner;lr>"];
        records.extend(message.values(HeaderId::RecordRoute).map(|value| value.bytes));
        prop_assert_eq!(again.values(HeaderId::RecordRoute).map(|value| value.bytes).collect::<Vec<_>>(), records);
        prop_assert_eq!(again.max_forwards(), Ok(Some(hops)));
        prop_assert_eq!(again.request_uri_bytes(), Some(&b"sip:new@target"[..]));
        prop_assert_eq!(again.first(HeaderId::Subject), None);
        prop_assert_eq!(again.body(), message.body());
        let touched = [HeaderId::Route, HeaderId::RecordRoute, HeaderId::MaxForwards, HeaderId::Subject];
        prop_assert_eq!(others(&again, &touched), others(&message, &touched));
    }

    #[test]
    fn no_text_smuggles_in_a_header_field(text in "[a-z\r\n: ]{0,20}", start in 0u32..40, len in 0u32..9) {
        let bytes = compose(&[("To".into(), b"<sip:a>".to_vec())], b"");
        let message = Message::parse(&bytes).unwrap();
        let mut rewrite = Rewrite::new(&message);
        rewrite.append(b"X", text.as_bytes());
        rewrite.push_front(HeaderId::To, text.as_bytes());
        let mut out = Vec::new();
        match rewrite.write(&mut out) {
            Ok(_) => prop_assert_eq!(Message::parse(&out).unwrap().headers().count(), 4),
            Err(_) => prop_assert!(text.contains(['\r', '\n'])),
        }
        let mut rewrite = Rewrite::new(&message);
        rewrite.replace(Span { start, end: start + len }, text.as_bytes());
        out.clear();
        if rewrite.write(&mut out).is_ok() {
            prop_assert!(!text.contains(['\r', '\n']));
        }
    }
}
