//! The client of a request behind a chain of proxies, by `X-Forwarded-For` or `Forwarded` (RFC 7239).
//!
//! Each proxy adds, at the end, from whom it had the request; so the end was written by the nearest one, and
//! everything before the first entry of an untrusted proxy may be made up. What counts is the last
//! address that is not a trusted proxy's.

use crate::{Client, Networks};

/// The client by `X-Forwarded-For`, whose lines are given in order. None if the last entry is no address:
/// then nothing is known but the proxy.
#[must_use]
pub fn by_x_forwarded_for<'a>(
    lines: impl DoubleEndedIterator<Item = &'a [u8]>,
    trusted: &Networks,
) -> Option<Client> {
    let entries = lines.rev().flat_map(|line| line.rsplit(|&byte| byte == b','));
    let entries = entries.map(<[u8]>::trim_ascii).filter(|entry| !entry.is_empty());
    last_untrusted(entries.map(|entry| Client::read(std::str::from_utf8(entry).ok()?)), trusted)
}

/// The client by `Forwarded` (RFC 7239), whose lines are given in order. None if the last entry names no
/// address (`for=unknown`, a name made up, no `for` at all): then nothing is known but the proxy.
#[must_use]
pub fn by_forwarded<'a>(
    lines: impl DoubleEndedIterator<Item = &'a [u8]>,
    trusted: &Networks,
) -> Option<Client> {
    // From the end: a quote that a client left open in front must not swallow what a proxy put behind it.
    let entries = lines.rev().flat_map(|line| split_from_end(line, b','));
    let entries = entries.filter(|entry| !entry.trim_ascii().is_empty());
    last_untrusted(entries.map(client_of_element), trusted)
}

/// From the last entry backwards: the first that is not trusted, or the farthest that is known.
fn last_untrusted(entries: impl Iterator<Item = Option<Client>>, trusted: &Networks) -> Option<Client> {
    let mut known = None;
    for entry in entries {
        // Behind what cannot be read anybody may have written anything.
        let Some(client) = entry else { break };
        known = Some(client);
        if !trusted.contain(client.ip) {
            break;
        }
    }
    known
}

/// The address in the `for` of one element, RFC 7239 §4.
fn client_of_element(element: &[u8]) -> Option<Client> {
    let mut node = None;
    for pair in split_from_end(element, b';') {
        let Some(equals) = pair.iter().position(|&byte| byte == b'=') else { continue };
        let (name, value) = pair.split_at(equals);
        if name.trim_ascii().eq_ignore_ascii_case(b"for") {
            // Said twice it says nothing.
            if node.replace(value.get(1..)?).is_some() {
                return None;
            }
        }
    }
    let value = std::str::from_utf8(node?.trim_ascii()).ok()?;
    let node = match value.strip_prefix('"') {
        // An address has no character that would be escaped.
        Some(rest) => rest.strip_suffix('"').filter(|node| !node.contains(['"', '\\']))?,
        None => value,
    };
    // §6: the port may be a name made up; IPv6 stands in brackets.
    match node.rsplit_once(":_") {
        Some((address, _)) => Client::read(address),
        None => Client::read(node),
    }
}

