use jsonwebtoken::{EncodingKey, Header, encode};
use proptest::prelude::*;
use serde_json::json;

use super::*;

const NOW: u64 = 1_800_000_000;
const SHARED: &[u8] = b"0123456789abcdef0123456789abcdef";

fn rules() -> TokenRules {
    TokenRules {
        issuer: Some("login".into()),
        audience: Some("sipway".into()),
        claim: "sub".into(),
        grant: Some("outside".into()),
        leeway: 30,
    }
}

fn claims() -> Value {
    json!({"sub": "ada", "iss": "login", "aud": ["mail", "sipway"], "exp": NOW + 60})
}

/// The claims with these in their place; null takes one away.
fn with(changes: Value) -> Value {
    let mut claims = claims();
    for (key, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(key)),
            value => claims[key] = value.clone(),
        }
    }
    claims
}

fn signed(algorithm: Algorithm, kid: Option<&str>, claims: &Value, key: &EncodingKey) -> String {
    let mut header = Header::new(algorithm);
    header.kid = kid.map(str::to_owned);
    encode(&header, claims, key).unwrap()
}

fn shared(claims: &Value) -> String {
    signed(Algorithm::HS256, None, claims, &EncodingKey::from_secret(SHARED))
}

fn judge(claims: &Value) -> Result<TokenHolder, TokenError> {
    rules().judge(&TokenKeys::shared(SHARED).unwrap(), &shared(claims), NOW)
}

/// The private and the public half, made for these tests and used nowhere else.
const PAIRS: [(Algorithm, &str, &str); 4] = [
    (Algorithm::RS256, include_str!("keys/rsa.pem"), include_str!("keys/rsa.pub.pem")),
    (Algorithm::ES256, include_str!("keys/p256.pem"), include_str!("keys/p256.pub.pem")),
    (Algorithm::ES384, include_str!("keys/p384.pem"), include_str!("keys/p384.pub.pem")),
    (Algorithm::EdDSA, include_str!("keys/ed25519.pem"), include_str!("keys/ed25519.pub.pem")),
];

fn private(algorithm: Algorithm, pem: &str) -> EncodingKey {
    let pem = pem.as_bytes();
    match algorithm {
        Algorithm::RS256 => EncodingKey::from_rsa_pem(pem),
        Algorithm::EdDSA => EncodingKey::from_ed_pem(pem),
        _ => EncodingKey::from_ec_pem(pem),
    }
    .unwrap()
}

#[test]
fn each_kind_of_key_has_its_algorithm() {
    for (algorithm, secret, public) in PAIRS {
        let keys = TokenKeys::read(public.as_bytes()).unwrap();
        let token = signed(algorithm, None, &claims(), &private(algorithm, secret));
        let holder = rules().judge(&keys, &token, NOW).unwrap();
        assert_eq!(
            holder,
            TokenHolder { user: "ada".into(), until: NOW + 90, granted: Granted::No },
            "{algorithm:?}"
        );
        for (other, _, public) in PAIRS {
            let verdict = rules().judge(&TokenKeys::read(public.as_bytes()).unwrap(), &token, NOW);
            assert_eq!(verdict.is_ok(), other == algorithm, "{algorithm:?} by {other:?}");
        }
        assert_eq!(TokenKeys::read(secret.as_bytes()).unwrap_err(), TokenKeysError::Private);
        assert!(!format!("{keys:?}").contains("MI"), "{keys:?}");
    }
}

/// The classic: the public key, which everybody knows, taken for a shared secret; and no signature at all.
#[test]
fn the_key_says_the_algorithm() {
    let (_, _, public) = PAIRS[0];
    let keys = TokenKeys::read(public.as_bytes()).unwrap();
    let forged = signed(Algorithm::HS256, None, &claims(), &EncodingKey::from_secret(public.as_bytes()));
    assert_eq!(rules().judge(&keys, &forged, NOW), Err(TokenError::WrongAlgorithm));
    use base64::Engine as _;
    let part = |value: &Value| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string());
    for name in ["none", "None", "HS0", ""] {
        let bare = format!("{}.{}.", part(&json!({"alg": name, "typ": "JWT"})), part(&claims()));
        assert_eq!(rules().judge(&keys, &bare, NOW), Err(TokenError::Malformed), "{name}");
    }
}

