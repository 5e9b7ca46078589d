//! Users in a text file: one `user:password`, or `user:realm:HA1` as htdigest writes it, on each line.

use crate::algorithm::{Algorithm, Ha1};
use crate::user_names::UserNames;
use crate::user_table::UserTable;
use std::collections::HashMap;
use std::fmt;

/// What is wrong with a password file, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct PasswordFileError {
    /// From 1.
    pub line: usize,
    /// What is wrong there.
    pub problem: PasswordFileProblem,
}

/// All that is wrong with a password file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct PasswordFileErrors {
    /// The first of them, in the order of the file; never empty, at most 20.
    pub errors: Vec<PasswordFileError>,
    /// How many more there are.
    pub more: usize,
}

/// Errors of one file that are told.
const MOST_TOLD: usize = 20;

impl fmt::Display for PasswordFileErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            write!(f, "{}{error}", if index == 0 { "" } else { "\n  " })?;
        }
        if self.more > 0 { write!(f, "\n  and {} more", self.more) } else { Ok(()) }
    }
}

/// What can be wrong with a line. Never shows a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordFileProblem {
    /// The line has no colon.
    #[error("no colon; write user:password or user:realm:HA1")]
    NoColon,
    /// Nothing before the first colon.
    #[error("no user name before the colon; write user:password")]
    NoUser,
    /// Blanks around the name, which would be part of it.
    #[error("blanks around the user name `{0}`; remove them")]
    BlankAroundUser(String),
    /// Nothing after the colon.
    #[error("user `{0}` has no password; write one after the colon, or remove the line")]
    NoPassword(String),
    /// Three fields of which the second is empty and the third a hash.
    #[error("user `{0}` has a hash but no realm; write user:realm:HA1")]
    NoRealm(String),
    /// The user was there before, and both cannot hold.
    #[error("user `{user}` is on line {first} already; remove one of the two")]
    Duplicate {
        /// Whose.
        user: String,
        /// The earlier line.
        first: usize,
    },
    /// Not UTF-8, as SIP user names are.
    #[error("not UTF-8; save the file as UTF-8")]
    NotUtf8,
}

impl UserTable {
    /// Reads a password file.
    ///
    /// - `user:password`: the password is everything after the first colon, further colons included, blanks
    ///   too.
    /// - `user:realm:HA1`: exactly three fields, the last of 32 (MD5) or 64 (SHA-256) hexadecimal digits; or
    ///   `user:realm:SHA-512-256:HA1`. A user may have one of each for the same realm. A password of that
    ///   very form cannot be written as `user:password`.
    /// - A user may be written as clients write it: `alice` or `alice@example.com`. A hash is good for
    ///   clients that write the name in the same way.
    /// - Lines that are empty or start with `#` are passed over.
    ///
    /// # Errors
    /// Every line that is wrong.
    pub fn parse(content: &[u8], names: &UserNames) -> Result<UserTable, PasswordFileErrors> {
        let mut table = UserTable::new(names.clone());
        // The line each user (in one realm by one algorithm, for hashes) was last seen on.
        let mut lines: HashMap<String, usize> = HashMap::new();
        let mut hash_lines: HashMap<(String, String, Algorithm), usize> = HashMap::new();
        let content = content.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(content);
        let mut wrong = PasswordFileErrors { errors: Vec::new(), more: 0 };
        let mut read = |line: usize, bytes: &[u8]| {
            let text = std::str::from_utf8(bytes).map_err(|_| PasswordFileProblem::NotUtf8)?;
            let text = text.strip_suffix('\r').unwrap_or(text);
            if text.trim().is_empty() || text.trim_start().starts_with('#') {
                return Ok(());
            }
            let (user, entry) = Entry::read(text)?;
            let first = lines.insert(names.account(user).into_owned(), line).unwrap_or(line);
            let set = match entry {
                Entry::Password(password) => table.set_password(user, password).map_err(|_| first),
                Entry::Hashed { realm, algorithm, ha1 } => {
                    let of_hash = (user.to_owned(), realm.to_owned(), algorithm);
                    let first = hash_lines.insert(of_hash, line).unwrap_or(first);
                    table.set_hash(user, realm, algorithm, ha1).map_err(|_| first)
                }
            };
            set.map_err(|first| PasswordFileProblem::Duplicate { user: user.to_owned(), first })
        };
        for (line, bytes) in (1..).zip(content.split(|byte| *byte == b'\n')) {
            match read(line, bytes) {
                Ok(()) => {}
                Err(problem) if wrong.errors.len() < MOST_TOLD => {
                    wrong.errors.push(PasswordFileError { line, problem });
                }
                Err(_) => wrong.more += 1,
            }
        }
        if wrong.errors.is_empty() { Ok(table) } else { Err(wrong) }
    }
}

enum Entry<'a> {
    Password(&'a str),
    Hashed { realm: &'a str, algorithm: Algorithm, ha1: Ha1 },
}

impl<'a> Entry<'a> {
    fn read(text: &'a str) -> Result<(&'a str, Entry<'a>), PasswordFileProblem> {
        let (user, rest) = text.split_once(':').ok_or(PasswordFileProblem::NoColon)?;
        if user.trim().is_empty() {
            return Err(PasswordFileProblem::NoUser);
        }
        if user.trim() != user {
            return Err(PasswordFileProblem::BlankAroundUser(user.to_owned()));
        }
        if rest.is_empty() {
            return Err(PasswordFileProblem::NoPassword(user.to_owned()));
        }
        if let Some((realm, last)) = rest.split_once(':') {
            let last = last.trim_end();
            let (hash, other) = match last.split_once(':') {
                Some((name, hash)) if name == Algorithm::Sha512_256.name() => {
                    (hash, Some(Algorithm::Sha512_256))
                }
                _ => (last, None),
            };
            let hash = other
                .map_or(vec![Algorithm::Md5, Algorithm::Sha256], |other| vec![other])
                .into_iter()
                .find_map(|algorithm| Ha1::from_hex(algorithm, hash).map(|ha1| (algorithm, ha1)));
            if let Some((algorithm, ha1)) = hash {
                if realm.is_empty() {
                    return Err(PasswordFileProblem::NoRealm(user.to_owned()));
                }
                return Ok((user, Entry::Hashed { realm, algorithm, ha1 }));
            }
        }
        Ok((user, Entry::Password(rest)))
    }
}

#[cfg(test)]
mod tests;
