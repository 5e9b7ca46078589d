//! `auth = "digest"`: the users of a domain and their passwords.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::Authentication;
use crate::document::{At, Field, Reading, Section};
use crate::host::Host;
use crate::report::{Problem, ProblemKind};
use crate::secret::TokenSecret;
use crate::value::{Fault, FromToml, Keyword, text};

pub(super) const KEYS: &[&str] = &[
    "users",
    "users_db",
    "users_query",
    "users_refresh",
    "realm",
    "algorithms",
    "digest_uri",
    "ephemeral_secret_env",
    "ephemeral_secret_file",
    "ephemeral_hash",
];

/// How often a database of users is looked at.
const USERS_REFRESH: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);

/// A hash for digest authentication (RFC 7616, RFC 8760).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DigestAlgorithm {
    /// SHA-512, cut to 256 bits.
    Sha512_256,
    /// SHA-256.
    Sha256,
    /// MD5: the only one that most browser libraries know.
    Md5,
}

impl Keyword for DigestAlgorithm {
    const CHOICES: &'static [(&'static str, Self)] =
        &[("SHA-512-256", Self::Sha512_256), ("SHA-256", Self::Sha256), ("MD5", Self::Md5)];
}

impl DigestAlgorithm {
    /// The token of the `algorithm` parameter.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha512_256 => "SHA-512-256",
            Self::Sha256 => "SHA-256",
            Self::Md5 => "MD5",
        }
    }
}

/// What the `uri` in digest credentials may be (RFC 3261 §22.4, item 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DigestUri {
    /// Anything: the response proves the password over the `uri` as it is written.
    Any,
    /// The Request-URI: the same scheme, user and host.
    Same,
}

impl Keyword for DigestUri {
    const CHOICES: &'static [(&'static str, Self)] = &[("any", Self::Any), ("same", Self::Same)];
}

/// Text that can stand in quotes in a challenge.
pub(super) struct Realm(String);

impl FromToml for Realm {
    fn expected() -> String {
        "text without quotes, backslashes or control characters".to_owned()
    }

    fn from_toml(value: &toml::de::DeValue<'_>) -> Result<Self, Fault> {
        match text(value)? {
            "" => Err(Fault::value("this is empty")),
            realm if realm.chars().any(|c| c.is_control() || matches!(c, '"' | '\\')) => {
                Err(Fault::value("it holds such a character"))
            }
            realm => Ok(Self(realm.to_owned())),
        }
    }
}

/// Where the users of a domain are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserSource {
    /// In a text file; it could be read when the configuration was.
    File(PathBuf),
    /// In an SQLite database.
    Database(UserQuery),
}

/// The users in an SQLite database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserQuery {
    /// The database.
    pub path: PathBuf,
    /// What gives all users: a column `name`, and `password` or hashes (`md5`, `sha256`, `sha512_256`).
    pub query: String,
    /// How often it is looked at whether something has changed: 1 s to an hour.
    pub every: Duration,
}

/// Ephemeral passwords, which everyone with the secret can make, as for TURN servers
/// (draft-uberti-behave-turn-rest).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ephemeral {
    /// What they are signed with.
    pub secret: TokenSecret,
    /// By which hash.
    pub hash: EphemeralHash,
}

/// The hash of ephemeral passwords.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EphemeralHash {
    /// SHA-1, as TURN servers have it.
    Sha1,
    /// SHA-256.
    Sha256,
}

impl Keyword for EphemeralHash {
    const CHOICES: &'static [(&'static str, Self)] = &[("SHA-1", Self::Sha1), ("SHA-256", Self::Sha256)];
}

pub(super) fn read(
    reading: &mut Reading<'_>,
    section: &Section<'_>,
    name: &Option<At<Host>>,
) -> Option<Authentication> {
    let realm = section.field::<Realm>(reading, "realm").given().map(|at| at.value.0);
    let algorithms = section
        .set::<DigestAlgorithm>(reading, "algorithms")
        .given()
        .map_or(vec![DigestAlgorithm::Md5], |list| list.value.into_iter().map(|at| at.value).collect());
    let digest_uri = section.or(reading, "digest_uri", DigestUri::Any);
    let hash = section.field::<EphemeralHash>(reading, "ephemeral_hash");
    let ephemeral = TokenSecret::read_ephemeral(reading, section)?;
    if ephemeral.is_none() {
        let why = "there are no ephemeral passwords without a secret";
        section.not_applicable(reading, &["ephemeral_hash"], why, "remove it, or name a secret");
    }
    let hash = hash.or(EphemeralHash::Sha1);
    let ephemeral = ephemeral.map(|secret| Ephemeral { secret, hash });
    let users = match (user_query(reading, section)?, section.path_field(reading, "users")) {
        (_, Field::Faulty) => return None,
        (Some(_), Field::Given(at)) => {
            reading.error(
                Problem::new(ProblemKind::Conflict, at.span, "the users are in two places")
                    .label("either in a file, or in a database")
                    .help("remove `users` or `users_db`"),
            );
            return None;
        }
        (Some(query), Field::Absent) => Some(UserSource::Database(query)),
        (None, Field::Given(at)) => {
            reading.secret_file("the users file", &at)?;
            Some(UserSource::File(at.value))
        }
        (None, Field::Absent) if ephemeral.is_some() => None,
        (None, Field::Absent) => {
            reading.error(
                Problem::new(ProblemKind::MissingKey, section.span.clone(), "`domain.users` is missing")
                    .label("digest authentication needs a users file")
                    .help("add `users = \"users.txt\"`, or let everybody in by `auth = \"open\"`"),
            );
            return None;
        }
    };
    let realm = realm.or_else(|| name.as_ref().map(|at| at.value.to_string()))?;
    Some(Authentication::Digest { realm, algorithms, digest_uri, users, ephemeral })
}

/// The users in a database, if that is where they are; nothing if something is wrong, which has been noted
/// then.
fn user_query(reading: &mut Reading<'_>, section: &Section<'_>) -> Option<Option<UserQuery>> {
    let path = section.path_field(reading, "users_db");
    if path.is_absent() {
        let why = "the users are in no database";
        section.not_applicable(
            reading,
            &["users_query", "users_refresh"],
            why,
            "remove it, or name `users_db`",
        );
        return Some(None);
    }
    let query = section.required::<String>(
        reading,
        "users_query",
        "\"SELECT username AS name, ha1 AS md5 FROM subscriber\"",
    );
    let every = section.duration(reading, "users_refresh", USERS_REFRESH).or(Duration::from_secs(5));
    let path = path.given()?;
    reading.expect_secret("the database of users", &path);
    let (path, query) = (path.value, query?.value);
    Some(Some(UserQuery { path, query, every }))
}
