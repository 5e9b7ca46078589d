//! `auth = "jwt"`: which tokens let the users of a domain in.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::Authentication;
use crate::document::{Field, Reading, Section};
use crate::duration::Span;
use crate::report::{Problem, ProblemKind};
use crate::secret::TokenSecret;
use crate::url::{Scheme, WebhookUrl};
use crate::value::{Fault, FromToml, text};

pub(super) const KEYS: &[&str] = &[
    "keys",
    "keys_url",
    "keys_refresh",
    "secret_env",
    "secret_file",
    "issuer",
    "audience",
    "claim",
    "leeway",
    "token_query",
    "token_cookie",
    "outside_claim",
];

/// How often keys are fetched again.
const KEYS_REFRESH: RangeInclusive<Duration> = Duration::from_secs(10)..=Duration::from_secs(86_400);

/// The name of a query parameter or a cookie.
struct ParameterName(String);

impl FromToml for ParameterName {
    fn expected() -> String {
        "a name of letters, digits, `-`, `_` and `.`".to_owned()
    }

    fn from_toml(value: &toml::de::DeValue<'_>) -> Result<Self, Fault> {
        let name = text(value)?;
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.is_empty() || !name.bytes().all(fits) {
            return Err(Fault::value("this is no such name"));
        }
        Ok(Self(name.to_owned()))
    }
}

/// What tokens are signed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenSource {
    /// The file with a public key (PEM) or several (JWKS); it could be read when the configuration was.
    Keys(PathBuf),
    /// The web address with the keys (JWKS), and how often they are fetched again.
    Remote {
        /// Over TLS, or on this machine.
        url: WebhookUrl,
        /// 10 s to a day.
        every: Duration,
    },
    /// A secret shared with who makes the tokens.
    Secret(TokenSecret),
}

/// Which tokens (JWT, RFC 7519) let users of a domain in, and where in the upgrade request they may stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jwt {
    /// What they are signed with.
    pub source: TokenSource,
    /// What `iss` must be.
    pub issuer: Option<String>,
    /// What `aud` must be or hold.
    pub audience: Option<String>,
    /// The claim that names the user.
    pub claim: String,
    /// By how much clocks may differ; whole seconds.
    pub leeway: Duration,
    /// The query parameter with the token.
    pub query: String,
    /// The cookie with the token, if cookies are looked at.
    pub cookie: Option<String>,
}

pub(super) fn read(reading: &mut Reading<'_>, section: &Section<'_>) -> Option<Authentication> {
    let word =
        |reading: &mut Reading<'_>, key| section.field::<String>(reading, key).given().map(|at| at.value);
    let (issuer, audience) = (word(reading, "issuer"), word(reading, "audience"));
    let claim = word(reading, "claim").unwrap_or_else(|| "sub".to_owned());
    let leeway = section.or(reading, "leeway", Span(Duration::from_secs(30))).0;
    let query = section.or(reading, "token_query", ParameterName("access_token".to_owned())).0;
    let cookie = section.field::<ParameterName>(reading, "token_cookie").given().map(|at| at.value.0);
    let source = token_source(reading, section)?;
    let jwt = Jwt { source, issuer, audience, claim, leeway, query, cookie };
    Some(Authentication::Jwt(Box::new(jwt)))
}

/// What tokens are signed with: one thing.
fn token_source(reading: &mut Reading<'_>, section: &Section<'_>) -> Option<TokenSource> {
    let every = section.duration(reading, "keys_refresh", KEYS_REFRESH);
    let keys = section.path_field(reading, "keys");
    let url = section.field::<WebhookUrl>(reading, "keys_url");
    let secret = TokenSecret::read(reading, section)?;
    if let (Field::Given(at), false) = (&every, matches!(url, Field::Given(_))) {
        let problem =
            Problem::new(ProblemKind::NotApplicable, at.span.clone(), "there is nothing to fetch again");
        reading.error(problem.label("keys are fetched from `keys_url` alone").help("remove it"));
        return None;
    }
    let twice = match (&keys, &url, &secret) {
        (Field::Given(at), Field::Given(_), _) => Some((at.span.clone(), "remove `keys` or `keys_url`")),
        (Field::Given(at), _, Some(_)) => {
            Some((at.span.clone(), "remove `keys`, or `secret_env` and `secret_file`"))
        }
        (_, Field::Given(at), Some(_)) => {
            Some((at.span.clone(), "remove `keys_url`, or `secret_env` and `secret_file`"))
        }
        _ => None,
    };
    if let Some((span, help)) = twice {
        reading.error(
            Problem::new(ProblemKind::Conflict, span, "tokens would be signed with two things")
                .label("either with keys whose public half is known here, or with a shared secret")
                .help(help),
        );
        return None;
    }
    match (keys, url, secret) {
        (Field::Faulty, _, _) | (_, Field::Faulty, _) => None,
        (Field::Given(at), _, _) => {
            reading.file("the file with the keys", &at)?;
            Some(TokenSource::Keys(at.value))
        }
        (_, Field::Given(at), _) => {
            if at.value.scheme == Scheme::Http && !at.value.host.is_loopback() {
                reading.error(
                    Problem::new(ProblemKind::BadValue, at.span, "`domain.keys_url` is not protected")
                        .label("whoever is on the way could put in a key of his own")
                        .help("write https://"),
                );
                return None;
            }
            Some(TokenSource::Remote { url: at.value, every: every.or(Duration::from_secs(600)) })
        }
        (_, _, Some(secret)) => Some(TokenSource::Secret(secret)),
        (Field::Absent, Field::Absent, None) => {
            reading.error(
                Problem::new(ProblemKind::MissingKey, section.span.clone(), "`domain.keys` is missing")
                    .label("what are the tokens signed with?")
                    .help("add `keys = \"login.pem\"` (a public key or a JWKS), or `secret_env = \"SIPWAY_TOKEN_SECRET\"` for HS256"),
            );
            None
        }
    }
}
