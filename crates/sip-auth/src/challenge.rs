//! A digest challenge as a client reads it from `WWW-Authenticate` or `Proxy-Authenticate`.

use crate::algorithm::Algorithm;
use crate::authenticator::Stale;
use crate::params::{ParamsError, Scheme};

/// Whether the answer counts its uses of the nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Qop {
    /// `qop=auth`.
    Auth,
    /// No `qop` was offered: the answer of RFC 2069.
    Absent,
}

/// A challenge this crate can answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// Whose password is asked for.
    pub realm: String,
    /// To be sent back and hashed.
    pub nonce: String,
    /// To be sent back, if any.
    pub opaque: Option<String>,
    /// How to hash.
    pub algorithm: Algorithm,
    /// Whether to count.
    pub qop: Qop,
    /// Whether only the nonce was at fault.
    pub stale: Stale,
}

/// Why a challenge cannot be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ChallengeError {
    /// A scheme other than Digest.
    #[error("not a digest challenge")]
    OtherScheme,
    /// Not a list of parameters.
    #[error("malformed challenge: {0}")]
    Malformed(#[from] ParamsError),
    /// No `realm` or no `nonce`.
    #[error("no realm or no nonce")]
    MissingParameter,
    /// An algorithm this crate does not have: by RFC 8760 §2.4 the next challenge is to be tried.
    #[error("unknown algorithm")]
    UnknownAlgorithm,
    /// Only `auth-int` or unknown kinds of protection are offered.
    #[error("qop without auth")]
    UnknownQop,
}

impl Challenge {
    /// Reads one header value.
    pub fn parse(value: &[u8]) -> Result<Challenge, ChallengeError> {
        let Scheme::Digest(params) = Scheme::parse(value)? else { return Err(ChallengeError::OtherScheme) };
        let want = |name| params.get(name).map(str::to_owned).ok_or(ChallengeError::MissingParameter);
        let algorithm = match params.get("algorithm") {
            None => Algorithm::Md5,
            Some(name) => Algorithm::from_name(name).ok_or(ChallengeError::UnknownAlgorithm)?,
        };
        let qop = match params.get("qop") {
            None => Qop::Absent,
            Some(offered) if offered.split(',').any(|qop| qop.trim().eq_ignore_ascii_case("auth")) => {
                Qop::Auth
            }
            Some(_) => return Err(ChallengeError::UnknownQop),
        };
        let stale = match params.get("stale") {
            Some(stale) if stale.eq_ignore_ascii_case("true") => Stale::Yes,
            _ => Stale::No,
        };
        let opaque = params.get("opaque").map(str::to_owned);
        Ok(Challenge { realm: want("realm")?, nonce: want("nonce")?, opaque, algorithm, qop, stale })
    }
}
