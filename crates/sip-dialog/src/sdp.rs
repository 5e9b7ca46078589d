//! Whether an SDP offer puts the other side on hold (RFC 3264 §8.4, and the way of RFC 2543).

use sip_message::{HeaderId, Message};

/// What an offer says to the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offer {
    /// Some of its media are to be heard or seen.
    Talks,
    /// Nothing it sends is to be heard: every medium is sendonly, inactive, or nowhere.
    Holds,
}

/// The offer in a message; none if it has no session description alone.
pub(crate) fn offer(message: &Message<'_>) -> Option<Offer> {
    let kind = message.value(HeaderId::ContentType)?;
    let kind = kind.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    let sdp = kind.eq_ignore_ascii_case(b"application/sdp") && !message.body().is_empty();
    sdp.then(|| read(message.body())).flatten()
}

/// What is known of a medium, or of the session for media that say nothing themselves.
#[derive(Clone, Copy)]
struct Medium {
    direction: Offer,
    address: Offer,
    used: Used,
}

/// A medium at port 0 is refused or over, and says nothing.
#[derive(Clone, Copy, PartialEq)]
enum Used {
    Yes,
    No,
}

fn read(body: &[u8]) -> Option<Offer> {
    let mut session = Medium { direction: Offer::Talks, address: Offer::Talks, used: Used::No };
    let mut medium: Option<Medium> = None;
    let mut found = None;
    for line in body.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii_end) {
        let at_hand = medium.as_mut().unwrap_or(&mut session);
        match line {
            b"a=sendrecv" | b"a=recvonly" => at_hand.direction = Offer::Talks,
            b"a=sendonly" | b"a=inactive" => at_hand.direction = Offer::Holds,
            [b'c', b'=', rest @ ..] => {
                at_hand.address = if rest.ends_with(b" 0.0.0.0") { Offer::Holds } else { Offer::Talks };
            }
            [b'm', b'=', ..] => {
                found = weigh(found, medium);
                let refused = line.split(|&byte| byte == b' ').nth(1) == Some(b"0");
                medium = Some(Medium { used: if refused { Used::No } else { Used::Yes }, ..session });
            }
            _ => {}
        }
    }
    weigh(found, medium)
}

/// What the media come to so far: one that talks is enough.
fn weigh(found: Option<Offer>, medium: Option<Medium>) -> Option<Offer> {
    match medium {
        Some(Medium { direction: Offer::Talks, address: Offer::Talks, used: Used::Yes }) => {
            Some(Offer::Talks)
        }
        Some(Medium { used: Used::Yes, .. }) => found.or(Some(Offer::Holds)),
        Some(Medium { used: Used::No, .. }) | None => found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hold_is_seen_by_direction_or_address_of_every_medium() {
        let audio = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n";
        let video = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n";
        let sdp =
            |parts: &[&str]| read(format!("v=0\r\nc=IN IP4 192.0.2.1\r\n{}", parts.concat()).as_bytes());
        assert_eq!(sdp(&[audio]), Some(Offer::Talks));
        assert_eq!(sdp(&[audio, "a=sendrecv\r\n"]), Some(Offer::Talks));
        assert_eq!(sdp(&[audio, "a=recvonly\r\n"]), Some(Offer::Talks));
        assert_eq!(sdp(&[audio, "a=sendonly\r\n"]), Some(Offer::Holds));
        assert_eq!(sdp(&[audio, "a=inactive\r\n"]), Some(Offer::Holds));
        assert_eq!(sdp(&["a=inactive\r\n", audio]), Some(Offer::Holds));
        assert_eq!(sdp(&["a=inactive\r\n", audio, "a=sendrecv\r\n"]), Some(Offer::Talks));
        assert_eq!(sdp(&[audio, "a=sendonly\r\n", video]), Some(Offer::Talks));
        assert_eq!(sdp(&[audio, "a=sendonly\r\n", video, "a=inactive\r\n"]), Some(Offer::Holds));
        assert_eq!(sdp(&[audio, "a=sendonly\r\n", "m=video 0 RTP/AVP 96\r\n"]), Some(Offer::Holds));
        assert_eq!(sdp(&[audio, "c=IN IP4 0.0.0.0\r\n"]), Some(Offer::Holds));
        assert_eq!(sdp(&[]), None);
        assert_eq!(read(b"v=0\nc=IN IP4 0.0.0.0\nm=audio 1 RTP/AVP 0\n"), Some(Offer::Holds));
    }
}
