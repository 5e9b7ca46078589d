//! Users in an SQLite database. A query of the operator's reads all of them, again whenever the database has
//! changed. So a login waits for no disk, and the time of an answer does not show who is in the database.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use config::{Host, UserQuery};
use metrics::{Count, Metrics};
use rusqlite::{Connection, OpenFlags, types::ValueRef};
use sip_auth::{Algorithm, Ha1, UserNames, UserTable};
use tokio::time::sleep;

use crate::Domains;

/// More users than this are an error, and not a server without memory.
const MOST_USERS: usize = 1_000_000;

/// The longest name or password, in bytes.
const LONGEST: usize = 1024;

/// How long a read waits for a writer.
const BUSY: Duration = Duration::from_secs(5);

/// Why users cannot be had from a database. Never shows a password.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// SQLite says so.
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    /// It cannot be looked at.
    #[error("{0}")]
    Unreadable(#[from] std::io::Error),
    /// The query does not say who the users are.
    #[error("`users_query` gives no column `name`; name it: SELECT username AS name, …")]
    NoName,
    /// Or how they prove it.
    #[error(
        "`users_query` gives none of the columns `password`, `md5`, `sha256` and `sha512_256`; name one: SELECT ha1 AS md5, …"
    )]
    NoSecret,
    /// The query could change something.
    #[error("`users_query` changes the database; it must be a SELECT")]
    Writes,
    /// A row cannot be used.
    #[error("row {row}: {problem}")]
    Row {
        /// From 1.
        row: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// More than there may be.
    #[error("more than {MOST_USERS} users")]
    TooMany,
}

/// Where the users of a domain are.
#[derive(Debug)]
pub(crate) struct UserDatabase {
    from: UserQuery,
    realm: String,
    names: UserNames,
}

impl UserDatabase {
    pub(crate) fn new(from: UserQuery, realm: String, names: UserNames) -> Self {
        Self { from, realm, names }
    }
}

/// Reads all users once.
///
/// # Errors
/// The first thing that is wrong.
pub(crate) fn read(from: &UserQuery, realm: &str, names: &UserNames) -> Result<UserTable, DatabaseError> {
    users(&open(&from.path)?, &from.query, realm, names)
}

fn open(path: &Path) -> Result<Connection, DatabaseError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    Ok(connection)
}

fn users(
    connection: &Connection,
    query: &str,
    realm: &str,
    names: &UserNames,
) -> Result<UserTable, DatabaseError> {
    let mut statement = connection.prepare(query)?;
    if !statement.readonly() {
        return Err(DatabaseError::Writes);
    }
    let column = |name: &str| statement.column_index(name).ok();
    let name = column("name").ok_or(DatabaseError::NoName)?;
    let password = column("password");
    let hashes = [
        (column("md5"), Algorithm::Md5),
        (column("sha256"), Algorithm::Sha256),
        (column("sha512_256"), Algorithm::Sha512_256),
    ];
    if password.is_none() && hashes.iter().all(|(column, _)| column.is_none()) {
        return Err(DatabaseError::NoSecret);
    }
    let mut table = UserTable::new(names.clone());
    let mut rows = statement.query([])?;
    let mut number = 0;
    while let Some(row) = rows.next()? {
        number += 1;
        let wrong = |problem| DatabaseError::Row { row: number, problem };
        // What is absent is NULL.
        let text = |column: usize| match row.get_ref(column)? {
            ValueRef::Null => Ok(None),
            ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) if text.len() <= LONGEST => Ok(Some(text)),
                Ok(_) => Err(wrong("a name or password is longer than 1024 bytes")),
                Err(_) => Err(wrong("a name or password is not UTF-8")),
            },
            ValueRef::Integer(_) | ValueRef::Real(_) | ValueRef::Blob(_) => {
                Err(wrong("a name, password or hash is no text; write CAST(… AS TEXT)"))
            }
        };
        let name = text(name)?.filter(|name| !name.is_empty()).ok_or_else(|| wrong("no name"))?;
        if name.contains(':') {
            return Err(wrong("a name with a colon cannot be hashed"));
        }
        if table.len() == MOST_USERS {
            return Err(DatabaseError::TooMany);
        }
        let mut any = false;
        if let Some(password) = password.map(text).transpose()?.flatten().filter(|text| !text.is_empty()) {
            table.set_password(name, password).map_err(|_| wrong("this user was in an earlier row"))?;
            any = true;
        } else {
            for (column, algorithm) in hashes {
                let Some(hex) = column.map(text).transpose()?.flatten() else { continue };
                let ha1 = Ha1::from_hex(algorithm, hex).ok_or_else(|| wrong("a hash is no such hash"))?;
                let set = table.set_hash(name, realm, algorithm, ha1);
                set.map_err(|_| wrong("this user was in an earlier row"))?;
                any = true;
            }
        }
        if !any {
            return Err(wrong("neither a password nor a hash"));
        }
    }
    Ok(table)
}

