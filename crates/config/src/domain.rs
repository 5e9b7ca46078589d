//! `[[domain]]`: the domains that this server is responsible for, and who may register in them.

use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::time::Duration;

use crate::document::{At, Field, Reading, Section, Shape};
use crate::duration::Span;
use crate::host::Host;
use crate::listener::Listener;
use crate::report::{Problem, ProblemKind};
use crate::secret::TokenSecret;
use crate::tls::TlsMaterial;
use crate::unique::Unique;
use crate::upstream::Upstream;
use crate::url::{Scheme, WebhookUrl};
use crate::value::{Fault, FromToml, Keyword, Name, text, unknown_word};

const DIGEST_KEYS: &[&str] = &[
    "users",
    "users_db",
    "users_query",
    "users_refresh",
    "realm",
    "algorithms",
    "ephemeral_secret_env",
    "ephemeral_secret_file",
    "ephemeral_hash",
];
const JWT_KEYS: &[&str] = &[
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

pub(crate) const SHAPE: Shape = Shape {
    header: "[[domain]]",
    keys: &[
        "name",
        "auth",
        "users",
        "users_db",
        "users_query",
        "users_refresh",
        "realm",
        "algorithms",
        "ephemeral_secret_env",
        "ephemeral_secret_file",
        "ephemeral_hash",
        "backend",
        "register",
        "outside",
        "outside_claim",
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
    ],
};

/// How often a database of users is looked at.
const USERS_REFRESH: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);

/// How often keys are fetched again.
const KEYS_REFRESH: RangeInclusive<Duration> = Duration::from_secs(10)..=Duration::from_secs(86_400);

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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Auth {
    Digest,
    Jwt,
    Certificate,
    Open,
}

impl Keyword for Auth {
    const CHOICES: &'static [(&'static str, Self)] = &[
        ("digest", Self::Digest),
        ("jwt", Self::Jwt),
        ("certificate", Self::Certificate),
        ("open", Self::Open),
    ];
}

/// Where the users of a domain with a backend register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Register {
    Local,
    Behind(Registration),
}

impl Keyword for Register {
    const CHOICES: &'static [(&'static str, Self)] = &[
        ("local", Self::Local),
        ("path", Self::Behind(Registration::Path)),
        ("contact-rewrite", Self::Behind(Registration::ContactRewrite)),
        ("auto", Self::Behind(Registration::Both)),
    ];
}

/// By what a registrar behind learns that its users are reached through here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Registration {
    /// By a Path (RFC 3327), which it must save and call along.
    Path,
    /// By Contacts of this server's, which stand for those of the user agents.
    ContactRewrite,
    /// By both: whichever it goes by.
    Both,
}

/// Text that can stand in quotes in a challenge.
struct Realm(String);

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

/// Passwords for a while, that whoever has the secret can make: as for TURN servers (draft-uberti-behave-turn-rest).
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

/// Who may register and call in a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authentication {
    /// Everybody, under any name.
    Open,
    /// Those in the users file, by digest authentication (RFC 3261 §22).
    Digest {
        /// The realm of the challenges.
        realm: String,
        /// The hashes that are offered, most wanted first; never empty.
        algorithms: Vec<DigestAlgorithm>,
        /// The users, unless all passwords are ephemeral.
        users: Option<UserSource>,
        /// Passwords that are good for a while, if there are any.
        ephemeral: Option<Ephemeral>,
    },
    /// Those whom a certificate of their own names, at a listener that asks for one.
    Certificate,
    /// Whoever the backend lets in: registrations are forwarded to it, with what leads back here.
    Backend(Registration),
    /// Those whose WebSocket was opened with a token that names them.
    Jwt(Box<Jwt>),
}

/// Who may send requests to the outside: to a domain's backend, for somebody who is not registered here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outside {
    /// Nobody.
    Nobody,
    /// Every user of the domain who has proved to be one.
    Users,
    /// These users.
    Only(Vec<String>),
    /// Those whose token has this claim, and `true` in it.
    Claim(String),
    /// Everybody, where nobody proves anything.
    Everybody,
}

impl FromToml for Outside {
    fn expected() -> String {
        "\"users\", \"nobody\", \"everybody\" or a list of users".to_owned()
    }

    fn from_toml(value: &toml::de::DeValue<'_>) -> Result<Self, Fault> {
        const WORDS: [(&str, Outside); 3] =
            [("users", Outside::Users), ("nobody", Outside::Nobody), ("everybody", Outside::Everybody)];
        if let Some(names) = value.as_array() {
            let name = |value: &toml::Spanned<toml::de::DeValue<'_>>| match text(value.get_ref())? {
                "" => Err(Fault::value("a name in it is empty")),
                name if name.contains('@') => {
                    let user = name.trim_start_matches("sip:").split('@').next().unwrap_or_default();
                    Err(Fault::mended("names stand in it without the domain", format!("write \"{user}\"")))
                }
                name => Ok(name.to_owned()),
            };
            return names.iter().map(name).collect::<Result<_, _>>().map(Self::Only);
        }
        let word = text(value)?;
        let found = WORDS.iter().find(|(choice, _)| *choice == word);
        found
            .map(|(_, meaning)| meaning.clone())
            .ok_or_else(|| unknown_word(word, WORDS.iter().map(|(choice, _)| *choice)))
    }
}

