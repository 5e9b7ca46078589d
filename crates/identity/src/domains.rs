//! The domains that are served, and who may speak for their users.

use std::{collections::HashMap, path::PathBuf};

use config::{Authentication, DigestUri, Domain, Host, Name, Outside, Redirects, Registration, UserSource};
use defence::Offence;
use lifecycle::{Identity, Now};
use metrics::Metrics;
use sha2::{Digest as _, Sha256};
use sip_auth::{Authenticator, Role, Settings, TokenError, TokenKeys, UriCheck, UserTable};
use sip_message::Message;
use sip_proxy::Answer;
use transport::{VerifiedClient, upgrade};
use upstream::Number;

use crate::{
    LoginAttempt,
    bearer_tokens::{BearerTokens, identity, read_keys},
    digest::{Digest, Passwords, offered, user_names},
    key_set::Remote,
    user_database::{DatabaseError, UserDatabase},
    users_found,
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
    /// Lines in it are wrong.
    #[error("{}: {error}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// Which lines, and the mends.
        error: sip_auth::PasswordFileErrors,
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

/// The proved sender of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// This user of the domain.
    User(String),
    /// This one, for as long as its credentials are good.
    Vouched(VerifiedClient),
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
    Tokens(Box<BearerTokens>),
}

/// Users and keys that were read again.
#[derive(Default)]
pub struct NewUsers<'a> {
    users: Vec<(&'a Digest, Passwords)>,
    keys: Vec<(&'a BearerTokens, TokenKeys)>,
}

impl NewUsers<'_> {
    /// From now on only these can prove who they are. Who did so before on an open flow stays.
    pub fn take_over(self) {
        for (tokens, keys) in self.keys {
            tokens.replace_keys(keys);
        }
        for (digest, passwords) in self.users {
            digest.replace(passwords);
        }
    }
}

/// All served domains.
#[derive(Debug)]
pub struct Domains {
    all: HashMap<Host, Served>,
    /// Those whose users bring tokens, in the order of the configuration.
    by_token: Vec<Host>,
    /// Those whose users can prove who they are when they open a WebSocket, in the order of the
    /// configuration.
    vouching: Vec<Host>,
    /// The only one whose users register here and that has a server behind.
    with_trunk: Option<Host>,
}

#[derive(Debug)]
struct Served {
    gate: Gate,
    backend: Option<Number>,
    outside: Outside,
    redirects: Redirects,
}

impl Domains {
    /// Reads the users files too.
    ///
    /// # Errors
    /// The first that cannot be used.
    pub fn new(
        domains: &[Domain],
        upstream: impl Fn(&Name) -> Option<Number>,
        secret: &[u8; 32],
    ) -> Result<Self, UsersError> {
        let backend = |domain: &Domain| domain.backend.as_ref().and_then(&upstream);
        let all = domains.iter().map(|domain| {
            let served = Served {
                gate: gate(domain, domains, secret)?,
                backend: backend(domain),
                outside: domain.outside.clone(),
                redirects: domain.redirects,
            };
            Ok((domain.name.clone(), served))
        });
        let by_token = |domain: &&Domain| matches!(domain.authentication, Authentication::Jwt(_));
        let vouching = |domain: &&Domain| match &domain.authentication {
            Authentication::Jwt(_) => true,
            Authentication::Digest { ephemeral, .. } => ephemeral.is_some(),
            Authentication::Open | Authentication::Backend(_) | Authentication::Certificate => false,
        };
        let mut trunks = domains.iter().filter(|domain| {
            domain.backend.is_some() && !matches!(domain.authentication, Authentication::Backend(_))
        });
        let with_trunk = trunks.next().filter(|_| trunks.next().is_none());
        Ok(Self {
            with_trunk: with_trunk.map(|domain| domain.name.clone()),
            vouching: domains.iter().filter(vouching).map(|domain| domain.name.clone()).collect(),
            all: all.collect::<Result<_, UsersError>>()?,
            by_token: domains.iter().filter(by_token).map(|domain| domain.name.clone()).collect(),
        })
    }

