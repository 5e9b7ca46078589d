//! What the program says of itself, on standard error.

use std::io::IsTerminal as _;

use config::{Log, LogFormat};
use tracing_subscriber::EnvFilter;

/// Starts logging. `RUST_LOG` goes before the level given here.
pub(crate) fn start(log: &Log) {
    let level = log.level.as_str();
    start_at(level, log.format);
}

/// Starts logging at a level.
pub(crate) fn start_at(level: &str, format: LogFormat) {
    // Sinks tell of their connections themselves.
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new(format!("{level},async_nats=off")));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // It would report that standard error is gone on standard error, and panic: then every thread that
        // logs ends.
        .log_internal_errors(false);
    // A logger that is there already stays; nothing else in this program sets one.
    let _ = match format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}
