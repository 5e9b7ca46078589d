//! What a listener lets in.

use super::request::HeaderValue;

/// Which handshakes are accepted. The default asks for the sub-protocol `sip` and takes any path, host and
/// origin.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    /// Allowed paths, compared exactly and without the query; empty: any.
    pub paths: &'a [&'a str],
    /// Allowed values of Host, letter case aside: `name` with any port, or `name:port`; empty: any.
    pub hosts: &'a [&'a str],
    /// Allowed origins as browsers write them, letter case aside: `https://app.example.com`, or
    /// `https://*.example.com` for any name below that one; empty: any.
    pub origins: &'a [&'a str],
    /// What a request without Origin is worth: it comes from something that is no browser.
    pub missing_origin: MissingOrigin,
    /// What must be offered.
    pub sub_protocol: SubProtocol,
    /// Bytes of request line and headers together. Default 8,192.
    pub max_head: usize,
    /// Header lines, at most [`MAX_HEADERS`](super::MAX_HEADERS). Default 64.
    pub max_headers: usize,
}

/// How to take a request without Origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingOrigin {
    /// Native apps and servers may come in. They could send any Origin anyway: the header protects browsers'
    /// users only.
    Allow,
    /// Browsers only, as far as a header can tell.
    Refuse,
}

/// Which sub-protocol is agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubProtocol {
    /// `sip` must be among those offered (RFC 7118 §4).
    Sip,
    /// The first that was offered, or none.
    Any,
}

impl Default for Policy<'_> {
    fn default() -> Self {
        Self {
            paths: &[],
            hosts: &[],
            origins: &[],
            missing_origin: MissingOrigin::Allow,
            sub_protocol: SubProtocol::Sip,
            max_head: 8 * 1024,
            max_headers: 64,
        }
    }
}

impl Policy<'_> {
    pub(super) fn allows_path(&self, path: &str) -> bool {
        self.paths.is_empty() || self.paths.contains(&path)
    }

    pub(super) fn allows_host(&self, host: &str) -> bool {
        let name = host_without_port(host);
        self.hosts.is_empty()
            || self
                .hosts
                .iter()
                .any(|allowed| allowed.eq_ignore_ascii_case(host) || allowed.eq_ignore_ascii_case(name))
    }

    pub(super) fn allows_origin(&self, origin: HeaderValue<'_>) -> bool {
        if self.origins.is_empty() {
            return true;
        }
        let Some(origin) = origin.as_str() else { return false };
        self.origins.iter().any(|allowed| match allowed.split_once("://*.") {
            None => allowed.eq_ignore_ascii_case(origin),
            Some((scheme, parent)) => origin.split_once("://").is_some_and(|(its_scheme, its_host)| {
                its_scheme.eq_ignore_ascii_case(scheme) && is_below(its_host, parent)
            }),
        })
    }
}

/// Whether `host` is one or more labels, a dot, and `parent`.
fn is_below(host: &str, parent: &str) -> bool {
    let Some(at) = host.len().checked_sub(parent.len() + 1) else { return false };
    let (labels, rest) = match (host.get(..at), host.get(at..)) {
        (Some(labels), Some(rest)) => (labels, rest),
        _ => return false,
    };
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    !labels.is_empty()
        && labels.bytes().all(is_name)
        && rest.strip_prefix('.').is_some_and(|rest| rest.eq_ignore_ascii_case(parent))
}

/// Cuts `:port` off; the colons inside the brackets of an IPv6 address are none.
fn host_without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.is_empty() => name,
        _ => host,
    }
}
