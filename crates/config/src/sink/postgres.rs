//! `kind = "postgres"`: a PostgreSQL database.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use toml::de::DeValue;

use crate::document::{Reading, Section};
use crate::host::Host;
use crate::report::{Problem, ProblemKind};
use crate::secret::Password;
use crate::value::{Fault, FromToml, Keyword, text};

pub(super) const KEYS: &[&str] =
    &["url", "password_env", "password_file", "schema", "timeout", "tls", "ca_file"];

const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(300);
const PORT: u16 = 5432;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tls {
    Verify,
    Off,
}

impl Keyword for Tls {
    const CHOICES: &'static [(&'static str, Self)] = &[("verify", Self::Verify), ("off", Self::Off)];
}

/// A PostgreSQL database that takes events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Postgres {
    /// Where it is, and as whom.
    pub url: DatabaseUrl,
    /// The password, if the server asks for one.
    pub password: Option<Password>,
    /// The schema that holds the sink's tables and views: `a-z`, `0-9` and `_`, at most 63, no digit first.
    pub schema: String,
    /// How the connection is secured.
    pub tls: DatabaseTls,
    /// How long to connect, or one transaction, may take: 100 ms to 5 min.
    pub timeout: Duration,
}

/// How a connection to a database is secured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseTls {
    /// Not at all.
    Off,
    /// TLS, with a certificate that must be the host's.
    Verify {
        /// The authorities it may come from; none means those that this machine trusts.
        authorities: Vec<CertificateDer<'static>>,
    },
}

/// Where a database is, and as whom one comes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DatabaseUrl {
    /// The role.
    pub user: String,
    /// The server.
    pub host: DatabaseHost,
    /// Its port, also of a socket's name.
    pub port: u16,
    /// The database.
    pub database: String,
}

/// Where a database server listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum DatabaseHost {
    /// On TCP.
    Net(Host),
    /// On a Unix socket in this directory.
    Directory(PathBuf),
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            DatabaseHost::Net(host) => write!(f, "{host}:{}/{}", self.port, self.database),
            DatabaseHost::Directory(path) => write!(f, "{}:{}/{}", path.display(), self.port, self.database),
        }
    }
}

impl FromToml for DatabaseUrl {
    fn expected() -> String {
        "an address such as \"postgres://sipway@db.example.com/telephony\" or, for a socket, \
         \"postgres://sipway@%2Frun%2Fpostgresql/telephony\""
            .to_owned()
    }

    fn from_toml(value: &DeValue<'_>) -> Result<Self, Fault> {
        let url = text(value)?;
        let rest = url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://"));
        let rest = rest.ok_or_else(|| Fault::value("it does not begin with postgres://"))?;
        if rest.contains(['?', '#']) {
            let help = "leave it out: TLS, password and time limits are keys of this section";
            return Err(Fault::mended("parameters are not read", help));
        }
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, server) = authority.rsplit_once('@').unwrap_or(("", authority));
        if user.contains(':') {
            let help = "name a variable with `password_env` or a file with `password_file`; and change the password, \
                        for it may have been seen";
            return Err(Fault::mended("a password stands in the configuration", help));
        }
        let user = decoded(user).filter(|user| !user.is_empty());
        let user =
            user.ok_or_else(|| Fault::mended("the user is missing", "write postgres://USER@HOST/DATABASE"))?;
        let database = decoded(database).ok_or_else(|| Fault::value("broken percent-encoding"))?;
        let database = if database.is_empty() { user.clone() } else { database };
        let (host, port) = match server.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') && Host::new(server).is_none() => {
                let port = port.parse::<u16>().ok().filter(|port| *port != 0);
                (host, port.ok_or_else(|| Fault::value("the port must be from 1 to 65535"))?)
            }
            _ => (server, PORT),
        };
        let host = match decoded(host) {
            Some(path) if path.starts_with('/') => DatabaseHost::Directory(PathBuf::from(path)),
            _ => DatabaseHost::Net(Host::new(host).ok_or_else(|| Fault::value("not a host"))?),
        };
        Ok(Self { user, host, port, database })
    }
}

