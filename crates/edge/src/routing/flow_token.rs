//! Flow tokens (RFC 5626 §5.2): a hop, signed, in the user part of a Record-Route of ours. A request that
//! brings a token back is sent on that hop. So nobody else may be able to make one, and only the other end of
//! the dialog may use it.

use std::net::{IpAddr, SocketAddr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use lifecycle::Incarnation;
use sha2::Sha256;

use upstream::{ExpectedPeer, FlowNumber, Hop};

/// Bytes of the signature that are kept (80 bits, as RFC 5626 §5.2 suggests).
const SIGNATURE: usize = 10;

/// Signs and reads tokens.
pub(crate) struct FlowTokens {
    signer: Hmac<Sha256>,
    incarnation: Incarnation,
    numbers: [u8; 16],
}

/// Bytes that tell one device of an address-of-record from another.
const TAG: usize = 12;

/// A device of an address-of-record, without its name and its Contact. It is the same in every run, whatever
/// it is reached by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Device {
    /// Of the address-of-record ([`location::number_of`]).
    pub(crate) number: u64,
    tag: [u8; TAG],
}

/// Characters of a device's token.
const DEVICE_TOKEN: usize = (8 + TAG + SIGNATURE) / 3 * 4;

impl std::fmt::Debug for FlowTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FlowTokens(secret)")
    }
}

/// The meaning of a URI's user part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// We made it: it leads to `hop`, for requests that come over `other`.
    Ours {
        /// Where it leads.
        hop: Hop,
        /// Who may use it.
        other: Hop,
    },
    /// We made it in an earlier run. Flows of that run are gone, so at most one of the two hops is left.
    Earlier {
        /// Where it leads.
        hop: Option<Hop>,
        /// Who may use it.
        other: Option<Hop>,
    },
    /// We did not make it.
    NotOurs,
}

/// Bytes of the largest hop: a kind, a listener, whom it proves to be, a port and an IPv6 address.
const HOP: usize = 21;

impl FlowTokens {
    pub(crate) fn new(secret: &[u8; 32], incarnation: Incarnation) -> Self {
        let signer = Hmac::new_from_slice(secret).expect("HMAC takes a key of any length");
        let mut numbers = [0; 16];
        let derived = signer.clone().chain_update(b"numbers of addresses-of-record").finalize().into_bytes();
        numbers.copy_from_slice(&derived[..16]);
        Self { signer, incarnation, numbers }
    }

    /// The secret that numbers of addresses-of-record are made with.
    pub(crate) fn numbers(&self) -> &[u8; 16] {
        &self.numbers
    }

    /// A device of an address-of-record, by what tells it from others of the same.
    pub(crate) fn device(&self, aor: &str, key: &[u8]) -> Device {
        let length = (aor.len() as u64).to_be_bytes();
        let mac = self.signer.clone().chain_update(b"device\0").chain_update(length).chain_update(aor);
        let mac = mac.chain_update(key).finalize().into_bytes();
        let mut tag = [0; TAG];
        tag.copy_from_slice(&mac[..TAG]);
        Device { number: location::number_of(&self.numbers, aor), tag }
    }

    /// Appends the token of a device, 40 characters. It holds in every run.
    pub(crate) fn write_device(&self, device: Device, out: &mut Vec<u8>) {
        let mut plain = [0; 8 + TAG + SIGNATURE];
        plain[..8].copy_from_slice(&device.number.to_be_bytes());
        plain[8..8 + TAG].copy_from_slice(&device.tag);
        let (body, signature) = plain.split_at_mut(8 + TAG);
        signature.copy_from_slice(&self.device_signer(body).finalize().into_bytes()[..SIGNATURE]);
        let start = out.len();
        out.resize(start + DEVICE_TOKEN, 0);
        // 30 bytes are 40 characters: there is room.
        let _ = URL_SAFE_NO_PAD.encode_slice(plain, &mut out[start..]);
    }

    /// The device whose token a user part is.
    pub(crate) fn read_device(&self, user: &[u8]) -> Option<Device> {
        let mut plain = [0; 8 + TAG + SIGNATURE];
        if user.len() != DEVICE_TOKEN || URL_SAFE_NO_PAD.decode_slice(user, &mut plain).ok()? != plain.len() {
            return None;
        }
        let (body, signature) = plain.split_at(8 + TAG);
        self.device_signer(body).verify_truncated_left(signature).ok()?;
        let (number, tag) = body.split_first_chunk()?;
        Some(Device { number: u64::from_be_bytes(*number), tag: tag.try_into().ok()? })
    }

