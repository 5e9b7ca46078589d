//! tungstenite as the oracle, both ways.
//!
//! Where the two differ on purpose ([`expected_difference`] says when a stream may show it):
//! - *When*: we refuse at the first byte that settles it, tungstenite when the frame is whole. So a stream
//!   may be refused here and still wait for more bytes there, or hear a Ping between the fragments of a text
//!   that is lost already. Both are compared on streams whose frames are whole.
//! - *Order*: it reports reserved bits, opcodes and control rules after the payload and its size, we in the
//!   order of the bytes. The verdict (refused or not) and what was heard before it are compared, not which of
//!   several broken rules is named.
//! - *Lengths that are not minimal*: it lets them pass; RFC 6455 §5.2 forbids them.
//! - *Close codes*: a code that must not be in a frame it takes, answering 1002; we fail the connection with
//!   1002. It does not know 1014, which IANA registered.
//! - *Number of fragments*: it has no limit.

use std::io::{Cursor, Read, Write};

use proptest::prelude::*;
use tungstenite::protocol::frame::coding::{CloseCode as TheirCode, Data, OpCode};
use tungstenite::protocol::frame::{Frame, FrameHeader};
use tungstenite::protocol::{CloseFrame as TheirClose, Role as TheirRole, WebSocketConfig};
use tungstenite::{Error as TheirError, Message as TheirMessage, WebSocket};
use websocket::{CloseCode, Connection, Event, Limits, MessageKind, ProtocolError, Role, client, encode};

#[derive(Debug, PartialEq, Clone)]
enum Heard {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
}

/// How a stream of frames ended.
#[derive(Debug, PartialEq, Clone, Copy)]
enum End {
    Open,
    Refused,
}

const MAX: u32 = 3000;

fn ours(stream: &[u8], role: Role) -> (Vec<Heard>, Result<(), ProtocolError>) {
    let mut connection =
        Connection::new(role, Limits { max_message: MAX, max_frame: MAX, max_fragments: u32::MAX });
    let mut input = stream.to_vec();
    let mut heard = Vec::new();
    let mut at = 0;
    while at < input.len() {
        match connection.receive(&mut input[at..]) {
            Ok(received) => {
                at += received.consumed;
                heard.extend(received.event.map(|event| match event {
                    Event::Message(message) => match message.kind {
                        MessageKind::Text => Heard::Text(message.data.into_owned()),
                        MessageKind::Binary => Heard::Binary(message.data.into_owned()),
                    },
                    Event::Ping(payload) => Heard::Ping(payload.into_owned()),
                    Event::Pong(payload) => Heard::Pong(payload.into_owned()),
                    Event::Close(close) => {
                        Heard::Close(close.code.map(CloseCode::get), close.reason.into_owned())
                    }
                }));
            }
            Err(error) => return (heard, Err(error)),
        }
    }
    (heard, Ok(()))
}

/// Reads from memory, throws away what is written.
struct Tape(Cursor<Vec<u8>>);

