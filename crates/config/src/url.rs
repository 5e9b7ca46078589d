//! Addresses of servers.

use std::fmt;

use toml::de::DeValue;

use crate::host::Host;
use crate::report::{Problem, ProblemKind};
use crate::value::{Fault, FromToml, text};

/// How a webhook is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// The word in front of `://`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// The address of a webhook, taken apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WebhookUrl {
    /// How it is reached.
    pub scheme: Scheme,
    /// The host.
    pub host: Host,
    /// The port; the scheme's own where none is written.
    pub port: u16,
    /// Path and query as the request line has them; begins with `/`.
    pub target: String,
}

impl WebhookUrl {
    /// The `Host` header: the port is there unless it is the scheme's own.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.port == self.scheme.port() {
            self.host.to_string()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme.as_str(), self.authority(), self.target)
    }
}

/// Read here and not by `http::Uri`: that drops a fragment in silence and does not say what is wrong.
impl FromToml for WebhookUrl {
    fn expected() -> String {
        "a web address such as \"https://crm.example.com/sip-events\"".to_owned()
    }

    fn from_toml(value: &DeValue<'_>) -> Result<Self, Fault> {
        let url = text(value)?;
        let Some((scheme, rest)) = url.split_once("://") else {
            let label = "it does not begin with http:// or https://";
            return Err(Fault::mended(label, format!("write \"https://{url}\"")));
        };
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err(Fault::value("it does not begin with http:// or https://")),
        };
        let (authority, target) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if target.contains('#') {
            return Err(Fault::mended("a fragment is never sent", "leave out what follows `#`"));
        }
        if !target.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Fault::value("other characters must be percent-encoded"));
        }
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        let (host, port) = host_and_port(authority, scheme.port())?;
        Ok(Self { scheme, host, port, target })
    }
}

/// Reads `host` or `host:port`; `port` is for where none is written.
pub(crate) fn host_and_port(authority: &str, port: u16) -> Result<(Host, u16), Fault> {
    if authority.contains('@') {
        let help = "leave it out: a secret stands in a variable or a file of its own";
        return Err(Fault::mended("a user or password stands in the configuration", help));
    }
    if let Some(host) = Host::new(authority) {
        return Ok((host, port));
    }
    let (host, port) = authority.rsplit_once(':').ok_or_else(|| Fault::value("not a host"))?;
    let host = Host::new(host).ok_or_else(|| Fault::value("not a host"))?;
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse::<u16>() {
        Ok(port) if digits && port != 0 => Ok((host, port)),
        _ => Err(Fault::value("the port must be from 1 to 65535")),
    }
}

/// What is said of an address to which events go without TLS, over a network.
pub(crate) fn in_the_clear(span: std::ops::Range<usize>, help: &str) -> Problem {
    Problem::new(ProblemKind::Risky, span, "events leave this machine in the clear")
        .label("they tell who calls whom")
        .help(help)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Option<WebhookUrl> {
        WebhookUrl::from_toml(&DeValue::String(text.into())).ok()
    }

    #[test]
    fn addresses() {
        for (text, shown, port) in [
            ("https://crm.example.com/sip?x=1", "https://crm.example.com/sip?x=1", 443),
            ("HTTP://Localhost:9000", "http://localhost:9000/", 9000),
            ("https://[::1]:443?x", "https://[::1]/?x", 443),
        ] {
            let url = url(text).unwrap();
            assert_eq!((url.to_string().as_str(), url.port), (shown, port));
        }
        for text in [
            "",
            "crm.example.com",
            "ftp://a.com",
            "https://",
            "https://a.com:0",
            "https://a.com:",
            "https://u:p@a.com",
            "https://a.com/ b",
            "https://a.com/#x",
            "https://a b/",
        ] {
            assert_eq!(url(text), None, "{text}");
        }
    }
}