    /// A route's token begins with an incarnation, so neither can be taken for the other.
    fn device_signer(&self, body: &[u8]) -> Hmac<Sha256> {
        self.signer.clone().chain_update(b"contact of a device\0").chain_update(body)
    }

    /// Appends the token of a hop, for requests that come over the other.
    pub(crate) fn write(&self, hop: Hop, other: Hop, out: &mut Vec<u8>) {
        let mut plain = [0; 8 + 2 * HOP + SIGNATURE];
        plain[..8].copy_from_slice(&self.incarnation.to_be_bytes());
        let mut length = 8;
        for hop in [hop, other] {
            length += put(hop, &mut plain[length..]);
        }
        let (body, rest) = plain.split_at_mut(length);
        let signature = self.signer.clone().chain_update(body).finalize().into_bytes();
        rest[..SIGNATURE].copy_from_slice(&signature[..SIGNATURE]);
        let start = out.len();
        out.resize(start + 80, 0);
        // At most 60 bytes become 80 characters: there is always room.
        let written =
            URL_SAFE_NO_PAD.encode_slice(&plain[..length + SIGNATURE], &mut out[start..]).unwrap_or(0);
        out.truncate(start + written);
    }

    /// Reads a user part.
    pub(crate) fn read(&self, user: &[u8]) -> Token {
        let mut plain = [0; 96];
        if user.len() > 80 {
            return Token::NotOurs;
        }
        let Ok(length) = URL_SAFE_NO_PAD.decode_slice(user, &mut plain) else { return Token::NotOurs };
        let Some((body, signature)) = plain[..length].split_at_checked(length.saturating_sub(SIGNATURE))
        else {
            return Token::NotOurs;
        };
        let signed = self.signer.clone().chain_update(body).verify_truncated_left(signature).is_ok();
        if !signed || signature.len() < SIGNATURE {
            return Token::NotOurs;
        }
        let Some((incarnation, rest)) = body.split_first_chunk() else { return Token::NotOurs };
        let Some((hop, rest)) = take(rest) else { return Token::NotOurs };
        let Some((other, [])) = take(rest) else { return Token::NotOurs };
        // A hop without a flow is still where it was in an earlier run, as its bindings are.
        let lasts = |hop: Hop| !matches!(hop, Hop::Flow(_));
        if u64::from_be_bytes(*incarnation) == self.incarnation || (lasts(hop) && lasts(other)) {
            Token::Ours { hop, other }
        } else {
            Token::Earlier {
                hop: Some(hop).filter(|hop| lasts(*hop)),
                other: Some(other).filter(|other| lasts(*other)),
            }
        }
    }
}

/// Writes a hop to the front of `out`; gives how many bytes it took.
fn put(hop: Hop, out: &mut [u8]) -> usize {
    match hop {
        Hop::Flow(number) => {
            out[0] = b'f';
            out[1..9].copy_from_slice(&number.0.to_be_bytes());
            9
        }
        Hop::Udp { listener, remote } => {
            out[1] = listener;
            out[2..4].copy_from_slice(&remote.port().to_be_bytes());
            match remote.ip() {
                IpAddr::V4(ip) => {
                    out[0] = b'4';
                    out[4..8].copy_from_slice(&ip.octets());
                    8
                }
                IpAddr::V6(ip) => {
                    out[0] = b'6';
                    out[4..20].copy_from_slice(&ip.octets());
                    20
                }
            }
        }
        Hop::Peer { listener, proves, remote } => {
            out[1] = listener;
            out[2] = proves.0;
            out[3..5].copy_from_slice(&remote.port().to_be_bytes());
            match remote.ip() {
                IpAddr::V4(ip) => {
                    out[0] = b's';
                    out[5..9].copy_from_slice(&ip.octets());
                    9
                }
                IpAddr::V6(ip) => {
                    out[0] = b'S';
                    out[5..21].copy_from_slice(&ip.octets());
                    21
                }
            }
        }
    }
}

