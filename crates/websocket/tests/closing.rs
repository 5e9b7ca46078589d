//! The closing handshake, from either side (RFC 6455 §7.1).

use websocket::{
    CloseCode, CloseFrame, CloseSent, Connection, Event, Limits, MessageKind, Phase, ProtocolError, Role,
    Side, client,
};

fn server() -> Connection {
    Connection::new(Role::Server, Limits::default())
}

fn frame(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

fn peer_close(code: Option<CloseCode>) -> Vec<u8> {
    frame(|out| client::close(code, "bye", [9, 8, 7, 6], out))
}

#[test]
fn the_peer_closes_first() {
    let mut connection = server();
    assert_eq!((connection.phase(), connection.closed_first()), (Phase::Open, None));
    let mut input = peer_close(CloseCode::new(1001));
    let event = connection.receive(&mut input).unwrap().event;
    assert_eq!(event, Some(Event::Close(CloseFrame { code: CloseCode::new(1001), reason: "bye".into() })));
    assert_eq!((connection.phase(), connection.closed_first()), (Phase::AnswerDue, Some(Side::Peer)));
    let mut out = Vec::new();
    assert_eq!(connection.answer_close(&mut out), CloseSent::Written);
    assert_eq!(out, [0x88, 2, 0x03, 0xe9]);
    assert_eq!(connection.answer_close(&mut out), CloseSent::AlreadySent);
    assert_eq!(connection.close(CloseCode::NORMAL, "", &mut out), CloseSent::AlreadySent);
    assert_eq!(out.len(), 4);
    assert_eq!(connection.phase(), Phase::Done);
    assert_eq!(connection.received_close(), Some(CloseCode::new(1001)));
    assert_eq!(connection.sent_close(), Some(CloseCode::new(1001)));
}

#[test]
fn an_empty_close_gets_an_empty_answer() {
    let mut connection = server();
    let mut input = peer_close(None);
    connection.receive(&mut input).unwrap();
    let mut out = Vec::new();
    assert_eq!(connection.answer_close(&mut out), CloseSent::Written);
    assert_eq!(out, [0x88, 0]);
    assert_eq!((connection.received_close(), connection.sent_close()), (Some(None), Some(None)));
}

#[test]
fn we_close_first_and_still_hear_what_was_under_way() {
    let mut connection = server();
    let mut out = Vec::new();
    assert_eq!(connection.close(CloseCode::GOING_AWAY, "restart", &mut out), CloseSent::Written);
    assert_eq!(out, b"\x88\x09\x03\xe9restart");
    assert_eq!((connection.phase(), connection.closed_first()), (Phase::AwaitingClose, Some(Side::Local)));

    let mut late = frame(|out| client::message(MessageKind::Text, b"BYE", [1, 2, 3, 4], out));
    assert!(matches!(connection.receive(&mut late).unwrap().event, Some(Event::Message(_))));
    let mut answer = peer_close(CloseCode::new(1001));
    assert!(matches!(connection.receive(&mut answer).unwrap().event, Some(Event::Close(_))));
    assert_eq!((connection.phase(), connection.closed_first()), (Phase::Done, Some(Side::Local)));
}

#[test]
fn after_the_peers_close_everything_is_thrown_away() {
    let mut connection = server();
    let mut input = peer_close(None);
    let close_length = input.len();
    input.extend_from_slice(&[0xff; 50]);
    assert_eq!(connection.receive(&mut input).unwrap().consumed, close_length);
    let received = connection.receive(&mut input[close_length..]).unwrap();
    assert_eq!((received.consumed, received.event), (50, None));
    assert_eq!(connection.held_bytes(), 0);
}

#[test]
fn an_error_ends_the_reading_and_owes_one_close() {
    let mut connection = server();
    assert_eq!(connection.receive(&mut [0x81, 0x00]), Err(ProtocolError::MaskMissing));
    assert_eq!((connection.phase(), connection.failure()), (Phase::Failed, Some(ProtocolError::MaskMissing)));
    assert_eq!(connection.receive(&mut [0x81, 0x00]).unwrap().event, None);
    let mut out = Vec::new();
    let error = ProtocolError::MaskMissing;
    assert_eq!(connection.close(error.close_code(), error.reason(), &mut out), CloseSent::Written);
    assert_eq!((connection.phase(), connection.closed_first()), (Phase::Done, Some(Side::Local)));
}

#[test]
fn a_reason_that_is_too_long_is_cut_between_characters() {
    let mut out = Vec::new();
    assert_eq!(server().close(CloseCode::NORMAL, &"ü".repeat(100), &mut out), CloseSent::Written);
    assert_eq!(out.len(), 2 + 2 + 122);
    assert_eq!(std::str::from_utf8(&out[4..]).unwrap(), "ü".repeat(61));
}

#[test]
fn every_error_says_something_short() {
    let mut names: Vec<_> = ProtocolError::ALL.iter().map(|error| error.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), ProtocolError::ALL.len());
    for error in ProtocolError::ALL {
        assert!((1..=123).contains(&error.reason().len()) && error.reason().is_ascii());
        assert!(!error.to_string().is_empty());
    }
}
