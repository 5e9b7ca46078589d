//! Nonces that need no memory: the time, a number of the caller's, and a signature over both and the realm.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

const SIGNED: usize = 16;
const SIGNATURE: usize = 16;

/// Which nonce it is: ordered by the second it was issued in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NonceId {
    /// Unix seconds.
    pub(crate) issued: u64,
    /// Sets those of one second apart.
    pub(crate) salt: u64,
}

/// Makes and recognises nonces of one realm.
#[derive(Clone)]
pub(crate) struct NonceSigner {
    keyed: Hmac<Sha256>,
}

impl NonceSigner {
    pub(crate) fn new(secret: &[u8; 32], realm: &str) -> NonceSigner {
        // A key of any length is fine for HMAC; this one has the right length by its type.
        let mut keyed =
            <Hmac<Sha256> as KeyInit>::new_from_slice(secret).expect("HMAC takes keys of any length");
        keyed.update(b"sip digest nonce:");
        keyed.update(realm.as_bytes());
        keyed.update(&[0]);
        NonceSigner { keyed }
    }

    pub(crate) fn issue(&self, id: NonceId) -> String {
        let mut bytes = [0; SIGNED + SIGNATURE];
        bytes[..8].copy_from_slice(&id.issued.to_be_bytes());
        bytes[8..SIGNED].copy_from_slice(&id.salt.to_be_bytes());
        let signature = self.sign(id);
        bytes[SIGNED..].copy_from_slice(&signature);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// `None` for what was not issued here: another secret, another realm, or no nonce of ours at all.
    pub(crate) fn recognise(&self, nonce: &str) -> Option<NonceId> {
        let mut bytes = [0; SIGNED + SIGNATURE];
        match URL_SAFE_NO_PAD.decode_slice(nonce, &mut bytes) {
            Ok(len) if len == bytes.len() => {}
            _ => return None,
        }
        let number =
            |at: usize| bytes[at..at + 8].iter().fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte));
        let id = NonceId { issued: number(0), salt: number(8) };
        bool::from(self.sign(id).ct_eq(&bytes[SIGNED..])).then_some(id)
    }

    fn sign(&self, id: NonceId) -> [u8; SIGNATURE] {
        let mut mac = self.keyed.clone();
        mac.update(&id.issued.to_be_bytes());
        mac.update(&id.salt.to_be_bytes());
        let full = mac.finalize().into_bytes();
        let mut cut = [0; SIGNATURE];
        cut.copy_from_slice(&full[..SIGNATURE]);
        cut
    }
}

#[cfg(test)]
mod tests;