/// A domain that this server is responsible for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain {
    /// The host part of its addresses-of-record, in lower case.
    pub name: Host,
    /// Who may register and call.
    pub authentication: Authentication,
    /// The upstream that the requests go to which are not for a user registered here, or, with
    /// [`Authentication::Backend`], all that its users send.
    pub backend: Option<Name>,
    /// Who may send requests there, but for [`Authentication::Backend`].
    pub outside: Outside,
}

/// Reads all domains. `outside` is the place of a listener that other machines reach.
pub(crate) fn read(
    reading: &mut Reading<'_>,
    top: &Section<'_>,
    outside: Option<Range<usize>>,
    listeners: &[Listener],
    upstreams: &[Upstream],
) -> Vec<Domain> {
    let before = reading.errors.len();
    let sections = top.sections(reading, SHAPE);
    if sections.is_empty() {
        let faulty = reading.errors.len() > before;
        if let Some(listener) = outside
            && !faulty
        {
            reading.error(
                Problem::new(ProblemKind::MissingKey, listener, "`[[domain]]` is missing")
                    .label("this listener is reachable from other machines: for which domain?")
                    .help("add a `[[domain]]` with `name = \"example.com\"` and `users = \"users.txt\"`"),
            );
        }
        return crate::dev::default_domains();
    }
    let mut names = Unique::new("domain");
    let mut domains = Vec::with_capacity(sections.len());
    for section in &sections {
        if let Some(domain) =
            Domain::read(reading, section, &mut names, outside.as_ref(), (listeners, upstreams))
        {
            domains.push(domain);
        }
    }
    domains
}

impl Domain {
    /// A domain that everybody may use.
    #[must_use]
    pub fn open(name: Host) -> Self {
        Self { name, authentication: Authentication::Open, backend: None, outside: Outside::Nobody }
    }

    fn read(
        reading: &mut Reading<'_>,
        section: &Section<'_>,
        names: &mut Unique,
        outside: Option<&Range<usize>>,
        (listeners, upstreams): (&[Listener], &[Upstream]),
    ) -> Option<Self> {
        let name = section.required::<Host>(reading, "name", "\"example.com\"");
        if let Some(name) = &name {
            names.claim(reading, &name.value.to_string(), name.span.clone());
        }
        let backend = section.field::<Name>(reading, "backend");
        if let Field::Given(at) = &backend
            && !upstreams.iter().any(|upstream| upstream.name == at.value)
        {
            let title = format!("there is no upstream `{}`", at.value.as_str());
            reading.error(
                Problem::new(ProblemKind::BadValue, at.span.clone(), title)
                    .label("or something in it is wrong")
                    .help(format!("add an `[[upstream]]` with `name = \"{}\"`", at.value.as_str())),
            );
        }
        if backend.is_absent() {
            let help = "remove it, or name a `backend`";
            section.not_applicable(reading, &["register"], "users of this domain register here", help);
            section.not_applicable(
                reading,
                &["outside", "outside_claim"],
                "this domain has no outside",
                help,
            );
        }
        let register = section.field::<Register>(reading, "register");
        let register = register.compared(Register::Behind(Registration::Path), Register::Local);
        if !backend.is_absent()
            && let Register::Behind(registration) = register
        {
            for keys in [&["auth", "outside"][..], DIGEST_KEYS, JWT_KEYS] {
                section.not_applicable(
                    reading,
                    keys,
                    "the backend says who may register and call",
                    "remove it, or write register = \"local\"",
                );
            }
            let backend = Some(backend.given()?.value);
            return Some(Self {
                name: name?.value,
                authentication: Authentication::Backend(registration),
                backend,
                outside: Outside::Users,
            });
        }
        let backend = backend.given().map(|at| at.value);
        let authentication = match section.field::<Auth>(reading, "auth") {
            // What the keys beside it should be is not known: judge them by their type alone.
            Field::Faulty => {
                let _ = section.field::<Realm>(reading, "realm");
                let _ = section.set::<DigestAlgorithm>(reading, "algorithms");
                None
            }
            Field::Given(At { value: Auth::Open, span }) => {
                section.not_applicable(
                    reading,
                    DIGEST_KEYS,
                    "everybody may use this domain: auth = \"open\"",
                    "remove it, or write auth = \"digest\"",
                );
                section.not_applicable(
                    reading,
                    JWT_KEYS,
                    "everybody may use this domain: auth = \"open\"",
                    "remove it, or write auth = \"jwt\"",
                );
                if let Some(listener) = outside {
                    reading.warning(
                        Problem::new(ProblemKind::Risky, span, "everybody may register and call")
                            .label("no password is asked")
                            .related(listener.clone(), "other machines reach this listener")
                            .help("write auth = \"digest\" and name a users file"),
                    );
                }
                Some(Authentication::Open)
            }
            Field::Absent | Field::Given(At { value: Auth::Digest, .. }) => {
                let why = "passwords are asked here, not tokens";
                section.not_applicable(reading, JWT_KEYS, why, "remove it, or write auth = \"jwt\"");
                digest(reading, section, &name)
            }
            Field::Given(At { value: Auth::Certificate, span }) => {
                for (keys, other) in [(DIGEST_KEYS, "digest"), (JWT_KEYS, "jwt")] {
                    let help = format!("remove it, or write auth = \"{other}\"");
                    section.not_applicable(reading, keys, "certificates are asked here", &help);
                }
                if !listeners.iter().any(asks_for_certificates) {
                    reading.error(
                        Problem::new(ProblemKind::Conflict, span, "no listener asks for certificates")
                            .label("nobody could be let in")
                            .help("name a `client_ca` in a `wss` or `tls` listener"),
                    );
                    return None;
                }
                Some(Authentication::Certificate)
            }
            Field::Given(At { value: Auth::Jwt, .. }) => {
                let why = "tokens are asked here, not passwords";
                section.not_applicable(reading, DIGEST_KEYS, why, "remove it, or write auth = \"digest\"");
                jwt(reading, section)
            }
        };
        let authentication = authentication?;
        let outside = who_gets_out(reading, section, &authentication)?;
        Some(Self { name: name?.value, authentication, backend, outside })
    }
}

