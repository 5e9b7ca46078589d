//! The opening handshake: what is accepted, what is refused, and what the refused are told.

use websocket::client::{Answer, AnswerError, Opening, read_answer};
use websocket::handshake::{MissingOrigin, Outcome, Policy, Refusal, SubProtocol, examine};

const GOOD: &[(&str, &str)] = &[
    ("Host", "sip.example.com"),
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Protocol", "sip"),
];

/// The good request with lines of some names replaced; an empty list of values leaves the line out.
fn request(line: &str, changes: &[(&str, &[&str])]) -> Vec<u8> {
    let mut head = format!("{line}\r\n");
    for (name, value) in GOOD {
        if !changes.iter().any(|(changed, _)| changed == name) {
            head += &format!("{name}: {value}\r\n");
        }
    }
    for (name, values) in changes {
        values.iter().for_each(|value| head += &format!("{name}:{value}\r\n"));
    }
    (head + "\r\n").into_bytes()
}

fn get(changes: &[(&str, &[&str])]) -> Vec<u8> {
    request("GET /ws?token=1 HTTP/1.1", changes)
}

#[track_caller]
fn accepted(head: &[u8], policy: &Policy<'_>) -> String {
    match examine(head, policy) {
        Outcome::Accept(accepted) => {
            assert_eq!(accepted.request.head_len, head.len());
            let mut out = Vec::new();
            accepted.write_response(&mut out, &[]);
            String::from_utf8(out).expect("the response is ASCII")
        }
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn refused(head: &[u8], policy: &Policy<'_>) -> Refusal {
    match examine(head, policy) {
        Outcome::Refuse(refused) => refused.refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_example_of_the_rfc() {
    assert_eq!(
        accepted(&get(&[]), &Policy::default()),
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: sip\r\n\r\n"
    );
}

#[test]
fn names_and_tokens_in_any_case_over_any_lines_with_any_spacing() {
    for changes in [
        &[("Upgrade", &[" WebSocket"][..])][..],
        &[("Upgrade", &["h2c,\tWEBSOCKET "])],
        &[("Connection", &["keep-alive", "\tuPGRADE\t"])],
        &[("Connection", &["keep-alive,,Upgrade,"])],
        &[("Sec-WebSocket-Protocol", &["msrp", "", " xmpp ,sip"])],
        &[("Sec-WebSocket-Version", &["   13   "])],
        &[("Host", &["[::1]:8080"])],
        &[("Content-Length", &["0"])],
        &[("Sec-WebSocket-Key", &["AQIDBAUGBwgJCgsMDQ4PEC=="])],
        &[("Sec-WebSocket-Extensions", &["permessage-deflate"])],
        &[("User-Agent", &["caf\u{e9}"])],
    ] {
        let head = get(changes);
        accepted(&head, &Policy::default());
        let shouted: Vec<u8> = String::from_utf8(head.clone())
            .unwrap()
            .lines()
            .map(|line| match line.split_once(':') {
                Some((name, value)) if !name.starts_with("GET") => {
                    format!("{}:{value}\r\n", name.to_uppercase())
                }
                _ => format!("{line}\r\n"),
            })
            .collect::<String>()
            .into_bytes();
        accepted(&shouted, &Policy::default());
    }
}

#[test]
fn the_protocol_is_answered_as_it_was_spelled_and_never_matched_in_part() {
    let sip = Policy::default();
    let any = Policy { sub_protocol: SubProtocol::Any, ..sip };
    assert!(accepted(&get(&[("Sec-WebSocket-Protocol", &["SIP"])]), &sip).contains("Protocol: SIP\r\n"));
    for near in ["sips", "xsip", "sip2", "s ip", "sip;v=1", ""] {
        assert_eq!(refused(&get(&[("Sec-WebSocket-Protocol", &[near])]), &sip), Refusal::NoSip, "{near}");
    }
    let first = accepted(&get(&[("Sec-WebSocket-Protocol", &["one, two", "sip"])]), &any);
    assert!(first.contains("Sec-WebSocket-Protocol: one\r\n"));
    assert!(!accepted(&get(&[("Sec-WebSocket-Protocol", &[])]), &any).contains("Sec-WebSocket-Protocol"));
}

#[test]
fn each_fault_has_its_name() {
    use Refusal as R;
    type Changes = &'static [(&'static str, &'static [&'static str])];
    let cases: &[(Changes, Refusal, u16)] = &[
        (&[("Host", &[])], R::MissingHost, 400),
        (&[("Host", &[""])], R::MissingHost, 400),
        (&[("Host", &["a", "b"])], R::DuplicateHost, 400),
        (&[("Upgrade", &[])], R::MissingUpgrade, 400),
        (&[("Upgrade", &["websockets"])], R::MissingUpgrade, 400),
        (&[("Connection", &[])], R::MissingConnectionUpgrade, 400),
        (&[("Connection", &["keep-alive"])], R::MissingConnectionUpgrade, 400),
        (&[("Sec-WebSocket-Version", &[])], R::MissingVersion, 426),
        (&[("Sec-WebSocket-Version", &["8"])], R::UnsupportedVersion, 426),
        (&[("Sec-WebSocket-Version", &["13", "8"])], R::UnsupportedVersion, 426),
        (&[("Sec-WebSocket-Key", &[])], R::MissingKey, 400),
        (
            &[("Sec-WebSocket-Key", &["dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ=="])],
            R::DuplicateKey,
            400,
        ),
        (&[("Sec-WebSocket-Key", &["dGhlIHNhbXBsZSBub25jZQ"])], R::InvalidKey, 400),
        (&[("Sec-WebSocket-Key", &["dGhlIHNhbXBsZSBub25jZQAA"])], R::InvalidKey, 400),
        (&[("Sec-WebSocket-Key", &["dGhlIHNhbXBsZSBub25jZ!=="])], R::InvalidKey, 400),
        (&[("Sec-WebSocket-Key", &[""])], R::InvalidKey, 400),
        (&[("Sec-WebSocket-Protocol", &[])], R::NoSip, 400),
        (&[("Content-Length", &["5"])], R::BodyNotAllowed, 400),
        (&[("Transfer-Encoding", &["chunked"])], R::BodyNotAllowed, 400),
    ];
    for (changes, refusal, status) in cases {
        assert_eq!(refused(&get(changes), &Policy::default()), *refusal, "{changes:?}");
        assert_eq!(refusal.status(), *status);
    }
    for (line, refusal) in [
        ("POST / HTTP/1.1", R::MethodNotAllowed),
        ("GET / HTTP/1.0", R::HttpTooOld),
        ("GET / HTTP/2.0", R::BadRequestLine),
        ("REGISTER sip:example.com SIP/2.0", R::BadRequestLine),
        ("GET /", R::BadRequestLine),
    ] {
        assert_eq!(refused(&request(line, &[]), &Policy::default()), refusal, "{line}");
    }
    assert_eq!(refused(b"\x16\x03\x01\x02\x00", &Policy::default()), R::TlsOnPlainPort);
    assert_eq!(refused(b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", &Policy::default()), R::BadHeader);
}

#[test]
fn plain_http_is_left_to_the_caller() {
    for head in ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HEAD /healthz HTTP/1.0\r\n\r\n"] {
        assert!(matches!(examine(head.as_bytes(), &Policy::default()), Outcome::NotUpgrade(_)), "{head}");
    }
}

#[test]
fn paths_hosts_and_origins() {
    let policy = Policy {
        paths: &["/ws", "/"],
        hosts: &["sip.example.com", "other.example:8443"],
        origins: &["https://app.example.com", "https://*.users.example"],
        missing_origin: MissingOrigin::Refuse,
        ..Policy::default()
    };
    let with = |origin: &str, host: &str, path: &str| {
        let line = format!("GET {path} HTTP/1.1");
        let head = request(&line, &[("Origin", &[origin]), ("Host", &[host])]);
        match examine(&head, &policy) {
            Outcome::Accept(_) => None,
            Outcome::Refuse(refused) => Some(refused.refusal),
            other => panic!("{other:?}"),
        }
    };
    let (origin, host) = ("https://app.example.com", "sip.example.com");
    for path in ["/ws", "/ws?a=/x", "/", "http://sip.example.com/ws?x", "ws://sip.example.com"] {
        assert_eq!(with(origin, host, path), None, "{path}");
    }
    for path in ["/ws/", "/WS", "/ws2", "//ws", "*"] {
        assert_eq!(with(origin, host, path), Some(Refusal::PathNotFound), "{path}");
    }
    for good in ["SIP.example.com:5066", "other.example:8443"] {
        assert_eq!(with(origin, good, "/ws"), None, "{good}");
    }
    for bad in ["example.com", "xsip.example.com", "other.example", "other.example:1", "sip.example.com.evil"]
    {
        assert_eq!(with(origin, bad, "/ws"), Some(Refusal::HostNotServed), "{bad}");
    }
    for good in ["HTTPS://APP.example.com", "https://a.users.example", "https://a.b.users.example"] {
        assert_eq!(with(good, host, "/ws"), None, "{good}");
    }
    for bad in [
        "http://app.example.com",
        "https://app.example.com.evil",
        "https://app.example.com:444",
        "https://users.example",
        "https://xusers.example",
        "https://.users.example",
        "https://evil/.users.example",
        "https://evil\u{e9}.users.example",
        "http://a.users.example",
        "null",
        "",
    ] {
        assert_eq!(with(bad, host, "/ws"), Some(Refusal::OriginNotAllowed), "{bad}");
    }
    assert_eq!(refused(&get(&[]), &policy), Refusal::OriginMissing);
    let twice = get(&[("Origin", &[origin, "https://evil"])]);
    assert_eq!(refused(&twice, &policy), Refusal::OriginNotAllowed);
}

#[test]
fn the_head_is_bounded_and_the_verdict_does_not_depend_on_the_reads() {
    let head = get(&[("Cookie", &["x=1"])]);
    for end in 0..head.len() {
        assert!(matches!(examine(&head[..end], &Policy::default()), Outcome::Incomplete), "{end}");
    }
    let exact = Policy { max_head: head.len(), ..Policy::default() };
    accepted(&head, &exact);
    let short = Policy { max_head: head.len() - 1, ..Policy::default() };
    assert_eq!(refused(&head, &short), Refusal::HeadTooLarge);
    assert_eq!(refused(&head[..head.len() - 1], &short), Refusal::HeadTooLarge);
    let few = Policy { max_headers: 6, ..Policy::default() };
    assert_eq!(refused(&head, &few), Refusal::TooManyHeaders);
    // Frames may follow in the same read.
    let mut more = head.clone();
    more.extend_from_slice(&[0x81, 0x80, 1, 2, 3, 4]);
    assert!(
        matches!(examine(&more, &exact), Outcome::Accept(accepted) if accepted.request.head_len == head.len())
    );
}

#[test]
fn the_request_is_told_whole() {
    let head = get(&[
        ("X-Forwarded-For", &["198.51.100.1 , 203.0.113.9", "10.0.0.1"]),
        ("Forwarded", &["for=\"[2001:db8::1]:4711\";proto=https"]),
        ("Cookie", &["a=1", "b=2"]),
        ("Authorization", &["Bearer t"]),
        ("User-Agent", &["phone/1"]),
        ("Origin", &["https://x"]),
    ]);
    let Outcome::Accept(accepted) = examine(&head, &Policy::default()) else { panic!() };
    let request = accepted.request;
    assert_eq!((request.method, request.path(), request.query()), ("GET", "/ws", Some("token=1")));
    assert_eq!(
        request.list("x-forwarded-for").collect::<Vec<_>>(),
        ["198.51.100.1", "203.0.113.9", "10.0.0.1"]
    );
    assert_eq!(request.values("forwarded").count(), 1);
    assert_eq!(
        request.cookies().map(|cookie| cookie.to_text().into_owned()).collect::<Vec<_>>(),
        ["a=1", "b=2"]
    );
    assert_eq!(request.authorization().unwrap().as_str(), Some("Bearer t"));
    assert_eq!(request.user_agent().unwrap().as_bytes(), b"phone/1");
    assert_eq!(request.origin().unwrap().as_str(), Some("https://x"));
    assert_eq!(request.host().unwrap().as_str(), Some("sip.example.com"));
    assert_eq!(request.protocols().collect::<Vec<_>>(), ["sip"]);
}

#[test]
fn a_refusal_is_a_whole_response() {
    for (refusal, line, header) in [
        (Refusal::NoRoom { retry_after: 7 }, "HTTP/1.1 503 Service Unavailable", "\r\nRetry-After: 7\r\n"),
        (Refusal::RateLimited { retry_after: 9 }, "HTTP/1.1 429 Too Many Requests", "\r\nRetry-After: 9\r\n"),
        (Refusal::UnsupportedVersion, "HTTP/1.1 426 Upgrade Required", "\r\nSec-WebSocket-Version: 13\r\n"),
        (Refusal::MethodNotAllowed, "HTTP/1.1 405 Method Not Allowed", "\r\nAllow: GET\r\n"),
        (Refusal::NoSip, "HTTP/1.1 400 Bad Request", "\r\nConnection: close\r\n"),
    ] {
        let mut out = Vec::new();
        refusal.write_response(&mut out);
        let response = String::from_utf8(out).unwrap();
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(line) && format!("{head}\r\n").contains(header), "{head}");
        assert!(head.contains(&format!("Content-Length: {}", body.len())));
        assert_eq!(body.trim_end(), refusal.message());
    }
}

#[test]
fn extra_headers_cannot_smuggle_lines() {
    let head = get(&[]);
    let Outcome::Accept(accepted) = examine(&head, &Policy::default()) else { panic!() };
    let mut out = Vec::new();
    accepted.write_response(&mut out, &[("Server", "x\r\nEvil: 1")]);
    assert!(String::from_utf8(out).unwrap().ends_with("\r\nServer: xEvil: 1\r\n\r\n"));
}

#[test]
fn client_and_server_agree() {
    let opening = Opening {
        host: "h:1",
        target: "/ws",
        origin: Some("https://a"),
        protocols: &["sip"],
        nonce: [7; 16],
        extra_headers: &[("User-Agent", "load")],
    };
    let mut request = Vec::new();
    opening.write(&mut request);
    let response = accepted(&request, &Policy::default());
    for end in 0..response.len() {
        assert_eq!(read_answer(&response.as_bytes()[..end], &opening), Ok(Answer::Incomplete));
    }
    let head_len = response.len();
    assert_eq!(
        read_answer(response.as_bytes(), &opening),
        Ok(Answer::Accepted { head_len, protocol: Some("sip") })
    );
    let other = Opening { nonce: [8; 16], ..opening };
    assert_eq!(read_answer(response.as_bytes(), &other), Err(AnswerError::WrongAccept));
    let other = Opening { protocols: &["msrp"], ..opening };
    assert_eq!(read_answer(response.as_bytes(), &other), Err(AnswerError::ProtocolNotOffered));
    let mut refusal = Vec::new();
    Refusal::NoRoom { retry_after: 1 }.write_response(&mut refusal);
    assert!(matches!(read_answer(&refusal, &opening), Ok(Answer::Refused { status: 503, .. })));
}
