//! What a connection costs while idle, and what a peer can make it cost.

use websocket::{Connection, Event, Limits, Role, client};

#[test]
fn an_idle_connection_is_a_few_dozen_bytes() {
    assert!(size_of::<Connection>() <= 48, "{}", size_of::<Connection>());
    assert_eq!(Connection::new(Role::Server, Limits::default()).held_bytes(), 0);
}

#[test]
fn an_announcement_alone_costs_next_to_nothing() {
    let limits = Limits { max_message: 1 << 30, max_frame: 1 << 30, max_fragments: 1 };
    let mut connection = Connection::new(Role::Server, limits);
    let mut header = [0x82, 0xff, 0, 0, 0, 0, 0x3f, 0, 0, 0, 1, 2, 3, 4, b'x'];
    assert_eq!(connection.receive(&mut header).unwrap().event, None);
    assert!(connection.held_bytes() < 1024, "{}", connection.held_bytes());
}

#[test]
fn held_memory_follows_what_arrived_and_goes_with_the_message() {
    let mut stream = Vec::new();
    client::binary(&[7; 100_000], [1, 2, 3, 4], &mut stream);
    let mut connection = Connection::new(Role::Server, Limits::default());
    let total = stream.len();
    let mut arrived = 0;
    let mut messages = 0;
    for piece in stream.chunks_mut(100) {
        arrived += piece.len();
        let received = connection.receive(piece).unwrap();
        if let Some(Event::Message(message)) = received.event {
            messages += 1;
            assert_eq!(message.data.len(), 100_000);
        }
        if arrived < total {
            assert!(
                connection.held_bytes() <= 2 * arrived + 1024,
                "{} after {arrived}",
                connection.held_bytes()
            );
        }
    }
    assert_eq!((messages, connection.held_bytes()), (1, 0));
}

#[test]
fn a_message_whole_in_the_input_is_not_copied() {
    let mut stream = Vec::new();
    client::text("hello", [1, 2, 3, 4], &mut stream);
    let place = stream.as_ptr_range();
    let mut connection = Connection::new(Role::Server, Limits::default());
    // The header alone first: the payload is still taken where it lies.
    let (header, payload) = stream.split_at_mut(6);
    assert_eq!(connection.receive(header).unwrap().event, None);
    match connection.receive(payload).unwrap().event {
        Some(Event::Message(message)) => assert!(place.contains(&message.data.as_ptr())),
        other => panic!("{other:?}"),
    }
    assert_eq!(connection.held_bytes(), 0);
}
