//! A summary of a domain's users and keys, for `sipway check` and the log.

use std::{collections::BTreeMap, fmt};

use config::{Authentication, Domain, Host, TokenSource};
use sip_auth::{TokenKeys, Unserved, UserTable};

use crate::{
    UsersError,
    bearer_tokens::read_keys,
    digest::{offered, read_users, user_names},
};

/// The most remarks on the users of one domain: the first say enough of a file that is for something else.
const MOST_REMARKS: usize = 8;

/// The remarks of `sipway check` about a domain's source of users.
#[derive(Debug)]
pub enum UsersFound {
    /// All users that the backend accepts or that have an ephemeral password.
    NotAsked,
    /// So many in a file or a database.
    Users {
        /// How many.
        count: usize,
        /// The reasons why some or all of them cannot log in.
        remarks: Vec<UsersRemark>,
    },
    /// The domain whose tokens are signed with these keys.
    Keys(Vec<String>),
    /// The keys are elsewhere.
    Remote(config::WebhookUrl),
}

impl UsersFound {
    /// Reads what a server with this domain would. `all` are the domains of the configuration: they may share
    /// a users file.
    ///
    /// # Errors
    /// Faults that would prevent a start.
    pub fn of(domain: &Domain, all: &[Domain]) -> Result<Self, UsersError> {
        match &domain.authentication {
            Authentication::Open | Authentication::Backend(_) | Authentication::Certificate => {
                Ok(Self::NotAsked)
            }
            Authentication::Digest { users: None, .. } => Ok(Self::NotAsked),
            Authentication::Digest { realm, users: Some(users), .. } => {
                let users = read_users(users, realm, &user_names(&domain.name, realm))?;
                Ok(Self::Users { count: users.len(), remarks: remarks(domain, all, &users) })
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

/// Something about the users of a domain that keeps some of them, or all, from logging in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsersRemark {
    flaw: UserFlaw,
    /// One of them.
    user: String,
    count: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum UserFlaw {
    Nobody,
    ForeignHost { host: String, domain: Host },
    ForeignRealm { realm: String, ours: String },
    Algorithm(&'static str),
}

impl fmt::Display for UsersRemark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { flaw, user, count } = self;
        match (flaw, count) {
            (UserFlaw::Nobody, _) => return f.write_str("there is no user: nobody can log in"),
            (_, 1) => write!(f, "user `{user}` ")?,
            (_, count) => write!(f, "{count} users, such as `{user}`, ")?,
        }
        let (has, is) = if *count == 1 { ("has", "is") } else { ("have", "are") };
        match flaw {
            UserFlaw::Nobody => Ok(()),
            UserFlaw::ForeignHost { host, domain } => write!(
                f,
                "{has} `@{host}` in the name, which is not this domain. A user of this domain is written `name` or `name@{domain}`"
            ),
            UserFlaw::ForeignRealm { realm, ours } => write!(
                f,
                "{has} a hash for the realm `{realm}`, but clients are asked for `{ours}`, and so {is} never let in. Hash \
                 `name:{ours}:password`, or write realm = \"{realm}\""
            ),
            UserFlaw::Algorithm(algorithm) => write!(
                f,
                "{has} no hash for {algorithm}, which is offered: a client that takes it is never let in. Write `algorithms` as \
                 the hashes are, or store the missing ones"
            ),
        }
    }
}

/// What there is to say of the users of a domain with passwords. A file that several domains share may hold
/// users of each.
pub(crate) fn remarks(domain: &Domain, all: &[Domain], users: &UserTable) -> Vec<UsersRemark> {
    let Authentication::Digest { realm, algorithms, ephemeral, users: source, .. } = &domain.authentication
    else {
        return Vec::new();
    };
    if users.is_empty() {
        // Users with an ephemeral password stand in no file.
        let nobody = UsersRemark { flaw: UserFlaw::Nobody, user: String::new(), count: 0 };
        return if ephemeral.is_none() { vec![nobody] } else { Vec::new() };
    }
    let shared_with = |name: &str| {
        all.iter().any(|other| match &other.authentication {
            Authentication::Digest { realm, users, .. } => {
                users == source
                    && (realm.eq_ignore_ascii_case(name) || other.name.to_string().eq_ignore_ascii_case(name))
            }
            _ => false,
        })
    };
    let offered = offered(algorithms);
    let mut found: BTreeMap<Unserved<'_>, (&str, usize)> = BTreeMap::new();
    for (user, why) in users.unserved(realm, &offered) {
        if let Unserved::ForeignHost(name) | Unserved::ForeignRealm(name) = why
            && shared_with(name)
        {
            continue;
        }
        let (first, count) = found.entry(why).or_insert((user, 0));
        *first = user.min(*first);
        *count += 1;
    }
    let remark = |(why, (user, count)): (Unserved<'_>, (&str, usize))| {
        let flaw = match why {
            Unserved::ForeignHost(host) => {
                UserFlaw::ForeignHost { host: host.to_owned(), domain: domain.name.clone() }
            }
            Unserved::ForeignRealm(wrong) => {
                UserFlaw::ForeignRealm { realm: wrong.to_owned(), ours: realm.clone() }
            }
            Unserved::Algorithm(algorithm) => UserFlaw::Algorithm(algorithm.name()),
        };
        UsersRemark { flaw, user: user.to_owned(), count }
    };
    found.into_iter().take(MOST_REMARKS).map(remark).collect()
}

/// Tells the log.
pub(crate) fn warn(domain: &Domain, all: &[Domain], users: &UserTable) {
    for remark in remarks(domain, all, users) {
        tracing::warn!(domain = %domain.name, "{remark}");
    }
}
