//! The domains that are served, and who may speak for their users.

use std::{
    collections::HashMap,
    fs,
    path::PathBuf,
    sync::{Mutex, PoisonError, RwLock},
    time::Instant,
};

use config::{Authentication, DigestAlgorithm, Domain, Host, Outside, Registration, TokenSource, UserSource};
use defence::Offence;
use lifecycle::Text;
use sip_auth::{
    Algorithm, Authenticator, ChallengeReason, Credentials, Ephemeral, EphemeralHash, EphemeralName, Request,
    Role, Secret, Settings, Stale, TokenError, TokenKeys, TokenRules, UserTable, Verdict,
};
use sip_message::{HeaderId, Message};
use sip_proxy::Answer;
use transport::{Grant, Vouched, upgrade};

use crate::{
    admission::{Tokens, identity, named_in_query, vouched_for},
    clock,
    jwks::Remote,
    metrics::{Count, Metrics},
    register::LONGEST_IDENTITY,
    sender::Sender,
    upstream::{Number, Upstreams},
    user_database::{self, DatabaseError, UserDatabase},
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
    /// It is a database, and they cannot be had from it.
    #[error("{}: {error}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: DatabaseError,
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
    /// This one, for as long as its credentials are good.
    Vouched(Vouched),
    /// Anyone: the domain is open.
    NotAsked,
}

#[derive(Debug)]
enum Gate {
    Open,
    /// The backend decides.
    Backend(Registration),
    /// The client's certificate, when its connection was made.
    Certificate,
    Digest(Box<Digest>),
    Tokens(Box<Tokens>),
}

#[derive(Debug)]
struct Digest {
    domain: Host,
    authenticator: Mutex<Authenticator>,
    passwords: RwLock<Passwords>,
    /// Where the users come from, if that is a database.
    database: Option<UserDatabase>,
    realm: String,
}

/// The passwords of a domain.
#[derive(Debug)]
struct Passwords {
    users: UserTable,
    ephemeral: Option<Ephemeral>,
}

impl Passwords {
    /// The user of a name, and until when, if its password is good for a while.
    fn for_a_while<'n>(&self, name: &'n str) -> Option<EphemeralName<'n>> {
        self.ephemeral.as_ref().and_then(|_| EphemeralName::read(name))
    }
}

/// The passwords that are good at a time, in Unix seconds.
struct Good<'p>(&'p Passwords, u64);

impl Credentials for Good<'_> {
    fn lookup(&self, user: &str, realm: &str) -> Option<Secret<'_>> {
        let Self(Passwords { users, ephemeral }, now) = self;
        match ephemeral.as_ref().and_then(|ephemeral| ephemeral.password_of(user, *now)) {
            Some(password) => Some(Secret::Password(password.into())),
            // No name in a file has a colon.
            None => users.lookup(user, realm),
        }
    }
}

/// Users and keys that were read again.
#[derive(Default)]
pub(crate) struct NewUsers<'a> {
    users: Vec<(&'a Digest, Passwords)>,
    keys: Vec<(&'a Tokens, TokenKeys)>,
}

impl NewUsers<'_> {
    /// From now on only these can prove who they are. Who did so before on an open flow stays.
    pub(crate) fn take_over(self) {
        for (tokens, keys) in self.keys {
            tokens.replace_keys(keys);
        }
        for (digest, passwords) in self.users {
            *digest.passwords.write().unwrap_or_else(PoisonError::into_inner) = passwords;
        }
    }
}

