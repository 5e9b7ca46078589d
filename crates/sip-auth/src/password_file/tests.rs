use super::*;
use crate::{Credentials as _, Secret};
use proptest::prelude::*;

const MD5: &str = "939e7578ed9e3c518a452acee763bce9";
const SHA256: &str = "7987c64c30e25f1b74be53f966b49b90f2808aa92faf9a00262392d7b4794232";

#[test]
fn passwords_hashes_comments_and_blank_lines() {
    let text = format!(
        "\u{feff}# users\n\nalice:wonder land\r\n  # more\nbob:pass:word\nbob2:a:b:c\nMufasa:r:{MD5}\nMufasa:r:{SHA256} \n\
         Mufasa:other:{MD5}"
    );
    let file = UserTable::parse(text.as_bytes()).unwrap();
    assert_eq!(file.len(), 4);
    for (user, password) in [("alice", "wonder land"), ("bob", "pass:word"), ("bob2", "a:b:c")] {
        let Some(Secret::Password(known)) = file.lookup(user, "any") else { panic!("{user}") };
        assert_eq!(known, password);
    }
    let Some(Secret::Hashed(set)) = file.lookup("Mufasa", "r") else { panic!() };
    assert_eq!(set.get(Algorithm::Md5).unwrap().to_hex(), MD5);
    assert_eq!(set.get(Algorithm::Sha256).unwrap().to_hex(), SHA256);
    assert_eq!(set.get(Algorithm::Sha512_256), None);
    assert!(file.lookup("Mufasa", "R").is_none());
    assert!(file.lookup("mufasa", "r").is_none());
    assert!(UserTable::parse(b"").unwrap().is_empty());
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
    ];
    for (text, message) in cases {
        assert_eq!(UserTable::parse(text.as_bytes()).unwrap_err().to_string(), message, "{text}");
    }
    let error = UserTable::parse(b"a:x\nb:\xff").unwrap_err();
    assert_eq!((error.line, error.problem), (2, PasswordFileProblem::NotUtf8));
}

proptest! {
    #[test]
    fn no_file_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[ab:#\\n\\r ]{0,60}") {
        let _ = UserTable::parse(&bytes);
        let _ = UserTable::parse(text.as_bytes());
    }
}
