//! `[[domain]]`: the domains that this server is responsible for, and who may register in them.

mod digest;
mod outside;
mod token;

use std::ops::Range;

use crate::document::{At, Field, Reading, Section, SectionSchema, joined};
use crate::host::Host;
use crate::listener::Listener;
use crate::report::{Problem, ProblemKind};
use crate::tls::TlsMaterial;
use crate::unique::Unique;
use crate::upstream::Upstream;
use crate::value::{Keyword, Name};

use digest::Realm;
pub use digest::{DigestAlgorithm, DigestUri, Ephemeral, EphemeralHash, UserQuery, UserSource};
pub use outside::Outside;
pub use token::{Jwt, TokenSource};

/// The keys of every domain.
const COMMON: &[&str] = &["name", "auth", "backend", "register", "outside", "redirects"];

const KEYS: [&str; COMMON.len() + digest::KEYS.len() + token::KEYS.len()] =
    joined(&[COMMON, digest::KEYS, token::KEYS]);

pub(crate) const SCHEMA: SectionSchema = SectionSchema { header: "[[domain]]", keys: &KEYS };

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

/// What the server does with a redirection (3xx) that a user's device or backend answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Redirects {
    /// The caller gets it.
    Pass,
    /// The call goes to where it leads, as far as requests may go there.
    Follow,
}

impl Keyword for Redirects {
    const CHOICES: &'static [(&'static str, Self)] = &[("pass", Self::Pass), ("follow", Self::Follow)];
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
        /// What the `uri` in credentials may be.
        digest_uri: DigestUri,
        /// The users, unless all passwords are ephemeral.
        users: Option<UserSource>,
        /// Passwords that are good for a while, if there are any.
        ephemeral: Option<Ephemeral>,
    },
    /// Those whom a certificate of their own names, at a listener that asks for one.
    Certificate,
    /// The backend decides: registrations are forwarded to it, with a route back to this server.
    Backend(Registration),
    /// Those whose WebSocket was opened with a token that names them.
    Jwt(Box<Jwt>),
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
    /// What becomes of redirections.
    pub redirects: Redirects,
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
    let sections = top.sections(reading, SCHEMA);
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
        Self {
            name,
            authentication: Authentication::Open,
            backend: None,
            outside: Outside::Nobody,
            redirects: Redirects::Pass,
        }
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
            for keys in [&["auth", "outside"][..], digest::KEYS, token::KEYS] {
                section.not_applicable(
                    reading,
                    keys,
                    "the backend says who may register and call",
                    "remove it, or write register = \"local\"",
                );
            }
            let help = "remove it, or write register = \"local\"";
            section.not_applicable(reading, &["redirects"], "the backend says where calls go", help);
            let backend = Some(backend.given()?.value);
            return Some(Self {
                name: name?.value,
                authentication: Authentication::Backend(registration),
                backend,
                outside: Outside::Users,
                redirects: Redirects::Pass,
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
                    digest::KEYS,
                    "everybody may use this domain: auth = \"open\"",
                    "remove it, or write auth = \"digest\"",
                );
                section.not_applicable(
                    reading,
                    token::KEYS,
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
                section.not_applicable(reading, token::KEYS, why, "remove it, or write auth = \"jwt\"");
                digest::read(reading, section, &name)
            }
            Field::Given(At { value: Auth::Certificate, span }) => {
                for (keys, other) in [(digest::KEYS, "digest"), (token::KEYS, "jwt")] {
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
                section.not_applicable(reading, digest::KEYS, why, "remove it, or write auth = \"digest\"");
                token::read(reading, section)
            }
        };
        let redirects = section.or(reading, "redirects", Redirects::Pass);
        let authentication = authentication?;
        let outside = outside::read(reading, section, &authentication)?;
        Some(Self { name: name?.value, authentication, backend, outside, redirects })
    }
}

fn asks_for_certificates(listener: &Listener) -> bool {
    matches!(listener.transport.tls(), Some(TlsMaterial::Files(files)) if files.clients.is_some())
}
