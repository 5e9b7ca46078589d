use super::*;
use proptest::prelude::*;

fn parse(value: &str) -> Result<Vec<(String, String)>, ParamsError> {
    match Scheme::parse(value.as_bytes())? {
        Scheme::Digest(Params(list)) => {
            Ok(list.into_iter().map(|(name, value)| (name.to_owned(), value.into_owned())).collect())
        }
        Scheme::Other | Scheme::Bearer(_) => panic!("not Digest"),
    }
}

#[test]
fn order_case_and_spacing_are_free() {
    let pairs = [("Realm".to_owned(), "a, b".to_owned()), ("nc".to_owned(), "1".to_owned())];
    for value in [
        "Digest Realm=\"a, b\",nc=1",
        "digest\r\n\tRealm = \"a, b\" , nc = 1 ",
        "DIGEST ,, Realm=\"a, b\",, nc=1,",
    ] {
        assert_eq!(parse(value).as_deref(), Ok(&pairs[..]), "{value}");
    }
}

#[test]
fn escapes_are_taken_off() {
    let list = parse(r#"Digest a="x\"y\\z", b="", c="\é""#).unwrap();
    assert_eq!(list.into_iter().map(|(_, value)| value).collect::<Vec<_>>(), [r#"x"y\z"#, "", "é"]);
}

#[test]
fn every_fault_has_its_name() {
    let long = format!("Digest a=\"{}\"", "x".repeat(9000));
    let many: String = (0..40).map(|n| format!("p{n}=1,")).collect();
    let faults = [
        ("Digest realm", ParamsError::NotAParameter),
        ("Digest =x", ParamsError::NotAParameter),
        ("Digest a b=c", ParamsError::NotAParameter),
        ("Digest a=\"b\"c=d", ParamsError::NotAParameter),
        ("Digest a=b c=d", ParamsError::NotAParameter),
        ("Digest a=b\"c\"", ParamsError::NotAParameter),
        ("Digest a=\"b", ParamsError::OpenQuote),
        ("Digest a=\"b\\", ParamsError::OpenQuote),
        ("Digest a=b,A=c", ParamsError::Twice),
        (&long, ParamsError::TooLong),
        (&format!("Digest {many}"), ParamsError::TooLong),
    ];
    for (value, error) in faults {
        assert_eq!(parse(value), Err(error), "{value}");
    }
    assert!(matches!(Scheme::parse(b"Digest a=\"\xff\""), Err(ParamsError::NotUtf8)));
}

#[test]
fn other_schemes_are_no_digest() {
    for value in ["", "Bearerx abc", "Basic QWxhZGRpbjpvcGVu", "Digestx a=b", "\u{fe}"] {
        assert!(matches!(Scheme::parse(value.as_bytes()), Ok(Scheme::Other)), "{value}");
    }
}

#[test]
fn a_token_is_what_follows_bearer() {
    assert_eq!(bearer_token(b"bearer  a.b.c "), Some("a.b.c"));
    for none in [&b"Bearer \xff"[..], b"Digest a=b", b"Basic abc", b""] {
        assert_eq!(bearer_token(none), None);
    }
    assert_eq!(CredentialsScope::of(b"BEARER x"), CredentialsScope::Bearer);
    assert_eq!(CredentialsScope::of(b"Digest realm=\"a\", x=y"), CredentialsScope::Realm("a".into()));
    assert_eq!(CredentialsScope::of(b"Digest x=y"), CredentialsScope::Others);
    let challenge = bearer_challenge("a\"b", Some("https://login"), TokenRetry::Yes);
    assert_eq!(challenge, "Bearer realm=\"a\\\"b\", authz_server=\"https://login\", error=\"invalid_token\"");
}

proptest! {
    #[test]
    fn no_input_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Scheme::parse(&bytes);
        let _ = Scheme::parse(&[b"Digest ".as_slice(), &bytes].concat());
    }

    #[test]
    fn near_misses_do_not_panic(text in "[Dd]igest [a-c=,\\\\\" é]{0,40}") {
        let _ = Scheme::parse(text.as_bytes());
    }

    #[test]
    fn what_is_quoted_comes_back(value in "\\PC{0,40}") {
        let mut text = String::new();
        push_quoted(&mut text, "Digest x", &value);
        prop_assert_eq!(parse(&text), Ok(vec![("x".to_owned(), value)]));
    }
}
