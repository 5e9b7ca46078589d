//! A configuration that cannot be used: every mistake at once, each with its place and the mend, and nothing
//! done.

use crate::directory::Directory;
use crate::process::{Ended, run, sipway};

const WRONG: &str = r#"node = "Has Blanks"

[ledger]
directory = "ledger"
durabilty = "disk"

[[listener]]
transport = "ws"
bind = "127.0.0.1:0"

[[listener]]
transport = "wss"
bind = "127.0.0.1:70000"
certificate = "missing.pem"
private_key = "privkey.pem"

[[domain]]
name = "example.com"
users = "nobody.txt"

[keepalive]
ping_after = "25 parsecs"

[[sink]]
kind = "webhook"
name = "crm"
url = "ftp://crm.example.com/"
secret_env = "SIPWAY_TEST_SECRET_THAT_IS_NOT_SET"
"#;

/// The place of each mistake, and a word of what is said about it.
const EXPECTED: [(usize, &str); 8] = [
    (1, "node"),
    (5, "durability"),
    (13, "70000"),
    (14, "missing.pem"),
    (15, "privkey.pem"),
    (19, "nobody.txt"),
    (22, "parsecs"),
    (27, "ftp"),
];

/// Runs both commands that read a configuration; both must say the same.
async fn refused(directory: &Directory, name: &str) -> Ended {
    let file = directory.at(name);
    let mut check = sipway(["check"]);
    check.arg(&file).current_dir(directory.path());
    let mut serve = sipway(["run", "--config"]);
    serve.arg(&file).current_dir(directory.path());
    let (check, serve) = tokio::join!(run(check), run(serve));
    assert_eq!(check.code, Some(2), "{}", check.err);
    assert_eq!(serve.code, Some(2), "{}", serve.err);
    assert_eq!(check.err, serve.err);
    assert_eq!((check.out.as_str(), serve.out.as_str()), ("", ""));
    assert!(check.err.ends_with('\n'), "the prompt comes on a line of its own: {:?}", check.err);
    check
}

#[tokio::test]
async fn every_mistake_is_told_at_once_with_its_place() {
    let directory = Directory::new("mistakes");
    let file = directory.write("sipway.toml", WRONG);
    let said = refused(&directory, "sipway.toml").await.err;
    for (line, word) in EXPECTED {
        let place = format!("{}:{line}:", file.display());
        let report = said
            .split("\n\n")
            .find(|report| report.contains(&place))
            .unwrap_or_else(|| panic!("nothing about line {line}:\n{said}"));
        assert!(report.starts_with("error: "), "{report}");
        assert!(report.contains(word), "{word}: {report}");
        assert!(report.contains('^'), "no caret: {report}");
    }
    assert!(said.contains("SIPWAY_TEST_SECRET_THAT_IS_NOT_SET"), "{said}");
    assert_eq!(directory.names(), ["sipway.toml"], "nothing was made");
}

#[tokio::test]
async fn a_certificate_that_is_missing_or_something_else() {
    let directory = Directory::new("certificate");
    let pair = rcgen::generate_simple_self_signed(["sip.example.com".to_owned()]).unwrap();
    directory.write("key.pem", pair.signing_key.serialize_pem());
    directory.write("cert.pem", pair.cert.pem());
    let listener = |certificate: &str| {
        format!(
            "[ledger]\ndirectory = \"ledger\"\n[[listener]]\ntransport = \"wss\"\nbind = \"127.0.0.1:0\"\n\
             certificate = \"{certificate}\"\nprivate_key = \"key.pem\"\n"
        )
    };
    for (certificate, word) in
        [("nowhere.pem", "there is no such file"), ("key.pem", "private key, but no certificate")]
    {
        directory.write("sipway.toml", listener(certificate));
        let said = refused(&directory, "sipway.toml").await.err;
        assert!(said.contains("sipway.toml:6:15"), "{said}");
        assert!(said.contains(word), "{said}");
    }
    assert_eq!(directory.names(), ["cert.pem", "key.pem", "sipway.toml"], "no ledger was made");

    directory.write("sipway.toml", listener("cert.pem"));
    let mut check = sipway(["check"]);
    check.arg(directory.at("sipway.toml"));
    let ended = run(check).await;
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(ended.out.contains("no errors"), "{}", ended.out);
}