impl Read for Tape {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Tape {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        Ok(buffer.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn theirs(stream: &[u8], role: TheirRole) -> (Vec<Heard>, End) {
    let config =
        WebSocketConfig::default().max_message_size(Some(MAX as usize)).max_frame_size(Some(MAX as usize));
    let mut socket = WebSocket::from_raw_socket(Tape(Cursor::new(stream.to_vec())), role, Some(config));
    let mut heard = Vec::new();
    loop {
        match socket.read() {
            Ok(TheirMessage::Text(text)) => heard.push(Heard::Text(text.as_bytes().to_vec())),
            Ok(TheirMessage::Binary(data)) => heard.push(Heard::Binary(data.to_vec())),
            Ok(TheirMessage::Ping(data)) => heard.push(Heard::Ping(data.to_vec())),
            Ok(TheirMessage::Pong(data)) => heard.push(Heard::Pong(data.to_vec())),
            Ok(TheirMessage::Close(close)) => {
                heard.push(match close {
                    Some(close) => Heard::Close(Some(close.code.into()), close.reason.to_string()),
                    None => Heard::Close(None, String::new()),
                });
                // What follows a Close we throw away and it calls an error: nothing to compare.
                return (heard, End::Open);
            }
            Ok(TheirMessage::Frame(_)) => unreachable!("only for writing"),
            // The tape is at its end.
            Err(TheirError::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake)) => {
                return (heard, End::Open);
            }
            Err(_) => return (heard, End::Refused),
        }
    }
}

/// A frame that can be broken in every way, but is whole.
#[derive(Debug, Clone)]
struct Made {
    first: u8,
    payload: Vec<u8>,
    key: Option<[u8; 4]>,
    wide: bool,
}

impl Made {
    fn write(&self, out: &mut Vec<u8>) {
        let mask = if self.key.is_some() { 0x80 } else { 0 };
        let length = self.payload.len();
        out.push(self.first);
        match length {
            _ if self.wide => {
                out.push(mask | 127);
                out.extend_from_slice(&(length as u64).to_be_bytes());
            }
            0..=125 => out.push(mask | length as u8),
            126..=65_535 => {
                out.push(mask | 126);
                out.extend_from_slice(&(length as u16).to_be_bytes());
            }
            _ => unreachable!("payloads here are small"),
        }
        let start = out.len() + self.key.map_or(0, |_| 4);
        out.extend(self.key.iter().flatten());
        out.extend_from_slice(&self.payload);
        websocket::apply_mask(&mut out[start..], self.key.unwrap_or_default(), 0);
    }
}

fn made(masked: bool) -> impl Strategy<Value = Made> {
    let payload = prop_oneof![
        4 => ".{0,40}".prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>(), 0..200),
        1 => (0usize..3200).prop_map(|size| vec![b'z'; size]),
        1 => (900u16..5100, "[a-z]{0,9}").prop_map(|(code, reason)| [&code.to_be_bytes(), reason.as_bytes()].concat()),
    ];
    let first = prop_oneof![
        8 => prop::sample::select(vec![0x81u8, 0x82, 0x01, 0x02, 0x00, 0x80, 0x80]),
        3 => prop::sample::select(vec![0x89u8, 0x8a]),
        1 => Just(0x88u8),
        1 => any::<u8>(),
    ];
    let as_it_should = proptest::bool::weighted(0.97);
    (first, payload, any::<[u8; 4]>(), as_it_should, proptest::bool::weighted(0.02)).prop_map(
        move |(first, payload, key, right, wide)| Made {
            first,
            payload,
            key: (masked == right).then_some(key),
            wide,
        },
    )
}

/// We refused; may tungstenite, for a reason named above, have gone on?
fn expected_difference(error: ProtocolError, frames: &[Made]) -> bool {
    match error {
        ProtocolError::LengthNotMinimal | ProtocolError::InvalidCloseCode(_) | ProtocolError::TextNotUtf8 => {
            true
        }
        // A control frame's length in eight bytes that would fit in seven bits: not minimal, by another name.
        ProtocolError::ControlTooLong => frames.iter().any(|frame| frame.wide),
        _ => false,
    }
}

fn compare(frames: &[Made], role: Role, their_role: TheirRole) -> Result<(), TestCaseError> {
    let mut stream = Vec::new();
    frames.iter().for_each(|frame| frame.write(&mut stream));
    let (mut our_heard, our_end) = ours(&stream, role);
    let (mut their_heard, their_end) = theirs(&stream, their_role);
    for heard in [&mut our_heard, &mut their_heard] {
        for event in heard.iter_mut() {
            // tungstenite reports 1002 and a text of its own where it does not know the code.
            if matches!(event, Heard::Close(Some(1014), _)) {
                *event = Heard::Close(Some(1002), "Protocol violation".to_owned());
            }
        }
    }
    match our_end {
        Err(error) if expected_difference(error, frames) => {
            prop_assert!(their_heard.starts_with(&our_heard), "{error}: {our_heard:?} {their_heard:?}");
        }
        Err(error) => {
            prop_assert_eq!(&our_heard, &their_heard, "{}", error);
            prop_assert_eq!(their_end, End::Refused, "only we refused: {}", error);
        }
        Ok(()) => {
            prop_assert_eq!(&our_heard, &their_heard);
            prop_assert_eq!(their_end, End::Open, "only tungstenite refused");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1500) })]

    #[test]
    fn a_server_hears_the_same(frames in proptest::collection::vec(made(true), 0..8)) {
        compare(&frames, Role::Server, TheirRole::Server)?;
    }

    #[test]
    fn a_client_hears_the_same(frames in proptest::collection::vec(made(false), 0..8)) {
        compare(&frames, Role::Client, TheirRole::Client)?;
    }
}

