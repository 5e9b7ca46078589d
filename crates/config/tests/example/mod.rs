//! The annotated example and the files and variables that it refers to.

use config::FakeEnvironment;

pub(crate) const TEXT: &str = include_str!("../../../../sipway.example.toml");

pub(crate) const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
pub(crate) const KEY: &str = "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n";
pub(crate) const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----\n";
pub(crate) const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

pub(crate) fn environment() -> FakeEnvironment {
    FakeEnvironment::new()
        .file("/etc/sipway/fullchain.pem", format!("{CERTIFICATE}{CERTIFICATE}"))
        .file("/etc/sipway/fleet-ca.pem", CERTIFICATE)
        .file("/etc/sipway/privkey.pem", KEY)
        .file("/etc/sipway/pbx-ca.pem", CERTIFICATE)
        .file("/etc/sipway/users.txt", "")
        .file("/etc/sipway/login.pem", PUBLIC_KEY)
        .file("/etc/sipway/token.secret", "0123456789abcdef0123456789abcdef\n")
        .set("SIPWAY_EPHEMERAL_SECRET", "0123456789abcdef0123456789abcdef")
        .file("/etc/sipway/ephemeral.secret", "0123456789abcdef0123456789abcdef\n")
        .set("SIPWAY_TOKEN_SECRET", "0123456789abcdef0123456789abcdef")
        .file("/etc/sipway/unregister.secret", "0123456789abcdef0123456789abcdef\n")
        .set("SIPWAY_UNREGISTER_SECRET", "0123456789abcdef0123456789abcdef")
        .file("/etc/sipway/webhook.secret", format!("{SECRET}\n"))
        .file("/etc/sipway/database.password", "correct horse\n")
        .set("SIPWAY_WEBHOOK_SECRET", SECRET)
        .set("SIPWAY_NATS_PASSWORD", "correct horse")
        .set("SIPWAY_DATABASE_PASSWORD", "correct horse")
        .set("SIPWAY_ADMIN_TOKEN", "0123456789abcdef0123456789abcdef")
}