/// A database that is looked at again and again.
struct Watched {
    path: PathBuf,
    connection: Connection,
    /// Which file it is, and what SQLite says of changes by others.
    seen: Option<(u64, u64, i64)>,
}

impl Watched {
    fn open(path: &Path) -> Result<Self, DatabaseError> {
        Ok(Self { path: path.to_owned(), connection: open(path)?, seen: None })
    }

    /// Whether the file is another, or has changed, since the last look.
    fn has_changed(&mut self) -> Result<Changed, DatabaseError> {
        let file = fs::metadata(&self.path)?;
        if self.seen.is_some_and(|(device, inode, _)| (device, inode) != (file.dev(), file.ino())) {
            self.connection = open(&self.path)?;
            self.seen = None;
        }
        let version = self.connection.query_row("PRAGMA data_version", [], |row| row.get(0))?;
        let seen = (file.dev(), file.ino(), version);
        Ok(if self.seen.replace(seen) == Some(seen) { Changed::No } else { Changed::Yes })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Changed {
    Yes,
    No,
}

/// Keeps the users of a domain as they are in their database.
pub async fn keep_users(domains: Arc<Domains>, metrics: Arc<Metrics>, domain: Host) {
    let Some(database) = domains.database(&domain) else { return };
    let path = database.from.path.clone();
    let mut watched: Option<Watched> = None;
    let mut failing: Option<String> = None;
    loop {
        let (query, from) = (database.from.query.clone(), path.clone());
        let (realm, names) = (database.realm.clone(), database.names.clone());
        let looked = tokio::task::spawn_blocking(move || {
            let mut watched = match watched {
                Some(watched) => watched,
                None => Watched::open(&from)?,
            };
            let changed = watched.has_changed()?;
            let read = match changed {
                Changed::No => None,
                Changed::Yes => Some(users(&watched.connection, &query, &realm, &names)?),
            };
            Ok::<_, DatabaseError>((watched, read))
        });
        watched = match looked.await {
            Ok(Ok((looked, read))) => {
                if let Some(table) = read {
                    metrics.add(Count::UsersRead);
                    domains.replace_users(&domain, table);
                }
                if failing.take().is_some() {
                    tracing::info!(%domain, path = %path.display(), "the users can be read again");
                }
                Some(looked)
            }
            Ok(Err(error)) => {
                metrics.add(Count::UsersUnread);
                // After one fault is corrected, the next is named.
                let error = error.to_string();
                if failing.as_ref() != Some(&error) {
                    tracing::warn!(%domain, path = %path.display(), %error, "the users cannot be read; the known users stay valid");
                }
                failing = Some(error);
                None
            }
            // The runtime is ending.
            Err(_) => return,
        };
        sleep(database.from.every).await;
    }
}

#[cfg(test)]
mod tests;
