//! What an operator sees: whole reports, compared letter by letter with `drawn/*.txt`.

use std::path::Path;

use config::{Config, FakeEnvironment, Style};

const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";

/// A certificate where a key should be, a password where a secret should be.
fn environment() -> FakeEnvironment {
    FakeEnvironment::new()
        .file("/etc/sipway/key.pem", CERTIFICATE)
        .set("WRONG", "password")
        .set("SECRET", "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
}

fn parse(text: &str) -> Result<Config, config::Errors> {
    Config::parse(text, Path::new("/etc/sipway/sipway.toml"), &environment())
}

#[track_caller]
fn same(drawn: &str, expected: &str) {
    assert_eq!(drawn, expected.trim_end(), "drawn:\n{drawn}");
}

#[test]
fn every_mistake_of_meaning_at_once() {
    let errors = parse(include_str!("drawn/meaning.toml")).unwrap_err();
    same(&errors.to_string(), include_str!("drawn/meaning.txt"));
    assert!(!errors.to_string().contains("password"), "a secret's value is never shown");
}

#[test]
fn mistakes_of_syntax_beside_those_of_meaning() {
    let errors = parse(include_str!("drawn/syntax.toml")).unwrap_err();
    same(&errors.to_string(), include_str!("drawn/syntax.txt"));
}

#[test]
fn signs_that_need_care() {
    let errors = parse(include_str!("drawn/signs.toml")).unwrap_err();
    same(&errors.to_string(), include_str!("drawn/signs.txt"));
}

#[test]
fn warnings() {
    let config = parse(include_str!("drawn/risky.toml")).unwrap();
    same(&config.warnings().to_string(), include_str!("drawn/risky.txt"));
}

#[test]
fn colours_only_when_asked() {
    let errors = parse("node = 1").unwrap_err();
    assert!(!errors.render(Style::Plain).contains('\u{1b}'));
    assert!(errors.render(Style::Coloured).contains('\u{1b}'));
}

#[test]
fn an_unreadable_file_is_one_sentence() {
    let missing = Config::load(Path::new("none.toml"), &environment()).unwrap_err();
    assert_eq!(
        missing.to_string(),
        "error: cannot read the configuration `none.toml`: there is no such file"
    );
    let binary = environment().file("some.toml", b"node = \"\xff\"".as_slice());
    let errors = Config::load(Path::new("some.toml"), &binary).unwrap_err();
    assert_eq!(errors.to_string(), "error: cannot read the configuration `some.toml`: not UTF-8 at byte 8");
}

#[test]
fn a_flood_of_errors_is_cut() {
    let text: String = (0..80).map(|number| format!("unknown{number} = 1\n")).collect();
    let errors = parse(&text).unwrap_err();
    assert_eq!(errors.problems().len(), 80);
    assert!(errors.to_string().ends_with("\n\nand 30 more"));
    assert_eq!(errors.to_string().matches("error:").count(), 50);
}

/// Every key that names a file with a secret, and an upstream that no domain uses: each is told at its place.
#[test]
fn secrets_that_everybody_reads_and_an_upstream_that_nothing_goes_to() {
    let secret = "0123456789abcdef0123456789abcdef";
    let webhook = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    let key = "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n";
    let files = [
        ("users.txt", "ada:pw\n"),
        ("users.sqlite", ""),
        ("token.secret", secret),
        ("ephemeral.secret", secret),
        ("webhook.secret", webhook),
        ("password", "pw"),
        ("nats.creds", ""),
        ("key.pem", key),
    ];
    let text = "[[listener]]\ntransport = \"tls\"\nbind = \"127.0.0.1:5061\"\ncertificate = \"cert.pem\"\nprivate_key = \"key.pem\"\n\
        [[upstream]]\nname = \"used\"\ntargets = [\"sips:10.0.0.5\"]\n\
        [[upstream]]\nname = \"idle\"\ntargets = [\"sips:10.0.0.6\"]\n\
        [[domain]]\nname = \"a.test\"\nusers = \"users.txt\"\nbackend = \"used\"\nregister = \"local\"\n\
        [[domain]]\nname = \"b.test\"\nusers_db = \"users.sqlite\"\nusers_query = \"SELECT\"\nephemeral_secret_file = \"ephemeral.secret\"\n\
        [[domain]]\nname = \"c.test\"\nauth = \"jwt\"\nsecret_file = \"token.secret\"\n\
        [[sink]]\nkind = \"webhook\"\nname = \"crm\"\nurl = \"https://crm.test/\"\nsecret_file = \"webhook.secret\"\n\
        [[sink]]\nkind = \"redis\"\nname = \"redis\"\nurl = \"redis://127.0.0.1/\"\npassword_file = \"password\"\n\
        [[sink]]\nkind = \"nats\"\nname = \"nats\"\nservers = [\"nats://127.0.0.1\"]\ncreds_file = \"nats.creds\"\n";
    let place = |name: &str| format!("/etc/sipway/{name}");
    let mut closed = FakeEnvironment::new().file(place("cert.pem"), CERTIFICATE);
    let mut open = closed.clone();
    for (name, content) in files {
        closed = closed.file(place(name), content);
        open = open.file(place(name), content).read_by_everybody(place(name));
    }
    let warnings = |environment: &FakeEnvironment| {
        let config = Config::parse(text, Path::new("/etc/sipway/sipway.toml"), environment).unwrap();
        config.warnings().to_string()
    };
    let idle = "no domain has the upstream `idle` as its backend";
    let said = warnings(&closed);
    assert!(said.contains(idle) && said.matches("warning: ").count() == 1, "{said}");
    let said = warnings(&open);
    assert_eq!(said.matches("warning: ").count(), files.len() + 1, "{said}");
    for (name, _) in files {
        let told = said.lines().find(|line| line.starts_with("warning: everybody on this machine may read"));
        assert!(told.is_some() && said.contains(&format!("`{}`", place(name))), "{name}: {said}");
    }
}
