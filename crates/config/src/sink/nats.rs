//! `kind = "nats"`: a stream of NATS JetStream.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

use super::TIMEOUT;
use crate::document::{At, Field, Reading, Section};
use crate::host::Host;
use crate::report::{Problem, ProblemKind};
use crate::secret::Password;
use crate::url::{host_and_port, in_the_clear};
use crate::value::{Fault, FromToml, text};

pub(super) const KEYS: &[&str] = &[
    "servers",
    "stream",
    "subject",
    "user",
    "password_env",
    "password_file",
    "creds_file",
    "ca_file",
    "timeout",
];

/// A stream of NATS JetStream that takes events, one message each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nats {
    /// The servers of one cluster; any of them will do. Never empty.
    pub servers: Vec<NatsServer>,
    /// The stream; by itself `SIPWAY_` and the node's name. Only this node may write to it.
    pub stream: Option<StreamName>,
    /// What subjects begin with; the node's name and the event's type follow.
    pub subject: SubjectPrefix,
    /// How we prove who we are.
    pub login: NatsLogin,
    /// A file with certificates of authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// How long a connection or an acknowledgement may take: 10 ms to 5 min.
    pub timeout: Duration,
}

/// How a NATS server knows us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NatsLogin {
    /// It does not ask.
    Nobody,
    /// By a token.
    Token(Password),
    /// By name and password.
    User {
        /// The name.
        name: String,
        /// The password.
        password: Password,
    },
    /// By a file of credentials (a JWT and its key), read at every connection.
    Credentials(PathBuf),
}

impl Nats {
    pub(super) fn read(reading: &mut Reading<'_>, section: &Section<'_>) -> Option<Self> {
        let servers = section.set::<NatsServer>(reading, "servers");
        if servers.is_absent() {
            section.missing(reading, "servers", "[\"nats://127.0.0.1:4222\"]");
        }
        let servers = servers.given().map(|list| list.value);
        for At { value, span } in servers.iter().flatten() {
            if value.security == Security::Plain && !value.host.is_loopback() {
                reading.warning(in_the_clear(span.clone(), "use tls://"));
            }
        }
        let stream = section.field::<StreamName>(reading, "stream");
        let subject = section.or(reading, "subject", SubjectPrefix("sipway".to_owned()));
        let login = login(reading, section);
        let ca_file = section.path_field(reading, "ca_file");
        let timeout = section.duration(reading, "timeout", TIMEOUT).or(Duration::from_secs(10));
        Some(Self {
            servers: servers?.into_iter().map(|at| at.value).collect(),
            stream: stream.given().map(|at| at.value),
            subject,
            login: login?,
            ca_file: ca_file.given().map(|at| at.value),
            timeout,
        })
    }
}

/// Nothing if what was written cannot be, which has been noted then.
fn login(reading: &mut Reading<'_>, section: &Section<'_>) -> Option<NatsLogin> {
    let user = section.field::<String>(reading, "user");
    let password = Password::read(reading, section)?;
    match (section.path_field(reading, "creds_file"), user, password) {
        (Field::Faulty, _, _) | (_, Field::Faulty, _) => None,
        (Field::Given(file), Field::Absent, None) => {
            reading.expect_secret("the credentials", &file);
            Some(NatsLogin::Credentials(file.value))
        }
        (Field::Given(file), _, _) => {
            reading.error(
                Problem::new(ProblemKind::Conflict, file.span, "there are two ways to log in")
                    .label("this file says who we are by itself")
                    .help("remove either this, or the user and the password"),
            );
            None
        }
        (Field::Absent, Field::Absent, None) => Some(NatsLogin::Nobody),
        (Field::Absent, Field::Absent, Some(token)) => Some(NatsLogin::Token(token)),
        (Field::Absent, Field::Given(name), Some(password)) => {
            Some(NatsLogin::User { name: name.value, password })
        }
        (Field::Absent, Field::Given(name), None) => {
            reading.error(
                Problem::new(ProblemKind::MissingKey, name.span, "this user has no password")
                    .label("without one it cannot log in")
                    .help("add `password_env = \"SIPWAY_SINK_PASSWORD\"` or `password_file = \"nats.password\"`"),
            );
            None
        }
    }
}

