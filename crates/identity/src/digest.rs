//! Users of a domain who prove their identity by a password (RFC 3261 §22, RFC 8760), lasting or ephemeral.

use std::{
    fs,
    sync::{
        Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use config::{DigestAlgorithm, Host, UserSource};
use lifecycle::Now;
use metrics::{Count, Metrics};
use sip_auth::{
    Algorithm, Authenticator, ChallengeReason, Credentials, Ephemeral, EphemeralHash, EphemeralName,
    MissingHash, NoHash, Request, Role, Secret, Stale, UserNames, UserTable, Username, Verdict,
};
use sip_message::{HeaderId, Message};
use sip_proxy::Answer;
use transport::{VerifiedClient, upgrade};

use crate::{
    LoginAttempt, Proof, QuotaExceeded, UsersError,
    bearer_tokens::{named_in_query, verified_by_password},
    login_attempt::Outcome,
    user_database::{self, UserDatabase},
};

/// Between two warnings of one domain that a user has no hash for what a client wrote, in seconds.
const WARN_EVERY: u64 = 60;

/// The challenges and the judge of a domain with passwords.
#[derive(Debug)]
pub(crate) struct Digest {
    domain: Host,
    authenticator: Mutex<Authenticator>,
    passwords: RwLock<Passwords>,
    /// Where the users come from, if that is a database.
    database: Option<UserDatabase>,
    realm: String,
    /// Before this time, in Unix seconds, nobody is warned again.
    warn_from: AtomicU64,
}

/// The passwords of a domain.
#[derive(Debug)]
pub(crate) struct Passwords {
    users: UserTable,
    ephemeral: Option<Ephemeral>,
}

impl Passwords {
    /// Reads them as the configuration says.
    ///
    /// # Errors
    /// The unusable part.
    pub(crate) fn read(
        users: Option<&UserSource>,
        realm: &str,
        names: &UserNames,
        ephemeral: Option<&config::Ephemeral>,
    ) -> Result<Self, UsersError> {
        let users = users.map(|users| read_users(users, realm, names)).transpose()?.unwrap_or_default();
        let ephemeral = ephemeral.map(|ephemeral| {
            let hash = match ephemeral.hash {
                config::EphemeralHash::Sha1 => EphemeralHash::Sha1,
                config::EphemeralHash::Sha256 => EphemeralHash::Sha256,
            };
            Ephemeral::new(ephemeral.secret.expose(), hash)
        });
        Ok(Self { users, ephemeral })
    }

    /// Those that last.
    pub(crate) fn users(&self) -> &UserTable {
        &self.users
    }

    /// The user of a name, and until when, if its password is good for a while.
    fn for_a_while<'n>(&self, name: &'n str) -> Option<EphemeralName<'n>> {
        self.ephemeral.as_ref().and_then(|_| EphemeralName::read(name))
    }
}

/// The passwords that are good at a time, in Unix seconds.
struct Good<'p>(&'p Passwords, u64);

impl Credentials for Good<'_> {
    fn lookup(&self, user: Username<'_>, realm: &str) -> Option<Secret<'_>> {
        let Self(Passwords { users, ephemeral }, now) = self;
        match ephemeral.as_ref().and_then(|ephemeral| ephemeral.password_of(user.account, *now)) {
            Some(password) => Some(Secret::Password(password.into())),
            // No name in a file has a colon.
            None => users.lookup(user, realm),
        }
    }
}

impl Digest {
    pub(crate) fn new(
        domain: Host,
        authenticator: Authenticator,
        passwords: Passwords,
        database: Option<UserDatabase>,
    ) -> Self {
        let realm = authenticator.settings().realm.clone();
        let (authenticator, passwords) = (Mutex::new(authenticator), RwLock::new(passwords));
        Self { domain, authenticator, passwords, database, realm, warn_from: AtomicU64::new(0) }
    }

    pub(crate) fn realm(&self) -> &str {
        &self.realm
    }

    /// Where the users come from, if that is a database.
    pub(crate) fn database(&self) -> Option<&UserDatabase> {
        self.database.as_ref()
    }

    /// From now on only these can prove who they are.
    pub(crate) fn replace(&self, passwords: Passwords) {
        *self.passwords.write().unwrap_or_else(PoisonError::into_inner) = passwords;
    }

    /// The same for those whose passwords last.
    pub(crate) fn replace_users(&self, users: UserTable) {
        self.passwords.write().unwrap_or_else(PoisonError::into_inner).users = users;
    }

    /// Whether a user of this name can exist.
    pub(crate) fn may_have(&self, user: &str) -> bool {
        let passwords = self.passwords.read().unwrap_or_else(PoisonError::into_inner);
        passwords.ephemeral.is_some() || passwords.users.lookup(Username::plain(user), &self.realm).is_some()
    }

    /// Identifies the client that asks for a WebSocket by the ephemeral password in the query; none if there
    /// is none in it, or none is taken here.
    pub(crate) fn judge(&self, request: &upgrade::Request<'_>, now: Now) -> Option<Option<VerifiedClient>> {
        let passwords = self.passwords.read().unwrap_or_else(PoisonError::into_inner);
        let ephemeral = passwords.ephemeral.as_ref()?;
        let (name, password) = named_in_query(request)?;
        let name = ephemeral.judge(&name, &password, now.unix_seconds());
        Some(name.and_then(|name| verified_by_password(name, &self.domain, now)))
    }

