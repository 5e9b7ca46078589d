use super::*;

fn maker() -> KeyMaker {
    KeyMaker::new([1; 16])
}

fn of(method: &str, branch: &str) -> RequestKey {
    maker().request(method.as_bytes(), branch.as_bytes(), b"pc33.example.com", Some(5060)).unwrap()
}

#[test]
fn an_ack_and_a_cancel_find_their_invite() {
    let RequestKey::Invite(key) = of("INVITE", "z9hG4bK776") else { panic!() };
    assert_eq!(of("ACK", "z9hG4bK776"), RequestKey::Ack { invite: key, before_tag: None });
    let RequestKey::Cancel { own, invite } = of("CANCEL", "z9hG4bK776") else { panic!() };
    assert_eq!(invite, key);
    assert_ne!(own, key);
}

#[test]
fn branch_sent_by_and_method_all_count() {
    let base = maker().request(b"MESSAGE", b"z9hG4bKabc", b"Host", Some(5060));
    let differ = [
        maker().request(b"OPTIONS", b"z9hG4bKabc", b"Host", Some(5060)),
        maker().request(b"MESSAGE", b"z9hG4bKabC", b"Host", Some(5060)),
        maker().request(b"MESSAGE", b"z9hG4bKabc", b"Hosts", Some(5060)),
        maker().request(b"MESSAGE", b"z9hG4bKabc", b"Host", Some(5061)),
        maker().request(b"MESSAGE", b"z9hG4bKabc", b"Host", None),
        maker().request(b"message", b"z9hG4bKabc", b"Host", Some(5060)),
        maker().request(b"MESSAGE", b"z9hG4bKabcH", b"ost", Some(5060)),
        KeyMaker::new([2; 16]).request(b"MESSAGE", b"z9hG4bKabc", b"Host", Some(5060)),
    ];
    for other in differ {
        assert!(other.is_some() && other != base);
    }
    assert_eq!(maker().request(b"MESSAGE", b"Z9HG4BKabc", b"hOST", Some(5060)), base);
    let long = "A-long-label.".repeat(9);
    let of_host = |host: &str| maker().request(b"MESSAGE", b"z9hG4bKabc", host.as_bytes(), None);
    assert_eq!(of_host(&long), of_host(&long.to_uppercase()));
    assert_ne!(of_host(&long), of_host(&long[1..]));
}

#[test]
fn a_branch_without_cookie_or_content_is_not_a_branch() {
    for branch in ["", "1", "z9hG4b", "z9hG4bK", "y9hG4bKabc"] {
        assert_eq!(maker().request(b"INVITE", branch.as_bytes(), b"host", None), None, "{branch}");
    }
}

const LEGACY: LegacyFacts<'static> = LegacyFacts {
    method: b"INVITE",
    request_uri: b"sip:bob@biloxi.example.com",
    to_tag: None,
    from_tag: Some(b"9fxced76sl"),
    call_id: b"3848276298220188511@atlanta.example.com",
    cseq: 2,
    top_via: b"SIP/2.0/UDP client.atlanta.example.com:5060",
};

#[test]
fn legacy_requests_match_by_everything() {
    let RequestKey::Invite(invite) = maker().legacy(&LEGACY) else { panic!() };
    let differ = [
        LegacyFacts { request_uri: b"sip:bob@other.example.com", ..LEGACY },
        LegacyFacts { to_tag: Some(b"x"), ..LEGACY },
        LegacyFacts { to_tag: Some(b""), ..LEGACY },
        LegacyFacts { from_tag: None, ..LEGACY },
        LegacyFacts { call_id: b"other", ..LEGACY },
        LegacyFacts { cseq: 3, ..LEGACY },
        LegacyFacts { top_via: b"SIP/2.0/UDP other", ..LEGACY },
    ];
    for facts in differ {
        assert_ne!(maker().legacy(&facts), RequestKey::Invite(invite), "{facts:?}");
    }
    assert_eq!(maker().legacy(&LEGACY), RequestKey::Invite(invite));
    let RequestKey::Cancel { own, invite: cancelled } =
        maker().legacy(&LegacyFacts { method: b"CANCEL", ..LEGACY })
    else {
        panic!()
    };
    assert_eq!(cancelled, invite);
    assert_ne!(own, invite);
}

#[test]
fn a_legacy_ack_carries_the_tag_of_the_response() {
    let RequestKey::Invite(first) = maker().legacy(&LEGACY) else { panic!() };
    let ack = LegacyFacts { method: b"ACK", to_tag: Some(b"314159"), ..LEGACY };
    let RequestKey::Ack { invite, before_tag } = maker().legacy(&ack) else { panic!() };
    assert_eq!(before_tag, Some(first));
    assert_ne!(invite, first);
    let again = LegacyFacts { to_tag: Some(b"314159"), ..LEGACY };
    assert_eq!(maker().legacy(&again), RequestKey::Invite(invite), "a re-INVITE has the tag already");
}
