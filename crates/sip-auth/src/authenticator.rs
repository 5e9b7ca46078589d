//! The server's side: verdicts on credentials, and the challenges that ask for them.

use crate::algorithm::{Algorithm, Ha1};
use crate::nonce::{NonceId, NonceSigner};
use crate::params::{ParamsError, Scheme, push_quoted};
use crate::replay::{ReplayMemory, Use};
use crate::response::{DigestCredentials, ReadCredentials};
use crate::uri::{UriMatch, alike};
use crate::user_names::{UserNames, Username};
use crate::users::{Credentials, Secret};
use std::time::Duration;
use subtle::{Choice, ConstantTimeEq};

/// More credentials for our realm than this in one request are not looked at: each costs hashing.
const MOST_CREDENTIALS: usize = 4;

/// A nonce may seem to come from this far in the future: clocks step.
const CLOCK_STEP: u64 = 60;

/// Hashed in place of a password nobody has.
const NOBODYS_PASSWORD: &str = "no such user";

/// In which role a server asks, which decides on headers and status (RFC 3261 §22.2 and §22.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Registrar or user agent server.
    UserAgent,
    /// Proxy.
    Proxy,
}

impl Role {
    /// Name of the header a challenge goes in.
    pub const fn challenge_header(self) -> &'static str {
        match self {
            Role::UserAgent => "WWW-Authenticate",
            Role::Proxy => "Proxy-Authenticate",
        }
    }

    /// Name of the header credentials come in.
    pub const fn credentials_header(self) -> &'static str {
        match self {
            Role::UserAgent => "Authorization",
            Role::Proxy => "Proxy-Authorization",
        }
    }

    /// Status code of the response that carries a challenge.
    pub const fn status(self) -> u16 {
        match self {
            Role::UserAgent => 401,
            Role::Proxy => 407,
        }
    }
}

/// Whether credentials without `qop` are taken, as clients of RFC 2069 and RFC 2543 send them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NoQop {
    /// They are challenged again.
    Refuse,
    /// They are taken, each nonce once, as nothing else would tell a replay.
    AcceptOnce,
}

/// Whether the `uri` in the credentials must be the Request-URI. The response is always over the `uri` as it
/// is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UriCheck {
    /// It must have the same scheme, user and host. Parameters, headers and angle brackets may differ, the
    /// case of scheme and host too, and a port may be missing in one.
    Same,
    /// It may be anything: RFC 3261 §22.4, item 5 says that inequality is not necessarily a failure. Some
    /// clients write the address of the server there, and a proxy before us may have retargeted the request.
    Any,
}

/// How an [`Authenticator`] is to work.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Shown to users and part of every stored hash.
    pub realm: String,
    /// Offered in this order, the preferred first (RFC 8760 §2.3). Without any, MD5 is.
    pub algorithms: Vec<Algorithm>,
    /// How long a nonce may be used; after that credentials are stale.
    pub nonce_lifetime: Duration,
    /// The most nonces in use at a time whose counts are remembered, about 60 bytes each. With more, the
    /// oldest are asked for again (stale).
    pub max_nonces: usize,
    /// See [`NoQop`].
    pub no_qop: NoQop,
    /// See [`UriCheck`].
    pub uri_check: UriCheck,
    /// How clients may write the names of users. Without hosts, a name with a host is another name.
    pub names: UserNames,
}

impl Settings {
    /// What every client can do: MD5 alone, nonces of 5 minutes, 100,000 of them, credentials without qop
    /// once, any `uri`. With a second challenge, clients fail that take the first or the last one without a
    /// look at its algorithm.
    pub fn new(realm: impl Into<String>) -> Settings {
        Settings {
            realm: realm.into(),
            algorithms: vec![Algorithm::Md5],
            nonce_lifetime: Duration::from_secs(300),
            max_nonces: 100_000,
            no_qop: NoQop::AcceptOnce,
            uri_check: UriCheck::Any,
            names: UserNames::default(),
        }
    }
}

/// The request the credentials are for.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Method of the request line.
    pub method: &'a [u8],
    /// Request-URI as received.
    pub uri: &'a [u8],
}

/// Whether a challenge says that only the nonce was at fault, so that the client need not ask its user again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stale {
    /// `stale=true`: the password was right.
    Yes,
    /// Nothing is said.
    No,
}

/// What to do with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The sender is this user of the realm.
    Accept {
        /// The account that the credentials name ([`UserNames::account`]).
        username: String,
    },
    /// Answer 401 or 407 with [`Authenticator::challenges`].
    Challenge {
        /// To be given to [`Authenticator::challenges`].
        stale: Stale,
        /// For counting and logs.
        reason: ChallengeReason,
    },
    /// Answer 400: a correct client does not send this, and asking again would not help.
    Refuse {
        /// For counting and logs.
        reason: RefuseReason,
    },
}

