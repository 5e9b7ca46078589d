//! Events that a destination refuses, kept in a file so that those behind them need not wait.
//!
//! After a crash the cursor may be behind an event that was written here. It is refused again then, and found
//! here.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::time::SystemTime;

use crate::destination::Outgoing;
use crate::tail::{mend_end, sync_folder};

/// Bytes from the end in which an event is looked for. The cursor is saved before this much comes behind it.
const LOOK_BACK: u64 = 1 << 20;

/// A file of refused events: one JSON object a line, with the event and why it was refused.
#[derive(Debug)]
pub struct DeadLetters {
    path: PathBuf,
}

impl DeadLetters {
    /// Keeps them in the file of this path, which is made when it is needed.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Adds one, unless a crash left it here; it is on disk when this returns. Opens the file each time, for
    /// this is rare.
    pub fn put(&self, sink: &str, event: &Outgoing, error: &str, at: SystemTime) -> Result<(), String> {
        self.write(sink, event, error, at).map_err(|fault| {
            format!("the dead letters cannot be written to {}: {fault}", self.path.display())
        })
    }

    fn write(&self, sink: &str, event: &Outgoing, error: &str, at: SystemTime) -> std::io::Result<()> {
        let mut file = File::options().append(true).read(true).create(true).mode(0o640).open(&self.path)?;
        let length = mend_end(&file, file.metadata()?.len())?;
        let (sink, error) = (serde_json::Value::from(sink), serde_json::Value::from(error));
        let begins = format!(r#"{{"sink":{sink},"refused_at":"#);
        let ends = format!(r#","event":{}}}"#, event.json);
        if !holds(&file, length, begins.as_bytes(), ends.as_bytes())? {
            let at = at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_micros());
            let at = lifecycle::event_time(u64::try_from(at).unwrap_or(u64::MAX));
            file.write_all(format!("{begins}\"{at}\",\"error\":{error}{ends}\n").as_bytes())?;
        }
        file.sync_data()?;
        sync_folder(&self.path)
    }
}

/// Whether one of the last lines begins and ends so.
fn holds(file: &File, length: u64, begins: &[u8], ends: &[u8]) -> std::io::Result<bool> {
    let start = length.saturating_sub(LOOK_BACK);
    let mut tail = vec![0; usize::try_from(length - start).unwrap_or(0)];
    file.read_exact_at(&mut tail, start)?;
    Ok(tail.split(|byte| *byte == b'\n').any(|line| line.starts_with(begins) && line.ends_with(ends)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ledger::Position;
    use lifecycle::EventKind;

    fn event(seq: u64) -> Outgoing {
        Outgoing {
            position: Position::new(1, seq),
            kind: EventKind::FlowClosed,
            at: 1,
            id: format!("edge1.1.{seq}"),
            json: format!(r#"{{"specversion":"1.0","id":"edge1.1.{seq}"}}"#),
        }
    }

    #[test]
    fn an_event_that_is_refused_again_after_a_crash_is_there_once() {
        let path = std::env::temp_dir().join(format!("sinks-letters-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let letters = DeadLetters::new(path.clone());
        let mut later = SystemTime::UNIX_EPOCH;
        let mut put = |sink: &str, seq: u64| {
            later += std::time::Duration::from_secs(1);
            letters.put(sink, &event(seq), "no \"such\" thing", later).unwrap();
        };
        put("hook", 7);
        put("hook", 8);
        let both = std::fs::read_to_string(&path).unwrap();
        // The cursor was before both.
        put("hook", 7);
        put("hook", 8);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), both);
        // The last line is torn.
        File::options().write(true).open(&path).unwrap().set_len(both.len() as u64 - 9).unwrap();
        put("hook", 7);
        put("hook", 8);
        // Another sink that uses the same file was refused it, too; and another event begins or ends alike.
        put("other", 8);
        put("hook", 78);
        put("hook", 9);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let told =
            |line: &serde_json::Value| format!("{} {}", line["sink"], line["event"]["id"]).replace('"', "");
        let told: Vec<String> = lines.iter().map(told).collect();
        let wanted =
            ["hook edge1.1.7", "hook edge1.1.8", "other edge1.1.8", "hook edge1.1.78", "hook edge1.1.9"];
        assert_eq!(told, wanted);
        assert_eq!(lines[0]["error"], "no \"such\" thing");
        assert_eq!(lines[0]["refused_at"], "1970-01-01T00:00:01.000000Z");
    }
}