fn asks_for_certificates(listener: &Listener) -> bool {
    matches!(listener.transport.tls(), Some(TlsMaterial::Files(files)) if files.clients.is_some())
}

/// Where nobody proves who they are, nobody gets out unless that is asked for by name: never an open relay by oversight.
fn who_gets_out(
    reading: &mut Reading<'_>,
    section: &Section<'_>,
    authentication: &Authentication,
) -> Option<Outside> {
    let open = *authentication == Authentication::Open;
    let default = if open { Outside::Nobody } else { Outside::Users };
    // Elsewhere it has been noted that there are no claims.
    let claim = match section.field::<String>(reading, "outside_claim") {
        Field::Given(at) if matches!(authentication, Authentication::Jwt(_)) => Some(at),
        Field::Faulty => return None,
        Field::Given(_) | Field::Absent => None,
    };
    let (outside, span) = match (section.field::<Outside>(reading, "outside"), claim) {
        (Field::Faulty, _) => return None,
        (Field::Absent, None) => return Some(default),
        (Field::Absent, Some(claim)) => return Some(Outside::Claim(claim.value)),
        (Field::Given(At { value, span }), None) => (value, span),
        (Field::Given(at), Some(claim)) => {
            reading.error(
                Problem::new(ProblemKind::Conflict, claim.span, "who may call outside is said twice")
                    .label("either the tokens say it")
                    .related(at.span, "or this does")
                    .help("remove one of the two"),
            );
            return None;
        }
    };
    match (&outside, open) {
        (Outside::Everybody, true) => reading.warning(
            Problem::new(ProblemKind::Risky, span, "everybody may call through the backend")
                .label("without a password: whoever reaches this server, at your cost")
                .help("write auth = \"digest\", and leave `outside` out"),
        ),
        (Outside::Users | Outside::Only(_) | Outside::Claim(_), true) => {
            reading.error(
                Problem::new(ProblemKind::Conflict, span, "nobody proves to be a user of this domain")
                    .label("auth = \"open\": anybody could take such a name")
                    .help("write auth = \"digest\", or outside = \"nobody\""),
            );
            return None;
        }
        (Outside::Everybody, false) => {
            reading.error(
                Problem::new(ProblemKind::Conflict, span, "only users of this domain are known")
                    .label("strangers are not let in, neither in nor out")
                    .help("write outside = \"users\""),
            );
            return None;
        }
        (Outside::Users | Outside::Only(_) | Outside::Claim(_), false) | (Outside::Nobody, _) => {}
    }
    Some(outside)
}

fn digest(
    reading: &mut Reading<'_>,
    section: &Section<'_>,
    name: &Option<At<Host>>,
) -> Option<Authentication> {
    let realm = section.field::<Realm>(reading, "realm").given().map(|at| at.value.0);
    let algorithms = section
        .set::<DigestAlgorithm>(reading, "algorithms")
        .given()
        .map_or(vec![DigestAlgorithm::Sha256, DigestAlgorithm::Md5], |list| {
            list.value.into_iter().map(|at| at.value).collect()
        });
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
            reading.file("the users file", &at)?;
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
    Some(Authentication::Digest { realm, algorithms, users, ephemeral })
}

/// The users in a database, if that is where they are; nothing if something is wrong, which has been noted then.
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
    let (path, query) = (path.given()?.value, query?.value);
    Some(Some(UserQuery { path, query, every }))
}

fn jwt(reading: &mut Reading<'_>, section: &Section<'_>) -> Option<Authentication> {
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