/// Without percent-encoding; nothing if that is broken or hides a zero byte.
fn decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            out.push(*first);
            continue;
        }
        let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
        out.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &rest[2..];
    }
    String::from_utf8(out).ok().filter(|text| !text.contains('\0'))
}

/// The name of a schema that needs no quotes.
struct Schema(String);

impl FromToml for Schema {
    fn expected() -> String {
        "a name of 1 to 63 characters out of a-z, 0-9 and _".to_owned()
    }

    fn from_toml(value: &DeValue<'_>) -> Result<Self, Fault> {
        let text = text(value)?;
        let plain = text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
        match text.as_bytes().first() {
            None => Err(Fault::value("this is empty")),
            Some(b'0'..=b'9') => Err(Fault::value("a digit cannot come first")),
            _ if text.starts_with("pg_") => {
                Err(Fault::value("names that begin with pg_ are the server's own"))
            }
            _ if text.len() > 63 => Err(Fault::value("this is too long")),
            _ if !plain => Err(Fault::value("it holds other characters")),
            _ => Ok(Self(text.to_owned())),
        }
    }
}

impl Postgres {
    pub(super) fn read(reading: &mut Reading<'_>, section: &Section<'_>) -> Option<Self> {
        let url =
            section.required::<DatabaseUrl>(reading, "url", "\"postgres://sipway@db.example.com/telephony\"");
        let password = Password::read(reading, section);
        let schema = section.or(reading, "schema", Schema("sipway".to_owned())).0;
        let timeout = section.duration(reading, "timeout", TIMEOUT).or(Duration::from_secs(10));
        let near = url.as_ref().is_some_and(|at| match &at.value.host {
            DatabaseHost::Net(host) => host.is_loopback(),
            DatabaseHost::Directory(_) => true,
        });
        let tls = section.field::<Tls>(reading, "tls");
        let place = tls.place();
        let tls = match tls.or(if near { Tls::Off } else { Tls::Verify }) {
            Tls::Off => {
                if !near && let Some(place) = place {
                    reading.warning(
                        Problem::new(ProblemKind::Risky, place, "events leave this machine in the clear")
                            .label("they tell who calls whom")
                            .help("write tls = \"verify\""),
                    );
                }
                let help = "remove it, or write tls = \"verify\"";
                section.not_applicable(reading, &["ca_file"], "this connection has no TLS", help);
                Some(DatabaseTls::Off)
            }
            Tls::Verify => match section.path_field(reading, "ca_file") {
                crate::document::Field::Absent => Some(DatabaseTls::Verify { authorities: Vec::new() }),
                crate::document::Field::Faulty => None,
                crate::document::Field::Given(path) => {
                    crate::tls::chain(reading, &path).map(|authorities| DatabaseTls::Verify { authorities })
                }
            },
        };
        Some(Self { url: url?.value, password: password?, schema, tls: tls?, timeout })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Option<(String, String)> {
        let url = DatabaseUrl::from_toml(&DeValue::String(text.into())).ok()?;
        Some((url.user.clone(), url.to_string()))
    }

    #[test]
    fn addresses() {
        for (text, user, shown) in [
            ("postgres://sipway@db.example.com/telephony", "sipway", "db.example.com:5432/telephony"),
            ("postgresql://a%40b@127.0.0.1:6000", "a@b", "127.0.0.1:6000/a@b"),
            ("postgres://s@[::1]/d", "s", "[::1]:5432/d"),
            ("postgres://s@[::1]:6000/d", "s", "[::1]:6000/d"),
            ("postgres://s@%2Frun%2Fpostgresql:6000/d", "s", "/run/postgresql:6000/d"),
        ] {
            assert_eq!(url(text), Some((user.to_owned(), shown.to_owned())), "{text}");
        }
        for text in [
            "",
            "db.example.com",
            "mysql://a@b/c",
            "postgres://db.example.com/x",
            "postgres://u:secret@db.example.com/x",
            "postgres://u@db.example.com/x?sslmode=require",
            "postgres://u@db.example.com:0/x",
            "postgres://u@/x",
            "postgres://u@b/%zz",
            "postgres://u@b/%00",
        ] {
            assert_eq!(url(text), None, "{text}");
        }
    }
}
