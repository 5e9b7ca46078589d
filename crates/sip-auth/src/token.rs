//! Signed tokens (JWT, RFC 7519): the identity that a web login has signed.
//!
//! The key says which algorithm it is used with, never the token: a public key cannot be taken for a shared
//! secret, and `none` is no algorithm.

use std::fmt;

use jsonwebtoken::{
    Algorithm, DecodingKey, Validation, decode, decode_header,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Longest token that is looked at, in bytes.
pub const LONGEST_TOKEN: usize = 4096;

/// Shortest shared secret, in bytes (RFC 7518 §3.2).
pub const SHORTEST_SECRET: usize = 32;

/// Most keys in one file: a token without `kid` is tried with each.
const MOST_KEYS: usize = 16;

/// P-256 and P-384 as they stand in a public key (RFC 5480 §2.1.1.1).
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];

/// Why no key can be had from a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenKeysError {
    /// Neither PEM nor JSON.
    #[error("this is neither a public key in PEM (BEGIN PUBLIC KEY) nor a JWKS (JSON with `keys`)")]
    NoKeys,
    /// No JWKS.
    #[error("this is no JWKS (JSON with `keys`)")]
    NoSet,
    /// The secret half.
    #[error("this is a private key: take its public half (openssl pkey -in key.pem -pubout)")]
    Private,
    /// PEM of something else.
    #[error("this is no RSA, P-256, P-384 or Ed25519 public key")]
    UnknownKind,
    /// A JWKS of which nothing can be used.
    #[error(
        "no key in this JWKS is for signatures by RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 or EdDSA"
    )]
    NoneUsable,
    /// Too many.
    #[error("there are more than {MOST_KEYS} keys in this JWKS")]
    TooMany,
    /// A secret that could be guessed.
    #[error("the secret is shorter than {SHORTEST_SECRET} bytes")]
    ShortSecret,
}

/// Keys that tokens are signed with. Its `Debug` does not show them.
#[derive(Clone)]
pub struct TokenKeys(Vec<Key>);

#[derive(Clone)]
struct Key {
    /// `kid`.
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

impl fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(|key| (&key.id, key.algorithm)).collect();
        f.debug_tuple("TokenKeys").field(&names).finish()
    }
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

impl TokenKeys {
    /// Reads a public key in PEM (RSA for RS256, P-256 for ES256, P-384 for ES384, Ed25519 for EdDSA) or a
    /// JWKS (RFC 7517 §5) with up to 16 keys; what in it is not for signatures, or a shared secret, is left
    /// out.
    ///
    /// # Errors
    /// There is no key that could be used.
    pub fn read(content: &[u8]) -> Result<Self, TokenKeysError> {
        match Self::read_set(content) {
            Err(TokenKeysError::NoSet) => {}
            read => return read,
        }
        let text = String::from_utf8_lossy(content);
        if text.contains("PRIVATE KEY-----") {
            return Err(TokenKeysError::Private);
        }
        if !text.contains("PUBLIC KEY-----") {
            return Err(TokenKeysError::NoKeys);
        }
        from_pem(content).map(|key| Self(vec![key])).ok_or(TokenKeysError::UnknownKind)
    }

    /// Reads a JWKS and nothing else.
    ///
    /// # Errors
    /// There is no key that could be used.
    pub fn read_set(content: &[u8]) -> Result<Self, TokenKeysError> {
        let KeySet { keys } = serde_json::from_slice(content).map_err(|_| TokenKeysError::NoSet)?;
        if keys.len() > MOST_KEYS {
            return Err(TokenKeysError::TooMany);
        }
        let keys: Vec<Key> = keys.into_iter().filter_map(from_jwk).collect();
        if keys.is_empty() { Err(TokenKeysError::NoneUsable) } else { Ok(Self(keys)) }
    }