/// Something either side may send.
fn sent() -> impl Strategy<Value = Heard> {
    let bytes = || {
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..126),
            prop::sample::select(vec![125usize, 126, 127, 2999]).prop_map(|size| vec![7; size]),
        ]
    };
    let small = || proptest::collection::vec(any::<u8>(), 0..126);
    prop_oneof![
        ".{0,200}".prop_map(|text| Heard::Text(text.into_bytes())),
        bytes().prop_map(Heard::Binary),
        small().prop_map(Heard::Ping),
        small().prop_map(Heard::Pong),
    ]
}

fn close() -> impl Strategy<Value = Heard> {
    let code = prop_oneof![1000u16..1004, 1007u16..1014, 3000u16..5000];
    prop_oneof![
        Just(Heard::Close(None, String::new())),
        (code, "[a-zü]{0,60}").prop_map(|(code, reason)| Heard::Close(Some(code), reason)),
    ]
}

fn write_ours(what: &Heard, key: Option<[u8; 4]>, out: &mut Vec<u8>) {
    match (what, key) {
        (Heard::Text(data), None) => encode::message(encode::kind_for(data), data, out),
        (Heard::Binary(data), None) => encode::binary(data, out),
        (Heard::Ping(data), None) => encode::ping(data, out),
        (Heard::Pong(data), None) => encode::pong(data, out),
        (Heard::Close(code, reason), None) => encode::close(code.and_then(CloseCode::new), reason, out),
        (Heard::Text(data), Some(key)) => client::message(MessageKind::Text, data, key, out),
        (Heard::Binary(data), Some(key)) => client::binary(data, key, out),
        (Heard::Ping(data), Some(key)) => client::ping(data, key, out),
        (Heard::Pong(data), Some(key)) => client::pong(data, key, out),
        (Heard::Close(code, reason), Some(key)) => {
            client::close(code.and_then(CloseCode::new), reason, key, out);
        }
    }
}

fn write_theirs(what: &Heard, key: Option<[u8; 4]>, out: &mut Vec<u8>) {
    let mut frame = match what {
        Heard::Text(data) => Frame::message(data.clone(), OpCode::Data(Data::Text), true),
        Heard::Binary(data) => Frame::message(data.clone(), OpCode::Data(Data::Binary), true),
        Heard::Ping(data) => Frame::ping(data.clone()),
        Heard::Pong(data) => Frame::pong(data.clone()),
        Heard::Close(code, reason) => Frame::close(
            code.map(|code| TheirClose { code: TheirCode::from(code), reason: reason.clone().into() }),
        ),
    };
    frame.header_mut().mask = key;
    frame.format(out).expect("writing to memory");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn what_we_write_they_read_and_the_other_way(
        messages in proptest::collection::vec(sent(), 0..6),
        farewell in proptest::option::of(close()),
        key in any::<[u8; 4]>(),
    ) {
        let all: Vec<Heard> = messages.into_iter().chain(farewell).collect();
        for (key, role, their_role) in [(None, Role::Client, TheirRole::Client), (Some(key), Role::Server, TheirRole::Server)] {
            let (mut by_us, mut by_them) = (Vec::new(), Vec::new());
            all.iter().for_each(|what| write_ours(what, key, &mut by_us));
            all.iter().for_each(|what| write_theirs(what, key, &mut by_them));
            prop_assert_eq!(&by_us, &by_them, "the same bytes");
            prop_assert_eq!(theirs(&by_us, their_role), (all.clone(), End::Open));
            prop_assert_eq!(ours(&by_them, role), (all.clone(), Ok(())));
        }
    }
}

#[test]
fn headers_agree_at_every_length_class() {
    for length in [0usize, 1, 125, 126, 127, 65_535, 65_536, 1 << 24] {
        let header =
            FrameHeader { is_final: true, opcode: OpCode::Data(Data::Text), ..FrameHeader::default() };
        let mut by_them = Vec::new();
        header.format(length as u64, &mut by_them).unwrap();
        let mut by_us = Vec::new();
        encode::frame_header(websocket::Opcode::Text, length, &mut by_us);
        assert_eq!(by_us, by_them);
    }
}