/// All served domains.
#[derive(Debug)]
pub(crate) struct Domains {
    all: HashMap<Host, Served>,
    /// Those whose users bring tokens, in the order of the configuration.
    by_token: Vec<Host>,
    /// Those whose users can prove who they are when they open a WebSocket, in the order of the configuration.
    vouching: Vec<Host>,
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
            let served = Served {
                gate: gate(domain, secret)?,
                backend: backend(domain),
                outside: domain.outside.clone(),
            };
            Ok((domain.name.clone(), served))
        });
        let by_token = |domain: &&Domain| matches!(domain.authentication, Authentication::Jwt(_));
        let vouching = |domain: &&Domain| match &domain.authentication {
            Authentication::Jwt(_) => true,
            Authentication::Digest { ephemeral, .. } => ephemeral.is_some(),
            Authentication::Open | Authentication::Backend(_) | Authentication::Certificate => false,
        };
        Ok(Self {
            vouching: domains.iter().filter(vouching).map(|domain| domain.name.clone()).collect(),
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
                (Some(Gate::Digest(digest)), Authentication::Digest { users, ephemeral, realm, .. }) => {
                    read.users.push((&**digest, read_passwords(users.as_ref(), realm, ephemeral.as_ref())?));
                }
                (Some(Gate::Tokens(tokens)), Authentication::Jwt(jwt)) => {
                    match read_keys(&domain.name, &jwt.source)? {
                        Some(keys) => read.keys.push((&**tokens, keys)),
                        None => tokens.remote.iter().for_each(Remote::want),
                    }
                }
                _ => {}
            }
        }
        Ok(read)
    }

    /// The domains whose users bring tokens.
    pub(crate) fn by_token(&self) -> &[Host] {
        &self.by_token
    }

    /// The address-of-record of a user, `user@domain`, whose domain is ours and asks for a proof.
    pub(crate) fn identity(&self, name: &str) -> Option<Text<LONGEST_IDENTITY>> {
        let domain = Host::new(name.rsplit_once('@')?.1)?;
        match &self.all.get(&domain)?.gate {
            Gate::Open | Gate::Backend(_) => None,
            Gate::Certificate | Gate::Digest(_) | Gate::Tokens(_) => identity(name, &domain),
        }
    }

    /// The domains whose users are in a database.
    pub(crate) fn by_database(&self) -> impl Iterator<Item = &Host> {
        self.all.keys().filter(|domain| self.database(domain).is_some())
    }

    /// The database with the users of a domain.
    pub(crate) fn database(&self, domain: &Host) -> Option<&UserDatabase> {
        self.digest(domain)?.database.as_ref()
    }

    /// From now on only these can prove who they are. Who did so before on an open flow stays.
    pub(crate) fn replace_users(&self, domain: &Host, users: UserTable) {
        if let Some(digest) = self.digest(domain) {
            digest.passwords.write().unwrap_or_else(PoisonError::into_inner).users = users;
        }
    }

    fn digest(&self, domain: &Host) -> Option<&Digest> {
        match &self.all.get(domain)?.gate {
            Gate::Digest(digest) => Some(digest),
            Gate::Open | Gate::Backend(_) | Gate::Certificate | Gate::Tokens(_) => None,
        }
    }

    /// The tokens of a domain whose users bring some.
    pub(crate) fn tokens(&self, domain: &Host) -> Option<&Tokens> {
        match &self.all.get(domain)?.gate {
            Gate::Tokens(tokens) => Some(tokens),
            Gate::Open | Gate::Backend(_) | Gate::Certificate | Gate::Digest(_) => None,
        }
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
            sip_auth::Meant::Realm(realm) => self
                .all
                .values()
                .any(|served| matches!(&served.gate, Gate::Digest(digest) if digest.realm == realm)),
            sip_auth::Meant::Bearer => !self.by_token.is_empty(),
            sip_auth::Meant::Others => false,
        }
    }

    /// Who asks for a WebSocket. Without a token nobody is let in where every domain wants one.
    ///
    /// # Errors
    /// What is wrong with the token, or that there must be one; and what is remembered of it.
    pub(crate) fn admit(
        &self,
        request: &upgrade::Request<'_>,
        now: Instant,
    ) -> Result<Option<Vouched>, (upgrade::Refusal, Option<Offence>)> {
        let at = (now, clock::seconds());
        let mut refused: Option<&'static str> = None;
        let mut worst: Option<TokenError> = None;
        for served in self.vouching.iter().filter_map(|domain| self.all.get(domain)) {
            match &served.gate {
                Gate::Tokens(tokens) => match tokens.find(request).map(|token| tokens.judge(token, at)) {
                    None => {}
                    Some(Ok(vouched)) => return Ok(Some(vouched)),
                    Some(Err(error)) => worst = worst.max(Some(error)),
                },
                Gate::Digest(digest) => match digest.judge(request, at) {
                    None => {}
                    Some(Some(vouched)) => return Ok(Some(vouched)),
                    Some(None) => refused = Some(BAD_PASSWORD),
                },
                Gate::Open | Gate::Backend(_) | Gate::Certificate => {}
            }
        }
        if let Some(error) = worst {
            // A login made the token that has expired: its holder is no burglar.
            let offence = (error != TokenError::Expired).then_some(Offence::Credentials);
            return Err((upgrade::Refusal::Unauthorized { why: error.message() }, offence));
        }
        if let Some(why) = refused {
            return Err((upgrade::Refusal::Unauthorized { why }, Some(Offence::Credentials)));
        }
        if self.by_token.len() < self.all.len() || self.all.is_empty() {
            return Ok(None);
        }
        Err((upgrade::Refusal::Unauthorized { why: NO_TOKEN }, None))
    }
}