    /// The keys by their names and algorithms, for people.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|key| match &key.id {
            Some(id) => format!("{id} ({:?})", key.algorithm),
            None => format!("{:?}", key.algorithm),
        })
    }

    /// No key yet: no token is good.
    #[must_use]
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// A secret that is shared with who makes the tokens, for HS256.
    ///
    /// # Errors
    /// It is too short.
    pub fn shared(secret: &[u8]) -> Result<Self, TokenKeysError> {
        if secret.len() < SHORTEST_SECRET {
            return Err(TokenKeysError::ShortSecret);
        }
        let key = DecodingKey::from_secret(secret);
        Ok(Self(vec![Key { id: None, algorithm: Algorithm::HS256, key }]))
    }

    /// What a token says, if one of the keys signed it.
    fn claims(&self, token: &str) -> Result<Map<String, Value>, TokenError> {
        let header = decode_header(token).map_err(|_| TokenError::Malformed)?;
        // It must be understood, and nothing of that is (RFC 7515 §4.1.11).
        if header.crit.is_some() {
            return Err(TokenError::Malformed);
        }
        let named = |key: &&Key| match (&header.kid, &key.id) {
            (Some(asked), Some(id)) => asked == id,
            _ => true,
        };
        let mut refused = TokenError::UnknownKey;
        for key in self.0.iter().filter(named) {
            if key.algorithm != header.alg {
                refused = refused.max(TokenError::WrongAlgorithm);
                continue;
            }
            let mut validation = Validation::new(key.algorithm);
            // Time and names are judged here: by the caller's clock.
            validation.required_spec_claims.clear();
            validation.validate_exp = false;
            validation.validate_nbf = false;
            validation.validate_aud = false;
            match decode(token, &key.key, &validation) {
                Ok(data) => return Ok(data.claims),
                Err(_) => refused = refused.max(TokenError::BadSignature),
            }
        }
        Err(refused)
    }
}

fn from_pem(pem: &[u8]) -> Option<Key> {
    let key = |algorithm, key| Some(Key { id: None, algorithm, key });
    if let Ok(rsa) = DecodingKey::from_rsa_pem(pem) {
        return key(Algorithm::RS256, rsa);
    }
    if let Ok(edwards) = DecodingKey::from_ed_pem(pem) {
        return key(Algorithm::EdDSA, edwards);
    }
    let curve = DecodingKey::from_ec_pem(pem).ok()?;
    let holds = |der: &[u8], name: &[u8]| der.windows(name.len()).any(|window| window == name);
    let der = der(pem)?;
    match (holds(&der, P256), holds(&der, P384)) {
        (true, false) => key(Algorithm::ES256, curve),
        (false, true) => key(Algorithm::ES384, curve),
        _ => None,
    }
}

/// The bytes within PEM.
fn der(pem: &[u8]) -> Option<Vec<u8>> {
    use base64::Engine as _;
    let text = std::str::from_utf8(pem).ok()?;
    let inner = text.split_once("PUBLIC KEY-----")?.1.split_once("-----END")?.0;
    let joined: String = inner.split_whitespace().collect();
    base64::engine::general_purpose::STANDARD.decode(joined).ok()
}

/// A key that can be used, or nothing: sets hold keys for encryption and for other programs, too.
fn from_jwk(value: Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    if matches!(jwk.common.public_key_use, Some(PublicKeyUse::Encryption)) {
        return None;
    }
    let said = jwk.common.key_algorithm;
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => match said {
            None | Some(KeyAlgorithm::RS256) => Algorithm::RS256,
            Some(KeyAlgorithm::RS384) => Algorithm::RS384,
            Some(KeyAlgorithm::RS512) => Algorithm::RS512,
            Some(KeyAlgorithm::PS256) => Algorithm::PS256,
            Some(KeyAlgorithm::PS384) => Algorithm::PS384,
            Some(KeyAlgorithm::PS512) => Algorithm::PS512,
            Some(_) => return None,
        },
        AlgorithmParameters::EllipticCurve(curve) => match curve.curve {
            EllipticCurve::P256 => Algorithm::ES256,
            EllipticCurve::P384 => Algorithm::ES384,
            EllipticCurve::P521 | EllipticCurve::Ed25519 => return None,
        },
        AlgorithmParameters::OctetKeyPair(_) => Algorithm::EdDSA,
        // A secret is no public key: it is kept apart.
        AlgorithmParameters::OctetKey(_) => return None,
    };
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    Some(Key { id: jwk.common.key_id, algorithm, key })
}

/// Which tokens are good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRules {
    /// What `iss` must be.
    pub issuer: Option<String>,
    /// What `aud` must be or hold.
    pub audience: Option<String>,
    /// The claim with the user's name.
    pub claim: String,
    /// A claim that is `true` for those who may do something more, if any is asked for.
    pub grant: Option<String>,
    /// By how many seconds clocks may differ.
    pub leeway: u64,
}

