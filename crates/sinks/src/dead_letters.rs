//! Events that a destination refuses, kept in a file so that those behind them need not wait.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::time::SystemTime;

use crate::destination::Outgoing;
use crate::file::{mend, sync_folder};

/// A file of refused events: one JSON object a line, with the event and why it was refused.
#[derive(Debug)]
pub(crate) struct DeadLetters {
    path: PathBuf,
}

impl DeadLetters {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Adds one; it is on disk when this returns. Opens the file each time, for this is rare.
    pub(crate) fn put(
        &self,
        sink: &str,
        event: &Outgoing,
        error: &str,
        at: SystemTime,
    ) -> Result<(), String> {
        self.write(sink, event, error, at).map_err(|fault| {
            format!("the dead letters cannot be written to {}: {fault}", self.path.display())
        })
    }

    fn write(&self, sink: &str, event: &Outgoing, error: &str, at: SystemTime) -> std::io::Result<()> {
        let mut file = File::options().append(true).read(true).create(true).mode(0o640).open(&self.path)?;
        mend(&file, file.metadata()?.len())?;
        let at = at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_micros());
        let at = lifecycle::event_time(u64::try_from(at).unwrap_or(u64::MAX));
        let (sink, error) = (serde_json::Value::from(sink), serde_json::Value::from(error));
        let json = &event.json;
        let line = format!(r#"{{"sink":{sink},"refused_at":"{at}","error":{error},"event":{json}}}"#) + "\n";
        file.write_all(line.as_bytes())?;
        file.sync_data()?;
        sync_folder(&self.path)
    }
}
