//! Frames from a stranger: no panic, every call gets on, and the cuts of the stream do not matter.
#![no_main]

use libfuzzer_sys::fuzz_target;
use websocket::{Connection, Limits, Role};

const LIMITS: Limits = Limits { max_message: 4096, max_frame: 3000, max_fragments: 8 };

/// What was heard, as text: enough to compare.
fn hear(stream: &[u8], step: usize, role: Role) -> Vec<String> {
    let mut connection = Connection::new(role, LIMITS);
    let mut heard = Vec::new();
    for piece in stream.chunks(step.max(1)) {
        let mut piece = piece.to_vec();
        let mut at = 0;
        while at < piece.len() {
            match connection.receive(&mut piece[at..]) {
                Ok(received) => {
                    assert!(received.consumed > 0);
                    at += received.consumed;
                    if let Some(event) = received.event {
                        heard.push(format!("{event:?}"));
                    }
                }
                Err(error) => {
                    heard.push(format!("{error:?}"));
                    break;
                }
            }
        }
        assert!(connection.held_bytes() <= 2 * 4096 + 1024);
    }
    heard
}

fuzz_target!(|data: &[u8]| {
    let Some((&[choice, step], stream)) = data.split_first_chunk::<2>() else { return };
    let role = if choice & 1 == 0 { Role::Server } else { Role::Client };
    let whole = hear(stream, stream.len(), role);
    assert_eq!(hear(stream, usize::from(step), role), whole);
    assert_eq!(hear(stream, 1, role), whole);
});