    /// Identifies the sender of this request. `salt` must be a random number.
    ///
    /// # Errors
    /// What to answer: a challenge, 400 for credentials that no client should send, or 503 for those that
    /// were not looked at because too many in that name were wrong.
    pub(crate) fn prove(
        &self,
        request: &Message<'_>,
        role: Role,
        at: Now,
        salt: u64,
        metrics: &Metrics,
        attempt: &LoginAttempt<'_>,
    ) -> Result<Proof, Answer> {
        let header = match role {
            Role::UserAgent => HeaderId::Authorization,
            Role::Proxy => HeaderId::ProxyAuthorization,
        };
        let asked = Request {
            method: request.method().map_or(b"", |method| method.as_bytes()),
            uri: request.request_uri_bytes().unwrap_or_default(),
        };
        let now = at.unix_seconds();
        // A panic under this lock is a bug of ours; what it guards stays usable.
        let mut authenticator = self.authenticator.lock().unwrap_or_else(PoisonError::into_inner);
        let passwords = self.passwords.read().unwrap_or_else(PoisonError::into_inner);
        let credentials: Vec<&[u8]> = request.all(header).map(|header| header.value).collect();
        let good = Good(&passwords, now);
        let users = attempt.asks(&self.domain, &good);
        let verdict = authenticator.verify(asked, credentials, &users, now);
        let outcome = match &verdict {
            Verdict::Accept { username } => Outcome::Proved(username),
            Verdict::Challenge {
                reason: ChallengeReason::WrongCredentials | ChallengeReason::NoHash(_),
                ..
            } => Outcome::Wrong,
            Verdict::Challenge { .. } | Verdict::Refuse { .. } => Outcome::Old,
        };
        let wrong = users.wrong(outcome);
        let looked_at = users.done(outcome);
        (0..wrong).for_each(|_| metrics.add(Count::WrongCredentials));
        attempt.are_wrong(wrong);
        match verdict {
            Verdict::Accept { username } => match passwords.for_a_while(&username) {
                None => Ok(Proof::User(username)),
                Some(name) => verified_by_password(name, &self.domain, at)
                    .map(Proof::Vouched)
                    .ok_or_else(|| Answer::new(403, "Not A User Of This Domain")),
            },
            Verdict::Challenge { stale, reason } => {
                metrics.add(Count::Challenges);
                if let ChallengeReason::NoHash(no_hash) = &reason {
                    self.warn_of(no_hash, now);
                }
                match reason {
                    ChallengeReason::ReplayedCount => metrics.add(Count::CredentialsReplayed),
                    ChallengeReason::WrongCredentials
                    | ChallengeReason::NoHash(_)
                    | ChallengeReason::NoCredentials
                    | ChallengeReason::NotOffered
                    | ChallengeReason::ForeignNonce
                    | ChallengeReason::ExpiredNonce => {}
                }
                looked_at.map_err(QuotaExceeded::answer)?;
                Err(challenge(&authenticator, role, stale, salt, now))
            }
            Verdict::Refuse { reason } => Err(Answer::new(400, format!("Bad Credentials: {reason}"))),
        }
    }

    /// Tells the operator, once in a while, why a user cannot log in whatever the password is. The client is
    /// told nothing: it would learn who exists.
    fn warn_of(&self, NoHash { written, account, lacks }: &NoHash, now: u64) {
        let from = self.warn_from.load(Ordering::Relaxed);
        let mine = Ordering::Relaxed;
        if now < from || self.warn_from.compare_exchange(from, now + WARN_EVERY, mine, mine).is_err() {
            return;
        }
        let (domain, realm) = (&self.domain, &self.realm);
        match lacks {
            MissingHash::Spelling => tracing::warn!(
                %domain, user = account, written, realm,
                "a client wrote this user's name in a spelling that has no hash: store a hash of `written:realm:password` too, store the password, or let the client use the hashed spelling"
            ),
            MissingHash::Algorithm(algorithm) => tracing::warn!(
                %domain, user = account, algorithm = algorithm.name(),
                "a client chose an algorithm that this user has no hash for: store one, or remove the algorithm from `algorithms`"
            ),
        }
    }
}

/// How clients may write the names of a domain's users.
pub(crate) fn user_names(domain: &Host, realm: &str) -> UserNames {
    UserNames::new([domain.to_string(), realm.to_owned()])
}

/// Reads users from where they are.
///
/// # Errors
/// The unusable part.
pub(crate) fn read_users(
    source: &UserSource,
    realm: &str,
    names: &UserNames,
) -> Result<UserTable, UsersError> {
    match source {
        UserSource::File(file) => {
            let path = || file.to_owned();
            let content = fs::read(file).map_err(|error| UsersError::Unreadable { path: path(), error })?;
            UserTable::parse(&content, names).map_err(|error| UsersError::Wrong { path: path(), error })
        }
        UserSource::Database(query) => user_database::read(query, realm, names)
            .map_err(|error| UsersError::Database { path: query.path.clone(), error }),
    }
}

/// In the words of who judges by them.
pub(crate) fn offered(algorithms: &[DigestAlgorithm]) -> Vec<Algorithm> {
    let one = |algorithm: &DigestAlgorithm| match algorithm {
        DigestAlgorithm::Sha512_256 => Algorithm::Sha512_256,
        DigestAlgorithm::Sha256 => Algorithm::Sha256,
        DigestAlgorithm::Md5 => Algorithm::Md5,
    };
    algorithms.iter().map(one).collect()
}

fn challenge(authenticator: &Authenticator, role: Role, stale: Stale, salt: u64, now: u64) -> Answer {
    let reason = if role == Role::Proxy { "Proxy Authentication Required" } else { "Unauthorized" };
    let answer = Answer::new(role.status(), reason);
    let challenges = authenticator.challenges(stale, salt, now);
    challenges.into_iter().fold(answer, |answer, value| answer.header(role.challenge_header(), value))
}
