//! Tokens and ephemeral passwords that name a user for a limited time: in an upgrade request or in a SIP
//! request (RFC 8898).

use std::{
    borrow::Cow,
    fs,
    sync::{PoisonError, RwLock},
    time::Duration,
};

use config::{Domain, Host, Jwt, Outside, TokenSource};
use lifecycle::{Identity, Now};
use metrics::{Count, Metrics};
use percent_encoding::percent_decode_str;
use sip_auth::{EphemeralName, Granted, Role, TokenError, TokenKeys, TokenRetry, TokenRules};
use sip_message::{HeaderId, Message, Uri};
use sip_proxy::Answer;
use transport::{Grant, VerifiedClient, upgrade::Request};

use crate::{UsersError, key_set::Remote};

/// What the sub-protocol begins with that carries a token: `Sec-WebSocket-Protocol: sip, bearer.TOKEN`.
/// Browsers can set no header, but name sub-protocols.
const SUB_PROTOCOL: &str = "bearer.";

/// No token is taken to last longer, so that no time overflows.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// The tokens of one domain.
#[derive(Debug)]
pub(crate) struct BearerTokens {
    pub(crate) domain: Host,
    pub(crate) keys: RwLock<TokenKeys>,
    /// Where they come from, if that is elsewhere.
    pub(crate) remote: Option<Remote>,
    pub(crate) rules: TokenRules,
    /// The query parameter.
    pub(crate) query: String,
    /// The cookie.
    pub(crate) cookie: Option<String>,
}

impl BearerTokens {
    /// # Errors
    /// Keys that cannot be used.
    pub(crate) fn new(domain: &Domain, jwt: &Jwt) -> Result<Self, UsersError> {
        Ok(Self {
            domain: domain.name.clone(),
            keys: RwLock::new(read_keys(&domain.name, &jwt.source)?.unwrap_or(TokenKeys::none())),
            remote: match &jwt.source {
                TokenSource::Remote { url, every } => Some(Remote::new(url.clone(), *every)),
                TokenSource::Keys(_) | TokenSource::Secret(_) => None,
            },
            rules: TokenRules {
                issuer: jwt.issuer.clone(),
                audience: jwt.audience.clone(),
                claim: jwt.claim.clone(),
                grant: match &domain.outside {
                    Outside::Claim(claim) => Some(claim.clone()),
                    Outside::Nobody | Outside::Users | Outside::Only(_) | Outside::Everybody => None,
                },
                leeway: jwt.leeway.as_secs(),
            },
            query: jwt.query.clone(),
            cookie: jwt.cookie.clone(),
        })
    }

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

    /// Identifies the bearer of a token.
    pub(crate) fn judge(&self, token: &str, now: Now) -> Result<VerifiedClient, TokenError> {
        let seconds = now.unix_seconds();
        let holder = {
            // A panic under this lock is a bug of ours; the keys stay whole.
            let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
            self.rules.judge(&keys, token, seconds)
        };
        if let (Err(TokenError::UnknownKey | TokenError::BadSignature), Some(remote)) =
            (&holder, &self.remote)
        {
            // There may be a newer key.
            remote.want();
        }
        let holder = holder?;
        let identity = identity(&holder.user, &self.domain).ok_or(TokenError::NoUser)?;
        let left = lasting(Duration::from_secs(holder.until.saturating_sub(seconds)));
        let outside = match holder.granted {
            Granted::Yes => Grant::Given,
            Granted::No => Grant::NotGiven,
        };
        Ok(VerifiedClient { identity, until: now.instant + left, outside })
    }

