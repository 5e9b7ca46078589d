//! Users in memory.

use crate::algorithm::{Algorithm, Ha1};
use crate::user_names::{UserNames, Username};
use crate::users::{Credentials, Ha1Set, Secret};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

/// Users and their secrets: each has a password, or hashes. Users are known by their accounts
/// ([`UserNames::account`]).
#[derive(Clone, Default)]
pub struct UserTable {
    names: UserNames,
    users: HashMap<String, User>,
}

#[derive(Clone)]
enum User {
    Password(String),
    /// By realm and spelling of the name, seldom more than one.
    Hashed(Vec<Hashes>),
}

#[derive(Clone)]
struct Hashes {
    realm: String,
    /// The name that was hashed.
    written: Box<str>,
    set: Ha1Set,
}

/// The user has a secret already, and both cannot hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DuplicateSecret;

/// Why a user of a table cannot log in with every client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unserved<'t> {
    /// The name ends with this host, which is neither the domain nor its realm.
    ForeignHost(&'t str),
    /// The hashes are for this realm, and none is for the one that is asked for.
    ForeignRealm(&'t str),
    /// An algorithm that is offered has no hash.
    Algorithm(Algorithm),
}

impl fmt::Debug for UserTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserTable({} users)", self.users.len())
    }
}

impl UserTable {
    /// No users yet, of whom the names may be written in these ways.
    pub fn new(names: UserNames) -> UserTable {
        UserTable { names, users: HashMap::new() }
    }

    /// Adds a user with a password.
    ///
    /// # Errors
    /// There is such a user.
    pub fn set_password(&mut self, user: &str, password: &str) -> Result<(), DuplicateSecret> {
        let account = self.names.account(user);
        if self.users.contains_key(account.as_ref()) {
            return Err(DuplicateSecret);
        }
        self.users.insert(account.into_owned(), User::Password(password.to_owned()));
        Ok(())
    }

    /// Adds a hash of a user, beside others by other algorithms, for other realms, or over other spellings of
    /// the name: Kamailio's `ha1b` is over `alice@example.com`.
    ///
    /// # Errors
    /// There is such a hash, or the user has a password.
    pub fn set_hash(
        &mut self,
        user: &str,
        realm: &str,
        algorithm: Algorithm,
        ha1: Ha1,
    ) -> Result<(), DuplicateSecret> {
        let account = self.names.account(user).into_owned();
        let entry = self.users.entry(account).or_insert_with(|| User::Hashed(Vec::new()));
        let User::Hashed(all) = entry else { return Err(DuplicateSecret) };
        let is = |one: &Hashes| one.realm == realm && *one.written == *user;
        let at = all.iter().position(is).unwrap_or_else(|| {
            all.push(Hashes { realm: realm.to_owned(), written: user.into(), set: Ha1Set::default() });
            all.len() - 1
        });
        match all.get_mut(at) {
            Some(Hashes { set, .. }) if set.get(algorithm).is_none() => {
                set.set(algorithm, ha1);
                Ok(())
            }
            _ => Err(DuplicateSecret),
        }
    }

    /// How many users there are.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Every user who is not served by each of these algorithms in this realm, and the first reason. A client
    /// that takes an algorithm without a hash is never let in.
    pub fn unserved<'t>(
        &'t self,
        realm: &'t str,
        algorithms: &'t [Algorithm],
    ) -> impl Iterator<Item = (&'t str, Unserved<'t>)> {
        self.users.iter().filter_map(move |(name, user)| {
            // A name with such a host is its own account.
            if let Some(host) = self.names.foreign_host(name) {
                return Some((name.as_str(), Unserved::ForeignHost(host)));
            }
            let User::Hashed(all) = user else { return None };
            let ours = || all.iter().filter(|one| one.realm == realm);
            if ours().next().is_none() {
                return all.first().map(|one| (name.as_str(), Unserved::ForeignRealm(&one.realm)));
            }
            let lacks = |algorithm: &Algorithm| !ours().any(|one| one.set.get(*algorithm).is_some());
            let lacking = algorithms.iter().copied().find(lacks)?;
            Some((name.as_str(), Unserved::Algorithm(lacking)))
        })
    }

    /// Whether there is a user of this account.
    pub fn has(&self, account: &str) -> bool {
        self.users.contains_key(account)
    }

    /// Whether there is no user.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }
}

impl Credentials for UserTable {
    fn lookup(&self, user: Username<'_>, realm: &str) -> Option<Secret<'_>> {
        match self.users.get(user.account)? {
            User::Password(password) => Some(Secret::Password(Cow::Borrowed(password))),
            User::Hashed(all) => {
                let mut ours = all.iter().filter(|one| one.realm == realm).peekable();
                ours.peek()?;
                let hashed = ours.find(|one| *one.written == *user.written);
                Some(hashed.map_or(Secret::HashedOtherwise, |one| Secret::Hashed(one.set)))
            }
        }
    }
}
