//! How clients write the name of a user in `username`, and which user that is.

use std::borrow::Cow;

/// The hosts that may follow a user's name in `username`: the domain and its realm.
///
/// RFC 3261 does not say what stands in `username`. Phones write the user part alone, the user part with the
/// domain (`alice@example.com`), the whole address (`sip:alice@example.com`), or the user part with its
/// escapes (`%23100`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserNames {
    hosts: Vec<String>,
}

/// A user as a client named it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Username<'a> {
    /// As it stands in the credentials, its quotes and their escapes undone. The client hashed this text.
    pub written: &'a str,
    /// The user that is meant: the name in addresses of the domain, escapes undone.
    pub account: &'a str,
}

impl<'a> Username<'a> {
    /// A name that is written as it is.
    pub const fn plain(name: &'a str) -> Username<'a> {
        Username { written: name, account: name }
    }
}

impl UserNames {
    /// `hosts` are compared without regard to the case of their letters.
    pub fn new(hosts: impl IntoIterator<Item = impl Into<String>>) -> UserNames {
        UserNames { hosts: hosts.into_iter().map(Into::into).collect() }
    }

    /// The user that a written name means. A name with a foreign host stays whole, so it never
    /// becomes a user of this domain.
    pub fn account<'w>(&self, written: &'w str) -> Cow<'w, str> {
        let name = without_scheme(written);
        match name.rsplit_once('@') {
            Some((user, host)) if !user.is_empty() && self.has(host) => unescaped(user),
            _ => unescaped(name),
        }
    }

    /// The host behind a name, if it is neither the domain nor its realm.
    pub fn foreign_host<'w>(&self, written: &'w str) -> Option<&'w str> {
        let (_, host) = without_scheme(written).rsplit_once('@')?;
        (!self.has(host)).then_some(host)
    }

    fn has(&self, host: &str) -> bool {
        self.hosts.iter().any(|known| known.eq_ignore_ascii_case(host))
    }
}

fn without_scheme(written: &str) -> &str {
    let is = |scheme: &str| scheme.eq_ignore_ascii_case("sip") || scheme.eq_ignore_ascii_case("sips");
    match written.split_once(':') {
        Some((scheme, rest)) if is(scheme) && !rest.is_empty() => rest,
        _ => written,
    }
}

/// Without percent escapes (RFC 3261 §25.1); the text itself where that gives no name.
fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let digit = |at: usize| behind.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        match (*first == b'%').then(|| digit(0).zip(digit(1))).flatten() {
            // Two digits of four bits each.
            Some((high, low)) => {
                bytes.push((high << 4 | low) as u8);
                rest = &behind[2..];
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    match String::from_utf8(bytes) {
        Ok(name) if !name.chars().any(char::is_control) => Cow::Owned(name),
        Ok(_) | Err(_) => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_the_same_however_a_phone_writes_the_name() {
        let names = UserNames::new(["example.com", "Example Phones"]);
        let cases = [
            ("alice", "alice"),
            ("alice@example.com", "alice"),
            ("alice@EXAMPLE.com", "alice"),
            ("alice@Example Phones", "alice"),
            ("sip:alice@example.com", "alice"),
            ("SIP:alice@example.com", "alice"),
            ("sips:alice@example.com", "alice"),
            ("sip:alice", "alice"),
            ("%61lice", "alice"),
            ("%23100@example.com", "#100"),
            ("#100", "#100"),
            ("J%c3%bcrgen", "Jürgen"),
            ("a:b", "a:b"),
            ("1735689600:ada@example.com", "1735689600:ada"),
            // What is no escape stands for itself.
            ("100%", "100%"),
            ("100%2", "100%2"),
            ("100%zz", "100%zz"),
            ("%ff", "%ff"),
            ("a%0d%0ab", "a%0d%0ab"),
            ("", ""),
            ("sip:", "sip:"),
        ];
        for (written, account) in cases {
            assert_eq!(names.account(written), account, "{written}");
            assert_eq!(names.foreign_host(written), None, "{written}");
        }
    }

    #[test]
    fn a_name_of_another_domain_is_no_user_of_this_one() {
        let names = UserNames::new(["example.com", "Example Phones"]);
        for (written, host) in [
            ("alice@example.org", "example.org"),
            ("sip:alice@example.org", "example.org"),
            ("alice@sub.example.com", "sub.example.com"),
            ("alice@example.com.", "example.com."),
            ("alice@example.com@example.org", "example.org"),
            ("alice@", ""),
            ("alice@example.com;x", "example.com;x"),
        ] {
            let account = names.account(written).into_owned();
            assert!(account.contains('@'), "{written}: {account}");
            assert_eq!(names.foreign_host(written), Some(host), "{written}");
        }
        assert_eq!(names.account("@example.com"), "@example.com");
        assert_eq!(UserNames::default().account("alice@example.com"), "alice@example.com");
    }
}
