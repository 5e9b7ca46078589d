//! The domains that are served, and who may speak for their users.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError, RwLock},
    time::Instant,
};

use config::{Authentication, DigestAlgorithm, Domain, Host, Outside, TokenSource};
use sip_auth::{
    Algorithm, Authenticator, ChallengeReason, PasswordFile, Request, Role, Settings, Stale, TokenError, TokenKeys,
    TokenRules, Verdict,
};
use sip_message::{HeaderId, Message};
use sip_proxy::Answer;
use transport::{Vouched, upgrade};

use crate::{
    admission::Tokens,
    clock,
    metrics::{Count, Metrics},
    sender::Sender,
    upstream::{Number, Upstreams},
};

/// A users file, or one with keys, that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    /// It cannot be read.
    #[error("{}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// A line in it is wrong.
    #[error("{}: {error}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// Which line, and the mend.
        error: sip_auth::PasswordFileError,
    },
    /// It holds no key that tokens could be signed with.
    #[error("{}: {error}", path.display())]
    Keys {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: sip_auth::TokenKeysError,
    },
    /// The secret that tokens are signed with cannot be used.
    #[error("the token secret of domain {domain}: {error}")]
    Secret {
        /// Whose.
        domain: Host,
        /// Why not.
        error: sip_auth::TokenKeysError,
    },
}

/// Who a request proved to come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// This user of the domain.
    User(String),
    /// Anyone: the domain is open.
    NotAsked,
}

#[derive(Debug)]
enum Gate {
    Open,
    /// The backend decides.
    Backend,
    Digest(Box<Digest>),
    Tokens(Box<Tokens>),
}

#[derive(Debug)]
struct Digest {
    authenticator: Mutex<Authenticator>,
    users: RwLock<PasswordFile>,
    realm: String,
}

/// Users and keys that were read again.
#[derive(Default)]
pub(crate) struct NewUsers<'a> {
    users: Vec<(&'a Digest, PasswordFile)>,
    keys: Vec<(&'a Tokens, TokenKeys)>,
}

impl NewUsers<'_> {
    /// From now on only these can prove who they are. Who did so before on an open flow stays.
    pub(crate) fn take_over(self) {
        for (tokens, keys) in self.keys {
            *tokens.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        }
        for (digest, users) in self.users {
            *digest.users.write().unwrap_or_else(PoisonError::into_inner) = users;
        }
    }
}

/// All served domains.
#[derive(Debug)]
pub(crate) struct Domains {
    all: HashMap<Host, Served>,
    /// Those whose users bring tokens, in the order of the configuration.
    by_token: Vec<Host>,
}

#[derive(Debug)]
struct Served {
    gate: Gate,
    backend: Option<Number>,
    outside: Outside,
}

impl Domains {
    /// Reads the users files too.
    ///
    /// # Errors
    /// The first that cannot be used.
    pub(crate) fn new(
        domains: &[Domain],
        upstreams: &Upstreams,
        secret: &[u8; 32],
    ) -> Result<Self, UsersError> {
        let backend = |domain: &Domain| domain.backend.as_ref().and_then(|name| upstreams.find(name));
        let all = domains.iter().map(|domain| {
            let served = Served { gate: gate(domain, secret)?, backend: backend(domain), outside: domain.outside.clone() };
            Ok((domain.name.clone(), served))
        });
        let by_token = |domain: &&Domain| matches!(domain.authentication, Authentication::Jwt(_));
        Ok(Self {
            all: all.collect::<Result<_, UsersError>>()?,
            by_token: domains.iter().filter(by_token).map(|domain| domain.name.clone()).collect(),
        })
    }

