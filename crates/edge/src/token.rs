//! Flow tokens (RFC 5626 §5.2): a hop, signed, in the user part of a Record-Route of ours. Whoever sends it
//! back gets onto that hop, so nobody else may be able to make one.

use std::net::{IpAddr, SocketAddr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use lifecycle::Incarnation;
use sha2::Sha256;

use crate::hop::{FlowNumber, Hop};

/// Bytes of the signature that are kept (80 bits, as RFC 5626 §5.2 suggests).
const SIGNATURE: usize = 10;

/// Signs and reads tokens.
pub(crate) struct Tokens {
    signer: Hmac<Sha256>,
    incarnation: Incarnation,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens(secret)")
    }
}

/// What a URI's user part is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// We made it, and it names this hop.
    Hop(Hop),
    /// We made it in an earlier run: the flow is gone.
    Stale,
    /// We did not make it.
    NotOurs,
}

impl Tokens {
    pub(crate) fn new(secret: &[u8; 32], incarnation: Incarnation) -> Self {
        let signer = Hmac::new_from_slice(secret).expect("HMAC takes a key of any length");
        Self { signer, incarnation }
    }

    /// Appends the token of a hop.
    pub(crate) fn write(&self, hop: Hop, out: &mut Vec<u8>) {
        let mut plain = [0; 1 + 8 + 8 + 16 + SIGNATURE];
        let length = match hop {
            Hop::Flow(number) => {
                plain[0] = b'f';
                plain[1..9].copy_from_slice(&self.incarnation.to_be_bytes());
                plain[9..17].copy_from_slice(&number.0.to_be_bytes());
                17
            }
            Hop::Udp { listener, remote } => {
                plain[1] = listener;
                plain[2..4].copy_from_slice(&remote.port().to_be_bytes());
                match remote.ip() {
                    IpAddr::V4(ip) => {
                        plain[0] = b'4';
                        plain[4..8].copy_from_slice(&ip.octets());
                        8
                    }
                    IpAddr::V6(ip) => {
                        plain[0] = b'6';
                        plain[4..20].copy_from_slice(&ip.octets());
                        20
                    }
                }
            }
        };
        let (body, rest) = plain.split_at_mut(length);
        let signature = self.signer.clone().chain_update(body).finalize().into_bytes();
        rest[..SIGNATURE].copy_from_slice(&signature[..SIGNATURE]);
        let start = out.len();
        out.resize(start + 64, 0);
        // 43 bytes become 58 characters: there is always room.
        let written =
            URL_SAFE_NO_PAD.encode_slice(&plain[..length + SIGNATURE], &mut out[start..]).unwrap_or(0);
        out.truncate(start + written);
    }

    /// Reads a user part.
    pub(crate) fn read(&self, user: &[u8]) -> Token {
        let mut plain = [0; 64];
        let Ok(length) = URL_SAFE_NO_PAD.decode_slice(user, &mut plain) else { return Token::NotOurs };
        let Some((body, signature)) = plain[..length].split_at_checked(length.saturating_sub(SIGNATURE))
        else {
            return Token::NotOurs;
        };
        if self.signer.clone().chain_update(body).verify_truncated_left(signature).is_err()
            || signature.len() < SIGNATURE
        {
            return Token::NotOurs;
        }
        match *body {
            [b'f', ref rest @ ..] if rest.len() == 16 => {
                let (incarnation, number) = rest.split_at(8);
                if incarnation == self.incarnation.to_be_bytes() {
                    Token::Hop(Hop::Flow(FlowNumber(number.iter().fold(0, |n, &b| n << 8 | u64::from(b)))))
                } else {
                    Token::Stale
                }
            }
            [b'4', listener, p, q, a, b, c, d] => {
                let remote = SocketAddr::from(([a, b, c, d], u16::from_be_bytes([p, q])));
                Token::Hop(Hop::Udp { listener, remote })
            }
            [b'6', listener, p, q, ref ip @ ..] => match <[u8; 16]>::try_from(ip) {
                Ok(ip) => {
                    let remote = SocketAddr::from((ip, u16::from_be_bytes([p, q])));
                    Token::Hop(Hop::Udp { listener, remote })
                }
                Err(_) => Token::NotOurs,
            },
            _ => Token::NotOurs,
        }
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
        ]
    }

    #[test]
    fn a_token_reads_back() {
        let tokens = Tokens::new(&[7; 32], 4);
        for hop in hops() {
            let mut text = Vec::new();
            tokens.write(hop, &mut text);
            assert_eq!(tokens.read(&text), Token::Hop(hop));
        }
    }

    #[test]
    fn any_change_of_it_is_not_ours() {
        let tokens = Tokens::new(&[7; 32], 4);
        for hop in hops() {
            let mut text = Vec::new();
            tokens.write(hop, &mut text);
            for at in 0..text.len() {
                let mut changed = text.clone();
                changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
                assert_ne!(tokens.read(&changed), Token::Hop(hop), "{hop:?} at {at}");
                assert_eq!(tokens.read(&text[..at]), Token::NotOurs);
            }
            assert_eq!(Tokens::new(&[8; 32], 4).read(&text), Token::NotOurs);
        }
    }

    #[test]
    fn a_flow_of_an_earlier_run_is_stale() {
        let mut text = Vec::new();
        Tokens::new(&[7; 32], 4).write(hops()[0], &mut text);
        assert_eq!(Tokens::new(&[7; 32], 5).read(&text), Token::Stale);
    }
}