impl Digest {
    /// Who asks for a WebSocket, by the ephemeral password in the query; none if there is none in it, or none is taken here.
    fn judge(&self, request: &upgrade::Request<'_>, at: (Instant, u64)) -> Option<Option<Vouched>> {
        let passwords = self.passwords.read().unwrap_or_else(PoisonError::into_inner);
        let ephemeral = passwords.ephemeral.as_ref()?;
        let (name, password) = named_in_query(request)?;
        let name = ephemeral.judge(&name, &password, at.1);
        Some(name.and_then(|name| vouched_for(name, &self.domain, at)))
    }
}

/// What a request with an ephemeral password that is not good is told.
const BAD_PASSWORD: &str = "The password is wrong, or its time is over. Get a new one and connect again.";

/// What a request without token is told.
const NO_TOKEN: &str = "A token is missing. Send one as 'Authorization: Bearer TOKEN', as sub-protocol (new WebSocket(url, ['sip', \
    'bearer.TOKEN'])) or in the query, as this server's owner says.";

/// The keys that can be had at once; none where they come from elsewhere.
fn read_keys(domain: &Host, source: &TokenSource) -> Result<Option<TokenKeys>, UsersError> {
    let keys = match source {
        TokenSource::Remote { .. } => return Ok(None),
        TokenSource::Keys(file) => {
            let path = || file.to_owned();
            let content = fs::read(file).map_err(|error| UsersError::Unreadable { path: path(), error })?;
            TokenKeys::read(&content).map_err(|error| UsersError::Keys { path: path(), error })
        }
        TokenSource::Secret(secret) => TokenKeys::shared(secret.expose())
            .map_err(|error| UsersError::Secret { domain: domain.clone(), error }),
    };
    keys.map(Some)
}

fn read_users(source: &UserSource, realm: &str) -> Result<UserTable, UsersError> {
    match source {
        UserSource::File(file) => {
            let path = || file.to_owned();
            let content = fs::read(file).map_err(|error| UsersError::Unreadable { path: path(), error })?;
            UserTable::parse(&content).map_err(|error| UsersError::Wrong { path: path(), error })
        }
        UserSource::Database(query) => user_database::read(query, realm)
            .map_err(|error| UsersError::Database { path: query.path.clone(), error }),
    }
}

fn read_passwords(
    users: Option<&UserSource>,
    realm: &str,
    ephemeral: Option<&config::Ephemeral>,
) -> Result<Passwords, UsersError> {
    let users = users.map(|users| read_users(users, realm)).transpose()?.unwrap_or_default();
    let ephemeral = ephemeral.map(|ephemeral| {
        let hash = match ephemeral.hash {
            config::EphemeralHash::Sha1 => EphemeralHash::Sha1,
            config::EphemeralHash::Sha256 => EphemeralHash::Sha256,
        };
        Ephemeral::new(ephemeral.secret.expose(), hash)
    });
    Ok(Passwords { users, ephemeral })
}

