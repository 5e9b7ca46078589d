//! Secrets: never in the configuration itself, only by the name of a variable or a file.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::document::{At, Field, Reading, Section};
use crate::report::{Problem, ProblemKind};

/// The prefix that Standard Webhooks gives its secrets.
const PREFIX: &str = "whsec_";

/// The key that webhooks are signed with (Standard Webhooks): 24 to 64 bytes. Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret(Vec<u8>);

impl WebhookSecret {
    /// Reads `whsec_` and base64.
    ///
    /// # Errors
    /// Says what is wrong with it, without a word of the secret.
    fn new(text: &str) -> Result<Self, &'static str> {
        let encoded = text.trim().strip_prefix(PREFIX).ok_or("it does not begin with `whsec_`")?;
        let key = STANDARD.decode(encoded).map_err(|_| "what follows `whsec_` is not base64")?;
        match key.len() {
            24..=64 => Ok(Self(key)),
            0..24 => Err("the key is shorter than 24 bytes"),
            _ => Err("the key is longer than 64 bytes"),
        }
    }

    /// The key itself.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Reads the secret that `secret_env` or `secret_file` of the section refers to.
    pub(crate) fn read(reading: &mut Reading<'_>, section: &Section<'_>) -> Option<Self> {
        let found = match SECRET.find(reading, section) {
            Found::Nothing => {
                reading.error(
                    Problem::new(ProblemKind::MissingKey, section.span.clone(), "the webhook has no secret")
                        .label("webhooks are signed")
                        .help("add `secret_env = \"SIPWAY_WEBHOOK_SECRET\"` or `secret_file = \"webhook.secret\"`"),
                );
                return None;
            }
            Found::Faulty => return None,
            Found::Text(found) => found,
        };
        Self::checked(reading, found)
    }

    /// Reads the secret that `previous_secret_env` or `previous_secret_file` refers to; neither need be
    /// there. Gives nothing if there is one that cannot be had, which has been noted then.
    pub(crate) fn read_previous(reading: &mut Reading<'_>, section: &Section<'_>) -> Option<Option<Self>> {
        match PREVIOUS_SECRET.find(reading, section) {
            Found::Nothing => Some(None),
            Found::Faulty => None,
            Found::Text(found) => Self::checked(reading, found).map(Some),
        }
    }

    fn checked(reading: &mut Reading<'_>, found: Referred) -> Option<Self> {
        Self::new(&found.text)
            .map_err(|wrong| {
                reading.error(
                    Problem::new(found.kind, found.span, "this holds no webhook secret")
                        .label(wrong)
                        .help("make one: echo \"whsec_$(openssl rand -base64 32)\""),
                );
            })
            .ok()
    }
}

/// A password for a server. Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// The password itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Reads the password that `password_env` or `password_file` of the section refers to; neither need be
    /// there. Gives nothing if there is one that cannot be had, which has been noted then.
    pub(crate) fn read(reading: &mut Reading<'_>, section: &Section<'_>) -> Option<Option<Self>> {
        let found = match PASSWORD.find(reading, section) {
            Found::Nothing => return Some(None),
            Found::Faulty => return None,
            Found::Text(found) => found,
        };
        let text = found.text.trim_end_matches(['\n', '\r']);
        if text.is_empty() {
            reading.error(
                Problem::new(found.kind, found.span, "this holds no password")
                    .label("it is empty")
                    .help("leave the key out if the server asks for none"),
            );
            return None;
        }
        Some(Some(Self(text.to_owned())))
    }
}

/// The secret that tokens (JWT) or ephemeral passwords are signed with, as it stands there but for line ends
/// behind it. Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenSecret(String);

/// HS256 wants as much (RFC 7518 §3.2).
const SHORTEST_TOKEN_SECRET: usize = 32;

impl TokenSecret {
    /// The secret itself.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Reads the secret that `secret_env` or `secret_file` of the section refers to; neither need be there.
    /// Gives nothing if there is one that cannot be had, which has been noted then.
    pub(crate) fn read(reading: &mut Reading<'_>, section: &Section<'_>) -> Option<Option<Self>> {
        Self::behind(&TOKEN_SECRET, reading, section)
    }

    /// The same for `ephemeral_secret_env` and `ephemeral_secret_file`.
    pub(crate) fn read_ephemeral(reading: &mut Reading<'_>, section: &Section<'_>) -> Option<Option<Self>> {
        Self::behind(&EPHEMERAL_SECRET, reading, section)
    }

