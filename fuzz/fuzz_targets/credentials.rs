//! Tokens, passwords and keys: reading them never panics, and nobody is let in by what nobody has signed.
#![no_main]

use std::sync::LazyLock;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use libfuzzer_sys::fuzz_target;
use sha2::Sha256;
use sip_auth::{
    Authenticator, Challenge, CredentialsScope, Ephemeral, EphemeralHash, EphemeralName, Request, Settings,
    TokenKeys, TokenRules, UserNames, UserTable, Verdict, bearer_token,
};

const NOW: u64 = 1_800_000_000;
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

static KEYS: LazyLock<TokenKeys> = LazyLock::new(|| TokenKeys::shared(SECRET).unwrap());
static USERS: LazyLock<UserTable> =
    LazyLock::new(|| UserTable::parse(b"alice:wonder\n", &UserNames::default()).unwrap());
static RULES: LazyLock<TokenRules> = LazyLock::new(|| TokenRules {
    issuer: None,
    audience: None,
    claim: "sub".into(),
    grant: Some("outside".into()),
    leeway: 30,
});

/// A token that says this, by the right hand.
fn signed(claims: &[u8]) -> String {
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let text = format!("{}.{}", part(br#"{"alg":"HS256"}"#), part(claims));
    let mac = Hmac::<Sha256>::new_from_slice(SECRET).unwrap().chain_update(&text);
    format!("{text}.{}", part(&mac.finalize().into_bytes()))
}

fuzz_target!(|bytes: &[u8]| {
    let _ = (
        CredentialsScope::of(bytes),
        Challenge::parse(bytes),
        UserTable::parse(bytes, &UserNames::default()),
        TokenKeys::read(bytes),
    );
    if let Some(token) = bearer_token(bytes) {
        assert!(RULES.judge(&KEYS, token, NOW).is_err());
    }
    if let Ok(holder) = RULES.judge(&KEYS, &signed(bytes), NOW) {
        assert!(!holder.user.is_empty() && holder.until > NOW);
    }
    let mut authenticator = Authenticator::new(Settings::new("example.com"), &[7; 32]);
    let request = Request { method: b"REGISTER", uri: b"sip:example.com" };
    let verdict = authenticator.verify(request, [bytes], &*USERS, NOW);
    assert!(!matches!(verdict, Verdict::Accept { .. }));
    if let Ok(text) = std::str::from_utf8(bytes) {
        assert!(RULES.judge(&KEYS, text, NOW).is_err());
        let shared = Ephemeral::new(SECRET, EphemeralHash::Sha1);
        if let Some(name) = EphemeralName::read(text) {
            assert!(!name.user.is_empty() && shared.judge(text, text, 0).is_none());
        }
    }
});
