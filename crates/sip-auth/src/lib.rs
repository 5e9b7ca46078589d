//! Digest authentication for SIP (RFC 3261 §22, RFC 7616, RFC 8760): verdicts on credentials, challenges, and
//! answers.
//!
//! Pure: time comes as Unix seconds, randomness as a number, users by the [`Credentials`] trait.
//! [`Authenticator`] is the server's side, [`answer`] the client's. [`TokenRules`]
//! judges signed tokens (JWT).
//!
//! ACK and CANCEL cannot be challenged (RFC 3261 §22.1) and an ACK repeats the credentials of its INVITE: do
//! not bring them here, the nonce count would be seen twice.
#![forbid(unsafe_code)]

mod algorithm;
mod answer;
mod authenticator;
mod challenge;
mod ephemeral;
mod nonce;
mod params;
mod password_file;
mod replay;
mod response;
mod token;
mod uri;
mod user_names;
mod user_table;
mod users;

pub use algorithm::{Algorithm, Ha1};
pub use answer::answer;
pub use authenticator::{
    Authenticator, ChallengeReason, MissingHash, NoHash, NoQop, RefuseReason, Request, Role, Settings, Stale,
    UriCheck, Verdict,
};
pub use challenge::{Challenge, ChallengeError, Qop};
pub use ephemeral::{Ephemeral, EphemeralHash, EphemeralName};
pub use params::{CredentialsScope, ParamsError, TokenRetry, bearer_challenge, bearer_token};
pub use password_file::{PasswordFileError, PasswordFileErrors, PasswordFileProblem};
pub use token::{
    Granted, LONGEST_TOKEN, SHORTEST_SECRET, TokenError, TokenHolder, TokenKeys, TokenKeysError, TokenRules,
};
pub use user_names::{UserNames, Username};
pub use user_table::{DuplicateSecret, Unserved, UserTable};
pub use users::{Credentials, Ha1Set, Secret};
