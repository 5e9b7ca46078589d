use proptest::prelude::*;

use super::*;

fn uri(text: &str) -> Uri<'_> {
    Uri::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn parts_of_a_sip_uri() {
    let full = uri("SIPS:al%69ce:pw;x@Example.COM:5061;transport=TCP;LR;maddr=192.0.2.1?Subject=a&b=c");
    assert_eq!(full.scheme(), Scheme::Sips);
    assert_eq!((full.user(), full.password()), (Some(&b"al%69ce"[..]), Some(&b"pw;x"[..])));
    assert!(full.is_user(b"alice") && !full.is_user(b"al%69ce") && !full.is_user(b"alic"));
    assert_eq!((full.host(), full.port()), (Some(Host::Name(b"Example.COM")), Some(5061)));
    assert_eq!((full.transport(), full.lr(), full.ob()), (Some(Transport::Tcp), true, false));
    assert_eq!(full.maddr().and_then(|host| host.ip()), "192.0.2.1".parse().ok());
    assert_eq!(full.headers(), Some(&b"Subject=a&b=c"[..]));
    let short = uri("sip:[2001:db8::10:5070]");
    assert_eq!((short.user(), short.port()), (None, None));
    assert_eq!(short.host().and_then(|host| host.ip()), "2001:db8::10:5070".parse().ok());
    assert!(uri("sip:a;;lr").leniencies().contains(Leniency::EmptyParam));
    assert_eq!(uri("tel:+1-201-555-0123;phone-context=x").user(), Some(&b"+1-201-555-0123"[..]));
    assert_eq!(uri("soap.beep://192.0.2.103:3002").scheme(), Scheme::Other(b"soap.beep"));
}

#[test]
fn damage_is_told_apart() {
    for (text, error) in [
        ("", UriError::Scheme),
        ("example.com", UriError::Scheme),
        (":x", UriError::Scheme),
        ("<sip:a@b>", UriError::Character),
        ("sip:a@b; lr", UriError::Character),
        ("sip:a\0@b", UriError::Character),
        ("sip:%4@b", UriError::Escape),
        ("sip:%zz@b", UriError::Escape),
        ("sip:@b", UriError::User),
        ("sip::pw@b", UriError::User),
        ("sip:a@b@c", UriError::User),
        ("sip:a@", UriError::Host),
        ("sip:", UriError::Host),
        ("sip:[::1", UriError::Host),
        ("sip:[::1]x", UriError::Host),
        ("sip:a/b", UriError::Host),
        ("sip:2001:db8::10", UriError::Port),
        ("sip:a:", UriError::Port),
        ("sip:a:65536", UriError::Port),
        ("tel:", UriError::Number),
        ("tel:+", UriError::Number),
        ("tel:+12ab", UriError::Number),
        ("tel:alice", UriError::Number),
    ] {
        assert_eq!(Uri::parse(text.as_bytes()), Err(error), "{text}");
    }
}