/// Whether a NATS server is reached over TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Security {
    /// In the clear, unless the server insists on TLS.
    Plain,
    /// Over TLS.
    Tls,
}

/// The address of a NATS server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NatsServer {
    /// Whether it is reached over TLS.
    pub security: Security,
    /// The host.
    pub host: Host,
    /// The port; 4222 where none is written.
    pub port: u16,
}

impl fmt::Display for NatsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.security {
            Security::Plain => "nats",
            Security::Tls => "tls",
        };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

impl FromToml for NatsServer {
    fn expected() -> String {
        "the address of a NATS server such as \"nats://127.0.0.1:4222\" or \"tls://nats.example.com\""
            .to_owned()
    }

    fn from_toml(value: &DeValue<'_>) -> Result<Self, Fault> {
        let url = text(value)?;
        let (security, place) = match url.split_once("://") {
            Some(("nats", place)) => (Security::Plain, place),
            Some(("tls", place)) => (Security::Tls, place),
            Some(_) => return Err(Fault::value("it does not begin with nats:// or tls://")),
            None => {
                return Err(Fault::mended(
                    "it does not begin with nats:// or tls://",
                    format!("write \"nats://{url}\""),
                ));
            }
        };
        let (host, port) = host_and_port(place.strip_suffix('/').unwrap_or(place), 4222)?;
        Ok(Self { security, host, port })
    }
}

/// The name of a stream: 1 to 255 of letters, digits, `-` and `_`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StreamName(String);

impl StreamName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn plain(token: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=255).contains(&token.len()) && token.bytes().all(allowed)
}

impl FromToml for StreamName {
    fn expected() -> String {
        "the name of a stream: letters, digits, - and _".to_owned()
    }

    fn from_toml(value: &DeValue<'_>) -> Result<Self, Fault> {
        let name = text(value)?;
        if plain(name) { Ok(Self(name.to_owned())) } else { Err(Fault::value("not such a name")) }
    }
}

/// What subjects begin with: one or more tokens of letters, digits, `-` and `_`, with a dot between each two.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SubjectPrefix(String);

impl SubjectPrefix {
    /// The prefix as text, without a dot at its end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromToml for SubjectPrefix {
    fn expected() -> String {
        "what subjects begin with, such as \"sipway\" or \"voice.sipway\"".to_owned()
    }

    fn from_toml(value: &DeValue<'_>) -> Result<Self, Fault> {
        let prefix = text(value)?;
        if prefix.len() <= 255 && prefix.split('.').all(plain) {
            return Ok(Self(prefix.to_owned()));
        }
        match prefix.strip_suffix(".>").or_else(|| prefix.strip_suffix('.')) {
            Some(rest) if rest.split('.').all(plain) => Err(Fault::mended(
                "node and type are put behind it by themselves",
                format!("write \"{rest}\""),
            )),
            _ => Err(Fault::value("not letters, digits, - and _, with a dot between each two")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names() {
        let server = |text: &str| NatsServer::from_toml(&DeValue::String(text.into())).ok();
        for (text, shown) in [
            ("nats://127.0.0.1", "nats://127.0.0.1:4222"),
            ("tls://nats.example.com:4443/", "tls://nats.example.com:4443"),
            ("nats://[::1]:1", "nats://[::1]:1"),
        ] {
            assert_eq!(server(text).unwrap().to_string(), shown);
        }
        for text in [
            "",
            "127.0.0.1:4222",
            "http://a.com",
            "nats://",
            "nats://u:p@a.com",
            "nats://a.com:0",
            "nats://a.com/x",
        ] {
            assert_eq!(server(text), None, "{text}");
        }
        let prefix = |text: &str| SubjectPrefix::from_toml(&DeValue::String(text.into())).ok();
        assert_eq!(prefix("voice.sipway").unwrap().as_str(), "voice.sipway");
        for text in ["", ".", "a.", "a.>", "*", "a b", "a..b", "$JS.API"] {
            assert_eq!(prefix(text), None, "{text}");
        }
        let stream = |text: &str| StreamName::from_toml(&DeValue::String(text.into())).ok();
        assert_eq!(stream("SIPWAY_edge1").unwrap().as_str(), "SIPWAY_edge1");
        assert_eq!((stream("a.b"), stream(""), stream("a/b")), (None, None, None));
    }
}
