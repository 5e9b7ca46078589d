//! Where the secrets of users come from.

use crate::algorithm::{Algorithm, Ha1};
use crate::user_names::Username;
use std::borrow::Cow;
use std::fmt;

/// What a store knows of a user.
#[derive(Clone)]
pub enum Secret<'a> {
    /// The password itself: serves every algorithm.
    Password(Cow<'a, str>),
    /// Hashes for the realm that was asked for: serves the algorithms there is a hash for.
    Hashed(Ha1Set),
    /// Hashes, but none over the name as the client wrote it: a hash is good for one spelling.
    HashedOtherwise,
}

impl fmt::Debug for Secret<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Secret::Password(_) => "Password(secret)",
            Secret::Hashed(_) => "Hashed(secret)",
            Secret::HashedOtherwise => "HashedOtherwise",
        })
    }
}

/// H(A1) of one user in one realm, by algorithm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ha1Set {
    md5: Option<Ha1>,
    sha256: Option<Ha1>,
    sha512_256: Option<Ha1>,
}

impl Ha1Set {
    /// The hash for this algorithm, if there is one.
    pub fn get(&self, algorithm: Algorithm) -> Option<Ha1> {
        match algorithm {
            Algorithm::Md5 => self.md5,
            Algorithm::Sha256 => self.sha256,
            Algorithm::Sha512_256 => self.sha512_256,
        }
    }

    /// Sets the hash for this algorithm and returns the one that was there.
    pub fn set(&mut self, algorithm: Algorithm, ha1: Ha1) -> Option<Ha1> {
        let place = match algorithm {
            Algorithm::Md5 => &mut self.md5,
            Algorithm::Sha256 => &mut self.sha256,
            Algorithm::Sha512_256 => &mut self.sha512_256,
        };
        place.replace(ha1)
    }
}

/// A store of users.
///
/// To keep unauthenticated clients from learning which names exist, an answer should take the same time for a
/// user there is as for one there is not.
pub trait Credentials {
    /// The secret of `user` in `realm`; `None` for nobody. Names are compared byte for byte: of accounts to
    /// find the user, as they are written to find a hash.
    fn lookup(&self, user: Username<'_>, realm: &str) -> Option<Secret<'_>>;
}
