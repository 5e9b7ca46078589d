use super::*;
use crate::{Challenge, Ha1Set, UserTable, answer, challenge::Qop};
use proptest::prelude::*;

const NOW: u64 = 1_800_000_000;
const URI: &str = "sip:example.com";

fn settings() -> Settings {
    Settings {
        algorithms: vec![Algorithm::Sha256, Algorithm::Md5],
        names: UserNames::new(["example.com"]),
        ..Settings::new("example.com")
    }
}

fn authenticator(settings: Settings) -> Authenticator {
    Authenticator::new(settings, &[9; 32])
}

fn parsed(file: &str) -> UserTable {
    UserTable::parse(file.as_bytes(), &UserNames::new(["example.com"])).unwrap()
}

fn users() -> UserTable {
    parsed("alice:wonder:land\nbob:builder\n")
}

fn register(server: &mut Authenticator, values: &[&str], now: u64) -> Verdict {
    let request = Request { method: b"REGISTER", uri: URI.as_bytes() };
    server.verify(request, values.iter().map(|value| value.as_bytes()), &users(), now)
}

/// The nth challenge of a fresh set.
fn challenge(server: &Authenticator, nth: usize, salt: u64) -> Challenge {
    Challenge::parse(server.challenges(Stale::No, salt, NOW)[nth].as_bytes()).unwrap()
}

fn alice(challenge: &Challenge, nc: u32) -> String {
    answer(challenge, "REGISTER", URI, "alice", "wonder:land", "c0ffee", nc)
}

fn accepted() -> Verdict {
    Verdict::Accept { username: "alice".into() }
}

fn again(stale: Stale, reason: ChallengeReason) -> Verdict {
    Verdict::Challenge { stale, reason }
}

#[test]
fn every_offered_algorithm_is_accepted_in_the_order_of_preference() {
    let all = vec![Algorithm::Sha512_256, Algorithm::Sha256, Algorithm::Md5, Algorithm::Sha256];
    let mut server = authenticator(Settings { algorithms: all, ..settings() });
    let values = server.challenges(Stale::Yes, 1, NOW);
    assert_eq!(values.len(), 3);
    assert!(
        values.iter().all(|value| value.contains("stale=true") && value.contains("qop=\"auth\"")),
        "{values:?}"
    );
    for (nth, algorithm) in [Algorithm::Sha512_256, Algorithm::Sha256, Algorithm::Md5].into_iter().enumerate()
    {
        let challenge = challenge(&server, nth, nth as u64);
        assert_eq!((challenge.algorithm, challenge.stale), (algorithm, Stale::No));
        assert_eq!(register(&mut server, &[&alice(&challenge, 1)], NOW), accepted());
    }
    assert_eq!(
        authenticator(Settings { algorithms: vec![], ..settings() }).settings().algorithms,
        [Algorithm::Md5]
    );
}

#[test]
fn an_unknown_user_is_as_a_wrong_password() {
    let mut server = authenticator(settings());
    let challenge = challenge(&server, 0, 1);
    let wrong = again(Stale::No, ChallengeReason::WrongCredentials);
    for (user, password) in
        [("alice", "wonder"), ("carol", "wonder:land"), ("carol", NOBODYS_PASSWORD), ("", "")]
    {
        let value = answer(&challenge, "REGISTER", URI, user, password, "c", 1);
        assert_eq!(register(&mut server, &[&value], NOW), wrong, "{user}");
    }
    assert_eq!(register(&mut server, &[&alice(&challenge, 1)], NOW), accepted(), "failures use up no count");
}

#[test]
fn no_credentials_of_ours_is_a_challenge() {
    let mut server = authenticator(settings());
    let none = again(Stale::No, ChallengeReason::NoCredentials);
    assert_eq!(register(&mut server, &[], NOW), none);
    assert_eq!(register(&mut server, &["Bearer x", "Basic eDp5"], NOW), none);
    let other = Challenge { realm: "other".into(), ..challenge(&server, 0, 1) };
    assert_eq!(register(&mut server, &[&alice(&other, 1)], NOW), none);
    let ours = alice(&challenge(&server, 0, 1), 1);
    assert_eq!(register(&mut server, &["Bearer x", &alice(&other, 1), &ours], NOW), accepted());
}