    fn behind(keys: &Keys, reading: &mut Reading<'_>, section: &Section<'_>) -> Option<Option<Self>> {
        let found = match keys.find(reading, section) {
            Found::Nothing => return Some(None),
            Found::Faulty => return None,
            Found::Text(found) => found,
        };
        let text = found.text.trim_end_matches(['\n', '\r']);
        if text.len() < SHORTEST_TOKEN_SECRET {
            reading.error(
                Problem::new(found.kind, found.span, format!("this holds no {}", keys.what))
                    .label(format!("fewer than {SHORTEST_TOKEN_SECRET} bytes"))
                    .help("make one: openssl rand -hex 32"),
            );
            return None;
        }
        Some(Some(Self(text.to_owned())))
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret(…)")
    }
}

/// What proves to a registrar that an un-REGISTER is this server's own: 16 to 128 letters, digits, `-` and
/// `_`. Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct UnregisterSecret(String);

/// Shorter ones could be guessed.
const SHORTEST_UNREGISTER_SECRET: usize = 16;

/// Registrars need not take longer header fields.
const LONGEST_UNREGISTER_SECRET: usize = 128;

impl UnregisterSecret {
    /// Takes a text as such a secret, without the white space around it. The characters are those that no
    /// configuration file of a PBX gives a meaning of its own: `;` begins a comment at Asterisk, `/` a
    /// pattern.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        let fits = (SHORTEST_UNREGISTER_SECRET..=LONGEST_UNREGISTER_SECRET).contains(&text.len());
        (plain && fits).then(|| Self(text.to_owned()))
    }

    /// The secret itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Reads the secret that `unregister_secret_env` or `unregister_secret_file` of the section refers to;
    /// neither need be there. Gives nothing if there is one that cannot be had, which has been noted then.
    pub(crate) fn read(reading: &mut Reading<'_>, section: &Section<'_>) -> Option<Option<Self>> {
        let found = match UNREGISTER_SECRET.find(reading, section) {
            Found::Nothing => return Some(None),
            Found::Faulty => return None,
            Found::Text(found) => found,
        };
        let secret = Self::new(&found.text);
        if secret.is_none() {
            let label = format!(
                "not {SHORTEST_UNREGISTER_SECRET} to {LONGEST_UNREGISTER_SECRET} letters, digits, `-` and `_`"
            );
            reading.error(
                Problem::new(found.kind, found.span, "this holds no secret for un-REGISTERs")
                    .label(label)
                    .help("make one: openssl rand -hex 24"),
            );
        }
        secret.map(Some)
    }
}

impl fmt::Debug for UnregisterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UnregisterSecret(…)")
    }
}

/// What lets into the admin API: at least 16 visible ASCII characters. Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct AdminToken(String);

/// Shorter tokens could be guessed.
const SHORTEST_TOKEN: usize = 16;

impl AdminToken {
    /// Takes a text as a token.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        (visible && text.len() >= SHORTEST_TOKEN).then(|| Self(text.to_owned()))
    }

    /// The token itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Reads the token that `token_env` of the section refers to, if there is that key.
    pub(crate) fn read(reading: &mut Reading<'_>, section: &Section<'_>) -> Option<Self> {
        let Found::Text(found) = TOKEN.find(reading, section) else { return None };
        let token = Self::new(&found.text);
        if token.is_none() {
            reading.error(
                Problem::new(found.kind, found.span, "this variable holds no admin token")
                    .label(format!("fewer than {SHORTEST_TOKEN} characters, or some that cannot be seen"))
                    .help("make one: openssl rand -hex 24"),
            );
        }
        token
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken(…)")
    }
}

/// The keys that may refer to a secret.
struct Keys {
    env: &'static str,
    file: Option<&'static str>,
    what: &'static str,
    example: &'static str,
}

const SECRET: Keys =
    Keys { env: "secret_env", file: Some("secret_file"), what: "secret", example: "SIPWAY_WEBHOOK_SECRET" };
