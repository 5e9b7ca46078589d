//! Who may open a WebSocket: the token in the upgrade request, and the user it names.

use std::{
    sync::{PoisonError, RwLock},
    time::{Duration, Instant},
};

use config::Host;
use lifecycle::Text;
use sip_auth::{TokenError, TokenKeys, TokenRules};
use sip_message::Uri;
use transport::{Vouched, upgrade::Request};

use crate::register::LONGEST_IDENTITY;

/// What the sub-protocol begins with that carries a token: `Sec-WebSocket-Protocol: sip, bearer.TOKEN`. Browsers can set
/// no header, but name sub-protocols.
const SUB_PROTOCOL: &str = "bearer.";

/// No token is taken to last longer, so that no time overflows.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// The tokens of one domain.
#[derive(Debug)]
pub(crate) struct Tokens {
    pub(crate) domain: Host,
    pub(crate) keys: RwLock<TokenKeys>,
    pub(crate) rules: TokenRules,
    /// The query parameter.
    pub(crate) query: String,
    /// The cookie.
    pub(crate) cookie: Option<String>,
}

impl Tokens {
    /// The token in a request. What a page sends on purpose comes before what its browser sends by itself.
    pub(crate) fn find<'a>(&self, request: &Request<'a>) -> Option<&'a str> {
        let bearer = || {
            let (scheme, token) = request.authorization()?.as_str()?.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        };
        let sub_protocol = || request.protocols().find_map(|name| name.strip_prefix(SUB_PROTOCOL));
        let query = || value_of(request.query()?.split('&'), &self.query);
        let cookie = || {
            let name = self.cookie.as_deref()?;
            request
                .cookies()
                .filter_map(|line| line.as_str())
                .find_map(|line| value_of(line.split(';'), name))
        };
        bearer().or_else(sub_protocol).or_else(query).or_else(cookie)
    }

    /// Who brings a token.
    pub(crate) fn judge(&self, token: &str, at: (Instant, u64)) -> Result<Vouched, TokenError> {
        let (now, seconds) = at;
        // A panic under this lock is a bug of ours; the keys stay whole.
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let holder = self.rules.judge(&keys, token, seconds)?;
        let identity = identity(&holder.user, &self.domain).ok_or(TokenError::NoUser)?;
        let left = Duration::from_secs(holder.until.saturating_sub(seconds)).min(LONGEST);
        Ok(Vouched { identity, until: now + left })
    }
}

fn value_of<'a>(pairs: impl Iterator<Item = &'a str>, name: &str) -> Option<&'a str> {
    let mut pairs = pairs.filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, value)| *key == name && !value.is_empty()).map(|(_, value)| value)
}

/// The address-of-record of a user, who is named alone or with the domain.
fn identity(name: &str, domain: &Host) -> Option<Text<LONGEST_IDENTITY>> {
    let name = name.strip_prefix("sip:").unwrap_or(name);
    let user = match name.rsplit_once('@') {
        Some((user, host)) if Host::new(host).as_ref() == Some(domain) => user,
        Some(_) => return None,
        None => name,
    };
    if user.is_empty() {
        return None;
    }
    let mut uri = String::from("sip:");
    for byte in user.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()+".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri.push_str(&format!("@{domain}"));
    let aor = Uri::parse(uri.as_bytes()).ok()?.address_of_record()?;
    (aor.len() <= LONGEST_IDENTITY).then(|| Text::new(&aor))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Option<String> {
        identity(name, &Host::new("example.com").unwrap()).map(|text| text.as_str().to_owned())
    }

    #[test]
    fn a_user_is_named_alone_or_with_the_domain() {
        for name in ["ada", "ada@example.com", "sip:ada@example.com", "ada@EXAMPLE.com"] {
            assert_eq!(named(name).as_deref(), Some("ada@example.com"), "{name}");
        }
        for name in ["", "@example.com", "ada@example.org", "ada@example.com@example.org"] {
            assert_eq!(named(name), None, "{name}");
        }
    }

    /// What has a meaning in URIs has none in a name, and nobody becomes another by the cut of a long one.
    #[test]
    fn names_stay_names() {
        let odd = named("auth0|1 2>\r\n").unwrap();
        assert_eq!(odd, "auth0|1%202>%0D%0A@example.com");
        assert_eq!(named(&"a".repeat(116)).unwrap().len(), 128);
        assert_eq!(named(&"a".repeat(117)), None);
    }
}