/// What `sipway check` says of where a domain's users come from.
#[derive(Debug)]
pub enum UsersFound {
    /// Everybody, whoever the backend lets in, or who has an ephemeral password.
    NotAsked,
    /// So many in a file.
    Users {
        /// How many.
        count: usize,
        /// One, and how many, who cannot use all hashes that are offered.
        unserved: Option<(String, usize)>,
    },
    /// Whose tokens are signed with these keys.
    Keys(Vec<String>),
    /// The keys are elsewhere.
    Remote(config::WebhookUrl),
}

impl UsersFound {
    /// Reads what a server with this domain would.
    ///
    /// # Errors
    /// What would keep it from starting.
    pub fn of(domain: &Domain) -> Result<Self, UsersError> {
        match &domain.authentication {
            Authentication::Open | Authentication::Backend(_) | Authentication::Certificate => {
                Ok(Self::NotAsked)
            }
            Authentication::Digest { users: None, .. } => Ok(Self::NotAsked),
            Authentication::Digest { realm, algorithms, users: Some(users), .. } => {
                let users = read_users(users, realm)?;
                let unserved = users.unserved(realm, &offered(algorithms));
                let unserved = unserved.map(|(first, count)| (first.to_owned(), count));
                Ok(Self::Users { count: users.len(), unserved })
            }
            Authentication::Jwt(jwt) => match &jwt.source {
                TokenSource::Remote { url, .. } => Ok(Self::Remote(url.clone())),
                source @ (TokenSource::Keys(_) | TokenSource::Secret(_)) => {
                    let keys = read_keys(&domain.name, source)?;
                    Ok(Self::Keys(keys.iter().flat_map(TokenKeys::names).collect()))
                }
            },
        }
    }
}

fn offered(algorithms: &[DigestAlgorithm]) -> Vec<Algorithm> {
    let one = |algorithm: &DigestAlgorithm| match algorithm {
        DigestAlgorithm::Sha512_256 => Algorithm::Sha512_256,
        DigestAlgorithm::Sha256 => Algorithm::Sha256,
        DigestAlgorithm::Md5 => Algorithm::Md5,
    };
    algorithms.iter().map(one).collect()
}

fn gate(domain: &Domain, secret: &[u8; 32]) -> Result<Gate, UsersError> {
    let (realm, algorithms, passwords) = match &domain.authentication {
        Authentication::Open => return Ok(Gate::Open),
        Authentication::Backend(registration) => return Ok(Gate::Backend(*registration)),
        Authentication::Certificate => return Ok(Gate::Certificate),
        Authentication::Jwt(jwt) => {
            return Ok(Gate::Tokens(Box::new(Tokens {
                domain: domain.name.clone(),
                keys: RwLock::new(read_keys(&domain.name, &jwt.source)?.unwrap_or(TokenKeys::none())),
                remote: match &jwt.source {
                    TokenSource::Remote { url, every } => Some(Remote::new(url.clone(), *every)),
                    TokenSource::Keys(_) | TokenSource::Secret(_) => None,
                },
                rules: TokenRules {
                    issuer: jwt.issuer.clone(),
                    audience: jwt.audience.clone(),
                    claim: jwt.claim.clone(),
                    grant: match &domain.outside {
                        Outside::Claim(claim) => Some(claim.clone()),
                        Outside::Nobody | Outside::Users | Outside::Only(_) | Outside::Everybody => None,
                    },
                    leeway: jwt.leeway.as_secs(),
                },
                query: jwt.query.clone(),
                cookie: jwt.cookie.clone(),
            })));
        }
        Authentication::Digest { realm, algorithms, users, ephemeral } => {
            (realm, algorithms, read_passwords(users.as_ref(), realm, ephemeral.as_ref())?)
        }
    };
    let mut settings = Settings::new(realm.clone());
    settings.algorithms = offered(algorithms);
    let authenticator = Mutex::new(Authenticator::new(settings, secret));
    Ok(Gate::Digest(Box::new(Digest {
        domain: domain.name.clone(),
        authenticator,
        passwords: RwLock::new(passwords),
        database: match &domain.authentication {
            Authentication::Digest { users: Some(UserSource::Database(query)), realm, .. } => {
                Some(UserDatabase::new(query.clone(), realm.clone()))
            }
            _ => None,
        },
        realm: realm.clone(),
    })))
}