/// Why credentials are asked for (again).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ChallengeReason {
    /// None, or none for this realm and scheme.
    NoCredentials,
    /// Wrong password or unknown user: not told apart, here or in time.
    WrongCredentials,
    /// The same for the client, in time too. The operator may want to know: the user is there, but its stored
    /// hashes cannot judge these credentials, whatever the password was.
    NoHash(NoHash),
    /// An algorithm or qop that was not offered, or no qop where that is refused.
    NotOffered,
    /// The password is right, the nonce was not made here: another secret (a restart), or made up.
    ForeignNonce,
    /// The password is right, the nonce too old.
    ExpiredNonce,
    /// The password is right, the nonce count was used before (or can no longer be told from one that was).
    ReplayedCount,
}

/// Whose hashes could not judge which credentials.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NoHash {
    /// As the client wrote it.
    pub written: String,
    /// The user.
    pub account: String,
    /// What was missing.
    pub lacks: MissingHash,
}

/// What a user's stored hashes lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MissingHash {
    /// A hash over the name as the client wrote it.
    Spelling,
    /// A hash by the algorithm that the client took.
    Algorithm(Algorithm),
}

/// Why credentials are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum RefuseReason {
    /// Not a list of parameters.
    #[error("malformed credentials: {0}")]
    Malformed(#[from] ParamsError),
    /// `username`, `nonce`, `uri` or `response` is missing, or with `qop` its `nc` or `cnonce`.
    #[error("a parameter is missing")]
    MissingParameter,
    /// `response` or `nc` is not the right number of hexadecimal digits, or `nc` is zero.
    #[error("a parameter has the wrong form")]
    BadParameter,
    /// `uri` names something else than the Request-URI (RFC 7616 §3.4.6).
    #[error("uri is not the Request-URI")]
    OtherUri,
}

/// Judges credentials for one realm.
///
/// It remembers nonce counts, so credentials for one nonce must come to one of these: share it, or keep each
/// flow at one. All that share a secret recognise each other's nonces.
pub struct Authenticator {
    settings: Settings,
    nonces: NonceSigner,
    replay: ReplayMemory,
}

