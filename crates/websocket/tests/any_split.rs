//! However the network cuts the stream, the same is heard.

use proptest::prelude::*;
use websocket::{Connection, Event, Limits, MessageKind, ProtocolError, Role, client};

#[derive(Debug, PartialEq, Clone)]
enum Heard {
    Message(MessageKind, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
    Failed(ProtocolError),
}

const LIMITS: Limits = Limits { max_message: 2000, max_frame: 1500, max_fragments: 6 };

fn hear(stream: &[u8], cuts: &[usize]) -> (Vec<Heard>, usize) {
    let mut connection = Connection::new(Role::Server, LIMITS);
    let mut heard = Vec::new();
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
    ends.push(stream.len());
    ends.sort_unstable();
    let mut start = 0;
    for end in ends {
        let mut piece = stream[start..end].to_vec();
        start = end;
        let mut at = 0;
        while at < piece.len() {
            let left = piece.len() - at;
            match connection.receive(&mut piece[at..]) {
                Ok(received) => {
                    assert!(received.consumed > 0, "every call gets on");
                    assert!(received.event.is_some() || received.consumed == left);
                    at += received.consumed;
                    heard.extend(received.event.map(|event| match event {
                        Event::Message(message) => Heard::Message(message.kind, message.data.into_owned()),
                        Event::Ping(payload) => Heard::Ping(payload.into_owned()),
                        Event::Pong(payload) => Heard::Pong(payload.into_owned()),
                        Event::Close(close) => {
                            Heard::Close(close.code.map(|code| code.get()), close.reason.into_owned())
                        }
                    }));
                }
                Err(error) => {
                    heard.push(Heard::Failed(error));
                    at = piece.len();
                }
            }
        }
    }
    (heard, connection.held_bytes())
}

/// One frame, mostly well made.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop_oneof![
        4 => ".{0,40}".prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>(), 0..300),
        1 => (0usize..1700).prop_map(|size| vec![b'z'; size]),
    ];
    let first = prop_oneof![
        6 => prop::sample::select(vec![0x81u8, 0x82, 0x01, 0x02, 0x00, 0x80]),
        3 => prop::sample::select(vec![0x89u8, 0x8a]),
        1 => Just(0x88u8),
        1 => any::<u8>(),
    ];
    (first, payload, any::<[u8; 4]>()).prop_map(|(first, payload, key)| {
        let mut out = Vec::new();
        client::binary(&payload, key, &mut out);
        out[0] = first;
        out
    })
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    let frames = proptest::collection::vec(frame(), 0..8).prop_map(|frames| frames.concat());
    (frames, proptest::option::weighted(0.2, (any::<prop::sample::Index>(), any::<u8>()))).prop_map(
        |(mut stream, damage)| {
            if let Some((at, byte)) = damage.filter(|_| !stream.is_empty()) {
                let at = at.index(stream.len());
                stream[at] = byte;
            }
            stream
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(600) })]

    #[test]
    fn the_cuts_do_not_matter(stream in stream(), cuts in proptest::collection::vec(any::<usize>(), 0..12)) {
        let whole = hear(&stream, &[]);
        prop_assert_eq!(&hear(&stream, &cuts).0, &whole.0);
        let every: Vec<usize> = (0..stream.len()).collect();
        prop_assert_eq!(&hear(&stream, &every).0, &whole.0);
    }

    #[test]
    fn nothing_is_held_between_messages(
        messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..1400), 1..5),
        key in any::<[u8; 4]>(),
        cuts in proptest::collection::vec(any::<usize>(), 0..12),
    ) {
        let mut stream = Vec::new();
        messages.iter().for_each(|message| client::binary(message, key, &mut stream));
        let (heard, held) = hear(&stream, &cuts);
        let expected: Vec<Heard> = messages.into_iter().map(|data| Heard::Message(MessageKind::Binary, data)).collect();
        prop_assert_eq!(heard, expected);
        prop_assert_eq!(held, 0);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), cuts in proptest::collection::vec(any::<usize>(), 0..6)) {
        hear(&bytes, &cuts);
    }
}
