//! The signature of Standard Webhooks, symmetric (`v1`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// Signs with one key, or with two while receivers change from one to the other. A request's id may hold full
/// stops: the timestamp between them and the body is a whole number close to the present, which no part of an
/// id is, so one signed text cannot be read in two ways.
#[derive(Clone)]
pub(crate) struct Signer(Vec<Hmac<Sha256>>);

impl Signer {
    pub(crate) fn new<'k>(keys: impl Iterator<Item = &'k [u8]>) -> Self {
        let keyed = |key| Hmac::new_from_slice(key).expect("HMAC takes keys of any length");
        Self(keys.map(keyed).collect())
    }

    /// The value of `webhook-signature`.
    pub(crate) fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let with = |mac: &Hmac<Sha256>| {
            let mut mac = mac.clone();
            mac.update(id.as_bytes());
            mac.update(b".");
            mac.update(timestamp.to_string().as_bytes());
            mac.update(b".");
            mac.update(body);
            format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
        };
        self.0.iter().map(with).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks reference libraries.
    #[test]
    fn signs_as_the_reference_does() {
        let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let sign = |keys: &[&[u8]]| {
            let signer = Signer::new(keys.iter().copied());
            signer.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#)
        };
        let signed = sign(&[&key]);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        // While secrets change, either will do for the receiver.
        assert_eq!(sign(&[&[1; 32], &key]), format!("{} {signed}", sign(&[&[1; 32]])));
    }
}