#[test]
fn a_set_has_a_key_for_each_kid() {
    let set = include_bytes!("keys/set.json");
    let keys = TokenKeys::read(set).unwrap();
    assert_eq!(keys.0.len(), 2, "what is for encryption, a secret or unknown is left out: {keys:?}");
    let (p256, ed25519) = (PAIRS[1], PAIRS[3]);
    for (kid, verdict) in [
        (Some("one"), Ok(())),
        (None, Ok(())),
        (Some("two"), Err(TokenError::WrongAlgorithm)),
        (Some("gone"), Err(TokenError::UnknownKey)),
    ] {
        let token = signed(p256.0, kid, &claims(), &private(p256.0, p256.1));
        assert_eq!(rules().judge(&keys, &token, NOW).map(drop), verdict, "{kid:?}");
    }
    let token = signed(ed25519.0, Some("two"), &claims(), &private(ed25519.0, ed25519.1));
    assert!(rules().judge(&keys, &token, NOW).is_ok());
    for (content, error) in [
        (&br#"{"keys": []}"#[..], TokenKeysError::NoneUsable),
        (br#"{"keys": [{"kty": "oct", "k": "AAAA"}, 7]}"#, TokenKeysError::NoneUsable),
        (b"", TokenKeysError::NoKeys),
        (b"-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----", TokenKeysError::UnknownKind),
    ] {
        assert_eq!(TokenKeys::read(content).unwrap_err(), error);
    }
    assert_eq!(TokenKeys::shared(b"short").unwrap_err(), TokenKeysError::ShortSecret);
}

#[test]
fn each_claim_is_judged() {
    for (changes, error) in [
        (json!({"iss": "another"}), TokenError::WrongIssuer),
        (json!({"iss": null}), TokenError::WrongIssuer),
        (json!({"aud": "mail"}), TokenError::WrongAudience),
        (json!({"aud": ["mail"]}), TokenError::WrongAudience),
        (json!({"aud": null}), TokenError::WrongAudience),
        (json!({"exp": NOW - 30}), TokenError::Expired),
        (json!({"exp": null}), TokenError::NoExpiry),
        (json!({"exp": "tomorrow"}), TokenError::NoExpiry),
        (json!({"exp": -5}), TokenError::NoExpiry),
        (json!({"nbf": NOW + 31}), TokenError::NotYet),
        (json!({"nbf": "tomorrow"}), TokenError::NotYet),
        (json!({"sub": null}), TokenError::NoUser),
        (json!({"sub": ""}), TokenError::NoUser),
        (json!({"sub": 7}), TokenError::NoUser),
    ] {
        assert_eq!(judge(&with(changes.clone())), Err(error), "{changes}");
    }
    for good in [
        json!({"aud": "sipway"}),
        json!({"exp": NOW - 29}),
        json!({"exp": 1_900_000_000.5}),
        json!({"exp": u64::MAX}),
        json!({"nbf": NOW + 30}),
    ] {
        assert!(judge(&with(good.clone())).is_ok(), "{good}");
    }
}

#[test]
fn long_tokens_are_not_looked_at() {
    assert_eq!(judge(&with(json!({"more": "x".repeat(LONGEST_TOKEN)}))), Err(TokenError::TooLong));
}

proptest! {
    /// A token with one changed byte is invalid.
    #[test]
    fn no_byte_can_be_changed(at in 0usize..200, to in "[A-Za-z0-9_.-]") {
        let token = shared(&claims());
        let at = at % token.len();
        let changed = format!("{}{to}{}", &token[..at], &token[at + 1..]);
        prop_assume!(changed != token);
        let verdict = rules().judge(&TokenKeys::shared(SHARED).unwrap(), &changed, NOW);
        prop_assert!(verdict.is_err());
        prop_assert!(!verdict.unwrap_err().message().contains(&to.repeat(9)));
    }

    #[test]
    fn garbage_is_refused(garbage in "\\PC{0,100}", bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let keys = TokenKeys::shared(SHARED).unwrap();
        prop_assert!(rules().judge(&keys, &garbage, NOW).is_err());
        let parts = format!("a.{garbage}.b");
        prop_assert!(rules().judge(&keys, &parts, NOW).is_err());
        let _ = TokenKeys::read(&bytes);
    }
}

/// What a token asks to be understood, and nobody here does, makes it none (RFC 7515 section 4.1.11).
#[test]
fn a_token_with_a_critical_extension_is_refused() {
    let mut header = Header::new(Algorithm::HS256);
    header.crit = Some(vec!["exp".into()]);
    let token = encode(&header, &claims(), &EncodingKey::from_secret(SHARED)).unwrap();
    let verdict = rules().judge(&TokenKeys::shared(SHARED).unwrap(), &token, NOW);
    assert_eq!(verdict, Err(TokenError::Malformed));
}

#[test]
fn a_grant_is_true_and_nothing_else() {
    for (claim, granted) in [
        (json!(true), Granted::Yes),
        (json!(false), Granted::No),
        (json!("true"), Granted::No),
        (json!(1), Granted::No),
        (Value::Null, Granted::No),
    ] {
        assert_eq!(judge(&with(json!({"outside": claim}))).unwrap().granted, granted, "{claim}");
    }
}
