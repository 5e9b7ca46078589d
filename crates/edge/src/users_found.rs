//! What a domain's users and keys come to, for those who look at a configuration without a server that runs.

use config::{Authentication, Domain, TokenSource};
use sip_auth::TokenKeys;

use crate::{
    UsersError,
    admission::read_keys,
    passwords::{offered, read_users},
};

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
