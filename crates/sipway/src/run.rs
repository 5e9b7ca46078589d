//! `sipway run`: the server as a configuration file says.

use config::{Config, LogFormat, Machine, Style};

use crate::{
    command::Run,
    logs,
    outcome::{Outcome, warn},
    serve::{self, OutputMode},
};

pub(crate) fn run(run: &Run) -> Outcome {
    let config = match Config::load(&run.config, &Machine) {
        Ok(config) => config,
        Err(errors) => return Outcome::Misconfigured(errors),
    };
    logs::start(&config.log);
    match config.log.format {
        LogFormat::Text => warn(config.warnings()),
        // The log is JSON and nothing else.
        LogFormat::Json if config.warnings().problems().is_empty() => {}
        LogFormat::Json => tracing::warn!("{}", config.warnings().render(Style::Plain)),
    }
    serve::serve(config, OutputMode::Logs, Some(&run.config))
}