#[tokio::test]
async fn a_certificate_and_a_key_that_do_not_belong_together() {
    let directory = Directory::new("strangers");
    let make = || rcgen::generate_simple_self_signed(["sip.example.com".to_owned()]).unwrap();
    directory.write("cert.pem", make().cert.pem());
    directory.write("key.pem", make().signing_key.serialize_pem());
    let text = "[ledger]\ndirectory = \"ledger\"\n[[listener]]\nname = \"browsers\"\ntransport = \"wss\"\n\
                bind = \"127.0.0.1:0\"\ncertificate = \"cert.pem\"\nprivate_key = \"key.pem\"\n";
    let file = directory.write("sipway.toml", text);
    let mut serve = sipway(["run", "--config"]);
    serve.arg(file);
    let ended = run(serve).await;
    assert_eq!(ended.code, Some(2), "{}", ended.err);
    assert!(ended.err.contains("listener `browsers`"), "{}", ended.err);
    assert_eq!(directory.names(), ["cert.pem", "key.pem", "sipway.toml"], "no ledger was made");
}

#[tokio::test]
async fn a_users_file_with_a_wrong_line() {
    let directory = Directory::new("users");
    directory.write("users.txt", "alice:wonder\nbob\n");
    let text = "[ledger]\ndirectory = \"ledger\"\n[[listener]]\ntransport = \"ws\"\nbind = \"127.0.0.1:0\"\n\
                [[domain]]\nname = \"example.com\"\nusers = \"users.txt\"\n";
    let file = directory.write("sipway.toml", text);
    let mut serve = sipway(["run", "--config"]);
    serve.arg(file);
    let ended = run(serve).await;
    assert_eq!(ended.code, Some(2), "{}", ended.err);
    assert!(ended.err.contains("users.txt") && ended.err.contains("line 2"), "{}", ended.err);
    assert!(!ended.err.contains("wonder"), "no password is shown: {}", ended.err);
    assert_eq!(directory.names(), ["sipway.toml", "users.txt"], "no ledger was made");
}

#[tokio::test]
async fn a_configuration_that_is_not_there() {
    let directory = Directory::new("absent");
    let said = refused(&directory, "sipway.toml").await.err;
    assert!(said.contains("sipway.toml") && said.contains("there is no such file"), "{said}");
    assert!(directory.names().is_empty());
}

#[tokio::test]
async fn a_word_that_is_no_log_level() {
    let ended = run(sipway(["dev", "--log", "loud"])).await;
    assert_eq!(ended.code, Some(2));
    assert!(ended.err.contains("'loud'") && ended.err.contains("debug"), "{}", ended.err);
}

/// What stands in the files that a configuration names is looked at too, without a server.
#[tokio::test]
async fn check_reads_users_and_keys() {
    let directory = Directory::new("check-users");
    let text = "[ledger]\ndirectory = \"ledger\"\n[[listener]]\ntransport = \"ws\"\nbind = \"127.0.0.1:0\"\n\
        [[domain]]\nname = \"a.example\"\nusers = \"users.txt\"\n\
        [[domain]]\nname = \"b.example\"\nauth = \"jwt\"\nkeys = \"login.pem\"\n\
        [[domain]]\nname = \"c.example\"\nauth = \"jwt\"\nkeys_url = \"http://127.0.0.1:1/jwks\"\n";
    let file = directory.write("sipway.toml", text);
    let pair = rcgen::generate_simple_self_signed(["b.example".to_owned()]).unwrap();
    let check = async |offline: &[&str]| {
        let mut check = sipway(["check"]);
        check.arg(&file).args(offline);
        run(check).await
    };
    directory.write("users.txt", "ada:wonder\nbob\n");
    directory.write("login.pem", pair.signing_key.serialize_pem());
    let wrong = check(&["--offline"]).await;
    assert_eq!(wrong.code, Some(2), "{}", wrong.err);
    assert!(!wrong.out.contains("no errors"), "{}", wrong.out);
    assert!(
        wrong.err.contains("users.txt: line 2: no colon") && wrong.err.contains("private key"),
        "{}",
        wrong.err
    );

    directory.write("users.txt", format!("ada:wonder\nbob:a.example:{}\n", "0".repeat(64)));
    directory.write("login.pem", pair.signing_key.public_key_pem());
    let right = check(&["--offline"]).await;
    assert_eq!(right.code, Some(0), "{}", right.err);
    assert!(
        right.out.contains("domain a.example: 2 users")
            && right.err.contains("user `bob` has no hash for MD5"),
        "{}",
        right.out
    );
    assert!(right.out.contains("domain b.example: tokens by ES256"), "{}", right.out);
    let gone = check(&[]).await;
    assert_eq!(gone.code, Some(1), "{}", gone.err);
    assert!(gone.err.contains("no token keys at http://127.0.0.1:1/jwks"), "{}", gone.err);
}
