//! Identifies the senders of requests and the clients of connections.
//!
//! [`Domains`] holds how the users of each served domain prove who they are: by a password (RFC 3261 §22, RFC
//! 8760), by a token or an ephemeral password (RFC 8898), by the certificate of their connection, or at the
//! registrar behind. [`DomainRef::prove`] judges the credentials in a request, [`Domains::admit`] those in a
//! WebSocket upgrade. Guesses are counted by a [`LoginThrottle`], which the server implements.
//!
//! Which users may call each other is not decided here.
//!
//! Users and keys that stand elsewhere are read again beside everything else: see [`keep_users`] and
//! [`keep_keys`].
#![forbid(unsafe_code)]

mod bearer_tokens;
mod client_certificate;
mod digest;
mod domains;
mod key_set;
mod login_attempt;
mod quota;
mod user_database;
mod users_found;

pub use bearer_tokens::brought;
pub use client_certificate::verified_by_certificate;
pub use domains::{DomainRef, Domains, NewUsers, Proof, UsersError};
pub use key_set::{FetchError, fetch_keys, keep_keys};
pub use login_attempt::{LoginAttempt, LoginThrottle};
pub use quota::QuotaExceeded;
pub use user_database::{DatabaseError, keep_users};
pub use users_found::{UsersFound, UsersRemark};
