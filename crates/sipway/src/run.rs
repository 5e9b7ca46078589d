//! `sipway run`: the server as a configuration file says.

use config::{Config, Machine};

use crate::{
    command::Run,
    logs,
    outcome::{Outcome, warn},
    serve::{self, Talk},
};

pub(crate) fn run(run: &Run) -> Outcome {
    let config = match Config::load(&run.config, &Machine) {
        Ok(config) => config,
        Err(errors) => return Outcome::Misconfigured(errors),
    };
    warn(config.warnings());
    logs::start(&config.log);
    serve::serve(config, Talk::Logs, Some(&run.config))
}
