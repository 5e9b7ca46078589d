//! The client's side: an `Authorization` or `Proxy-Authorization` value for a challenge.

use crate::algorithm::Counted;
use crate::challenge::{Challenge, Qop};
use crate::params::push_quoted;

/// The value of the header that answers `challenge`.
///
/// `uri` is the Request-URI as sent. `cnonce` is a random text and `nc` the number of uses of this nonce so
/// far, this one included, from 1; neither is used when the challenge offers no `qop`.
pub fn answer(
    challenge: &Challenge,
    method: &str,
    uri: &str,
    user: &str,
    password: &str,
    cnonce: &str,
    nc: u32,
) -> String {
    let Challenge { realm, nonce, opaque, algorithm, qop, .. } = challenge;
    let nc = format!("{nc:08x}");
    let counted = match qop {
        Qop::Auth => Some(Counted { nc: &nc, cnonce }),
        Qop::Absent => None,
    };
    let ha1 = algorithm.ha1(user, realm, password);
    let response = algorithm.response(&ha1, nonce, counted, method.as_bytes(), uri.as_bytes()).to_hex();

    let mut value = String::with_capacity(320);
    push_quoted(&mut value, "Digest username", user);
    for (name, text) in
        [(", realm", realm.as_str()), (", nonce", nonce), (", uri", uri), (", response", &response)]
    {
        push_quoted(&mut value, name, text);
    }
    value.push_str(", algorithm=");
    value.push_str(algorithm.name());
    if let Some(counted) = counted {
        push_quoted(&mut value, ", cnonce", counted.cnonce);
        value.push_str(", qop=auth, nc=");
        value.push_str(counted.nc);
    }
    if let Some(opaque) = opaque {
        push_quoted(&mut value, ", opaque", opaque);
    }
    value
}

#[cfg(test)]
mod tests;