    /// Reads the users files of these domains again, as far as they have the gate that they had; takes them over with
    /// [`NewUsers::take_over`].
    ///
    /// # Errors
    /// The first that cannot be used.
    pub(crate) fn read_again(&self, domains: &[Domain]) -> Result<NewUsers<'_>, UsersError> {
        let mut read = NewUsers::default();
        for domain in domains {
            match (self.all.get(&domain.name).map(|served| &served.gate), &domain.authentication) {
                (Some(Gate::Digest(digest)), Authentication::Digest { users, .. }) => {
                    read.users.push((&**digest, read_users(users)?));
                }
                (Some(Gate::Tokens(tokens)), Authentication::Jwt(jwt)) => {
                    read.keys.push((&**tokens, read_keys(&domain.name, &jwt.source)?));
                }
                _ => {}
            }
        }
        Ok(read)
    }

    /// Whether the host of a URI is a served domain.
    pub(crate) fn find(&self, host: &sip_message::Host<'_>) -> Option<DomainRef<'_>> {
        let text = host.to_string();
        let host = Host::new(&text)?;
        self.all.get(&host).map(DomainRef)
    }

    /// Whether the value of an Authorization or Proxy-Authorization answers what we asked for, and is nobody else's business.
    pub(crate) fn asked_for(&self, value: &[u8]) -> bool {
        match sip_auth::Meant::of(value) {
            sip_auth::Meant::Realm(realm) => self.all.values().any(
                |served| matches!(&served.gate, Gate::Digest(digest) if digest.realm == realm),
            ),
            sip_auth::Meant::Bearer => !self.by_token.is_empty(),
            sip_auth::Meant::Others => false,
        }
    }

    /// Who asks for a WebSocket. Without a token nobody is let in where every domain wants one.
    ///
    /// # Errors
    /// What is wrong with the token, or that there must be one.
    pub(crate) fn admit(
        &self,
        request: &upgrade::Request<'_>,
        now: Instant,
    ) -> Result<Option<Vouched>, upgrade::Refusal> {
        let at = (now, clock::seconds());
        let mut refused: Option<TokenError> = None;
        for domain in &self.by_token {
            if let Some(Served { gate: Gate::Tokens(tokens), .. }) = self.all.get(domain)
                && let Some(token) = tokens.find(request)
            {
                match tokens.judge(token, at) {
                    Ok(vouched) => return Ok(Some(vouched)),
                    Err(error) => refused = refused.max(Some(error)),
                }
            }
        }
        match refused {
            Some(error) => Err(upgrade::Refusal::Unauthorized { why: error.message() }),
            None if self.by_token.len() < self.all.len() || self.all.is_empty() => Ok(None),
            None => Err(upgrade::Refusal::Unauthorized { why: NO_TOKEN }),
        }
    }
}

/// What a request without token is told.
const NO_TOKEN: &str = "A token is missing. Send one as 'Authorization: Bearer TOKEN', as sub-protocol (new WebSocket(url, ['sip', \
    'bearer.TOKEN'])) or in the query, as this server's owner says.";

fn read_keys(domain: &Host, source: &TokenSource) -> Result<TokenKeys, UsersError> {
    match source {
        TokenSource::Keys(file) => {
            let path = || file.to_owned();
            let content = fs::read(file).map_err(|error| UsersError::Unreadable { path: path(), error })?;
            TokenKeys::read(&content).map_err(|error| UsersError::Keys { path: path(), error })
        }
        TokenSource::Secret(secret) => TokenKeys::shared(secret.expose())
            .map_err(|error| UsersError::Secret { domain: domain.clone(), error }),
    }
}

fn read_users(file: &Path) -> Result<PasswordFile, UsersError> {
    let path = || file.to_owned();
    let content = fs::read(file).map_err(|error| UsersError::Unreadable { path: path(), error })?;
    PasswordFile::parse(&content).map_err(|error| UsersError::Wrong { path: path(), error })
}

fn gate(domain: &Domain, secret: &[u8; 32]) -> Result<Gate, UsersError> {
    let (realm, algorithms, users) = match &domain.authentication {
        Authentication::Open => return Ok(Gate::Open),
        Authentication::Backend => return Ok(Gate::Backend),
        Authentication::Jwt(jwt) => {
            return Ok(Gate::Tokens(Box::new(Tokens {
                domain: domain.name.clone(),
                keys: RwLock::new(read_keys(&domain.name, &jwt.source)?),
                rules: TokenRules {
                    issuer: jwt.issuer.clone(),
                    audience: jwt.audience.clone(),
                    claim: jwt.claim.clone(),
                    leeway: jwt.leeway.as_secs(),
                },
                query: jwt.query.clone(),
                cookie: jwt.cookie.clone(),
            })));
        }
        Authentication::Digest { realm, algorithms, users } => (realm, algorithms, users),
    };
    let users = RwLock::new(read_users(users)?);
    let mut settings = Settings::new(realm.clone());
    settings.algorithms = algorithms
        .iter()
        .map(|algorithm| match algorithm {
            DigestAlgorithm::Sha512_256 => Algorithm::Sha512_256,
            DigestAlgorithm::Sha256 => Algorithm::Sha256,
            DigestAlgorithm::Md5 => Algorithm::Md5,
        })
        .collect();
    let authenticator = Mutex::new(Authenticator::new(settings, secret));
    Ok(Gate::Digest(Box::new(Digest { authenticator, users, realm: realm.clone() })))
}

/// One served domain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DomainRef<'a>(&'a Served);

