//! The hash algorithms of RFC 7616 and RFC 8760, and the sums digest authentication is made of.

use md5::{Digest, Md5};
use sha2::{Sha256, Sha512_256};
use std::fmt;

/// A digest algorithm. The session variants (`-sess`) are not offered: SIP has no use for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// `MD5`, the only one most SIP clients know; broken as a hash, still asked for everywhere.
    Md5,
    /// `SHA-256`.
    Sha256,
    /// `SHA-512-256`: SHA-512 with its own start values, cut to 256 bits.
    Sha512_256,
}

/// A hash as digest authentication uses it: 16 bytes for MD5, 32 for the others.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Ha1 {
    bytes: [u8; 32],
    len: u8,
}

impl fmt::Debug for Ha1 {
    /// As good as the password within its realm, so never printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ha1(secret)")
    }
}

impl Ha1 {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    fn of(bytes: &[u8]) -> Ha1 {
        let mut hash = Ha1 { bytes: [0; 32], len: 0 };
        for (to, from) in hash.bytes.iter_mut().zip(bytes) {
            *to = *from;
            hash.len += 1;
        }
        hash
    }

    /// From hexadecimal digits of either case; `None` unless there are as many as `algorithm` gives.
    pub fn from_hex(algorithm: Algorithm, hex: &str) -> Option<Ha1> {
        if hex.len() != algorithm.len() * 2 {
            return None;
        }
        let mut bytes = [0; 32];
        for (to, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            *to = hex_digit(pair[0])? << 4 | hex_digit(pair[1])?;
        }
        Some(Ha1::of(&bytes[..algorithm.len()]))
    }

    /// In lower-case hexadecimal digits, as it is hashed again and sent.
    pub fn to_hex(&self) -> String {
        let digits = b"0123456789abcdef";
        let each = self.as_bytes().iter().flat_map(|byte| [byte >> 4, byte & 15]);
        each.map(|nibble| char::from(digits[usize::from(nibble)])).collect()
    }
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

impl Algorithm {
    /// The token in `algorithm=`.
    pub const fn name(self) -> &'static str {
        match self {
            Algorithm::Md5 => "MD5",
            Algorithm::Sha256 => "SHA-256",
            Algorithm::Sha512_256 => "SHA-512-256",
        }
    }

    /// By its token, in any case of letters.
    pub fn from_name(name: &str) -> Option<Algorithm> {
        [Algorithm::Md5, Algorithm::Sha256, Algorithm::Sha512_256]
            .into_iter()
            .find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    const fn len(self) -> usize {
        match self {
            Algorithm::Md5 => 16,
            Algorithm::Sha256 | Algorithm::Sha512_256 => 32,
        }
    }

    /// The hash of the parts with a colon between each two.
    pub(crate) fn hash(self, parts: &[&[u8]]) -> Ha1 {
        fn run<D: Digest>(parts: &[&[u8]]) -> Ha1 {
            let mut digest = D::new();
            for (index, part) in parts.iter().enumerate() {
                if index > 0 {
                    digest.update(b":");
                }
                digest.update(part);
            }
            Ha1::of(&digest.finalize())
        }
        match self {
            Algorithm::Md5 => run::<Md5>(parts),
            Algorithm::Sha256 => run::<Sha256>(parts),
            Algorithm::Sha512_256 => run::<Sha512_256>(parts),
        }
    }

    /// H(A1): what may be stored in place of the password (RFC 7616 §3.4.2).
    pub fn ha1(self, user: &str, realm: &str, password: &str) -> Ha1 {
        self.hash(&[user.as_bytes(), realm.as_bytes(), password.as_bytes()])
    }

    /// The response of RFC 7616 §3.4.1, or of RFC 2069 without `counted`.
    pub(crate) fn response(
        self,
        ha1: &Ha1,
        nonce: &str,
        counted: Option<Counted<'_>>,
        method: &[u8],
        uri: &[u8],
    ) -> Ha1 {
        let ha1 = ha1.to_hex();
        let ha2 = self.hash(&[method, uri]).to_hex();
        match counted {
            Some(Counted { nc, cnonce }) => self.hash(&[
                ha1.as_bytes(),
                nonce.as_bytes(),
                nc.as_bytes(),
                cnonce.as_bytes(),
                b"auth",
                ha2.as_bytes(),
            ]),
            None => self.hash(&[ha1.as_bytes(), nonce.as_bytes(), ha2.as_bytes()]),
        }
    }
}

/// What goes with `qop=auth`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted<'a> {
    /// As sent: 8 hexadecimal digits.
    pub(crate) nc: &'a str,
    pub(crate) cnonce: &'a str,
}
