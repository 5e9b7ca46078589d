//! `kind = "redis"`: a stream of Redis or Valkey.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

use super::TIMEOUT;
use crate::document::{Reading, Section};
use crate::host::Host;
use crate::report::{Problem, ProblemKind};
use crate::secret::Password;
use crate::url::{host_and_port, in_the_clear};
use crate::value::{Fault, FromToml, text};

pub(super) const KEYS: &[&str] =
    &["url", "key", "max_len", "user", "password_env", "password_file", "ca_file", "timeout"];

/// A stream of Redis that takes events, one entry each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redis {
    /// The server.
    pub url: RedisUrl,
    /// The stream's key; by itself `sipway:events:` and the node's name. Only this node may write to it.
    pub key: Option<String>,
    /// About how many entries the stream keeps, if not all: 1 or more.
    pub max_len: Option<u32>,
    /// The user, where it is not the default one.
    pub user: Option<String>,
    /// The password, if the server asks for one.
    pub password: Option<Password>,
    /// A file with certificates of authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// How long a connection or an answer may take: 10 ms to 5 min.
    pub timeout: Duration,
}

impl Redis {
    pub(super) fn read(reading: &mut Reading<'_>, section: &Section<'_>) -> Option<Self> {
        let url = section.required::<RedisUrl>(reading, "url", "\"redis://127.0.0.1:6379\"");
        if let Some(at) = &url
            && at.value.scheme == RedisScheme::Redis
            && !at.value.host.is_loopback()
        {
            reading.warning(in_the_clear(at.span.clone(), "use rediss://"));
        }
        let key = section.field::<String>(reading, "key").given();
        if let Some(at) = key.as_ref().filter(|at| at.value.is_empty()) {
            reading.error(
                Problem::new(ProblemKind::BadValue, at.span.clone(), "`sink.key` is empty")
                    .label("a stream needs a key")
                    .help("leave it out to get its default"),
            );
        }
        let max_len = section.bounded::<u32>(reading, "max_len", 1..=u32::MAX).given();
        let user = section.field::<String>(reading, "user").given();
        let password = Password::read(reading, section);
        if let (Some(user), Some(None)) = (&user, &password) {
            reading.error(
                Problem::new(ProblemKind::MissingKey, user.span.clone(), "this user has no password")
                    .label("without one it cannot log in")
                    .help("add `password_env = \"SIPWAY_SINK_PASSWORD\"` or `password_file = \"redis.password\"`"),
            );
        }
        let ca_file = section.path_field(reading, "ca_file").given();
        let timeout = section.duration(reading, "timeout", TIMEOUT).or(Duration::from_secs(10));
        Some(Self {
            url: url?.value,
            key: key.map(|at| at.value),
            max_len: max_len.map(|at| at.value),
            user: user.map(|at| at.value),
            password: password?,
            ca_file: ca_file.map(|at| at.value),
            timeout,
        })
    }
}

/// How a Redis server is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RedisScheme {
    /// In the clear.
    Redis,
    /// Over TLS.
    Rediss,
}

/// The address of a Redis server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RedisUrl {
    /// How it is reached.
    pub scheme: RedisScheme,
    /// The host.
    pub host: Host,
    /// The port; 6379 where none is written.
    pub port: u16,
    /// The number of the database; 0 where none is written.
    pub database: u32,
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            RedisScheme::Redis => "redis",
            RedisScheme::Rediss => "rediss",
        };
        write!(f, "{scheme}://{}:{}/{}", self.host, self.port, self.database)
    }
}

impl FromToml for RedisUrl {
    fn expected() -> String {
        "the address of a Redis server such as \"redis://127.0.0.1:6379\"".to_owned()
    }

    fn from_toml(value: &DeValue<'_>) -> Result<Self, Fault> {
        let url = text(value)?;
        let (scheme, rest) = match url.split_once("://") {
            Some(("redis", rest)) => (RedisScheme::Redis, rest),
            Some(("rediss", rest)) => (RedisScheme::Rediss, rest),
            Some(_) => return Err(Fault::value("it does not begin with redis:// or rediss://")),
            None => {
                return Err(Fault::mended(
                    "it does not begin with redis:// or rediss://",
                    format!("write \"redis://{url}\""),
                ));
            }
        };
        let (place, database) = rest.split_once('/').unwrap_or((rest, ""));
        let database = match database {
            "" => 0,
            digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().map_err(|_| Fault::value("there is no database of this number"))?
            }
            _ => return Err(Fault::value("what follows the port is not the number of a database")),
        };
        let (host, port) = host_and_port(place, 6379)?;
        Ok(Self { scheme, host, port, database })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let url = |text: &str| RedisUrl::from_toml(&DeValue::String(text.into())).ok();
        for (text, shown) in [
            ("redis://localhost", "redis://localhost:6379/0"),
            ("rediss://cache.example.com:7000/3", "rediss://cache.example.com:7000/3"),
            ("redis://[::1]/", "redis://[::1]:6379/0"),
        ] {
            assert_eq!(url(text).unwrap().to_string(), shown);
        }
        for text in [
            "",
            "localhost",
            "redis://",
            "redis://:secret@a.com",
            "redis://a.com/x",
            "redis://a.com/-1",
            "redis+unix:///x",
        ] {
            assert_eq!(url(text), None, "{text}");
        }
    }
}