impl std::fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authenticator").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Authenticator {
    /// `secret` signs the nonces. A random one for each run is fine: clients with older nonces are stale and
    /// try again. One that outlives the process lets a nonce count be used again after a restart within the
    /// nonce's lifetime.
    pub fn new(mut settings: Settings, secret: &[u8; 32]) -> Authenticator {
        let mut offered = Vec::with_capacity(3);
        for algorithm in settings.algorithms.drain(..) {
            if !offered.contains(&algorithm) {
                offered.push(algorithm);
            }
        }
        if offered.is_empty() {
            offered.push(Algorithm::Md5);
        }
        settings.algorithms = offered;
        Authenticator {
            nonces: NonceSigner::new(secret, &settings.realm),
            replay: ReplayMemory::new(settings.max_nonces),
            settings,
        }
    }

    /// The settings in force.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Values for `WWW-Authenticate` or `Proxy-Authenticate`, one header field each, in this order.
    ///
    /// `salt` sets the challenges of one second apart and must not repeat within it: a random number, or a
    /// counter. `now` is in Unix seconds.
    pub fn challenges(&self, stale: Stale, salt: u64, now: u64) -> Vec<String> {
        let nonce = self.nonces.issue(NonceId { issued: now, salt });
        let write = |algorithm: &Algorithm| {
            let mut value = String::with_capacity(160);
            push_quoted(&mut value, "Digest realm", &self.settings.realm);
            push_quoted(&mut value, ", nonce", &nonce);
            value.push_str(", algorithm=");
            value.push_str(algorithm.name());
            value.push_str(", qop=\"auth\"");
            if stale == Stale::Yes {
                value.push_str(", stale=true");
            }
            value
        };
        self.settings.algorithms.iter().map(write).collect()
    }

    /// Judges the values of all `Authorization` (or all `Proxy-Authorization`) header fields of a request.
    ///
    /// Other schemes and realms are passed over. Of up to four sets of credentials for this realm one that is
    /// accepted decides, otherwise one that is wrong, so that no guess goes uncounted behind something else;
    /// otherwise the first. `now` is in Unix seconds.
    pub fn verify<'h>(
        &mut self,
        request: Request<'_>,
        headers: impl IntoIterator<Item = &'h [u8]>,
        users: &impl Credentials,
        now: u64,
    ) -> Verdict {
        let mut decides = None;
        let mut left = MOST_CREDENTIALS;
        for value in headers {
            let verdict = match Scheme::parse(value) {
                Ok(Scheme::Other | Scheme::Bearer(_)) => continue,
                Err(error) => Verdict::Refuse { reason: RefuseReason::Malformed(error) },
                Ok(Scheme::Digest(params)) => {
                    if params.get("realm").is_some_and(|realm| realm != self.settings.realm) {
                        continue;
                    }
                    match ReadCredentials::of(&params) {
                        ReadCredentials::Bad(reason) => Verdict::Refuse { reason },
                        _ if params.get("realm").is_none() => {
                            Verdict::Refuse { reason: RefuseReason::MissingParameter }
                        }
                        ReadCredentials::NotOffered => {
                            Verdict::Challenge { stale: Stale::No, reason: ChallengeReason::NotOffered }
                        }
                        ReadCredentials::Good(credentials) => self.judge(request, &credentials, users, now),
                    }
                }
            };
            if matches!(verdict, Verdict::Accept { .. }) {
                return verdict;
            }
            if decides.is_none() || is_wrong(&verdict) {
                decides = Some(verdict);
            }
            left -= 1;
            if left == 0 {
                break;
            }
        }
        decides.unwrap_or(Verdict::Challenge { stale: Stale::No, reason: ChallengeReason::NoCredentials })
    }

    fn judge(
        &mut self,
        request: Request<'_>,
        credentials: &DigestCredentials<'_>,
        users: &impl Credentials,
        now: u64,
    ) -> Verdict {
        let again = |stale, reason| Verdict::Challenge { stale, reason };
        if !self.settings.algorithms.contains(&credentials.algorithm)
            || (credentials.qop.is_none() && self.settings.no_qop == NoQop::Refuse)
        {
            return again(Stale::No, ChallengeReason::NotOffered);
        }
        if self.settings.uri_check == UriCheck::Same
            && alike(credentials.uri.as_bytes(), request.uri) == UriMatch::No
        {
            return Verdict::Refuse { reason: RefuseReason::OtherUri };
        }
        let account = self.settings.names.account(credentials.username);
        let user = Username { written: credentials.username, account: &account };
        if let Err(reason) = self.check_password(request, credentials, user, users) {
            return again(Stale::No, reason);
        }
        // From here on the password is right, and all that can be wrong is the nonce.
        let Some(id) = self.nonces.recognise(credentials.nonce) else {
            return again(Stale::Yes, ChallengeReason::ForeignNonce);
        };
        let oldest = now.saturating_sub(self.settings.nonce_lifetime.as_secs());
        if id.issued < oldest || id.issued > now.saturating_add(CLOCK_STEP) {
            return again(Stale::Yes, ChallengeReason::ExpiredNonce);
        }
        self.replay.expire(oldest);
        match self.replay.count(id, credentials.qop.map(|(_, count)| count)) {
            Use::First => Verdict::Accept { username: account.into_owned() },
            Use::Again => again(Stale::Yes, ChallengeReason::ReplayedCount),
        }
    }

    /// The same hashing for every request: a password is hashed even if no user has it or a stored hash
    /// replaces it.
    fn check_password(
        &self,
        request: Request<'_>,
        credentials: &DigestCredentials<'_>,
        user: Username<'_>,
        users: &impl Credentials,
    ) -> Result<(), ChallengeReason> {
        let DigestCredentials { username, nonce, uri, algorithm, response, qop } = credentials;
        let realm = &self.settings.realm;
        let secret = users.lookup(user, realm);
        let (password, stored, lacks): (&str, Option<Ha1>, Option<MissingHash>) = match &secret {
            None => (NOBODYS_PASSWORD, None, None),
            Some(Secret::Password(password)) => (password, None, None),
            Some(Secret::Hashed(set)) => {
                let stored = set.get(*algorithm);
                (NOBODYS_PASSWORD, stored, stored.is_none().then_some(MissingHash::Algorithm(*algorithm)))
            }
            Some(Secret::HashedOtherwise) => (NOBODYS_PASSWORD, None, Some(MissingHash::Spelling)),
        };
        let known = u8::from(secret.is_some() && lacks.is_none());
        let hashed = std::hint::black_box(algorithm.ha1(username, realm, password));
        let ha1 = stored.unwrap_or(hashed);
        let counted = qop.map(|(counted, _)| counted);
        let expected = algorithm.response(&ha1, nonce, counted, request.method, uri.as_bytes());
        let right: Choice = expected.as_bytes().ct_eq(response.as_bytes()) & Choice::from(known);
        match (bool::from(right), lacks) {
            (true, _) => Ok(()),
            (false, None) => Err(ChallengeReason::WrongCredentials),
            (false, Some(lacks)) => {
                let (written, account) = (user.written.to_owned(), user.account.to_owned());
                Err(ChallengeReason::NoHash(NoHash { written, account, lacks }))
            }
        }
    }
}

/// Whether a client tried a password that is not the user's.
fn is_wrong(verdict: &Verdict) -> bool {
    let wrong = |reason: &ChallengeReason| {
        matches!(reason, ChallengeReason::WrongCredentials | ChallengeReason::NoHash(_))
    };
    matches!(verdict, Verdict::Challenge { reason, .. } if wrong(reason))
}

#[cfg(test)]
mod tests;