/// Reads a hop from the front, and what follows it.
fn take(bytes: &[u8]) -> Option<(Hop, &[u8])> {
    let udp = |listener, port: [u8; 2], ip: IpAddr| Hop::Udp {
        listener,
        remote: SocketAddr::new(ip, u16::from_be_bytes(port)),
    };
    let peer = |listener, proves, port: [u8; 2], ip: IpAddr| Hop::Peer {
        listener,
        proves: ExpectedPeer(proves),
        remote: SocketAddr::new(ip, u16::from_be_bytes(port)),
    };
    match *bytes {
        [b'f', ref rest @ ..] => {
            let (number, rest) = rest.split_first_chunk()?;
            Some((Hop::Flow(FlowNumber(u64::from_be_bytes(*number))), rest))
        }
        [b'4', listener, p, q, ref rest @ ..] => {
            let (ip, rest) = rest.split_first_chunk::<4>()?;
            Some((udp(listener, [p, q], (*ip).into()), rest))
        }
        [b'6', listener, p, q, ref rest @ ..] => {
            let (ip, rest) = rest.split_first_chunk::<16>()?;
            Some((udp(listener, [p, q], (*ip).into()), rest))
        }
        [b's', listener, proves, p, q, ref rest @ ..] => {
            let (ip, rest) = rest.split_first_chunk::<4>()?;
            Some((peer(listener, proves, [p, q], (*ip).into()), rest))
        }
        [b'S', listener, proves, p, q, ref rest @ ..] => {
            let (ip, rest) = rest.split_first_chunk::<16>()?;
            Some((peer(listener, proves, [p, q], (*ip).into()), rest))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hops() -> Vec<Hop> {
        vec![
            Hop::Flow(FlowNumber::new(12345, 1, 2)),
            Hop::Udp { listener: 3, remote: "192.0.2.1:5060".parse().unwrap() },
            Hop::Udp { listener: 3, remote: "[2001:db8::1]:5060".parse().unwrap() },
            Hop::Peer {
                listener: 4,
                proves: ExpectedPeer::NOTHING,
                remote: "192.0.2.1:5060".parse().unwrap(),
            },
            Hop::Peer { listener: 5, proves: ExpectedPeer(9), remote: "[2001:db8::1]:5061".parse().unwrap() },
        ]
    }

    #[test]
    fn a_device_has_one_token_in_every_run_that_nobody_else_can_make() {
        let tokens = FlowTokens::new(&[7; 32], 4);
        let device = tokens.device("a@x", b"one");
        let mut text = Vec::new();
        tokens.write_device(device, &mut text);
        assert_eq!(text.len(), DEVICE_TOKEN);
        let later = FlowTokens::new(&[7; 32], 5);
        assert_eq!((later.read_device(&text), later.device("a@x", b"one")), (Some(device), device));
        for (aor, key) in [("a@x", &b"two"[..]), ("a@y", b"one"), ("a@xo", b"ne"), ("a@", b"xone")] {
            assert_ne!(tokens.device(aor, key).tag, device.tag, "{aor}");
        }
        assert_eq!(FlowTokens::new(&[8; 32], 4).read_device(&text), None);
        assert_eq!(tokens.read(&text), Token::NotOurs, "it is no route");
        for at in 0..text.len() {
            let mut changed = text.clone();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(tokens.read_device(&changed), None, "{at}");
            assert_eq!(tokens.read_device(&text[..at]), None);
        }
        for (hop, other) in pairs() {
            let mut route = Vec::new();
            tokens.write(hop, other, &mut route);
            assert_eq!(tokens.read_device(&route), None, "a route is no device");
        }
    }

    fn pairs() -> impl Iterator<Item = (Hop, Hop)> {
        hops().into_iter().flat_map(|hop| hops().into_iter().map(move |other| (hop, other)))
    }

    #[test]
    fn a_token_reads_back() {
        let tokens = FlowTokens::new(&[7; 32], 4);
        for (hop, other) in pairs() {
            let mut text = Vec::new();
            tokens.write(hop, other, &mut text);
            assert_eq!(tokens.read(&text), Token::Ours { hop, other });
        }
    }

    #[test]
    fn any_change_of_it_is_not_ours() {
        let tokens = FlowTokens::new(&[7; 32], 4);
        for (hop, other) in pairs() {
            let mut text = Vec::new();
            tokens.write(hop, other, &mut text);
            for at in 0..text.len() {
                let mut changed = text.clone();
                changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
                assert_eq!(tokens.read(&changed), Token::NotOurs, "{hop:?} at {at}");
                assert_eq!(tokens.read(&text[..at]), Token::NotOurs);
            }
            assert_eq!(FlowTokens::new(&[8; 32], 4).read(&text), Token::NotOurs);
        }
    }

    #[test]
    fn a_token_of_an_earlier_run_tells_what_is_no_flow() {
        for (hop, other) in pairs() {
            let mut text = Vec::new();
            FlowTokens::new(&[7; 32], 4).write(hop, other, &mut text);
            let left = |hop| if matches!(hop, Hop::Flow(_)) { None } else { Some(hop) };
            let expected = match (left(hop), left(other)) {
                (Some(hop), Some(other)) => Token::Ours { hop, other },
                (hop, other) => Token::Earlier { hop, other },
            };
            assert_eq!(FlowTokens::new(&[7; 32], 5).read(&text), expected);
        }
    }
}
