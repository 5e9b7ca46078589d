//! `sipway check`: mistakes in a configuration file, all at once.

use config::{Config, Machine};

use crate::{
    command::Check,
    outcome::{Outcome, style},
};

pub(crate) fn run(check: &Check) -> Outcome {
    match Config::load(&check.config, &Machine) {
        Ok(config) => {
            eprint!("{}", config.warnings().render(style()));
            println!("{}: no errors", check.config.display());
            Outcome::Done
        }
        Err(errors) => Outcome::Misconfigured(errors),
    }
}