#[test]
fn one_good_set_of_credentials_is_enough_but_not_any_number_is_tried() {
    let mut server = authenticator(settings());
    let challenge = challenge(&server, 0, 1);
    let (good, bad) = (alice(&challenge, 1), answer(&challenge, "REGISTER", URI, "bob", "x", "c", 1));
    assert_eq!(register(&mut server, &[&bad, "Digest realm=\"", &bad, &good], NOW), accepted());
    let good = alice(&challenge, 2);
    let wrong = again(Stale::No, ChallengeReason::WrongCredentials);
    assert_eq!(register(&mut server, &[&bad, &bad, &bad, &bad, &good], NOW), wrong);
}

/// Who guesses passwords is known by it, whatever stands in front of the guess or behind it.
#[test]
fn a_wrong_password_decides_over_what_is_wrong_otherwise() {
    let mut server = authenticator(Settings { uri_check: UriCheck::Same, ..settings() });
    let guess = answer(&challenge(&server, 0, 1), "REGISTER", URI, "alice", "guess", "c0ffee", 1);
    let elsewhere = alice(&challenge(&server, 0, 2), 1).replace(URI, "sip:example.org");
    let others =
        ["Digest realm=\"example.com\", nonsense".to_owned(), guess.replace("SHA-256", "SHA-1"), elsewhere];
    for other in &others {
        for values in [[other, &guess], [&guess, other]] {
            let verdict = register(&mut server, &values.map(String::as_str), NOW);
            assert_eq!(verdict, again(Stale::No, ChallengeReason::WrongCredentials), "{values:?}");
        }
    }
}

#[test]
fn a_count_is_good_once() {
    let mut server = authenticator(settings());
    let challenge = challenge(&server, 0, 1);
    let replayed = again(Stale::Yes, ChallengeReason::ReplayedCount);
    assert_eq!(register(&mut server, &[&alice(&challenge, 1)], NOW), accepted());
    assert_eq!(register(&mut server, &[&alice(&challenge, 1)], NOW), replayed);
    assert_eq!(register(&mut server, &[&alice(&challenge, 3)], NOW), accepted());
    assert_eq!(register(&mut server, &[&alice(&challenge, 2)], NOW), accepted());
    assert_eq!(register(&mut server, &[&alice(&challenge, 2)], NOW), replayed);
}

#[test]
fn an_old_nonce_is_stale_only_with_the_right_password() {
    let mut server = authenticator(settings());
    let challenge = challenge(&server, 0, 1);
    let value = alice(&challenge, 1);
    assert_eq!(register(&mut server, &[&value], NOW + 301), again(Stale::Yes, ChallengeReason::ExpiredNonce));
    let wrong = answer(&challenge, "REGISTER", URI, "alice", "x", "c", 1);
    assert_eq!(
        register(&mut server, &[&wrong], NOW + 301),
        again(Stale::No, ChallengeReason::WrongCredentials)
    );
    assert_eq!(register(&mut server, &[&value], NOW - 61), again(Stale::Yes, ChallengeReason::ExpiredNonce));
    assert_eq!(register(&mut server, &[&value], NOW + 300), accepted());
}

#[test]
fn a_nonce_of_another_secret_is_stale() {
    let mut server = authenticator(settings());
    let before = Authenticator::new(settings(), &[8; 32]);
    let value = alice(&challenge(&before, 0, 1), 1);
    assert_eq!(register(&mut server, &[&value], NOW), again(Stale::Yes, ChallengeReason::ForeignNonce));
}

