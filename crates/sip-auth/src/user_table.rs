//! Users in memory.

use crate::algorithm::{Algorithm, Ha1};
use crate::users::{Credentials, Ha1Set, Secret};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

/// Users and their secrets: each has a password, or hashes.
#[derive(Clone, Default)]
pub struct UserTable {
    users: HashMap<String, User>,
}

#[derive(Clone)]
enum User {
    Password(String),
    /// By realm, seldom more than one.
    Hashed(Vec<(String, Ha1Set)>),
}

/// The user has a secret already, and both cannot hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SaidTwice;

impl fmt::Debug for UserTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserTable({} users)", self.users.len())
    }
}

impl UserTable {
    /// Adds a user with a password.
    ///
    /// # Errors
    /// There is such a user.
    pub fn set_password(&mut self, user: &str, password: &str) -> Result<(), SaidTwice> {
        if self.users.contains_key(user) {
            return Err(SaidTwice);
        }
        self.users.insert(user.to_owned(), User::Password(password.to_owned()));
        Ok(())
    }

    /// Adds a hash of a user, beside others by other algorithms or for other realms.
    ///
    /// # Errors
    /// There is such a hash, or the user has a password.
    pub fn set_hash(
        &mut self,
        user: &str,
        realm: &str,
        algorithm: Algorithm,
        ha1: Ha1,
    ) -> Result<(), SaidTwice> {
        let user = self.users.entry(user.to_owned()).or_insert_with(|| User::Hashed(Vec::new()));
        let User::Hashed(realms) = user else { return Err(SaidTwice) };
        let at = realms.iter().position(|(known, _)| known == realm).unwrap_or_else(|| {
            realms.push((realm.to_owned(), Ha1Set::default()));
            realms.len() - 1
        });
        match realms.get_mut(at) {
            Some((_, set)) if set.get(algorithm).is_none() => {
                set.set(algorithm, ha1);
                Ok(())
            }
            _ => Err(SaidTwice),
        }
    }

    /// How many users there are.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// A user, and how many there are, whose hashes do not serve the realm with all of these algorithms: a client that takes
    /// one of the others is never let in.
    pub fn unserved(&self, realm: &str, algorithms: &[Algorithm]) -> Option<(&str, usize)> {
        let lacks = |user: &User| match user {
            User::Password(_) => false,
            User::Hashed(realms) => {
                let set = realms.iter().find(|(known, _)| known == realm).map(|(_, set)| set);
                !algorithms.iter().all(|algorithm| set.is_some_and(|set| set.get(*algorithm).is_some()))
            }
        };
        let mut unserved: Vec<&str> =
            self.users.iter().filter(|(_, user)| lacks(user)).map(|(name, _)| name.as_str()).collect();
        unserved.sort_unstable();
        unserved.first().map(|first| (*first, unserved.len()))
    }

    /// Whether there is no user.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }
}

impl Credentials for UserTable {
    fn lookup(&self, user: &str, realm: &str) -> Option<Secret<'_>> {
        match self.users.get(user)? {
            User::Password(password) => Some(Secret::Password(Cow::Borrowed(password))),
            User::Hashed(realms) => {
                realms.iter().find(|(known, _)| known == realm).map(|(_, set)| Secret::Hashed(*set))
            }
        }
    }
}
