//! What there is to say of certificates: to whoever checks a configuration, and to whoever reads the log of a server.

use config::Config;
use edge::{Severity, certificate_remarks};

use crate::{now::now, outcome::Outcome, speech::say};

/// Says it; fails if one cannot be used.
pub(crate) fn check(config: &Config) -> Outcome {
    let mut wrong = 0;
    for remark in certificate_remarks(config, now() / 1_000_000) {
        say!("{remark}");
        wrong += usize::from(remark.severity() == Severity::Wrong);
    }
    match wrong {
        0 => Outcome::Done,
        1 => Outcome::failed("one certificate cannot be used"),
        many => Outcome::failed(format!("{many} certificates cannot be used")),
    }
}

/// Warns of it.
pub(crate) fn warn(config: &Config) {
    for remark in certificate_remarks(config, now() / 1_000_000) {
        tracing::warn!("{remark}");
    }
}