/// The examples of RFC 3261 §19.1.4.
#[test]
fn equality_as_the_rfc_shows_it() {
    for (one, two) in [
        ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
        ("sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on"),
        (
            "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
            "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
        ),
        (
            "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
            "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
        ),
        ("tel:+1-201-555-0123", "TEL:+1(201)5550123"),
        ("sip:a@[2001:db8::1]", "sip:a@[2001:DB8:0::1]"),
    ] {
        assert!(uri(one).same(&uri(two)) && uri(two).same(&uri(one)), "{one} {two}");
    }
    for (one, two) in [
        ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
        ("sip:bob@biloxi.com;transport=udp", "sip:bob@biloxi.com:6000;transport=tcp"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
        ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
        ("sip:carol@chicago.com;security=off", "sip:carol@chicago.com;security=on"),
        ("sip:a@b", "sips:a@b"),
        ("sip:a%3Bb@c", "sip:a;b@c"),
        ("sip:a:x@b", "sip:a@b"),
        ("tel:+1201", "tel:1201"),
        ("tel:1201;phone-context=a", "tel:1201;phone-context=b"),
    ] {
        assert!(!uri(one).same(&uri(two)) && !uri(two).same(&uri(one)), "{one} {two}");
    }
}

#[test]
fn an_address_of_record_is_found_however_a_person_writes_it() {
    for (written, key) in [
        ("alice@example.com", "alice@example.com"),
        ("sip:alice@example.com", "alice@example.com"),
        ("SIP:alice@EXAMPLE.com", "alice@example.com"),
        ("sips:alice@example.com:5061;transport=tls?x=y", "alice@example.com"),
        ("<sip:alice@example.com>", "alice@example.com"),
        ("\"Alice A.\" <sip:alice@example.com;ob>;tag=1", "alice@example.com"),
        (" alice@example.com \n", "alice@example.com"),
        ("sip:%61lice@example.com", "alice@example.com"),
        ("sip:%23100@example.com", "#100@example.com"),
        ("#100@example.com", "#100@example.com"),
        ("sip:#100@example.com", "#100@example.com"),
        ("a%40b@example.com", "a%40b@example.com"),
        ("tel:+1-555-0100", "tel:+15550100"),
        // Flow ids, call ids and Call-IDs are left alone.
        ("sipway.1.f4096", "sipway.1.f4096"),
        ("8f3b2c", "8f3b2c"),
        ("", ""),
    ] {
        assert_eq!(address_of_record_of(written), key, "{written}");
    }
}

#[test]
fn address_of_record_keys() {
    for (text, key) in [
        ("sip:Alice@Example.COM", "Alice@example.com"),
        ("sips:%41lice:secret@example.com:5061;transport=tcp?x=y", "Alice@example.com"),
        ("sip:example.com", "example.com"),
        ("sip:user;par=u%40example.net@example.com", "user;par=u%40example.net@example.com"),
        ("sip:a%00b@h", "a%00b@h"),
        ("sip:a%2541@h", "a%2541@h"),
        ("sip:%C3%A9l%C3%A9@h", "élé@h"),
        ("sip:%ff@h", "%FF@h"),
        ("sip:a@[2001:DB8:0::1]", "a@[2001:db8::1]"),
        ("tel:+1-(201).555", "tel:+1201555"),
    ] {
        assert_eq!(uri(text).address_of_record().as_deref(), Some(key), "{text}");
    }
    assert_eq!(uri("isbn:2983792873").address_of_record(), None);
}

fn arbitrary_uri() -> impl Strategy<Value = String> {
    let user = proptest::option::of("([a-zA-Z0-9._!~*'()&=+$,;?/-]|%[0-9a-fA-F]{2}){1,12}(:[a-z0-9]{0,4})?");
    let host = prop_oneof![
        "[a-zA-Z][a-zA-Z0-9-]{0,8}(\\.[a-z]{2,5})?",
        any::<std::net::Ipv4Addr>().prop_map(|address| address.to_string()),
        any::<std::net::Ipv6Addr>().prop_map(|address| format!("[{address}]")),
    ];
    let params = "(;[a-zA-Z][a-z-]{0,6}(=[a-zA-Z0-9.:/]{1,6})?){0,3}";
    (
        "sips?|SIP",
        user,
        host,
        proptest::option::of(any::<u16>()),
        params,
        proptest::option::of("[a-z]=[a-z]{0,3}(&[b-z]=x)?"),
    )
        .prop_map(|(scheme, user, host, port, params, headers)| {
            let user = user.map_or(String::new(), |user| user + "@");
            let port = port.map_or(String::new(), |port| format!(":{port}"));
            let headers = headers.map_or(String::new(), |headers| format!("?{headers}"));
            format!("{scheme}:{user}{host}{port}{params}{headers}")
        })
}

proptest! {
    #[test]
    fn parts_make_up_the_whole(text in arbitrary_uri()) {
        let uri = uri(&text);
        let mut again = text.as_bytes()[..text.find(':').unwrap()].to_vec();
        again.push(b':');
        if let Some(user) = uri.user() {
            again.extend_from_slice(user);
            if let Some(password) = uri.password() {
                again.push(b':');
                again.extend_from_slice(password);
            }
            again.push(b'@');
        }
        match uri.host().unwrap() {
            Host::Name(name) => again.extend_from_slice(name),
            address => again.extend_from_slice(address.to_string().as_bytes()),
        }
        if let Some(port) = uri.port() {
            again.extend_from_slice(format!(":{port}").as_bytes());
        }
        again.extend_from_slice(uri.params().as_bytes());
        if let Some(headers) = uri.headers() {
            again.push(b'?');
            again.extend_from_slice(headers);
        }
        prop_assert_eq!(String::from_utf8_lossy(&again), text.as_str());
        prop_assert!(uri.same(&uri));
    }

    #[test]
    fn different_users_have_different_keys(one in proptest::collection::vec(any::<u8>(), 1..6),
                                           two in proptest::collection::vec(any::<u8>(), 1..6)) {
        let escaped = |user: &[u8]| -> String { user.iter().map(|byte| format!("%{byte:02x}")).collect() };
        let (first, second) = (format!("sip:{}@h", escaped(&one)), format!("sip:{}@h", escaped(&two)));
        let same_key = uri(&first).address_of_record() == uri(&second).address_of_record();
        prop_assert_eq!(same_key, one == two);
    }

    #[test]
    fn anything_parses_or_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..60), tail in ".{0,30}") {
        let text = [b"sip:", &bytes[..], tail.as_bytes()].concat();
        for candidate in [&bytes[..], &text] {
            if let Ok(uri) = Uri::parse(candidate) {
                prop_assert!(uri.same(&uri));
                uri.address_of_record();
            }
        }
    }
}

#[test]
fn what_somebody_types_for_an_address_of_record_is_its_key() {
    for (text, key) in [
        ("sip:%23100@Example.com", "#100@example.com"),
        ("sips:alice@example.com:5061;transport=tls", "alice@example.com"),
        ("alice@example.com", "alice@example.com"),
        ("#100@example.com", "#100@example.com"),
        ("", ""),
    ] {
        assert_eq!(address_of_record_of(text), key, "{text}");
        let mut uri = Vec::new();
        if write_address_of_record(key, &mut uri).is_some() {
            assert_eq!(address_of_record_of(std::str::from_utf8(&uri).unwrap()), key, "there and back");
        }
    }
}
