//! Stream framing: the first byte says where to split the rest, and the split never changes what comes out.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip_message::{Frame, FrameError, FrameLimits, Message, StreamFramer};

fn cut(pieces: &[&[u8]]) -> (Vec<(Frame, Vec<u8>)>, Option<FrameError>) {
    let mut framer = StreamFramer::new(FrameLimits { header_section: 2048, body: 4096 });
    let (mut buffer, mut out) = (Vec::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match framer.next(&buffer) {
                Ok(Frame::NeedMore) => break,
                // It comes in as many pieces as there are.
                Ok(frame @ Frame::Padding { .. }) => drop(buffer.drain(..frame.len())),
                Ok(frame) => out.push((frame, buffer.drain(..frame.len()).collect())),
                Err(error) => return (out, Some(error)),
            }
        }
    }
    (out, None)
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&split, stream)) = bytes.split_first() else { return };
    let (one, two) = stream.split_at(usize::from(split).min(stream.len()));
    let whole = cut(&[stream]);
    assert_eq!(cut(&[one, two]), whole);
    for (frame, bytes) in &whole.0 {
        if let Frame::Message { .. } = frame
            && let Ok(message) = Message::parse(bytes)
        {
            assert_eq!(message.len_on_wire(), bytes.len());
        }
    }
});