/// RFC 3261 §22.4, item 5. sipp's `[authentication]` writes the server's address there.
#[test]
fn a_uri_that_is_not_the_request_uri_proves_the_password_unless_told_otherwise() {
    let same = || Settings { uri_check: UriCheck::Same, ..settings() };
    let refused = Verdict::Refuse { reason: RefuseReason::OtherUri };
    for uri in ["sip:alice@192.0.2.1:5060", "sip:example.org", "sip:192.0.2.1", "*", ""] {
        let mut server = authenticator(settings());
        let value = answer(&challenge(&server, 0, 1), "REGISTER", uri, "alice", "wonder:land", "c", 1);
        assert_eq!(register(&mut server, &[&value], NOW), accepted(), "{uri}");
        let again = again(Stale::Yes, ChallengeReason::ReplayedCount);
        assert_eq!(register(&mut server, &[&value], NOW), again, "{uri}: once, for whatever target");
        assert_eq!(register(&mut authenticator(same()), &[&value], NOW), refused, "{uri}");
        // The response is over the `uri` as it is written, not over the Request-URI.
        let changed = value.replace(&format!("uri=\"{uri}\""), &format!("uri=\"{URI}\""));
        let wrong = Verdict::Challenge { stale: Stale::No, reason: ChallengeReason::WrongCredentials };
        assert_eq!(register(&mut authenticator(settings()), &[&changed], NOW), wrong, "{uri}");
    }
    let mut server = authenticator(same());
    let near = "sip:Example.com:5060";
    let value = answer(&challenge(&server, 0, 1), "REGISTER", near, "alice", "wonder:land", "c", 1);
    assert_eq!(register(&mut server, &[&value], NOW), accepted());
}

#[test]
fn the_method_is_signed() {
    let mut server = authenticator(settings());
    let value = answer(&challenge(&server, 0, 1), "INVITE", URI, "alice", "wonder:land", "c", 1);
    assert_eq!(register(&mut server, &[&value], NOW), again(Stale::No, ChallengeReason::WrongCredentials));
}

#[test]
fn without_qop_a_nonce_is_good_once_unless_told_otherwise() {
    let mut server = authenticator(settings());
    let old = Challenge { qop: Qop::Absent, ..challenge(&server, 1, 1) };
    let value = alice(&old, 1);
    assert_eq!(register(&mut server, &[&value], NOW), accepted());
    assert_eq!(register(&mut server, &[&value], NOW), again(Stale::Yes, ChallengeReason::ReplayedCount));
    let counted = alice(&challenge(&server, 1, 1), 2);
    assert_eq!(register(&mut server, &[&counted], NOW), again(Stale::Yes, ChallengeReason::ReplayedCount));
    let mut server = authenticator(Settings { no_qop: NoQop::Refuse, ..settings() });
    assert_eq!(register(&mut server, &[&value], NOW), again(Stale::No, ChallengeReason::NotOffered));
}

/// RFC 8760 §2.4 wants clients to choose. Many take the first challenge, some the last, and most phones know
/// MD5 alone.
#[test]
fn by_default_the_one_challenge_is_what_every_client_knows() {
    let mut server = authenticator(Settings::new("example.com"));
    let values = server.challenges(Stale::No, 1, NOW);
    assert_eq!(values.len(), 1);
    let challenge = Challenge::parse(values[0].as_bytes()).unwrap();
    assert_eq!((challenge.algorithm, challenge.qop), (Algorithm::Md5, Qop::Auth));
    assert_eq!(register(&mut server, &[&alice(&challenge, 1)], NOW), accepted());
}

/// Phones write the name in their own ways; each hashes what it writes.
#[test]
fn a_password_is_proved_under_every_spelling_of_the_name() {
    let mut server = authenticator(settings());
    let spellings =
        ["alice", "alice@example.com", "alice@EXAMPLE.com", "sip:alice@example.com", "%61lice", "sip:alice"];
    for (nc, written) in (1..).zip(spellings) {
        let value = answer(&challenge(&server, 0, 1), "REGISTER", URI, written, "wonder:land", "c", nc);
        assert_eq!(register(&mut server, &[&value], NOW), accepted(), "{written}");
    }
    let wrong = again(Stale::No, ChallengeReason::WrongCredentials);
    for written in
        ["alice@example.org", "alice@example.com.example.org", "bob@example.com", "Alice", "@example.com"]
    {
        let value = answer(&challenge(&server, 0, 2), "REGISTER", URI, written, "wonder:land", "c", 1);
        assert_eq!(register(&mut server, &[&value], NOW), wrong, "{written}");
    }
}

