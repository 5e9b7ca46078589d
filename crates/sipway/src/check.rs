//! `sipway check`: mistakes in a configuration file, all at once.

use config::{Config, Machine};

use crate::{
    command::Check,
    outcome::{Outcome, warn},
    speech::say,
};

pub(crate) fn run(check: &Check) -> Outcome {
    match Config::load(&check.config, &Machine) {
        Ok(config) => {
            warn(config.warnings());
            say!("{}: no errors", check.config.display());
            Outcome::Done
        }
        Err(errors) => Outcome::Misconfigured(errors),
    }
}
