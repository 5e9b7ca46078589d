//! The list of parameters after an authentication scheme: names, tokens, quoted strings, in any order and
//! spacing.

use std::borrow::Cow;

/// More than this no honest header has.
const MOST_PARAMS: usize = 32;
const MOST_BYTES: usize = 8192;

/// Why a header value could not be read as a list of parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ParamsError {
    /// Not UTF-8, which SIP is (RFC 3261 §7).
    #[error("not UTF-8")]
    NotUtf8,
    /// More than 8192 bytes or 32 parameters.
    #[error("too long")]
    TooLong,
    /// A parameter without `=` and value, or something else that is no parameter.
    #[error("not a list of name=value")]
    NotAParameter,
    /// A quoted string without its end.
    #[error("a quoted string does not end")]
    OpenQuote,
    /// The same name twice.
    #[error("a parameter comes twice")]
    Twice,
}

/// Names keep their case and are compared without regard to it; values are unquoted.
#[derive(Clone, Debug)]
pub(crate) struct Params<'a>(Vec<(&'a str, Cow<'a, str>)>);

/// What a header value holds.
pub(crate) enum Scheme<'a> {
    Digest(Params<'a>),
    /// What follows: the token.
    Bearer(&'a [u8]),
    /// Basic, or nothing at all.
    Other,
}

impl<'a> Scheme<'a> {
    pub(crate) fn parse(value: &'a [u8]) -> Result<Scheme<'a>, ParamsError> {
        let start = value.trim_ascii_start();
        let (name, rest) =
            start.split_at(start.iter().position(u8::is_ascii_whitespace).unwrap_or(start.len()));
        if name.eq_ignore_ascii_case(b"Bearer") {
            return Ok(Scheme::Bearer(rest.trim_ascii()));
        }
        if !name.eq_ignore_ascii_case(b"Digest") {
            return Ok(Scheme::Other);
        }
        if rest.len() > MOST_BYTES {
            return Err(ParamsError::TooLong);
        }
        let rest = std::str::from_utf8(rest).map_err(|_| ParamsError::NotUtf8)?;
        Params::parse(rest).map(Scheme::Digest)
    }
}

/// Whom the value of an Authorization or Proxy-Authorization header field is meant for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialsScope {
    /// Digest credentials, for the servers that challenge in this realm.
    Realm(String),
    /// A token (RFC 6750, RFC 8898), for every server that accepts tokens.
    Bearer,
    /// Anybody else, as far as can be told.
    Others,
}

impl CredentialsScope {
    /// Reads one header value.
    #[must_use]
    pub fn of(value: &[u8]) -> CredentialsScope {
        match Scheme::parse(value) {
            Ok(Scheme::Digest(params)) => params
                .get("realm")
                .map_or(CredentialsScope::Others, |realm| CredentialsScope::Realm(realm.to_owned())),
            Ok(Scheme::Bearer(_)) => CredentialsScope::Bearer,
            Ok(Scheme::Other) | Err(_) => CredentialsScope::Others,
        }
    }
}

/// The token in the value of an Authorization or Proxy-Authorization header field of the scheme Bearer (RFC
/// 8898 §2.3).
#[must_use]
pub fn bearer_token(value: &[u8]) -> Option<&str> {
    match Scheme::parse(value) {
        Ok(Scheme::Bearer(token)) => std::str::from_utf8(token).ok(),
        Ok(_) | Err(_) => None,
    }
}

/// The value of a WWW-Authenticate or Proxy-Authenticate header field that asks for a token (RFC 8898 §4): of
/// this realm, from this server if it is known, and again if the one that came was not good (RFC 6750 §3.1).
#[must_use]
pub fn bearer_challenge(realm: &str, server: Option<&str>, again: TokenRetry) -> String {
    let mut value = String::with_capacity(96);
    push_quoted(&mut value, "Bearer realm", realm);
    if let Some(server) = server {
        push_quoted(&mut value, ", authz_server", server);
    }
    if again == TokenRetry::Yes {
        push_quoted(&mut value, ", error", "invalid_token");
    }
    value
}

/// Whether a token is asked for because the one that came was not good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenRetry {
    /// It was not good.
    Yes,
    /// None came.
    No,
}

impl<'a> Params<'a> {
    fn parse(mut rest: &'a str) -> Result<Params<'a>, ParamsError> {
        let mut list: Vec<(&str, Cow<'_, str>)> = Vec::with_capacity(10);
        loop {
            // Empty elements are allowed in such lists (RFC 9110 §5.6.1) and seen in the field.
            rest = rest.trim_start_matches([' ', '\t', '\r', '\n', ',']);
            if rest.is_empty() {
                return Ok(Params(list));
            }
            let (name, after) = rest.split_once('=').ok_or(ParamsError::NotAParameter)?;
            let name = name.trim_ascii_end();
            if name.is_empty() || !name.bytes().all(is_token) {
                return Err(ParamsError::NotAParameter);
            }
            let after = after.trim_ascii_start();
            let (value, after) = match after.strip_prefix('"') {
                Some(quoted) => unquote(quoted)?,
                None => {
                    let end = after.find([',', ' ', '\t', '\r', '\n', '"']).unwrap_or(after.len());
                    (Cow::Borrowed(&after[..end]), &after[end..])
                }
            };
            rest = after.trim_ascii_start();
            if !rest.is_empty() && !rest.starts_with(',') {
                return Err(ParamsError::NotAParameter);
            }
            if list.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
                return Err(ParamsError::Twice);
            }
            if list.len() == MOST_PARAMS {
                return Err(ParamsError::TooLong);
            }
            list.push((name, value));
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_ref())
    }
}

/// The value of a quoted string whose opening quote was taken, and what follows its end.
fn unquote(quoted: &str) -> Result<(Cow<'_, str>, &str), ParamsError> {
    let mut unescaped: Option<String> = None;
    let mut chars = quoted.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => {
                let value = unescaped.map_or(Cow::Borrowed(&quoted[..at]), Cow::Owned);
                return Ok((value, &quoted[at + 1..]));
            }
            '\\' => {
                let (_, escaped) = chars.next().ok_or(ParamsError::OpenQuote)?;
                unescaped.get_or_insert_with(|| quoted[..at].to_owned()).push(escaped);
            }
            other => {
                if let Some(value) = &mut unescaped {
                    value.push(other);
                }
            }
        }
    }
    Err(ParamsError::OpenQuote)
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte)
}

/// Writes `name="value"` with what must be escaped escaped, and control characters left out: they could break
/// a header.
pub(crate) fn push_quoted(to: &mut String, name: &str, value: &str) {
    to.push_str(name);
    to.push_str("=\"");
    for char in value.chars().filter(|char| !char.is_control()) {
        if matches!(char, '"' | '\\') {
            to.push('\\');
        }
        to.push(char);
    }
    to.push('"');
}

#[cfg(test)]
mod tests;