/// A hash is over one spelling. Kamailio keeps a second one, `ha1b`, for phones that write the domain too.
#[test]
fn a_stored_hash_serves_the_spelling_that_was_hashed_and_the_operator_learns_of_others() {
    let hash = |written: &str| {
        let ha1 = Algorithm::Md5.ha1(written, "example.com", "wonder").to_hex();
        format!("{written}:example.com:{ha1}\n")
    };
    let verdict = |file: &str, written: &str| {
        let mut server = authenticator(Settings { algorithms: vec![Algorithm::Md5], ..settings() });
        let value = answer(&challenge(&server, 0, 1), "REGISTER", URI, written, "wonder", "c", 1);
        let request = Request { method: b"REGISTER", uri: URI.as_bytes() };
        server.verify(request, [value.as_bytes()], &parsed(file), NOW)
    };
    let (short, long) = (hash("alice"), hash("alice@example.com"));
    let lacks = |written: &str| {
        let no_hash =
            NoHash { written: written.into(), account: "alice".into(), lacks: MissingHash::Spelling };
        again(Stale::No, ChallengeReason::NoHash(no_hash))
    };
    assert_eq!(verdict(&short, "alice"), accepted());
    assert_eq!(verdict(&short, "alice@example.com"), lacks("alice@example.com"));
    assert_eq!(verdict(&long, "alice@example.com"), accepted());
    assert_eq!(verdict(&long, "alice"), lacks("alice"));
    let both = format!("{short}{long}");
    assert_eq!(verdict(&both, "alice"), accepted());
    assert_eq!(verdict(&both, "alice@example.com"), accepted());
    assert_eq!(verdict(&both, "alice@EXAMPLE.com"), lacks("alice@EXAMPLE.com"), "another text to hash");
}

#[test]
fn what_was_not_offered_is_not_taken() {
    let mut server = authenticator(Settings { algorithms: vec![Algorithm::Sha256], ..settings() });
    let not_offered = again(Stale::No, ChallengeReason::NotOffered);
    let weak = Challenge { algorithm: Algorithm::Md5, ..challenge(&server, 0, 1) };
    assert_eq!(register(&mut server, &[&alice(&weak, 1)], NOW), not_offered);
    let value = alice(&challenge(&server, 0, 1), 1);
    for (from, to) in [("SHA-256", "SHA-256-sess"), ("qop=auth", "qop=auth-int")] {
        assert_eq!(register(&mut server, &[&value.replace(from, to)], NOW), not_offered, "{to}");
    }
}

#[test]
fn credentials_of_the_wrong_form_are_refused() {
    let mut server = authenticator(settings());
    let value = alice(&challenge(&server, 0, 1), 1);
    let cases = [
        ("username=", "x=", RefuseReason::MissingParameter),
        ("realm=", "x=", RefuseReason::MissingParameter),
        (" nonce=", " x=", RefuseReason::MissingParameter),
        ("uri=", "x=", RefuseReason::MissingParameter),
        ("response=\"", "x=\"", RefuseReason::MissingParameter),
        ("cnonce=", "x=", RefuseReason::MissingParameter),
        ("nc=00000001", "x=1", RefuseReason::MissingParameter),
        ("nc=00000001", "nc=00000000", RefuseReason::BadParameter),
        ("nc=00000001", "nc=1", RefuseReason::BadParameter),
        ("nc=00000001", "nc=+0000001", RefuseReason::BadParameter),
        ("nc=00000001", "nc=0000000g", RefuseReason::BadParameter),
        ("response=\"", "response=\"0", RefuseReason::BadParameter),
        ("algorithm=SHA-256", "algorithm=MD5", RefuseReason::BadParameter),
        ("nc=", "uri=x, nc=", RefuseReason::Malformed(ParamsError::Twice)),
    ];
    for (from, to, reason) in cases {
        let changed = value.replace(from, to);
        assert_ne!(changed, value, "{from}");
        assert_eq!(register(&mut server, &[&changed], NOW), Verdict::Refuse { reason }, "{changed}");
    }
    let upper = value.to_uppercase();
    let (start, rest) = value.split_at(value.find("response=").unwrap());
    let end = rest.find(", ").unwrap();
    let upper = format!("{start}response={}{}", &upper[start.len() + 9..start.len() + end], &rest[end..]);
    assert_eq!(register(&mut server, &[&upper], NOW), accepted(), "digits in upper case");
}