impl DomainRef<'_> {
    /// Who sent this request. `salt` must be a random number.
    ///
    /// # Errors
    /// What to answer: a challenge, or 400 for credentials that no client should send.
    pub(crate) fn prove(
        self,
        request: &Message<'_>,
        role: Role,
        salt: u64,
        metrics: &Metrics,
    ) -> Result<Proof, Answer> {
        let digest = match &self.0.gate {
            Gate::Open | Gate::Backend => return Ok(Proof::NotAsked),
            // Nothing in a request proves anything there: see `is_by_token`.
            Gate::Tokens(_) => {
                return Err(Answer::new(403, "A Token Is Needed When The WebSocket Is Opened"));
            }
            Gate::Digest(digest) => digest,
        };
        let Digest { authenticator, users, .. } = &**digest;
        let header = match role {
            Role::UserAgent => HeaderId::Authorization,
            Role::Proxy => HeaderId::ProxyAuthorization,
        };
        let asked = Request {
            method: request.method().map_or(b"", |method| method.as_bytes()),
            uri: request.request_uri_bytes().unwrap_or_default(),
        };
        let now = clock::seconds();
        // A panic under this lock is a bug of ours; what it guards stays usable.
        let mut authenticator = authenticator.lock().unwrap_or_else(PoisonError::into_inner);
        let users = users.read().unwrap_or_else(PoisonError::into_inner);
        let credentials: Vec<&[u8]> = request.all(header).map(|header| header.value).collect();
        match authenticator.verify(asked, credentials, &*users, now) {
            Verdict::Accept { username } => Ok(Proof::User(username)),
            Verdict::Challenge { stale, reason } => {
                metrics.add(Count::Challenges);
                match reason {
                    ChallengeReason::WrongCredentials => metrics.add(Count::WrongCredentials),
                    ChallengeReason::ReplayedCount => metrics.add(Count::CredentialsReplayed),
                    ChallengeReason::NoCredentials
                    | ChallengeReason::NotOffered
                    | ChallengeReason::ForeignNonce
                    | ChallengeReason::ExpiredNonce => {}
                }
                Err(challenge(&authenticator, role, stale, salt, now))
            }
            Verdict::Refuse { reason } => Err(Answer::new(400, format!("Bad Credentials: {reason}"))),
        }
    }

    /// Whether a request goes to the outside: to the server behind a domain, for somebody who is not registered here.
    ///
    /// # Errors
    /// What to answer to one who may not.
    pub(crate) fn lets_out(self, sender: &Sender<'_>, metrics: &Metrics) -> Result<(), Answer> {
        let may = match (sender, &self.0.outside) {
            (Sender::Behind, _) => true,
            (Sender::Anybody(_), Outside::Everybody) => self.is_home_of(sender),
            (Sender::User { .. }, Outside::Users) => self.is_home_of(sender),
            (Sender::User { name, .. }, Outside::Only(names)) => {
                self.is_home_of(sender) && names.iter().any(|one| one.as_bytes() == name)
            }
            (Sender::Anybody(_), Outside::Users | Outside::Only(_))
            | (Sender::User { .. }, Outside::Everybody)
            | (_, Outside::Nobody) => false,
        };
        if may {
            return Ok(());
        }
        metrics.add(Count::OutsideRefused);
        Err(Answer::new(403, "Not Allowed To Call Outside"))
    }

    /// Whether somebody is a user of this domain, or says so where no proof is asked; or is a server behind us.
    pub(crate) fn is_home_of(self, sender: &Sender<'_>) -> bool {
        match sender {
            Sender::Behind => true,
            Sender::User { home, .. } | Sender::Anybody(Some(home)) => std::ptr::eq(self.0, home.0),
            Sender::Anybody(None) => false,
        }
    }

    /// Whether requests of its users must prove who sent them.
    pub(crate) fn is_open(self) -> bool {
        matches!(self.0.gate, Gate::Open)
    }

    /// The upstream that requests go to which are not for a user registered here.
    pub(crate) fn backend(self) -> Option<Number> {
        self.0.backend
    }

    /// The upstream that its users register at; none if they do so here.
    pub(crate) fn registrar(self) -> Option<Number> {
        self.0.backend.filter(|_| matches!(self.0.gate, Gate::Backend))
    }

    /// Whether its users are known by the token that their WebSocket was opened with, and by nothing else.
    pub(crate) fn is_by_token(self) -> bool {
        matches!(self.0.gate, Gate::Tokens(_))
    }

    /// Whether a user of this name can exist.
    pub(crate) fn may_have(self, user: &str) -> bool {
        match &self.0.gate {
            Gate::Open | Gate::Backend | Gate::Tokens(_) => true,
            Gate::Digest(digest) => {
                let users = digest.users.read().unwrap_or_else(PoisonError::into_inner);
                sip_auth::Credentials::lookup(&*users, user, &digest.realm).is_some()
            }
        }
    }
}

fn challenge(authenticator: &Authenticator, role: Role, stale: Stale, salt: u64, now: u64) -> Answer {
    let reason = if role == Role::Proxy { "Proxy Authentication Required" } else { "Unauthorized" };
    let answer = Answer::new(role.status(), reason);
    let challenges = authenticator.challenges(stale, salt, now);
    challenges.into_iter().fold(answer, |answer, value| answer.header(role.challenge_header(), value))
}