/// The parts between separators that do not stand in quotes, the last first.
fn split_from_end(line: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest?;
        let mut quoted = false;
        let end = line.iter().enumerate().rposition(|(at, &byte)| {
            let escaped = quoted && at.checked_sub(1).is_some_and(|before| line.get(before) == Some(&b'\\'));
            if byte == b'"' && !escaped {
                quoted = !quoted;
            }
            byte == separator && !quoted
        });
        match end {
            Some(end) => {
                rest = line.get(..end);
                line.get(end + 1..)
            }
            None => rest.take(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn trusted() -> Networks {
        ["10.0.0.0/8", "2001:db8:1::/48"].iter().map(|text| text.parse().unwrap()).collect()
    }

    fn shown(client: Option<Client>) -> String {
        client.map_or("nobody".to_owned(), |client| client.to_string())
    }

    fn x_forwarded_for(lines: &[&str]) -> String {
        shown(by_x_forwarded_for(lines.iter().map(|line| line.as_bytes()), &trusted()))
    }

    fn forwarded(lines: &[&str]) -> String {
        shown(by_forwarded(lines.iter().map(|line| line.as_bytes()), &trusted()))
    }

    #[test]
    fn the_last_address_that_is_not_a_proxys_is_the_clients() {
        for (lines, client) in [
            (&["192.0.2.1"][..], "192.0.2.1"),
            (&["198.51.100.9, 192.0.2.1"], "192.0.2.1"),
            (&["192.0.2.1, 10.0.0.1, 10.0.0.2"], "192.0.2.1"),
            (&["1.1.1.1", "192.0.2.1 ,10.0.0.1", "10.0.0.2,"], "192.0.2.1"),
            (&["10.0.0.7, 10.0.0.2"], "10.0.0.7"),
            (&["192.0.2.1:40000"], "192.0.2.1:40000"),
            (&["2001:db8:2::1, 2001:db8:1::1"], "2001:db8:2::1"),
            (&["[2001:db8:2::1]:80"], "[2001:db8:2::1]:80"),
            (&["192.0.2.1, unknown"], "nobody"),
            (&["192.0.2.1, nonsense, 10.0.0.1"], "10.0.0.1"),
            (&["", " , "], "nobody"),
            (&[], "nobody"),
        ] {
            assert_eq!(x_forwarded_for(lines), client, "{lines:?}");
        }
    }

    #[test]
    fn forwarded_as_rfc_7239_writes_it() {
        for (lines, client) in [
            (&["for=192.0.2.60;proto=http;by=203.0.113.43"][..], "192.0.2.60"),
            (&["For=\"[2001:db8:cafe::17]:4711\""], "[2001:db8:cafe::17]:4711"),
            (&["for=192.0.2.43, for=198.51.100.17"], "198.51.100.17"),
            (&["for=192.0.2.43", "for=\"10.0.0.1:1234\";by=_secret"], "192.0.2.43"),
            (&["host=\"a,for=1.1.1.1\"; for = 192.0.2.43"], "192.0.2.43"),
            (&["host=\"a\\\",for=1.1.1.1\";for=192.0.2.43"], "192.0.2.43"),
            (&["for=\"192.0.2.43:_port\""], "192.0.2.43"),
            (&["for=192.0.2.43, for=unknown"], "nobody"),
            (&["for=192.0.2.43, for=_hidden, for=10.0.0.1"], "10.0.0.1"),
            (&["for=192.0.2.43, proto=https"], "nobody"),
            (&["for=192.0.2.43;for=192.0.2.44"], "nobody"),
            (&["for=\"192.0.2.43"], "nobody"),
            (&["proto=https"], "nobody"),
        ] {
            assert_eq!(forwarded(lines), client, "{lines:?}");
        }
    }

    proptest! {
        /// However a client fills the headers, what the trusted proxy saw counts.
        #[test]
        fn what_a_client_writes_in_front_changes_nothing(made_up in "[ -~]{0,30}[\"\\\\,;=]{0,4}", same_line: bool) {
            let made_up = made_up.into_bytes();
            let lines = |own: &[u8]| -> Vec<Vec<u8>> {
                if same_line { vec![[&made_up[..], b", ", own].concat()] } else { vec![made_up.clone(), own.to_vec()] }
            };
            let one = lines(b"192.0.2.1");
            let client = by_x_forwarded_for(one.iter().map(Vec::as_slice), &trusted());
            prop_assert_eq!(shown(client), "192.0.2.1");
            for own in [&b"for=192.0.2.1"[..], b"for=\"192.0.2.1\";proto=https"] {
                let one = lines(own);
                let client = by_forwarded(one.iter().map(Vec::as_slice), &trusted());
                prop_assert_eq!(shown(client), "192.0.2.1");
            }
        }
    }
}
