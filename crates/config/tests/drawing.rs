//! What an operator sees: whole reports, compared letter by letter with `drawn/*.txt`.

use std::path::Path;

use config::{Config, Imagined, Style};

const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";

/// A certificate where a key should be, a password where a secret should be.
fn surroundings() -> Imagined {
    Imagined::new()
        .file("/etc/sipway/key.pem", CERTIFICATE)
        .set("WRONG", "password")
        .set("SECRET", "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
}

fn parse(text: &str) -> Result<Config, config::Errors> {
    Config::parse(text, Path::new("/etc/sipway/sipway.toml"), &surroundings())
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
    let missing = Config::load(Path::new("none.toml"), &surroundings()).unwrap_err();
    assert_eq!(
        missing.to_string(),
        "error: cannot read the configuration `none.toml`: there is no such file"
    );
    let binary = surroundings().file("some.toml", b"node = \"\xff\"".as_slice());
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