    /// From now on tokens are judged by these. Connections that were accepted with older keys stay until
    /// their tokens run out.
    pub(crate) fn replace_keys(&self, keys: TokenKeys) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// Identifies the sender of a request by the token in it (RFC 8898).
    ///
    /// # Errors
    /// There is none, or it is not good: what to answer.
    pub(crate) fn prove(
        &self,
        request: &Message<'_>,
        role: Role,
        now: Now,
        metrics: &Metrics,
        wrong: impl FnOnce(),
    ) -> Result<VerifiedClient, Answer> {
        let ask = |again| {
            let server = self.rules.issuer.as_deref().filter(|issuer| issuer.starts_with("https://"));
            let reason = match role {
                Role::UserAgent => "Unauthorized",
                Role::Proxy => "Proxy Authentication Required",
            };
            metrics.add(Count::Challenges);
            let challenge = sip_auth::bearer_challenge(&self.domain.to_string(), server, again);
            Answer::new(role.status(), reason).header(role.challenge_header(), challenge)
        };
        let token = brought(request).ok_or_else(|| ask(TokenRetry::No))?;
        self.judge(token, now).map_err(|error| {
            metrics.add(Count::TokensRefused);
            tracing::debug!(why = error.message(), "a request's token is refused");
            // A login made the token that has expired: its holder is no burglar.
            if error != TokenError::Expired {
                wrong();
            }
            ask(TokenRetry::Yes)
        })
    }
}

/// The keys that can be had at once; none where they come from elsewhere.
pub(crate) fn read_keys(domain: &Host, source: &TokenSource) -> Result<Option<TokenKeys>, UsersError> {
    let keys = match source {
        TokenSource::Remote { .. } => return Ok(None),
        TokenSource::Keys(file) => {
            let path = || file.to_owned();
            let content = fs::read(file).map_err(|error| UsersError::Unreadable { path: path(), error })?;
            TokenKeys::read(&content).map_err(|error| UsersError::Keys { path: path(), error })
        }
        TokenSource::Secret(secret) => TokenKeys::shared(secret.expose())
            .map_err(|error| UsersError::Secret { domain: domain.clone(), error }),
    };
    keys.map(Some)
}

/// The token in a request. Libraries send the header of a registrar with everything.
pub fn brought<'m>(request: &Message<'m>) -> Option<&'m str> {
    let headers = [HeaderId::Authorization, HeaderId::ProxyAuthorization].map(|id| request.all(id));
    headers.into_iter().flatten().find_map(|header| sip_auth::bearer_token(header.value))
}

/// The name and password in the query of an upgrade request, `username` and `password`, percent-encoded.
pub(crate) fn named_in_query(request: &Request<'_>) -> Option<(String, String)> {
    let query = request.query()?;
    let value = |name| value_of(query.split('&'), name).and_then(decoded);
    Some((value("username")?, value("password")?))
}

/// A value from a query without its escapes. Base64 has a `+` of its own, so that is none for a space.
fn decoded(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(Cow::into_owned)
}

/// The user that an ephemeral password names, and the time until which it is valid.
pub(crate) fn verified_by_password(
    name: EphemeralName<'_>,
    domain: &Host,
    now: Now,
) -> Option<VerifiedClient> {
    let left = lasting(Duration::from_secs(name.until.saturating_sub(now.unix_seconds())));
    let identity = identity(name.user, domain)?;
    Some(VerifiedClient { identity, until: now.instant + left, outside: Grant::NotGiven })
}

fn value_of<'a>(pairs: impl Iterator<Item = &'a str>, name: &str) -> Option<&'a str> {
    let mut pairs = pairs.filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, value)| *key == name && !value.is_empty()).map(|(_, value)| value)
}

/// No longer than what cannot overflow a time.
pub(crate) fn lasting(time: Duration) -> Duration {
    time.min(LONGEST)
}

/// The address-of-record of a user, who is named alone or with the domain.
pub(crate) fn identity(name: &str, domain: &Host) -> Option<Identity> {
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
    Identity::new(&aor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_in_a_query_are_undone_and_a_plus_stays() {
        assert_eq!(decoded("1%3aada").as_deref(), Some("1:ada"));
        assert_eq!(decoded("a+b%2B%3d/").as_deref(), Some("a+b+=/"));
        assert_eq!(decoded("100%").as_deref(), Some("100%"), "what is no escape stands for itself");
        assert_eq!(decoded("%FF"), None, "not UTF-8");
    }

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
