use proptest::prelude::*;

use super::*;

const ONE: &[u8] = b"OPTIONS sip:a SIP/2.0\r\nl: 3\r\n\r\nabc";
const TWO: &[u8] = b"SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n";
const BARE: &[u8] = b"ACK sip:a SIP/2.0\r\nCSeq: 1 ACK\r\n\r\n";

/// Feeds `stream` in pieces and returns what came out, messages as their bytes.
fn cut(stream: &[u8], pieces: impl Iterator<Item = usize>) -> (Vec<Vec<u8>>, Option<FrameError>) {
    let mut framer = StreamFramer::default();
    let (mut buffer, mut fed, mut out) = (Vec::new(), 0, Vec::new());
    for piece in pieces.chain([stream.len()]) {
        let end = (fed + piece).min(stream.len());
        buffer.extend_from_slice(&stream[fed..end]);
        fed = end;
        loop {
            let frame = match framer.next(&buffer) {
                Ok(Frame::NeedMore) => break,
                Ok(frame) => frame,
                Err(error) => return (out, Some(error)),
            };
            let bytes: Vec<u8> = buffer.drain(..frame.len()).collect();
            out.push(match frame {
                Frame::Ping => b"ping".to_vec(),
                Frame::Crlf => b"crlf".to_vec(),
                // However it is chopped up.
                Frame::Padding { .. } => continue,
                _ => bytes,
            });
        }
    }
    (out, None)
}

#[test]
fn the_same_at_every_split() {
    let stream = [ONE, b"\r\n\r\n", TWO, b"\r\n", BARE, b"\r\n\r\n\r\n", ONE].concat();
    let whole = cut(&stream, std::iter::empty());
    let expected: Vec<&[u8]> =
        vec![ONE, b"crlf", b"ping", TWO, b"crlf", BARE, b"crlf", b"ping", b"crlf", ONE];
    assert_eq!(whole, (expected.iter().map(|bytes| bytes.to_vec()).collect(), None));
    for at in 0..=stream.len() {
        assert_eq!(cut(&stream, [at].into_iter()), whole, "split at {at}");
    }
    assert_eq!(cut(&stream, std::iter::repeat_n(1, stream.len())), whole);
}

/// Phones keep NAT bindings open by these, too.
#[test]
fn nuls_blanks_and_bare_line_ends_between_messages_are_passed_over() {
    for padding in [&b"\0"[..], b"\0\0\0\0", b"\r\n\0", b"\n", b" \t", b"\r\0", b"\r\r\n", b"\n\r\n\0\r\n"] {
        let stream = [padding, ONE, padding, TWO, padding, ONE].concat();
        let crlf: Vec<Vec<u8>> =
            vec![b"crlf".to_vec(); padding.windows(2).filter(|pair| pair == b"\r\n").count()];
        let expected = [&crlf[..], &[ONE.to_vec()], &crlf, &[TWO.to_vec()], &crlf, &[ONE.to_vec()]].concat();
        for at in 0..=stream.len() {
            let (out, error) = cut(&stream, [at].into_iter());
            assert_eq!((&out, error), (&expected, None), "{padding:?}, split at {at}");
        }
    }
    assert_eq!(cut(b"\0\x01", std::iter::empty()), (vec![], Some(FrameError::NotSip)));
}

#[test]
fn damage_ends_the_stream_for_good() {
    for (stream, error) in [
        (&b"\x16\x03\x01"[..], FrameError::NotSip),
        (b"a: b\r\n\r\n", FrameError::Damaged(ParseError::StartLine(crate::StartLineError::NotSip))),
        (
            b"GET / HTTP/1.1\r\n\r\n",
            FrameError::Damaged(ParseError::StartLine(crate::StartLineError::NotSip)),
        ),
        (b"OPTIONS sip:a SIP/2.0\r\nl: -1\r\n\r\n", FrameError::Damaged(ParseError::ContentLengthNegative)),
        (
            b"OPTIONS sip:a SIP/2.0\r\nl: 1\r\nContent-Length: 2\r\n\r\n",
            FrameError::Damaged(ParseError::ContentLengthContradicting),
        ),
        (b"OPTIONS sip:a SIP/2.0\r\nl: 1\n\r\n\r\n", FrameError::Damaged(ParseError::BareLf(27))),
        (b"OPTIONS sip:a SIP/2.0\r\nc: text/plain\r\n\r\n", FrameError::NoContentLength),
        (b"OPTIONS sip:a SIP/2.0\r\nl: 4294967295\r\n\r\n", FrameError::BodyTooLong(u32::MAX)),
        (
            b"OPTIONS sip:a SIP/2.0\r\nl: 4294967296\r\n\r\n",
            FrameError::Damaged(ParseError::ContentLengthTooLarge),
        ),
    ] {
        let mut framer = StreamFramer::default();
        assert_eq!(framer.next(stream), Err(error));
        assert_eq!(framer.next(ONE), Err(error));
    }
}

#[test]
fn limits_hold_before_the_end_is_seen() {
    let mut framer = StreamFramer::new(FrameLimits { header_section: 100, body: 3 });
    assert!(framer.next(ONE).is_ok());
    let endless = [b"OPTIONS sip:".as_slice(), &[b'a'; 200]].concat();
    assert_eq!(framer.next(&endless), Err(FrameError::HeaderSectionTooLong));
    let mut framer = StreamFramer::new(FrameLimits { header_section: 100, body: 2 });
    assert_eq!(framer.next(ONE), Err(FrameError::BodyTooLong(3)));
}

#[test]
fn the_length_is_known_before_the_body_is_there() {
    let mut framer = StreamFramer::default();
    assert_eq!(framer.next(&ONE[..ONE.len() - 1]), Ok(Frame::NeedMore));
    assert_eq!(framer.expected_len(), Some(ONE.len()));
    assert_eq!(framer.next(ONE).map(|frame| frame.len()), Ok(ONE.len()));
    assert_eq!(framer.expected_len(), None);
    let Ok(Frame::Message { leniencies, .. }) = framer.next(BARE) else { panic!("no message") };
    assert!(leniencies.contains(Leniency::NoContentLength));
}

proptest! {
    #[test]
    fn chopping_changes_nothing(bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..6),
                                pieces in proptest::collection::vec(1usize..60, 0..40)) {
        let stream: Vec<u8> = bodies.iter().flat_map(|body| {
            let mut message = format!("MESSAGE sip:a SIP/2.0\r\nX: \r\n y\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
            message.extend_from_slice(body);
            message
        }).collect();
        let (whole, error) = cut(&stream, std::iter::empty());
        prop_assert_eq!(error, None);
        prop_assert_eq!(whole.len(), bodies.len());
        prop_assert_eq!(cut(&stream, pieces.into_iter()), (whole, None));
    }

    #[test]
    fn noise_never_panics_and_splits_agree(noise in "[ -~\r\n]{0,80}", at in 0usize..90) {
        let stream = [b"INVITE sip:a SIP/2.0\r\n".as_slice(), noise.as_bytes(), b"\r\n\r\n"].concat();
        prop_assert_eq!(cut(&stream, [at].into_iter()), cut(&stream, std::iter::empty()));
    }
}