/// What a good token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenHolder {
    /// What the claim holds; not empty.
    pub user: String,
    /// Until when the token is good, with the leeway, in Unix seconds.
    pub until: u64,
    /// Whether [`TokenRules::grant`] is `true` in it.
    pub granted: Granted,
}

/// Whether a token says that its holder may do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Granted {
    /// It says so.
    Yes,
    /// It says that he may not, or nothing of it.
    No,
}

/// Why a token is not good: the later, the nearer it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TokenError {
    /// Over [`LONGEST_TOKEN`].
    TooLong,
    /// No JWT, or of an algorithm that is none.
    Malformed,
    /// No key of its `kid`.
    UnknownKey,
    /// The key is for another algorithm.
    WrongAlgorithm,
    /// The signature is not the key's.
    BadSignature,
    /// `iss`.
    WrongIssuer,
    /// `aud`.
    WrongAudience,
    /// `exp` is missing or no time.
    NoExpiry,
    /// `exp`.
    Expired,
    /// `nbf`.
    NotYet,
    /// The claim is missing or not a name.
    NoUser,
}

impl TokenError {
    /// What is wrong, in words for the other side; nothing of the token.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::TooLong => "The token is longer than 4096 bytes.",
            Self::Malformed => "The token is malformed: it must be a signed JWT.",
            Self::UnknownKey => "The token was signed with a key that this server does not have.",
            Self::WrongAlgorithm => "The token was signed with another algorithm than the key is for.",
            Self::BadSignature => "The token's signature is wrong.",
            Self::WrongIssuer => "The token comes from another issuer.",
            Self::WrongAudience => "The token is for another audience.",
            Self::NoExpiry => "The token has no expiry: `exp` must be in it.",
            Self::Expired => "The token has expired. Get a new one and connect again.",
            Self::NotYet => "The token is not valid yet.",
            Self::NoUser => "The token names no user of this server.",
        }
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for TokenError {}

impl TokenRules {
    /// Judges a token at `now`, in Unix seconds. What it says counts only once its signature is known to be
    /// good.
    ///
    /// # Errors
    /// Why it is not good.
    pub fn judge(&self, keys: &TokenKeys, token: &str, now: u64) -> Result<TokenHolder, TokenError> {
        if token.len() > LONGEST_TOKEN {
            return Err(TokenError::TooLong);
        }
        let claims = keys.claims(token)?;
        if let Some(issuer) = &self.issuer
            && claims.get("iss").and_then(Value::as_str) != Some(issuer)
        {
            return Err(TokenError::WrongIssuer);
        }
        if let Some(audience) = &self.audience {
            let is = |value: &Value| value.as_str() == Some(audience);
            let fits = claims.get("aud").is_some_and(|aud| match aud {
                Value::Array(several) => several.iter().any(is),
                one => is(one),
            });
            if !fits {
                return Err(TokenError::WrongAudience);
            }
        }
        let expires = claims.get("exp").and_then(seconds).ok_or(TokenError::NoExpiry)?;
        let until = expires.saturating_add(self.leeway);
        if until <= now {
            return Err(TokenError::Expired);
        }
        if let Some(begins) = claims.get("nbf")
            && seconds(begins).is_none_or(|begins| begins > now.saturating_add(self.leeway))
        {
            return Err(TokenError::NotYet);
        }
        let user = claims.get(&self.claim).and_then(Value::as_str).filter(|user| !user.is_empty());
        let granted = self.grant.as_ref().is_some_and(|name| claims.get(name) == Some(&Value::Bool(true)));
        let granted = if granted { Granted::Yes } else { Granted::No };
        Ok(TokenHolder { user: user.ok_or(TokenError::NoUser)?.to_owned(), until, granted })
    }
}

/// A NumericDate (RFC 7519 §2), whole seconds; what lies before 1970 is none.
fn seconds(value: &Value) -> Option<u64> {
    if let Some(whole) = value.as_u64() {
        return Some(whole);
    }
    let fraction = value.as_f64().filter(|seconds| (0.0..1e15).contains(seconds))?;
    // In range, as was just seen.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 1e15")]
    Some(fraction as u64)
}

#[cfg(test)]
mod tests;
