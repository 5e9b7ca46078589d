//! The torture messages of RFC 4475 and RFC 5118: what this layer makes of each, and that what it reads it
//! can also repeat.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use sip_message::response::ResponseBuilder;
use sip_message::{
    Contact, Frame, FrameLimits, HeaderId, Leniency, Message, Method, ParseError, Rewrite, StartLine,
    StreamFramer,
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/torture")
}

fn read(file: &str) -> Vec<u8> {
    std::fs::read(folder().join(file)).unwrap()
}

/// What this layer says to a message.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Valid: to be routed, registered, or matched to a transaction.
    Pass,
    /// A request to answer with this status.
    Answer(u16),
    /// Not to be answered.
    Drop,
}

fn judge(bytes: &[u8]) -> Verdict {
    let refused = |message: Option<&Message<'_>>, answer: Option<(u16, &'static str)>| match (message, answer)
    {
        (Some(message), Some((status, reason))) => {
            let mut out = Vec::new();
            ResponseBuilder::new(message, status, reason).to_tag(b"t").write(&mut out).unwrap();
            let response = Message::parse(&out).unwrap();
            assert_eq!(response.status(), Some(status));
            assert_eq!(response.call_id(), message.call_id());
            Verdict::Answer(status)
        }
        _ => Verdict::Drop,
    };
    match Message::parse(bytes) {
        Ok(message) if message.is_request() => match message.check_request() {
            Ok(_) => Verdict::Pass,
            Err(invalid) => refused(Some(&message), invalid.answer()),
        },
        Ok(message) => message.check_response().map_or(Verdict::Drop, |_| Verdict::Pass),
        Err(error) => refused(Message::salvage(bytes, error).as_ref(), error.answer()),
    }
}

