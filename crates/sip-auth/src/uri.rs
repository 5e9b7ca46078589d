//! Whether the `uri` a client signed is the Request-URI that came.

/// Byte for byte the same, or the same scheme, user and host, where scheme and host are compared without
/// regard to case and these may differ: URI parameters and headers, angle brackets, and a port that only one
/// of them has.
///
/// The port is left out by some clients in one of the two, parameters are added by proxies in between. The
/// signature is always over the `uri` as the client wrote it.
pub(crate) fn alike(signed: &[u8], requested: &[u8]) -> UriMatch {
    if signed == requested {
        return UriMatch::Yes;
    }
    match (Parts::of(signed), Parts::of(requested)) {
        (Some(a), Some(b))
            if a.scheme.eq_ignore_ascii_case(b.scheme)
                && a.user == b.user
                && a.host.eq_ignore_ascii_case(b.host)
                && (a.port == b.port || a.port.is_none() || b.port.is_none()) =>
        {
            UriMatch::Yes
        }
        _ => UriMatch::No,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UriMatch {
    Yes,
    No,
}

struct Parts<'a> {
    scheme: &'a [u8],
    /// With its password, if any.
    user: Option<&'a [u8]>,
    host: &'a [u8],
    port: Option<&'a [u8]>,
}

impl<'a> Parts<'a> {
    fn of(uri: &'a [u8]) -> Option<Parts<'a>> {
        let uri = uri.trim_ascii();
        let uri = uri.strip_prefix(b"<").and_then(|uri| uri.strip_suffix(b">")).unwrap_or(uri);
        let (scheme, rest) = split_at_first(uri, b":");
        let rest = rest?;
        // A user may hold ';' and '?', so it is cut off first.
        let (user, rest) = match split_at_first(rest, b"@") {
            (user, Some(host)) => (Some(user), host),
            (host, None) => (None, host),
        };
        let (hostport, _) = split_at_first(rest, b";?");
        // The colons of an IPv6 reference are inside its brackets.
        let name_end = hostport.iter().rposition(|byte| *byte == b']').map_or(0, |at| at + 1);
        let (tail, port) = split_at_first(&hostport[name_end..], b":");
        let host = &hostport[..name_end + tail.len()];
        (!host.is_empty()).then_some(Parts { scheme, user, host, port })
    }
}

fn split_at_first<'a>(bytes: &'a [u8], stops: &[u8]) -> (&'a [u8], Option<&'a [u8]>) {
    match bytes.iter().position(|byte| stops.contains(byte)) {
        Some(at) => (&bytes[..at], Some(&bytes[at + 1..])),
        None => (bytes, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_differ() {
        let alike = [
            ("sip:example.com", "sip:example.com"),
            ("sip:bob@example.com", "SIP:bob@EXAMPLE.com"),
            ("sip:bob@example.com", "sip:bob@example.com;transport=ws?x=y"),
            ("<sip:bob@example.com>", "sip:bob@example.com"),
            ("sip:bob@example.com:5060", "sip:bob@example.com"),
            ("sip:[::1]:5060", "sip:[::1]"),
            ("tel:+15551", "tel:+15551;phone-context=x"),
            ("/dir/index.html", "/dir/index.html"),
        ];
        for (signed, requested) in alike {
            assert_eq!(
                super::alike(signed.as_bytes(), requested.as_bytes()),
                UriMatch::Yes,
                "{signed} {requested}"
            );
            assert_eq!(
                super::alike(requested.as_bytes(), signed.as_bytes()),
                UriMatch::Yes,
                "{requested} {signed}"
            );
        }
    }

    #[test]
    fn what_may_not() {
        let differ = [
            ("sip:example.com", "sip:example.org"),
            ("sip:example.com", "sips:example.com"),
            ("sip:bob@example.com", "sip:Bob@example.com"),
            ("sip:bob@example.com", "sip:example.com"),
            ("sip:example.com:5060", "sip:example.com:5061"),
            ("sip:[::1]:5060", "sip:[::2]:5060"),
            ("sip:a;b@example.com", "sip:a;c@example.com"),
            ("", "sip:example.com"),
            ("sip:", "sip:;x"),
        ];
        for (signed, requested) in differ {
            assert_eq!(
                super::alike(signed.as_bytes(), requested.as_bytes()),
                UriMatch::No,
                "{signed} {requested}"
            );
        }
    }
}
