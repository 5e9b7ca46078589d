//! Passwords that a web application makes for a while, as for TURN servers (draft-uberti-behave-turn-rest):
//! the name says until when, `1735689600:ada`, and the password is a signature of the name, in base64.
//! Nothing is stored anywhere.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

/// The hash that the passwords are signed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EphemeralHash {
    /// As TURN servers have it. HMAC needs no hash that resists collisions.
    Sha1,
    /// The same by SHA-256.
    Sha256,
}

/// A secret shared with who makes such passwords. Its `Debug` does not show it.
#[derive(Clone)]
pub struct Ephemeral {
    secret: Vec<u8>,
    hash: EphemeralHash,
}

impl fmt::Debug for Ephemeral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ephemeral({:?}, secret)", self.hash)
    }
}

/// What a name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EphemeralName<'n> {
    /// Until when the password is good, in Unix seconds.
    pub until: u64,
    /// The user; not empty.
    pub user: &'n str,
}

impl<'n> EphemeralName<'n> {
    /// Reads digits, a colon, and the user.
    #[must_use]
    pub fn read(name: &'n str) -> Option<Self> {
        let (until, user) = name.split_once(':')?;
        let digits = !until.is_empty() && until.bytes().all(|byte| byte.is_ascii_digit());
        if !digits || user.is_empty() {
            return None;
        }
        Some(Self { until: until.parse().ok()?, user })
    }
}

impl Ephemeral {
    /// A secret of any length; 32 bytes or more cannot be guessed.
    #[must_use]
    pub fn new(secret: &[u8], hash: EphemeralHash) -> Self {
        Self { secret: secret.to_vec(), hash }
    }

    /// The password that belongs to a name.
    #[must_use]
    pub fn password(&self, name: &str) -> String {
        let key = "HMAC takes a key of any length";
        match self.hash {
            EphemeralHash::Sha1 => {
                let mac = <Hmac<Sha1>>::new_from_slice(&self.secret).expect(key);
                STANDARD.encode(mac.chain_update(name).finalize().into_bytes())
            }
            EphemeralHash::Sha256 => {
                let mac = <Hmac<Sha256>>::new_from_slice(&self.secret).expect(key);
                STANDARD.encode(mac.chain_update(name).finalize().into_bytes())
            }
        }
    }

    /// The password of a name that is good at `now`, in Unix seconds.
    #[must_use]
    pub fn password_of(&self, name: &str, now: u64) -> Option<String> {
        EphemeralName::read(name).filter(|read| read.until > now).map(|_| self.password(name))
    }

    /// Whether a name and a password belong together and are good at `now`, in Unix seconds; what the name
    /// says.
    #[must_use]
    pub fn judge<'n>(&self, name: &'n str, password: &str, now: u64) -> Option<EphemeralName<'n>> {
        let read = EphemeralName::read(name)?;
        let right = self.password(name).as_bytes().ct_eq(password.as_bytes());
        (bool::from(right) && read.until > now).then_some(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By: printf 1433895918:ada | openssl dgst -sha1 -hmac north -binary | base64
    #[test]
    fn passwords_are_those_of_turn_servers() {
        let name = "1433895918:ada";
        for (hash, known) in [
            (EphemeralHash::Sha1, "KJ5PTMBeGkZIwdEVUss3BPdY8wE="),
            (EphemeralHash::Sha256, "GZSGqhpgRPlwi3jLLuuUoH+WfKA5RGHxZ0L+VVwb/f8="),
        ] {
            let shared = Ephemeral::new(b"north", hash);
            let password = shared.password(name);
            assert_eq!(password, known);
            let read = EphemeralName { until: 1_433_895_918, user: "ada" };
            assert_eq!(shared.judge(name, &password, 1_433_895_917), Some(read));
            assert_eq!(shared.judge(name, &password, 1_433_895_918), None, "its time is over");
            assert_eq!(shared.judge("1433895919:ada", &password, 0), None);
            assert_eq!(shared.judge("1433895918:bob", &password, 0), None);
            assert_eq!(Ephemeral::new(b"south", hash).judge(name, &password, 0), None);
            assert_eq!(format!("{shared:?}"), format!("Ephemeral({hash:?}, secret)"));
        }
    }

    #[test]
    fn names_without_a_time_or_a_user_are_none() {
        for name in
            ["", ":", "1:", ":ada", "ada", "+1:ada", "-1:ada", "1 :ada", "99999999999999999999:ada", "x:ada"]
        {
            assert_eq!(EphemeralName::read(name), None, "{name}");
        }
        assert_eq!(EphemeralName::read("7:a:b"), Some(EphemeralName { until: 7, user: "a:b" }));
    }
}