#[test]
fn every_message_gets_an_expected_verdict() {
    let table: serde_json::Value = serde_json::from_slice(&read("expected.json")).unwrap();
    let rows = table.as_array().unwrap();
    assert_eq!(rows.len(), 62);
    let mut wrong = Vec::new();
    for row in rows {
        let file = row["file"].as_str().unwrap();
        let verdict = judge(&read(file));
        let expected: Vec<&str> =
            row["expect"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
        // What is decided above this layer (420, 416, 483, a broadcast address) must pass here.
        let decided_above =
            ["bext01", "zeromf", "unkscm", "novelsc", "bcast"].iter().any(|name| file.contains(name));
        let good = match &verdict {
            Verdict::Pass => {
                expected.iter().any(|word| ["route", "register", "drop-ok"].contains(word)) || decided_above
            }
            Verdict::Answer(status) => expected.contains(&status.to_string().as_str()),
            Verdict::Drop => expected.iter().any(|word| word.starts_with("drop")),
        };
        // A valid message is never refused, whatever else is allowed.
        if !good || (row["validity"] == "valid" && verdict != Verdict::Pass) {
            wrong.push(format!("{file}: {verdict:?}, expected {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn refusals_are_the_right_ones() {
    for (file, status) in [
        ("badinv01", 400),
        ("clerr", 400),
        ("ncl", 400),
        ("scalar02", 400),
        ("quotbal", 400),
        ("ltgtruri", 400),
        ("lwsruri", 400),
        ("escruri", 400),
        ("baddn", 400),
        ("baddn-complete", 400),
        ("badvers", 505),
        ("mismatch01", 400),
        ("mismatch02", 400),
        ("insuf", 400),
        ("multi01", 400),
        ("mcl01", 400),
    ] {
        assert_eq!(judge(&read(&format!("rfc4475/{file}.dat"))), Verdict::Answer(status), "{file}");
    }
    for file in ["bigcode", "scalarlg"] {
        assert_eq!(judge(&read(&format!("rfc4475/{file}.dat"))), Verdict::Drop, "{file}");
    }
}

#[test]
fn what_parses_is_written_back_byte_for_byte() {
    let mut written = 0;
    for folder in [folder().join("rfc4475"), folder().join("rfc5118")] {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                continue;
            }
            let bytes = std::fs::read(&path).unwrap();
            let Ok(message) = Message::parse(&bytes) else { continue };
            let mut out = Vec::new();
            Rewrite::new(&message).write(&mut out).unwrap();
            if message.leniencies().contains(Leniency::StartLineSpace) {
                let again = Message::parse(&out).unwrap();
                assert_eq!(again.start_line(), message.start_line());
                assert!(!again.leniencies().contains(Leniency::StartLineSpace), "{path:?}");
                assert_eq!(again.body(), message.body());
            } else {
                assert_eq!(out, &bytes[..message.len_on_wire()], "{path:?}");
            }
            written += 1;
        }
    }
    assert_eq!(written, 57, "all but baddn, bigcode, clerr, mcl01 and ncl");
}

#[test]
fn bare_line_feeds_are_refused_but_can_be_answered() {
    for entry in std::fs::read_dir(folder().join("rfc5118/archive")).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let error = Message::parse(&bytes).unwrap_err();
        assert!(matches!(error, ParseError::BareLf(_)));
        assert!(Message::salvage(&bytes, error).is_some());
    }
}

#[test]
fn tortuous_invite_is_read_in_full() {
    let bytes = read("rfc4475/wsinv.dat");
    let message = Message::parse(&bytes).unwrap();
    let to = message.to().unwrap();
    assert_eq!(
        (to.uri_bytes(), to.tag()),
        (&b"sip:vivekg@chair-dnrc.example.com"[..], Some(&b"1918181833n"[..]))
    );
    let from = message.from().unwrap();
    assert_eq!((from.display(), from.tag()), (Some(&b"\"J Rosenberg \\\\\\\"\""[..]), Some(&b"98asjd8"[..])));
    assert_eq!(message.max_forwards(), Ok(Some(68)));
    let cseq = message.cseq().unwrap();
    assert_eq!((cseq.number, cseq.method), (9, Method::Invite));
    let branches: Vec<_> = message.vias().map(|via| via.unwrap().branch().unwrap()).collect();
    assert_eq!(branches, [&b"390skdjuw"[..], b"z9hG4bK9ikj8", b"z9hG4bK30239"]);
    assert!(!message.via_top().unwrap().is_rfc3261());
    let (_, contact) = message.contacts().next().unwrap();
    let Ok(Contact::Addr(contact)) = contact else { panic!("not an address") };
    assert_eq!((contact.q(), contact.params().value(b"newparam")), (Some(330), Some(&b"newvalue"[..])));
    let (_, route) = message.routes().next().unwrap();
    assert!(route.unwrap().uri().unwrap().lr());
    assert_eq!(
        message.first_named(b"newfangledheader").unwrap().value,
        b"newfangled value\r\n continued newfangled value"
    );
}

#[test]
fn details_the_rfcs_point_at() {
    let esc01 = read("rfc4475/esc01.dat");
    let uri = Message::parse(&esc01).unwrap().request_uri().unwrap();
    assert_eq!(uri.user(), Some(&b"sips%3Auser%40example.com"[..]));
    assert!(uri.is_user(b"sips:user@example.com"));

    let escnull = read("rfc4475/escnull.dat");
    let message = Message::parse(&escnull).unwrap();
    assert!(message.to().unwrap().uri().unwrap().is_user(b"null-\0-null"));
    let users: Vec<_> = message
        .contacts()
        .map(|(_, contact)| match contact {
            Ok(Contact::Addr(contact)) => contact.uri().unwrap().unescaped_user().unwrap().to_vec(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(users, [&b"\0"[..], b"\0\0"]);

    let esc02 = read("rfc4475/esc02.dat");
    assert_eq!(Message::parse(&esc02).unwrap().method(), Some(Method::Other(b"RE%47IST%45R")));

    let semiuri = read("rfc4475/semiuri.dat");
    assert!(Message::parse(&semiuri).unwrap().request_uri().unwrap().is_user(b"user;par=u@example.net"));

    let longreq = read("rfc4475/longreq.dat");
    assert_eq!(Message::parse(&longreq).unwrap().vias().filter(Result::is_ok).count(), 34);

    let dblreq = read("rfc4475/dblreq.dat");
    let message = Message::parse(&dblreq).unwrap();
    assert!(message.leniencies().contains(Leniency::TrailingOctets));
    assert!(message.len_on_wire() < dblreq.len() && message.body().is_empty());

    let unreason = read("rfc4475/unreason.dat");
    let StartLine::Response { status: 200, reason, .. } = Message::parse(&unreason).unwrap().start_line()
    else {
        panic!("not a 200")
    };
    assert!(!reason.is_ascii());

    for (file, param_of_uri) in [("cparam01", false), ("cparam02", true)] {
        let bytes = read(&format!("rfc4475/{file}.dat"));
        let message = Message::parse(&bytes).unwrap();
        let Some((_, Ok(Contact::Addr(contact)))) = message.contacts().next() else { panic!("no contact") };
        assert_eq!(contact.uri().unwrap().params().has(b"unknownparam"), param_of_uri);
        assert_eq!(contact.params().has(b"unknownparam"), !param_of_uri);
    }

    for (file, port) in [("port-ambiguous", None), ("port-unambiguous", Some(5070))] {
        let bytes = read(&format!("rfc5118/{file}.dat"));
        assert_eq!(Message::parse(&bytes).unwrap().request_uri().unwrap().port(), port);
    }
    for file in ["via-received-param-with-delim", "via-received-param-no-delim"] {
        let bytes = read(&format!("rfc5118/{file}.dat"));
        assert!(Message::parse(&bytes).unwrap().via_top().unwrap().received().is_some(), "{file}");
    }
    let three = read("rfc5118/ipv6-bug-abnf-3-colons.dat");
    assert!(Message::parse(&three).unwrap().check_request().unwrap().contains(Leniency::ThreeColons));

    let bext = read("rfc4475/bext01.dat");
    let message = Message::parse(&bext).unwrap();
    let tags: Vec<_> = message.option_tags(HeaderId::ProxyRequire).collect();
    assert_eq!(tags, [&b"noProxiesSupportThis"[..], b"norDoAnyProxiesSupportThis"]);
    assert!(message.has_option_tag(HeaderId::Require, b"NOTHINGSUPPORTSTHIS"));
}

#[test]
fn a_stream_of_two_is_cut_in_two() {
    let bytes = read("rfc4475/dblreq.dat");
    let mut framer = StreamFramer::new(FrameLimits::default());
    let mut rest = &bytes[..];
    let mut methods = Vec::new();
    // The INVITE's Content-Length is one octet short of its body's end: what is left is no message.
    while let Ok(frame) = framer.next(rest) {
        if let Frame::Message { len, .. } = frame {
            methods.push(Message::parse(&rest[..len]).unwrap().method().unwrap());
        }
        assert!(!frame.is_empty());
        rest = &rest[frame.len()..];
    }
    assert_eq!(methods, [Method::Register, Method::Invite]);
}

#[test]
fn the_tag_of_from_is_the_same_by_the_short_way() {
    for (from, tag) in [
        ("<sip:a@b>;tag=x", Some("x")),
        ("\"a>;tag=q\" <sip:a@b>;tag=x", Some("x")),
        ("<sip:a@b>;p=\">;tag=q\";tag=x", Some("x")),
        ("<sip:a@b>;tag=x;p=1", Some("x")),
        ("<sip:a@b>;p=1", None),
        ("<sip:a@b> ; TAG = x", Some("x")),
        ("sip:a@b;tag=x", Some("x")),
        ("<sip:a@b;tag=q>", None),
        ("<sip:a@b>;tag=", None),
    ] {
        let bytes = format!("OPTIONS sip:a SIP/2.0\r\nFrom: {from}\r\n\r\n");
        let message = Message::parse(bytes.as_bytes()).unwrap();
        assert_eq!(message.from_tag(), tag.map(str::as_bytes), "{from}");
        if let Ok(parsed) = message.from() {
            assert_eq!(parsed.tag(), message.from_tag(), "{from}");
        }
    }
}