const PREVIOUS_SECRET: Keys = Keys {
    env: "previous_secret_env",
    file: Some("previous_secret_file"),
    what: "previous secret",
    example: "SIPWAY_WEBHOOK_SECRET_OLD",
};
const PASSWORD: Keys = Keys {
    env: "password_env",
    file: Some("password_file"),
    what: "password",
    example: "SIPWAY_SINK_PASSWORD",
};
const TOKEN_SECRET: Keys = Keys {
    env: "secret_env",
    file: Some("secret_file"),
    what: "token secret",
    example: "SIPWAY_TOKEN_SECRET",
};
const EPHEMERAL_SECRET: Keys = Keys {
    env: "ephemeral_secret_env",
    file: Some("ephemeral_secret_file"),
    what: "secret for ephemeral passwords",
    example: "SIPWAY_EPHEMERAL_SECRET",
};
const UNREGISTER_SECRET: Keys = Keys {
    env: "unregister_secret_env",
    file: Some("unregister_secret_file"),
    what: "secret for un-REGISTERs",
    example: "SIPWAY_UNREGISTER_SECRET",
};
const TOKEN: Keys = Keys { env: "token_env", file: None, what: "token", example: "SIPWAY_ADMIN_TOKEN" };

/// A secret as it was read, and what is to blame if it is none.
struct Referred {
    text: String,
    span: std::ops::Range<usize>,
    kind: ProblemKind,
}

enum Found {
    /// Neither key is there.
    Nothing,
    /// It cannot be had, and that has been noted.
    Faulty,
    /// This.
    Text(Referred),
}

impl Keys {
    fn find(&self, reading: &mut Reading<'_>, section: &Section<'_>) -> Found {
        let variable = section.field::<String>(reading, self.env);
        let file = self.file.map_or(Field::Absent, |file| section.path_field(reading, file));
        let what = self.what;
        let referred = match (variable, file) {
            (Field::Given(variable), Field::Given(file)) => {
                reading.error(
                    Problem::new(ProblemKind::Conflict, file.span, format!("the {what} is named twice"))
                        .label("either a file")
                        .related(variable.span, "or a variable")
                        .help("remove one of the two"),
                );
                None
            }
            (Field::Absent, Field::Absent) => return Found::Nothing,
            (Field::Given(at), _) => self.variable(reading, &at).map(|text| Referred {
                text,
                span: at.span,
                kind: ProblemKind::BadVariable,
            }),
            (_, Field::Given(at)) => {
                reading.secret_file(&format!("the {what}"), &at).map(|content| Referred {
                    text: String::from_utf8_lossy(&content).into_owned(),
                    span: at.span,
                    kind: ProblemKind::BadFile,
                })
            }
            (Field::Faulty, _) | (_, Field::Faulty) => None,
        };
        referred.map_or(Found::Faulty, Found::Text)
    }

    fn variable(&self, reading: &mut Reading<'_>, at: &At<String>) -> Option<String> {
        if at.value.trim_start().starts_with(PREFIX) {
            // The likeliest slip, and the one that must not be repeated on a screen.
            reading.error(
                Problem::new(ProblemKind::BadValue, at.span.clone(), "a secret stands in the configuration")
                    .label("this must be the name of an environment variable")
                    .help("put the secret into a variable and its name here; and change it, for it may have been seen"),
            );
            return None;
        }
        let first = at.value.as_bytes().first();
        let plain = at.value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !plain || first.is_none_or(u8::is_ascii_digit) {
            reading.error(
                Problem::new(
                    ProblemKind::BadValue,
                    at.span.clone(),
                    format!("`{}` must be the name of an environment variable", self.env),
                )
                .label("not such a name")
                .help(format!("such as \"{}\"", self.example)),
            );
            return None;
        }
        reading.variable(at, self.file)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets() {
        let good = format!("whsec_{}\n", STANDARD.encode([7; 32]));
        let secret = WebhookSecret::new(&good).unwrap();
        assert_eq!(secret.expose(), [7; 32]);
        assert_eq!(format!("{secret:?}"), "WebhookSecret(…)");
        for (wrong, why) in [
            (STANDARD.encode([7; 32]), "it does not begin with `whsec_`"),
            ("whsec_???".to_owned(), "what follows `whsec_` is not base64"),
            (format!("whsec_{}", STANDARD.encode([7; 23])), "the key is shorter than 24 bytes"),
            (format!("whsec_{}", STANDARD.encode([7; 65])), "the key is longer than 64 bytes"),
        ] {
            assert_eq!(WebhookSecret::new(&wrong), Err(why));
        }
        let good = "0123456789abcdef0123456789-_AZ";
        let secret = UnregisterSecret::new(&format!("{good}\n")).unwrap();
        assert_eq!((secret.expose(), format!("{secret:?}").as_str()), (good, "UnregisterSecret(…)"));
        for wrong in
            ["", "0123456789abcde", "0123456789abcdef; a comment", "/0123456789abcdef/", &"a".repeat(129)]
        {
            assert_eq!(UnregisterSecret::new(wrong), None, "{wrong}");
        }
    }
}
