//! Events to a file, one a line, each once: what a crash left behind the cursor is read back and not written
//! again.

mod read_back;
mod rotation;
#[cfg(test)]
mod tests;

use std::fs::{File, Metadata, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use config::Rotation;
use ledger::Position;
use lifecycle::Node;

use crate::destination::Destination;
use delivery::{BatchLimit, Failure, FailureKind, Outgoing};
use read_back::{EventInFile, ReadBack};

/// One write carries this much, so that a backlog goes out in few calls.
pub(crate) const APPETITE: BatchLimit = BatchLimit { events: 4096, bytes: 1 << 20 };

/// How often a write is begun anew because the file was moved away meanwhile.
const MOVES: usize = 3;

/// A file that events are appended to. It is looked up by its name at every write, so a file that was renamed
/// (logrotate, or our own rotation) or removed is followed by a new one. Lines are whole: what a crash tore
/// is cut at the start.
///
/// logrotate's `copytruncate` loses lines by its nature; use `create` or `nocreate`.
#[derive(Debug)]
pub(crate) struct FileSink {
    path: PathBuf,
    rotation: Option<Rotation>,
    node: Node,
    open: Option<OpenFile>,
    /// A file whose sync failed, and the length up to which an earlier sync had succeeded.
    doubtful: Option<(FileKey, u64)>,
    /// A file whose sync failed before anything was written to it here. What it holds may not be on disk.
    distrusted: Option<FileKey>,
    /// The lines behind the cursor, until an event comes that is not among them.
    read_back: Option<ReadBack>,
    cursor: CursorLag,
    buffer: Vec<u8>,
}

/// Whether the cursor may be behind what the file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CursorLag {
    None,
    Some,
    /// It was asked to catch up, once.
    Asked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileKey {
    device: u64,
    inode: u64,
}

impl FileKey {
    fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

#[derive(Debug)]
struct OpenFile {
    file: File,
    key: FileKey,
    kind: FileKind,
    /// Whole lines end here.
    end: u64,
    /// Synced up to here.
    synced: u64,
    /// When it was begun, as far as the file system tells.
    begun: SystemTime,
    /// Its name is not known to be on disk.
    new_name: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileKind {
    Regular,
    /// A pipe or a device: nothing to sync, nothing to cut.
    Other,
}

impl OpenFile {
    fn is_due(&self, rotation: Option<Rotation>, adding: u64, now: SystemTime) -> bool {
        let due = |rotation| rotation::is_due(rotation, self.end, self.begun, adding, now);
        self.kind == FileKind::Regular && rotation.is_some_and(due)
    }
}

/// All events as lines, in place of what the buffer held.
pub(crate) fn lines(buffer: &mut Vec<u8>, events: &[Outgoing]) {
    buffer.clear();
    for event in events {
        buffer.extend_from_slice(event.json.as_bytes());
        buffer.push(b'\n');
    }
}

fn fault(path: &Path, doing: &str, error: &std::io::Error) -> Failure {
    Failure::new(FailureKind::Transient, format!("cannot {doing} {}: {error}", path.display()))
}

impl FileSink {
    pub(crate) fn new(file: config::File, node: Node) -> Self {
        let config::File { path, rotation } = file;
        Self {
            path,
            rotation,
            node,
            open: None,
            doubtful: None,
            distrusted: None,
            read_back: None,
            cursor: CursorLag::None,
            buffer: Vec::new(),
        }
    }

    fn fault(&self, doing: &str, error: &std::io::Error) -> Failure {
        fault(&self.path, doing, error)
    }

    /// Opens the file and mends its end.
    fn open(&mut self) -> Result<OpenFile, Failure> {
        let before = std::fs::metadata(&self.path);
        let special = before.as_ref().is_ok_and(|metadata| !metadata.is_file());
        let file = OpenOptions::new()
            .append(true)
            .read(!special)
            .create(!special)
            .mode(0o640)
            .open(&self.path)
            .map_err(|error| self.fault("open", &error))?;
        let metadata = file.metadata().map_err(|error| self.fault("look at", &error))?;
        let key = FileKey::of(&metadata);
        let new_name = before.is_err();
        let begun = match metadata.created().or_else(|_| metadata.modified()) {
            Ok(begun) if metadata.len() > 0 => begun,
            _ => SystemTime::now(),
        };
        if !metadata.is_file() {
            return Ok(OpenFile {
                file,
                key,
                kind: FileKind::Other,
                end: 0,
                synced: 0,
                begun: SystemTime::now(),
                new_name: false,
            });
        }
        let mut end = metadata.len();
        if let Some((doubtful, synced)) = self.doubtful.take()
            && doubtful == key
            && synced < end
        {
            file.set_len(synced).map_err(|error| self.fault("cut", &error))?;
            end = synced;
        }
        let end = delivery::mend_end(&file, end).map_err(|error| self.fault("mend the end of", &error))?;
        if end > 0
            && let Err(error) = file.sync_data()
        {
            self.distrusted = Some(key);
            return Err(self.fault("sync", &error));
        }
        Ok(OpenFile { file, key, kind: FileKind::Regular, end, synced: end, begun, new_name })
    }

    /// The open file, if it is still the one of this name.
    fn current(&mut self) -> Result<Option<&mut OpenFile>, Failure> {
        let named = match std::fs::metadata(&self.path) {
            Ok(metadata) => Some(metadata),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(self.fault("look at", &error)),
        };
        let Some(open) = &mut self.open else { return Ok(None) };
        let Some(named) = named.filter(|named| FileKey::of(named) == open.key) else { return Ok(None) };
        if open.kind == FileKind::Regular && open.end != named.len() {
            // Somebody else has cut it, or written to it.
            let ended = delivery::end_line(&open.file, named.len());
            open.end = ended.map_err(|error| fault(&self.path, "end the last line of", &error))?;
            open.synced = open.synced.min(open.end);
        }
        Ok(Some(open))
    }

    /// The file of this name, opened anew if it was moved.
    fn at_path(&mut self) -> Result<&mut OpenFile, Failure> {
        if self.current()?.is_none() {
            if self.open.is_some() {
                // What was written to the one that was moved is ours to make safe, for we soon forget it.
                self.sync_open()?;
                tracing::debug!(path = %self.path.display(), "the file was moved away; writing to a new one");
            }
            self.open = None;
            let open = self.open()?;
            self.open = Some(open);
        }
        self.open.as_mut().ok_or_else(|| Failure::new(FailureKind::Transient, "the file is not open"))
    }

    /// Looks for what the file holds behind the cursor.
    fn look_back(&mut self, from: Position) -> Result<(), Failure> {
        self.read_back = None;
        let open = self.at_path()?;
        let (key, end) = (open.key, open.end);
        if open.kind == FileKind::Other || self.distrusted == Some(key) {
            return Ok(());
        }
        let Some(open) = &self.open else { return Ok(()) };
        let found = ReadBack::look(&self.path, &open.file, end, from, &self.node);
        self.read_back = found.map_err(|error| self.fault("read back", &error))?;
        Ok(())
    }

    /// How many events from the front the file holds already. The first that it does not hold ends the
    /// comparison: what comes after it is written, so that the order holds.
    fn held(&mut self, events: &[Outgoing]) -> Result<usize, Failure> {
        let Some(read_back) = &mut self.read_back else { return Ok(0) };
        let mut held = 0;
        for event in events {
            match read_back.find(event) {
                Ok(EventInFile::Same) => held += 1,
                Ok(missing) => {
                    self.read_back = None;
                    if missing == EventInFile::Other {
                        tracing::warn!(
                            path = %self.path.display(),
                            event = event.id,
                            "the file holds another event under this id. Was the ledger of this node begun anew?"
                        );
                    }
                    break;
                }
                Err(error) => return Err(self.fault("read back", &error)),
            }
        }
        if held > 0 {
            self.cursor = CursorLag::Some;
        }
        Ok(held)
    }

    /// Whether the buffer belongs into a new file, because this one was moved away or is to be.
    fn begins_new_file(&mut self, now: SystemTime) -> Result<bool, Failure> {
        let (rotation, adding, is_open) = (self.rotation, self.buffer.len() as u64, self.open.is_some());
        let Some(open) = self.current()? else { return Ok(is_open) };
        Ok(open.is_due(rotation, adding, now))
    }

    /// Moves the file away if what comes next belongs into a new one. What is moved away is whole and on
    /// disk.
    fn rotate_if_due(&mut self, now: SystemTime) -> Result<(), Failure> {
        let Some(rotation) = self.rotation else { return Ok(()) };
        let adding = self.buffer.len() as u64;
        if !self.at_path()?.is_due(Some(rotation), adding, now) {
            return Ok(());
        }
        self.sync_open()?;
        self.open = None;
        for (from, to) in rotation::steps(&self.path, rotation.keep.get()) {
            std::fs::rename(&from, &to)
                .map_err(|error| self.fault(&format!("move to {} what is in", to.display()), &error))?;
        }
        delivery::sync_folder(&self.path).map_err(|error| self.fault("sync the directory of", &error))?;
        tracing::debug!(path = %self.path.display(), "rotated");
        Ok(())
    }

    fn append(&mut self) -> Result<(), Failure> {
        let buffer = std::mem::take(&mut self.buffer);
        let open = self.at_path()?;
        let written = open.file.write_all(&buffer);
        match &written {
            Ok(()) => open.end += buffer.len() as u64,
            Err(_) => {
                if open.kind == FileKind::Regular {
                    // Half a line may stand there. If cutting fails too, opening it again does it.
                    let _ = open.file.set_len(open.end);
                }
            }
        }
        self.buffer = buffer;
        let Err(error) = written else { return Ok(()) };
        let failure = self.fault("write to", &error);
        // It is opened anew, so what was acknowledged in it is made safe first.
        self.sync_open()?;
        self.open = None;
        Err(failure)
    }

    fn sync_open(&mut self) -> Result<(), Failure> {
        let Some(open) = &mut self.open else { return Ok(()) };
        if open.kind == FileKind::Other {
            return Ok(());
        }
        let synced = if open.end > open.synced { open.file.sync_data() } else { Ok(()) };
        let synced = match synced {
            Ok(()) if open.new_name => delivery::sync_folder(&self.path),
            other => other,
        };
        match synced {
            Ok(()) => {
                open.synced = open.end;
                open.new_name = false;
                Ok(())
            }
            Err(error) => {
                // A second sync of the same file may succeed without what the first one lost.
                self.doubtful = Some((open.key, open.synced));
                self.open = None;
                Err(Failure { nature: FailureKind::Lost, ..self.fault("sync", &error) })
            }
        }
    }
}

impl Destination for FileSink {
    fn batch_limit(&self) -> BatchLimit {
        // One delivery shall not fill many files' worth.
        let size = self.rotation.and_then(|rotation| rotation.size).unwrap_or(u64::MAX);
        let bytes = usize::try_from(size / 2).map_or(APPETITE.bytes, |half| half.min(APPETITE.bytes));
        BatchLimit { bytes, ..APPETITE }
    }

    async fn prepare(&mut self, from: Position) -> Result<Position, Failure> {
        self.look_back(from)?;
        Ok(from)
    }

    async fn deliver(&mut self, events: &[Outgoing]) -> Result<usize, Failure> {
        let held = self.held(events)?;
        if held > 0 {
            return Ok(held);
        }
        lines(&mut self.buffer, events);
        let now = SystemTime::now();
        if self.cursor == CursorLag::Some && self.begins_new_file(now)? {
            // What is in a file that was moved away may not be found again, so the cursor passes it first.
            self.cursor = CursorLag::Asked;
            return Ok(0);
        }
        self.rotate_if_due(now)?;
        self.cursor = CursorLag::Some;
        for _ in 0..MOVES {
            self.append()?;
            // Moved between the look and the write: whoever moved it may have taken a copy already, so the
            // lines go into the new one too.
            if self.current()?.is_some() {
                break;
            }
        }
        Ok(events.len())
    }

    async fn settle(&mut self, _to: Position) -> Result<(), Failure> {
        self.sync_open()?;
        self.cursor = CursorLag::None;
        Ok(())
    }
}