    /// Reads the users files of these domains again, as far as they have the gate that they had; takes them
    /// over with [`NewUsers::take_over`].
    ///
    /// # Errors
    /// The first that cannot be used.
    pub fn read_again(&self, domains: &[Domain]) -> Result<NewUsers<'_>, UsersError> {
        let mut read = NewUsers::default();
        for domain in domains {
            match (self.all.get(&domain.name).map(|served| &served.gate), &domain.authentication) {
                (Some(Gate::Digest(digest)), Authentication::Digest { users, ephemeral, realm, .. }) => {
                    let names = user_names(&domain.name, realm);
                    let passwords = Passwords::read(users.as_ref(), realm, &names, ephemeral.as_ref())?;
                    users_found::warn(domain, domains, passwords.users());
                    read.users.push((&**digest, passwords));
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

    /// The domain that a server behind means when it calls a user at our address: the only one that has a
    /// server behind for a trunk.
    pub fn with_trunk(&self) -> Option<(&Host, DomainRef<'_>)> {
        let (host, served) = self.all.get_key_value(self.with_trunk.as_ref()?)?;
        Some((host, DomainRef(served)))
    }

    /// Whether any has a server behind.
    pub fn have_backend(&self) -> bool {
        self.all.values().any(|served| served.backend.is_some())
    }

    /// The domains whose users bring tokens.
    pub fn by_token(&self) -> &[Host] {
        &self.by_token
    }

    /// The address-of-record of a user, `user@domain`, whose domain is ours and asks for a proof.
    pub fn identity(&self, name: &str) -> Option<Identity> {
        let domain = Host::new(name.rsplit_once('@')?.1)?;
        match &self.all.get(&domain)?.gate {
            Gate::Open | Gate::Backend(_) => None,
            Gate::Certificate | Gate::Digest(_) | Gate::Tokens(_) => identity(name, &domain),
        }
    }

    /// The domains whose users are in a database.
    pub fn by_database(&self) -> impl Iterator<Item = &Host> {
        self.all.keys().filter(|domain| self.database(domain).is_some())
    }

    /// The database with the users of a domain.
    pub(crate) fn database(&self, domain: &Host) -> Option<&UserDatabase> {
        self.digest(domain)?.database()
    }

    /// From now on only these can prove who they are. Who did so before on an open flow stays.
    pub(crate) fn replace_users(&self, domain: &Host, users: UserTable) {
        if let Some(digest) = self.digest(domain) {
            digest.replace_users(users);
        }
    }

    fn digest(&self, domain: &Host) -> Option<&Digest> {
        match &self.all.get(domain)?.gate {
            Gate::Digest(digest) => Some(digest),
            Gate::Open | Gate::Backend(_) | Gate::Certificate | Gate::Tokens(_) => None,
        }
    }

    /// The tokens of a domain whose users bring some.
    pub(crate) fn tokens(&self, domain: &Host) -> Option<&BearerTokens> {
        match &self.all.get(domain)?.gate {
            Gate::Tokens(tokens) => Some(tokens),
            Gate::Open | Gate::Backend(_) | Gate::Certificate | Gate::Digest(_) => None,
        }
    }

    /// Whether the host of a URI is a served domain.
    pub fn find(&self, host: &sip_message::Host<'_>) -> Option<DomainRef<'_>> {
        let text = host.to_string();
        let host = Host::new(&text)?;
        self.all.get(&host).map(DomainRef)
    }

    /// Whether the value of an Authorization or Proxy-Authorization answers what we asked for, and is nobody
    /// else's business.
    pub fn asked_for(&self, value: &[u8]) -> bool {
        match sip_auth::CredentialsScope::of(value) {
            sip_auth::CredentialsScope::Realm(realm) => self
                .all
                .values()
                .any(|served| matches!(&served.gate, Gate::Digest(digest) if digest.realm() == realm)),
            sip_auth::CredentialsScope::Bearer => !self.by_token.is_empty(),
            sip_auth::CredentialsScope::Others => false,
        }
    }

    /// Whether a challenge asks, or may ask, for a password of a user of ours: its author could answer ours
    /// with what it brings. One that can be read and names another realm does not.
    pub fn asks_as_we_do(&self, challenge: &[u8]) -> bool {
        let sip_auth::CredentialsScope::Realm(realm) = sip_auth::CredentialsScope::of(challenge) else {
            return true;
        };
        self.all.values().any(|served| {
            matches!(&served.gate, Gate::Digest(digest) if digest.realm().eq_ignore_ascii_case(&realm))
        })
    }

    /// Identifies the client that asks for a WebSocket. Without a token no client is accepted where every
    /// domain wants one.
    ///
    /// # Errors
    /// What is wrong with the token, or that there must be one; and what is remembered of it.
    pub fn admit(
        &self,
        request: &upgrade::Request<'_>,
        now: Now,
    ) -> Result<Option<VerifiedClient>, (upgrade::Refusal, Option<Offence>)> {
        let mut refused: Option<&'static str> = None;
        let mut worst: Option<TokenError> = None;
        for served in self.vouching.iter().filter_map(|domain| self.all.get(domain)) {
            match &served.gate {
                Gate::Tokens(tokens) => match tokens.find(request).map(|token| tokens.judge(token, now)) {
                    None => {}
                    Some(Ok(vouched)) => return Ok(Some(vouched)),
                    Some(Err(error)) => worst = worst.max(Some(error)),
                },
                Gate::Digest(digest) => match digest.judge(request, now) {
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

/// What a request with an ephemeral password that is not good is told.
const BAD_PASSWORD: &str = "The password is wrong, or its time is over. Get a new one and connect again.";

/// What a request without token is told.
const NO_TOKEN: &str = "A token is missing. Send one as 'Authorization: Bearer TOKEN', as sub-protocol (new WebSocket(url, ['sip', \
    'bearer.TOKEN'])) or in the query, as this server's owner says.";

/// What the nonces of a domain are signed with. Each domain counts its own nonces: were another's of the same
/// realm good, credentials could be used once in each.
fn nonce_secret(secret: &[u8; 32], domain: &Host) -> [u8; 32] {
    Sha256::new().chain_update(secret).chain_update(domain.to_string()).finalize().into()
}

fn gate(domain: &Domain, all: &[Domain], secret: &[u8; 32]) -> Result<Gate, UsersError> {
    Ok(match &domain.authentication {
        Authentication::Open => Gate::Open,
        Authentication::Backend(registration) => Gate::Backend(*registration),
        Authentication::Certificate => Gate::Certificate,
        Authentication::Jwt(jwt) => Gate::Tokens(Box::new(BearerTokens::new(domain, jwt)?)),
        Authentication::Digest { realm, algorithms, digest_uri, users, ephemeral } => {
            let names = user_names(&domain.name, realm);
            let passwords = Passwords::read(users.as_ref(), realm, &names, ephemeral.as_ref())?;
            users_found::warn(domain, all, passwords.users());
            let database = match users {
                Some(UserSource::Database(query)) => {
                    Some(UserDatabase::new(query.clone(), realm.clone(), names.clone()))
                }
                Some(UserSource::File(_)) | None => None,
            };
            let mut settings = Settings::new(realm.clone());
            settings.algorithms = offered(algorithms);
            settings.names = names;
            settings.uri_check = match digest_uri {
                DigestUri::Any => UriCheck::Any,
                DigestUri::Same => UriCheck::Same,
            };
            let authenticator = Authenticator::new(settings, &nonce_secret(secret, &domain.name));
            Gate::Digest(Box::new(Digest::new(domain.name.clone(), authenticator, passwords, database)))
        }
    })
}

/// One served domain.
#[derive(Clone, Copy, Debug)]
pub struct DomainRef<'a>(&'a Served);

impl DomainRef<'_> {
    /// Identifies the sender of this request. `salt` must be a random number.
    ///
    /// # Errors
    /// What to answer: a challenge, 400 for credentials that no client should send, or 503 for those that
    /// were not looked at.
    pub fn prove(
        self,
        request: &Message<'_>,
        role: Role,
        now: Now,
        salt: u64,
        metrics: &Metrics,
        attempt: &LoginAttempt<'_>,
    ) -> Result<Proof, Answer> {
        match &self.0.gate {
            Gate::Open | Gate::Backend(_) => Ok(Proof::NotAsked),
            // Nothing in a request proves anything there.
            Gate::Certificate => Err(Answer::new(403, "A Client Certificate Is Needed")),
            Gate::Tokens(tokens) => {
                tokens.prove(request, role, now, metrics, || attempt.is_wrong()).map(Proof::Vouched)
            }
            Gate::Digest(digest) => digest.prove(request, role, now, salt, metrics, attempt),
        }
    }

    /// Which users may send requests to the server behind it.
    pub fn outside(&self) -> &Outside {
        &self.0.outside
    }

    /// What becomes of redirections by its users.
    pub fn redirects(self) -> Redirects {
        self.0.redirects
    }

    /// Whether this is the same domain.
    pub fn is(self, other: DomainRef<'_>) -> bool {
        std::ptr::eq(self.0, other.0)
    }

    /// Whether requests of its users must prove who sent them.
    pub fn is_open(self) -> bool {
        matches!(self.0.gate, Gate::Open)
    }

    /// The upstream that requests go to which are not for a user registered here.
    pub fn backend(self) -> Option<Number> {
        self.0.backend
    }

    /// The upstream that its users register at; none if they do so here.
    pub fn registrar(self) -> Option<Number> {
        self.0.backend.filter(|_| matches!(self.0.gate, Gate::Backend(_)))
    }

    /// By what that upstream learns that they are reached through here.
    pub fn registration(self) -> Option<Registration> {
        match self.0.gate {
            Gate::Backend(registration) => Some(registration),
            Gate::Open | Gate::Certificate | Gate::Digest(_) | Gate::Tokens(_) => None,
        }
    }

    /// Whether its users are known by tokens, and by nothing else.
    pub fn is_by_token(self) -> bool {
        matches!(self.0.gate, Gate::Tokens(_))
    }

    /// Whether a user of this name can exist.
    pub fn may_have(self, user: &str) -> bool {
        match &self.0.gate {
            Gate::Open | Gate::Backend(_) | Gate::Certificate | Gate::Tokens(_) => true,
            Gate::Digest(digest) => digest.may_have(user),
        }
    }
}
