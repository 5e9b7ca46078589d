use super::*;
use crate::{Credentials as _, Secret, Unserved, Username};
use proptest::prelude::*;

fn parse(content: &[u8]) -> Result<UserTable, PasswordFileErrors> {
    UserTable::parse(content, &UserNames::new(["r", "example.com"]))
}

const MD5: &str = "939e7578ed9e3c518a452acee763bce9";
const SHA256: &str = "7987c64c30e25f1b74be53f966b49b90f2808aa92faf9a00262392d7b4794232";

#[test]
fn passwords_hashes_comments_and_blank_lines() {
    let text = format!(
        "\u{feff}# users\n\nalice:wonder land\r\n  # more\nbob:pass:word\nbob2:a:b:c\nMufasa:r:{MD5}\nMufasa:r:{SHA256} \n\
         Mufasa:other:{MD5}"
    );
    let file = parse(text.as_bytes()).unwrap();
    assert_eq!(file.len(), 4);
    for (user, password) in [("alice", "wonder land"), ("bob", "pass:word"), ("bob2", "a:b:c")] {
        let Some(Secret::Password(known)) = file.lookup(Username::plain(user), "any") else {
            panic!("{user}")
        };
        assert_eq!(known, password);
    }
    let Some(Secret::Hashed(set)) = file.lookup(Username::plain("Mufasa"), "r") else { panic!() };
    assert_eq!(set.get(Algorithm::Md5).unwrap().to_hex(), MD5);
    assert_eq!(set.get(Algorithm::Sha256).unwrap().to_hex(), SHA256);
    assert_eq!(set.get(Algorithm::Sha512_256), None);
    assert!(file.lookup(Username::plain("Mufasa"), "R").is_none());
    assert!(file.lookup(Username::plain("mufasa"), "r").is_none());
    assert!(parse(b"").unwrap().is_empty());
}

#[test]
fn every_problem_tells_its_line_and_the_mend() {
    let hashed = format!("a:r:{MD5}");
    let cases = [
        ("x:y\nalice".to_owned(), "line 2: no colon; write user:password or user:realm:HA1"),
        (":x".to_owned(), "line 1: no user name before the colon; write user:password"),
        ("a :x".to_owned(), "line 1: blanks around the user name `a `; remove them"),
        ("a:".to_owned(), "line 1: user `a` has no password; write one after the colon, or remove the line"),
        (format!("a::{MD5}"), "line 1: user `a` has a hash but no realm; write user:realm:HA1"),
        ("a:x\n#\na:y".to_owned(), "line 3: user `a` is on line 1 already; remove one of the two"),
        (format!("{hashed}\n{hashed}"), "line 2: user `a` is on line 1 already; remove one of the two"),
        (format!("{hashed}\na:x"), "line 2: user `a` is on line 1 already; remove one of the two"),
        (format!("a:x\n{hashed}"), "line 2: user `a` is on line 1 already; remove one of the two"),
        (
            "a:x\na@example.com:y".to_owned(),
            "line 2: user `a@example.com` is on line 1 already; remove one of the two",
        ),
    ];
    for (text, message) in cases {
        assert_eq!(parse(text.as_bytes()).unwrap_err().to_string(), message, "{text}");
    }
    let errors = parse(b"a:x\nb:\xff").unwrap_err().errors;
    assert_eq!(errors, [PasswordFileError { line: 2, problem: PasswordFileProblem::NotUtf8 }]);
}

#[test]
fn every_line_that_is_wrong_is_told_and_of_many_the_first() {
    let errors = parse(b"alice\nb:x\n:y\nb:z").unwrap_err();
    assert_eq!(errors.errors.iter().map(|error| error.line).collect::<Vec<_>>(), [1, 3, 4]);
    assert_eq!(errors.more, 0);
    let errors = parse("nobody\n".repeat(1000).as_bytes()).unwrap_err();
    assert_eq!((errors.errors.len(), errors.more), (MOST_TOLD, 1000 - MOST_TOLD));
    assert!(errors.to_string().ends_with("\n  and 980 more"));
}

/// What stands in the file and can let nobody in, or not everybody.
#[test]
fn whoever_is_not_served_is_told_with_the_true_reason() {
    let md5 = [Algorithm::Md5];
    let both = [Algorithm::Md5, Algorithm::Sha256];
    let text = format!(
        "open:pw\nboth:r:{MD5}\nboth:r:{SHA256}\nmd5:r:{MD5}\nsha:r:{SHA256}\nother:wrong.com:{MD5}\nmail@wrong.com:pw\n\
         home@example.com:pw\nhomehash@example.com:r:{MD5}\n"
    );
    let table = parse(text.as_bytes()).unwrap();
    let seen = |algorithms: &[Algorithm]| {
        let mut seen: Vec<String> =
            table.unserved("r", algorithms).map(|(user, why)| format!("{user} {why:?}")).collect();
        seen.sort();
        seen
    };
    let mail = "mail@wrong.com ForeignHost(\"wrong.com\")";
    let other = "other ForeignRealm(\"wrong.com\")";
    assert_eq!(seen(&md5), [mail, other, "sha Algorithm(Md5)"]);
    let (home, md5) = ("homehash Algorithm(Sha256)", "md5 Algorithm(Sha256)");
    assert_eq!(seen(&both), [home, mail, md5, other, "sha Algorithm(Md5)"]);
    let wrong = Unserved::ForeignRealm("wrong.com");
    assert!(table.unserved("r", &both).any(|one| one == ("other", wrong)));
    assert!(table.has("home") && table.has("homehash") && !table.has("home@example.com"));
}

proptest! {
    #[test]
    fn no_file_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[ab:#\\n\\r ]{0,60}") {
        let _ = parse(&bytes);
        let _ = parse(text.as_bytes());
    }
}
