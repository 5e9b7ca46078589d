//! What a WebSocket handshake must bring, for `ws` and `wss` listeners.

use toml::de::DeValue;

use crate::document::{Field, Reading, Section};
use crate::host::Host;
use crate::value::{Fault, FromToml, Keyword, text};

/// What a handshake must bring to be accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSocket {
    /// Which request paths are served.
    pub paths: Paths,
    /// Which web pages may connect.
    pub origins: Origins,
    /// What becomes of a handshake without `Origin`: browsers always send it, other programs seldom.
    pub missing_origin: MissingOrigin,
}

impl Default for WebSocket {
    fn default() -> Self {
        Self { paths: Paths::Any, origins: Origins::Any, missing_origin: MissingOrigin::Accept }
    }
}

/// Which request paths are served; a query is not part of the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Paths {
    /// All.
    Any,
    /// These, compared byte for byte; never empty, each begins with `/`.
    Only(Vec<String>),
}

/// Which web pages may connect, by the `Origin` that their browser sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// All.
    Any,
    /// These, in the form in which browsers send them (RFC 6454 §6.1); never empty.
    Only(Vec<String>),
}

/// What becomes of a handshake without `Origin`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MissingOrigin {
    /// It is accepted.
    Accept,
    /// It is refused.
    Refuse,
}

impl Keyword for MissingOrigin {
    const CHOICES: &'static [(&'static str, Self)] = &[("accept", Self::Accept), ("refuse", Self::Refuse)];
}

impl WebSocket {
    pub(crate) fn read(reading: &mut Reading<'_>, section: &Section<'_>) -> Option<Self> {
        let paths = section.set::<Path>(reading, "paths");
        let origins = section.set::<Origin>(reading, "origins");
        let missing = section.field::<MissingOrigin>(reading, "missing_origin");
        Some(Self {
            paths: match paths {
                Field::Absent => Paths::Any,
                Field::Faulty => return None,
                Field::Given(list) => Paths::Only(list.value.into_iter().map(|at| at.value.0).collect()),
            },
            origins: match origins {
                Field::Absent => Origins::Any,
                Field::Faulty => return None,
                Field::Given(list) => Origins::Only(list.value.into_iter().map(|at| at.value.0).collect()),
            },
            missing_origin: missing.or(MissingOrigin::Accept),
        })
    }
}

/// The path of a request target.
#[derive(PartialEq)]
struct Path(String);

impl FromToml for Path {
    fn expected() -> String {
        "a path that begins with \"/\"".to_owned()
    }

    fn from_toml(value: &DeValue<'_>) -> Result<Self, Fault> {
        let path = text(value)?;
        if !path.starts_with('/') {
            return Err(Fault::mended("no \"/\" at its start", format!("write \"/{path}\"")));
        }
        if path.contains(['?', '#']) {
            return Err(Fault::value("the path alone, without a query"));
        }
        if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Fault::value("other characters must be percent-encoded"));
        }
        Ok(Self(path.to_owned()))
    }
}

/// An origin in the form in which browsers send it: scheme, host, and the port unless it is the scheme's own.
#[derive(PartialEq)]
struct Origin(String);

impl FromToml for Origin {
    fn expected() -> String {
        "an origin such as \"https://app.example.com\"".to_owned()
    }

    fn from_toml(value: &DeValue<'_>) -> Result<Self, Fault> {
        let origin = text(value)?;
        // What browsers send for pages without an origin of their own, such as local files.
        if origin == "null" {
            return Ok(Self(origin.to_owned()));
        }
        if origin == "*" {
            return Err(Fault::mended("not an origin", "leave `origins` out to let every page in"));
        }
        let Some((scheme, rest)) = origin.split_once("://") else {
            let help = format!("write \"https://{origin}\"");
            return Err(Fault::mended("the scheme is missing", help));
        };
        let scheme = scheme.to_ascii_lowercase();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        if scheme.is_empty() || !scheme.bytes().all(plain) {
            return Err(Fault::value("not a scheme"));
        }
        let bare = rest.trim_end_matches('/');
        if bare.contains(['/', '?', '#', '@']) {
            return Err(Fault::value("scheme, host and port alone"));
        }
        if bare != rest {
            return Err(Fault::mended(
                "browsers send no \"/\" at its end",
                format!("write \"{scheme}://{bare}\""),
            ));
        }
        let own_port = match scheme.as_str() {
            "https" => 443,
            "http" => 80,
            _ => 0,
        };
        let authority = match Host::new(bare) {
            Some(host) => host.to_string(),
            None => {
                let (host, port) = bare.rsplit_once(':').ok_or_else(|| Fault::value("not a host"))?;
                let host = Host::new(host).ok_or_else(|| Fault::value("not a host"))?;
                let digits = port.bytes().all(|byte| byte.is_ascii_digit());
                match port.parse::<u16>() {
                    Ok(port) if digits && port == own_port => host.to_string(),
                    Ok(port) if digits && port != 0 => format!("{host}:{port}"),
                    _ => return Err(Fault::value("the port must be from 1 to 65535")),
                }
            }
        };
        Ok(Self(format!("{scheme}://{authority}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Option<String> {
        Origin::from_toml(&DeValue::String(text.into())).ok().map(|origin| origin.0)
    }

    #[test]
    fn origins_are_kept_as_browsers_send_them() {
        for (text, sent) in [
            ("https://App.Example.com", "https://app.example.com"),
            ("HTTPS://app.example.com:443", "https://app.example.com"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("http://[::1]:80", "http://[::1]"),
            ("chrome-extension://abcdefgh", "chrome-extension://abcdefgh"),
            ("null", "null"),
        ] {
            assert_eq!(origin(text).as_deref(), Some(sent), "{text}");
        }
        for text in
            ["", "*", "app.example.com", "https://", "https://a.com/", "https://a.com/x", "https://u@a.com"]
        {
            assert_eq!(origin(text), None, "{text}");
        }
    }
}
