//! How a command ends.

use std::{fmt::Display, io::IsTerminal as _, process::ExitCode};

use config::Style;

use crate::speech::complain;

/// What a command comes to.
pub(crate) enum Outcome {
    /// All is well.
    Done,
    /// It could not do what it was asked; this is said on standard error.
    Failed(String),
    /// The configuration cannot be used, as was found outside of its text: files, addresses, users.
    Refused(String),
    /// The configuration has errors, drawn already.
    Misconfigured(config::Errors),
}

impl Outcome {
    pub(crate) fn failed(why: impl Display) -> Self {
        Self::Failed(why.to_string())
    }

    /// The same in words, for a command that is part of another.
    pub(crate) fn words(self) -> String {
        match self {
            Self::Done => String::new(),
            Self::Failed(why) | Self::Refused(why) => why,
            Self::Misconfigured(errors) => errors.render(Style::Plain),
        }
    }

    /// Says it, and gives the exit code: 0, 1, or 2 for a configuration that cannot be used.
    pub(crate) fn report(self) -> ExitCode {
        match self {
            Self::Done => ExitCode::SUCCESS,
            Self::Failed(why) => {
                complain!("sipway: {why}");
                ExitCode::FAILURE
            }
            Self::Refused(why) => {
                complain!("sipway: {why}");
                ExitCode::from(2)
            }
            Self::Misconfigured(errors) => {
                complain!("{}", errors.render(style()));
                ExitCode::from(2)
            }
        }
    }
}

/// Says what is allowed in a configuration but seldom wanted, if there is any.
pub(crate) fn warn(warnings: &config::Warnings) {
    if !warnings.problems().is_empty() {
        complain!("{}", warnings.render(style()));
    }
}

/// Colours for a terminal that wants them.
fn style() -> Style {
    let wanted = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    if wanted { Style::Coloured } else { Style::Plain }
}
