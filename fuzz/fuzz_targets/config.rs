//! Any text as a configuration: no panic, every problem has a place inside the text, and both ways of drawing
//! it end.
#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use config::{Config, FakeEnvironment, Style};
use libfuzzer_sys::fuzz_target;

/// The files and variables that `sipway.example.toml` refers to: use it as the first seed.
static SURROUNDINGS: LazyLock<FakeEnvironment> = LazyLock::new(|| {
    let secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    FakeEnvironment::new()
        .file("fullchain.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
        .file("privkey.pem", "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n")
        .file("users.txt", "")
        .file("webhook.secret", secret)
        .set("SIPWAY_WEBHOOK_SECRET", secret)
});

fuzz_target!(|data: &[u8]| {
    // A file that is not UTF-8 is refused before anything is read of it.
    let Ok(text) = str::from_utf8(data) else { return };
    match Config::parse(text, Path::new("sipway.toml"), &*SURROUNDINGS) {
        Ok(config) => {
            assert!(!config.listeners.is_empty() && !config.domains.is_empty());
            assert!(
                config.listeners.iter().all(|listener| listener.max_message <= config.limits.outbound_queue)
            );
            assert!(config.registrar.min_expires <= config.registrar.default_expires);
            assert!(config.registrar.default_expires <= config.registrar.max_expires);
            assert!(config.timers.t1 <= config.timers.t2);
            let _ = config.warnings().render(Style::Coloured);
        }
        Err(errors) => {
            assert!(!errors.problems().is_empty());
            for problem in errors.problems() {
                assert!(text.get(problem.span()).is_some() && problem.line() > 0, "{problem:?}");
            }
            assert!(!errors.render(Style::Plain).contains('\u{1b}'));
            let _ = errors.render(Style::Coloured);
        }
    }
});