/// One served domain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DomainRef<'a>(&'a Served);

impl DomainRef<'_> {
    /// Who sent this request. `salt` must be a random number; `wrong` is told of wrong credentials.
    ///
    /// # Errors
    /// What to answer: a challenge, or 400 for credentials that no client should send.
    pub(crate) fn prove(
        self,
        request: &Message<'_>,
        role: Role,
        salt: u64,
        metrics: &Metrics,
        wrong: impl FnOnce(),
    ) -> Result<Proof, Answer> {
        let digest = match &self.0.gate {
            Gate::Open | Gate::Backend(_) => return Ok(Proof::NotAsked),
            // Nothing in a request proves anything there.
            Gate::Certificate => return Err(Answer::new(403, "A Client Certificate Is Needed")),
            Gate::Tokens(tokens) => {
                let at = (Instant::now(), clock::seconds());
                return tokens.prove(request, role, at, metrics, wrong).map(Proof::Vouched);
            }
            Gate::Digest(digest) => digest,
        };
        let Digest { domain, authenticator, passwords, .. } = &**digest;
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
        let passwords = passwords.read().unwrap_or_else(PoisonError::into_inner);
        let credentials: Vec<&[u8]> = request.all(header).map(|header| header.value).collect();
        match authenticator.verify(asked, credentials, &Good(&passwords, now), now) {
            Verdict::Accept { username } => match passwords.for_a_while(&username) {
                None => Ok(Proof::User(username)),
                Some(name) => vouched_for(name, domain, (Instant::now(), now))
                    .map(Proof::Vouched)
                    .ok_or_else(|| Answer::new(403, "Not A User Of This Domain")),
            },
            Verdict::Challenge { stale, reason } => {
                metrics.add(Count::Challenges);
                match reason {
                    ChallengeReason::WrongCredentials => {
                        metrics.add(Count::WrongCredentials);
                        wrong();
                    }
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
            (Sender::User { .. }, Outside::Users)
            | (Sender::User { outside: Grant::Given, .. }, Outside::Claim(_)) => self.is_home_of(sender),
            (Sender::User { name, .. }, Outside::Only(names)) => {
                self.is_home_of(sender) && names.iter().any(|one| one.as_bytes() == name)
            }
            (Sender::Anybody(_), Outside::Users | Outside::Only(_) | Outside::Claim(_))
            | (Sender::User { outside: Grant::NotGiven, .. }, Outside::Claim(_))
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
        self.0.backend.filter(|_| matches!(self.0.gate, Gate::Backend(_)))
    }

    /// By what that upstream learns that they are reached through here.
    pub(crate) fn registration(self) -> Option<Registration> {
        match self.0.gate {
            Gate::Backend(registration) => Some(registration),
            Gate::Open | Gate::Certificate | Gate::Digest(_) | Gate::Tokens(_) => None,
        }
    }

    /// Whether its users are known by tokens, and by nothing else.
    pub(crate) fn is_by_token(self) -> bool {
        matches!(self.0.gate, Gate::Tokens(_))
    }

    /// Whether a user of this name can exist.
    pub(crate) fn may_have(self, user: &str) -> bool {
        match &self.0.gate {
            Gate::Open | Gate::Backend(_) | Gate::Certificate | Gate::Tokens(_) => true,
            Gate::Digest(digest) => {
                let passwords = digest.passwords.read().unwrap_or_else(PoisonError::into_inner);
                passwords.ephemeral.is_some() || passwords.users.lookup(user, &digest.realm).is_some()
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