#[test]
fn a_stored_hash_serves_its_algorithm_alone() {
    struct Store;
    impl Credentials for Store {
        fn lookup(&self, user: Username<'_>, realm: &str) -> Option<Secret<'_>> {
            let mut set = Ha1Set::default();
            set.set(Algorithm::Md5, Algorithm::Md5.ha1("alice", "example.com", "wonder:land"));
            (user.account == "alice" && realm == "example.com").then_some(Secret::Hashed(set))
        }
    }
    let mut server = authenticator(settings());
    let request = Request { method: b"REGISTER", uri: URI.as_bytes() };
    let sha256 = alice(&challenge(&server, 0, 1), 1);
    let lacks = MissingHash::Algorithm(Algorithm::Sha256);
    let no_hash = NoHash { written: "alice".into(), account: "alice".into(), lacks };
    let wrong = again(Stale::No, ChallengeReason::NoHash(no_hash));
    assert_eq!(server.verify(request, [sha256.as_bytes()], &Store, NOW), wrong);
    let none = answer(&challenge(&server, 0, 1), "REGISTER", URI, "alice", NOBODYS_PASSWORD, "c", 1);
    assert_eq!(server.verify(request, [none.as_bytes()], &Store, NOW), wrong);
    let md5 = alice(&challenge(&server, 1, 1), 1);
    assert_eq!(server.verify(request, [md5.as_bytes()], &Store, NOW), accepted());
}

#[test]
fn names_that_need_escaping_work_both_ways() {
    let users = parsed(r#"al"i\ce:wonder"#);
    let mut server = authenticator(Settings::new(r#"a "quoted\ realm"#));
    let challenge = challenge(&server, 0, 1);
    assert_eq!(challenge.realm, r#"a "quoted\ realm"#);
    let value = answer(&challenge, "REGISTER", URI, r#"al"i\ce"#, "wonder", "c", 1);
    let request = Request { method: b"REGISTER", uri: URI.as_bytes() };
    let verdict = server.verify(request, [value.as_bytes()], &users, NOW);
    assert_eq!(verdict, Verdict::Accept { username: r#"al"i\ce"#.into() });
}

#[test]
fn roles_have_their_headers() {
    assert_eq!(Role::UserAgent.challenge_header(), "WWW-Authenticate");
    assert_eq!(Role::Proxy.credentials_header(), "Proxy-Authorization");
    assert_eq!((Role::UserAgent.status(), Role::Proxy.status()), (401, 407));
}

#[test]
fn nothing_secret_is_printed() {
    let shown = format!("{:?} {:?}", authenticator(settings()), users());
    assert!(!shown.contains("wonder") && !shown.contains('9'), "{shown}");
    let secret = Secret::Hashed(Ha1Set::default());
    assert_eq!(format!("{secret:?} {:?}", Algorithm::Md5.ha1("a", "b", "c")), "Hashed(secret) Ha1(secret)");
}

proptest! {
    #[test]
    fn no_changed_credentials_are_accepted(at in 0..300_usize, to in any::<u8>()) {
        let mut server = authenticator(settings());
        let value = alice(&challenge(&server, 0, 1), 1);
        let mut bytes = value.into_bytes();
        let at = at % bytes.len();
        let was = bytes[at];
        bytes[at] = to;
        let request = Request { method: b"REGISTER", uri: URI.as_bytes() };
        // The case of names and of hexadecimal digits, and blanks, mean nothing.
        let same = was.eq_ignore_ascii_case(&to) || (was.is_ascii_whitespace() && b" \t\r\n,".contains(&to)) ;
        let cut = was == b' ' || was == b',';
        if !same && !cut {
            let verdict = server.verify(request, [bytes.as_slice()], &users(), NOW);
            let text = String::from_utf8_lossy(&bytes).into_owned();
            prop_assert!(!matches!(verdict, Verdict::Accept { .. }), "{}", text);
        }
    }

    #[test]
    fn no_input_panics(values in prop::collection::vec("(Digest )?\\PC{0,80}", 0..6), now: u64) {
        let mut server = authenticator(settings());
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let accepted = matches!(register(&mut server, &values, now), Verdict::Accept { .. });
        prop_assert!(!accepted);
    }
}
