//! The cases of RFC 6455 that conformance suites ask (sections named as the Autobahn suite numbers them), in
//! our own words.
//!
//! Each case is a stream of frames from a client; the server echoes. Expected: which messages come back, and
//! how it ends.

use websocket::{
    CloseCode, Connection, Event, Limits, MessageKind, Phase, ProtocolError as E, Role, apply_mask, encode,
};

const KEY: [u8; 4] = [0xa1, 0x00, 0x7f, 0x5c];

/// One frame, broken in whatever way the case wants.
#[derive(Clone)]
struct F {
    first: u8,
    payload: Vec<u8>,
    masked: bool,
}

fn f(first: u8, payload: impl AsRef<[u8]>) -> F {
    F { first, payload: payload.as_ref().to_vec(), masked: true }
}

fn text(payload: impl AsRef<[u8]>) -> F {
    f(0x81, payload)
}

fn close(code: u16, reason: impl AsRef<[u8]>) -> F {
    f(0x88, [&code.to_be_bytes(), reason.as_ref()].concat())
}

impl F {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(self.first);
        let mask = if self.masked { 0x80 } else { 0 };
        match self.payload.len() {
            length @ 0..=125 => out.push(mask | length as u8),
            length @ 126..=65_535 => {
                out.push(mask | 126);
                out.extend_from_slice(&(length as u16).to_be_bytes());
            }
            length => {
                out.push(mask | 127);
                out.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        let start = if self.masked { out.len() + 4 } else { out.len() };
        if self.masked {
            out.extend_from_slice(&KEY);
        }
        out.extend_from_slice(&self.payload);
        if self.masked {
            apply_mask(&mut out[start..], KEY, 0);
        }
    }
}

#[derive(Debug, PartialEq, Clone)]
enum Seen {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
    Failed(E),
}

/// Runs the stream in reads of `step` bytes; returns what was seen and the bytes written back.
fn run(stream: &[u8], step: usize, limits: Limits) -> (Vec<Seen>, Vec<u8>, Phase) {
    let mut connection = Connection::new(Role::Server, limits);
    let (mut seen, mut out) = (Vec::new(), Vec::new());
    for piece in stream.chunks(step) {
        let mut piece = piece.to_vec();
        let mut at = 0;
        while at < piece.len() {
            match connection.receive(&mut piece[at..]) {
                Ok(received) => {
                    assert!(received.consumed > 0);
                    at += received.consumed;
                    seen.extend(received.event.map(|event| match event {
                        Event::Message(message) => {
                            encode::message(message.kind, &message.data, &mut out);
                            match message.kind {
                                MessageKind::Text => Seen::Text(message.data.into_owned()),
                                MessageKind::Binary => Seen::Binary(message.data.into_owned()),
                            }
                        }
                        Event::Ping(payload) => {
                            encode::pong(&payload, &mut out);
                            Seen::Ping(payload.into_owned())
                        }
                        Event::Pong(payload) => Seen::Pong(payload.into_owned()),
                        Event::Close(frame) => {
                            let _ = connection.answer_close(&mut out);
                            Seen::Close(frame.code.map(CloseCode::get), frame.reason.into_owned())
                        }
                    }));
                }
                Err(error) => {
                    seen.push(Seen::Failed(error));
                    let _ = connection.close(error.close_code(), error.reason(), &mut out);
                    at = piece.len();
                }
            }
        }
    }
    (seen, out, connection.phase())
}

/// The code in the last frame written, which must be a Close.
fn close_code_written(out: &[u8]) -> Option<u16> {
    let mut connection =
        Connection::new(Role::Client, Limits { max_message: 1 << 24, max_frame: 1 << 24, max_fragments: 1 });
    let mut out = out.to_vec();
    let mut at = 0;
    while at < out.len() {
        let received = connection.receive(&mut out[at..]).expect("we write nothing a client would refuse");
        at += received.consumed;
    }
    connection.received_close().expect("a Close was written").map(CloseCode::get)
}

#[track_caller]
fn check(case: &str, frames: &[F], expected: &[Seen]) {
    let mut stream = Vec::new();
    frames.iter().for_each(|frame| frame.write(&mut stream));
    let limits = Limits { max_message: 1 << 24, max_frame: 1 << 24, max_fragments: 65_536 };
    for step in [usize::MAX, 1, 2, 3, 7, 64, 997] {
        if stream.len() / step > 20_000 {
            continue;
        }
        let (seen, out, phase) = run(&stream, step.min(stream.len().max(1)), limits);
        assert!(
            seen == expected,
            "case {case}, reads of {step}: {:?}",
            seen.iter()
                .map(|seen| match seen {
                    Seen::Text(data) | Seen::Binary(data) if data.len() > 64 =>
                        format!("{} bytes", data.len()),
                    seen => format!("{seen:?}"),
                })
                .collect::<Vec<_>>()
        );
        match expected.last() {
            Some(Seen::Failed(error)) => {
                assert_eq!(close_code_written(&out), Some(error.close_code().get()), "case {case}");
                assert_eq!(phase, Phase::Done);
            }
            Some(Seen::Close(code, _)) => {
                assert_eq!(close_code_written(&out), *code, "case {case}: the code is echoed");
                assert_eq!(phase, Phase::Done);
            }
            _ => assert_eq!(phase, Phase::Open, "case {case}"),
        }
    }
}

fn t(payload: impl AsRef<[u8]>) -> Seen {
    Seen::Text(payload.as_ref().to_vec())
}

fn b(payload: impl AsRef<[u8]>) -> Seen {
    Seen::Binary(payload.as_ref().to_vec())
}

#[test]
fn section_1_framing() {
    for size in [0, 125, 126, 127, 128, 65_535, 65_536] {
        check(&format!("1.1 text {size}"), &[text(vec![b'*'; size])], &[t(vec![b'*'; size])]);
        check(&format!("1.2 binary {size}"), &[f(0x82, vec![0xfe; size])], &[b(vec![0xfe; size])]);
    }
}

#[test]
fn section_2_ping_and_pong() {
    let ping = |payload: &[u8]| Seen::Ping(payload.to_vec());
    check("2.1", &[f(0x89, "")], &[ping(b"")]);
    check("2.2", &[f(0x89, "Hello, world!")], &[ping(b"Hello, world!")]);
    check(
        "2.3",
        &[f(0x89, [0x00, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0x00, 0xff])],
        &[ping(&[0x00, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0x00, 0xff])],
    );
    check("2.4/2.6", &[f(0x89, [0xfe; 125])], &[ping(&[0xfe; 125])]);
    check("2.5", &[f(0x89, [0xfe; 126])], &[Seen::Failed(E::ControlTooLong)]);
    check("2.7", &[f(0x8a, "")], &[Seen::Pong(vec![])]);
    check("2.8", &[f(0x8a, "unsolicited")], &[Seen::Pong(b"unsolicited".to_vec())]);
    check("2.9", &[f(0x8a, "unsolicited"), f(0x89, "x")], &[Seen::Pong(b"unsolicited".to_vec()), ping(b"x")]);
    let pings: Vec<_> = (0..10u8).map(|i| f(0x89, [i])).collect();
    check("2.10/2.11", &pings, &(0..10u8).map(|i| ping(&[i])).collect::<Vec<_>>());
}

#[test]
fn section_3_reserved_bits() {
    for (case, bits) in [
        ("3.1", 0x40),
        ("3.2", 0x20),
        ("3.3", 0x30),
        ("3.4", 0x10),
        ("3.5", 0x50),
        ("3.6", 0x60),
        ("3.7", 0x70),
    ] {
        for opcode in [0x81, 0x82, 0x88, 0x89, 0x8a] {
            check(
                case,
                &[text("small"), f(opcode | bits, "x"), f(0x89, "")],
                &[t("small"), Seen::Failed(E::ReservedBits)],
            );
        }
    }
}

#[test]
fn section_4_reserved_opcodes() {
    for opcode in (3u8..8).chain(11..16) {
        check(
            "4",
            &[text("first"), f(0x80 | opcode, "x"), f(0x89, "")],
            &[t("first"), Seen::Failed(E::ReservedOpcode(opcode))],
        );
        check("4", &[f(0x80 | opcode, "")], &[Seen::Failed(E::ReservedOpcode(opcode))]);
    }
}

#[test]
fn section_5_fragmentation() {
    let ping = || Seen::Ping(b"ping".to_vec());
    check("5.1", &[f(0x09, "a"), f(0x80, "b")], &[Seen::Failed(E::ControlFragmented)]);
    check("5.2", &[f(0x0a, "a"), f(0x80, "b")], &[Seen::Failed(E::ControlFragmented)]);
    check("5.3-5.5", &[f(0x01, "frag"), f(0x80, "ment")], &[t("fragment")]);
    check("5.6-5.8", &[f(0x01, "frag"), f(0x89, "ping"), f(0x80, "ment")], &[ping(), t("fragment")]);
    for first in [0x80, 0x00] {
        check("5.9-5.14", &[f(first, "x"), text("y")], &[Seen::Failed(E::ContinuationWithoutStart)]);
        check(
            "5.15",
            &[f(0x01, "a"), f(0x80, "b"), f(first, "c"), text("d")],
            &[t("ab"), Seen::Failed(E::ContinuationWithoutStart)],
        );
    }
    check("5.16/5.17", &[f(0x00, "a"), text("b")], &[Seen::Failed(E::ContinuationWithoutStart)]);
    check("5.18", &[f(0x01, "a"), f(0x81, "b")], &[Seen::Failed(E::DataInsideMessage)]);
    check("5.18 binary", &[f(0x01, "a"), f(0x02, "b")], &[Seen::Failed(E::DataInsideMessage)]);
    check(
        "5.19/5.20",
        &[
            f(0x01, "1"),
            f(0x00, "2"),
            f(0x89, "ping"),
            f(0x00, "3"),
            f(0x00, "4"),
            f(0x89, "ping"),
            f(0x80, "5"),
        ],
        &[ping(), ping(), t("12345")],
    );
    check("empty fragments", &[f(0x02, ""), f(0x00, ""), f(0x80, "")], &[b("")]);
}

#[test]
fn section_6_utf8() {
    let not_utf8 = || vec![Seen::Failed(E::TextNotUtf8)];
    check("6.1.1", &[text("")], &[t("")]);
    check("6.1.2", &[f(0x01, ""), f(0x00, ""), f(0x80, "")], &[t("")]);
    check("6.1.3", &[f(0x01, ""), f(0x00, "middle"), f(0x80, "")], &[t("middle")]);
    let valid = "Hello-µ@ßöäüàá-UTF-8!!";
    check("6.2.1", &[text(valid)], &[t(valid)]);
    let one_by_one: Vec<F> =
        valid.bytes().enumerate().map(|(i, byte)| f(u8::from(i == 0), [byte])).chain([f(0x80, "")]).collect();
    check("6.2.2-6.2.4", &one_by_one, &[t(valid)]);
    check("6.3.1", &[text(b"\xce\xba\xed\xa0\x80edited")], &not_utf8());
    // The first fragment settles it: the message is never ended, the verdict falls all the same.
    check("6.4.1", &[f(0x01, b"\xce\xba\xf4\x90\x80\x80")], &not_utf8());
    check("6.4.2", &[f(0x01, b"\xce\xba\xf4"), f(0x00, b"\x90")], &not_utf8());
    for valid in [
        "κόσμε",
        "\0",
        "\u{80}",
        "\u{7ff}",
        "\u{800}",
        "\u{ffff}",
        "\u{10000}",
        "\u{10ffff}",
        "\u{d7ff}",
        "\u{e000}",
        "\u{fffd}",
        "\u{fffe}",
        "\u{1fffe}",
        "\u{10fffe}",
    ] {
        check("6.5/6.7/6.9/6.11/6.22/6.23", &[text(valid)], &[t(valid)]);
    }
    for invalid in [
        &b"\xce"[..],
        b"\xce\xba\xe1",
        b"\xce\xba\xe1\xbd", // cut short: 6.6
        b"\xf8\x88\x80\x80\x80",
        b"\xfc\x84\x80\x80\x80\x80", // five and six bytes: 6.8
        b"\xf7\xbf\xbf\xbf",
        b"\xfb\xbf\xbf\xbf\xbf",
        b"\xfd\xbf\xbf\xbf\xbf\xbf", // 6.10
        b"\xf4\x90\x80\x80",         // above the last: 6.11.5
        b"\x80",
        b"\xbf",
        b"\x80\xbf\x80", // continuation alone: 6.12
        b"\xc0 ",
        b"\xe0 ",
        b"\xf0 ",
        b"\xf8 ",
        b"\xfc ", // starters alone: 6.13
        b"\xc0",
        b"\xe0\x80",
        b"\xf0\x80\x80",
        b"\xdf",
        b"\xef\xbf",
        b"\xf7\xbf\xbf", // last byte missing: 6.14
        b"\xfe",
        b"\xff",
        b"\xfe\xfe\xff\xff", // impossible: 6.16
        b"\xc0\xaf",
        b"\xe0\x80\xaf",
        b"\xf0\x80\x80\xaf",
        b"\xc1\xbf",
        b"\xe0\x9f\xbf",
        b"\xf0\x8f\xbf\xbf",
        b"\xc0\x80", // overlong: 6.17-6.19
        b"\xed\xa0\x80",
        b"\xed\xad\xbf",
        b"\xed\xbf\xbf",
        b"\xed\xa0\x80\xed\xb0\x80", // surrogates: 6.20, 6.21
    ] {
        check(&format!("6.x {invalid:x?}"), &[text(invalid)], &not_utf8());
        check(
            &format!("6.x in fragments {invalid:x?}"),
            &[f(0x01, &invalid[..1]), f(0x80, &invalid[1..])],
            &not_utf8(),
        );
        check("the same bytes are good binary", &[f(0x82, invalid)], &[b(invalid)]);
    }
}

#[test]
fn section_6_verdict_does_not_wait_for_the_end_of_the_frame() {
    // A frame of a thousand bytes is announced; the third byte that arrives is hopeless.
    let mut stream = vec![0x81, 0xfe, 0x03, 0xe8, 0, 0, 0, 0, b'a', 0xed, 0xa0];
    let mut connection = Connection::new(Role::Server, Limits::default());
    assert_eq!(connection.receive(&mut stream), Err(E::TextNotUtf8));
}

#[test]
fn section_7_closing() {
    let c = |code: u16, reason: &str| Seen::Close(Some(code), reason.to_owned());
    check("7.1.1", &[text("x"), close(1000, "")], &[t("x"), c(1000, "")]);
    check("7.1.2", &[close(1000, ""), close(1000, "")], &[c(1000, "")]);
    check("7.1.3", &[close(1000, ""), f(0x89, "")], &[c(1000, "")]);
    check("7.1.4", &[close(1000, ""), text("late")], &[c(1000, "")]);
    check("7.1.5", &[f(0x01, "half"), close(1000, ""), f(0x80, "rest")], &[c(1000, "")]);
    check(
        "7.1.6",
        &[text(vec![b'a'; 262_144]), text("x"), close(1000, ""), f(0x89, "")],
        &[t(vec![b'a'; 262_144]), t("x"), c(1000, "")],
    );
    check("7.3.1", &[f(0x88, "")], &[Seen::Close(None, String::new())]);
    check("7.3.2", &[f(0x88, "a")], &[Seen::Failed(E::CloseTruncated)]);
    check("7.3.3", &[close(1000, "")], &[c(1000, "")]);
    check("7.3.4", &[close(1000, "Hello World!")], &[c(1000, "Hello World!")]);
    check("7.3.5", &[close(1000, "*".repeat(123))], &[c(1000, &"*".repeat(123))]);
    check("7.3.6", &[close(1000, "*".repeat(124))], &[Seen::Failed(E::ControlTooLong)]);
    check("7.5.1", &[close(1000, b"\xce\xba\xed\xa0\x80")], &[Seen::Failed(E::CloseReasonNotUtf8)]);
    for code in
        [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]
    {
        check("7.7", &[close(code, "")], &[c(code, "")]);
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        check("7.9/7.13", &[close(code, "")], &[Seen::Failed(E::InvalidCloseCode(code))]);
    }
}

#[test]
fn section_9_big_messages() {
    for size in [65_536, 1 << 20, 1 << 22] {
        check("9.1", &[text(vec![b'*'; size])], &[t(vec![b'*'; size])]);
        check("9.2", &[f(0x82, vec![0xfe; size])], &[b(vec![0xfe; size])]);
    }
    for piece in [64, 256, 1024, 65_536] {
        let whole = vec![b'*'; 1 << 20];
        let pieces = whole.chunks(piece).enumerate().map(|(i, data)| f(if i == 0 { 1 } else { 0 }, data));
        check("9.3", &pieces.chain([f(0x80, "")]).collect::<Vec<_>>(), &[t(&whole)]);
    }
}

#[test]
fn masks_are_required_of_clients_and_forbidden_to_servers() {
    check("unmasked", &[F { masked: false, ..text("x") }], &[Seen::Failed(E::MaskMissing)]);
    let mut stream = Vec::new();
    text("x").write(&mut stream);
    assert_eq!(Connection::new(Role::Client, Limits::default()).receive(&mut stream), Err(E::MaskForbidden));
}

#[test]
fn lengths_must_be_in_their_shortest_form() {
    for (head, expected) in [
        (&[0x82, 0xfe, 0, 125][..], E::LengthNotMinimal),
        (&[0x82, 0xfe, 0, 0], E::LengthNotMinimal),
        (&[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff], E::LengthNotMinimal),
        (&[0x82, 0xff, 0x80], E::LengthTopBit),
        (&[0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], E::LengthTopBit),
        (&[0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], E::FrameTooBig),
        (&[0x89, 0xfe], E::ControlTooLong),
        (&[0x88, 0xff], E::ControlTooLong),
    ] {
        for step in [1, 3, 16] {
            assert_eq!(run(head, step, Limits::default()).0, [Seen::Failed(expected)], "{head:x?}");
        }
    }
}

#[test]
fn limits_are_exact_and_judged_by_what_is_announced() {
    let limits = Limits { max_message: 10, max_frame: 8, max_fragments: 3 };
    let go = |frames: &[F]| {
        let mut stream = Vec::new();
        frames.iter().for_each(|frame| frame.write(&mut stream));
        let all = run(&stream, stream.len(), limits).0;
        assert_eq!(run(&stream, 1, limits).0, all);
        all
    };
    assert_eq!(go(&[f(0x82, [1; 8])]), [b([1; 8])]);
    assert_eq!(go(&[f(0x82, [1; 9])]), [Seen::Failed(E::FrameTooBig)]);
    assert_eq!(go(&[f(0x02, [1; 8]), f(0x80, [1; 2])]), [b([1; 10])]);
    assert_eq!(go(&[f(0x02, [1; 8]), f(0x80, [1; 3])]), [Seen::Failed(E::MessageTooBig)]);
    assert_eq!(go(&[f(0x02, [1]), f(0x00, [1]), f(0x80, [1])]), [b([1; 3])]);
    assert_eq!(
        go(&[f(0x02, [1]), f(0x00, [1]), f(0x00, [1]), f(0x80, [1])]),
        [Seen::Failed(E::TooManyFragments)]
    );
    // The header alone is enough.
    let mut header = [0x82, 0x89];
    assert_eq!(Connection::new(Role::Server, limits).receive(&mut header), Err(E::FrameTooBig));
}
