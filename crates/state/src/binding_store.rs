//! Stores bindings over UDP, which belong to no flow and outlive the process. The ledger says which there
//! are. An SQLite file beside it says how to reach them.
//!
//! The file may be behind, damaged or gone: a binding that it does not know ends at the next start, and its
//! user agent registers again in its time. So nobody waits for it.

use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io,
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    time::{Duration, Instant},
};

use ledger::{Ledger, Reservation};
use lifecycle::{Now, OpenBinding, REMOVAL_RESERVE, RemovalCause, Text};
use location::StoredBinding;
use rusqlite::{Connection, params};

use crate::recovery::once_there_is_room;

/// The file, in the ledger's directory.
const FILE: &str = "bindings.sqlite";

/// Changes that may wait for the disk; what comes beyond is not kept.
const MOST_WAITING: usize = 8192;

/// Changes in one transaction.
const AT_ONCE: usize = 512;

/// The layout that this program writes.
const LAYOUT: i64 = 1;

const MAKE: &str = "
    CREATE TABLE IF NOT EXISTS binding (
        aor TEXT NOT NULL, contact BLOB NOT NULL, instance BLOB NOT NULL, reg_id INTEGER NOT NULL,
        q INTEGER, call_id BLOB NOT NULL, cseq INTEGER NOT NULL, path BLOB NOT NULL, identity TEXT NOT NULL,
        user_agent TEXT NOT NULL, listener TEXT NOT NULL, remote TEXT NOT NULL, expires_at INTEGER NOT NULL,
        PRIMARY KEY (aor, contact, instance, reg_id)
    ) WITHOUT ROWID;
    PRAGMA user_version = 1;";

enum Change {
    /// Nothing is there.
    Clear,
    /// It is there now; microseconds since the Unix epoch at which it ends.
    Put(Box<StoredBinding>, u64),
    /// It is gone.
    Remove(Box<StoredBinding>),
}

enum StoreChange {
    Change(Change),
    /// That was all: the file is closed once this is dropped.
    Finish(SyncSender<()>),
}

/// The handle of the thread that stores bindings.
pub struct BindingStore(SyncSender<StoreChange>);

/// More waits for the disk than may.
pub struct TooMuch;

impl BindingStore {
    /// This binding is there, new or refreshed, until then: microseconds since the Unix epoch.
    ///
    /// # Errors
    /// It is not kept.
    pub fn put(&self, kept: StoredBinding, expires_at: u64) -> Result<(), TooMuch> {
        self.tell(Change::Put(Box::new(kept), expires_at))
    }

    /// This binding is gone.
    ///
    /// # Errors
    /// It is kept all the same; the ledger knows better.
    pub fn remove(&self, kept: StoredBinding) -> Result<(), TooMuch> {
        self.tell(Change::Remove(Box::new(kept)))
    }

    fn tell(&self, change: Change) -> Result<(), TooMuch> {
        self.0.try_send(StoreChange::Change(change)).map_err(|_| TooMuch)
    }

    /// Waits until everything said so far is on disk and the file is closed, at most until then.
    pub async fn finish(&self, until: Instant) {
        let sender = self.0.clone();
        let finished = tokio::task::spawn_blocking(move || {
            let (done, finished) = sync_channel(1);
            // Dropped, it says so too.
            if sender.send(StoreChange::Finish(done)).is_ok() {
                let _ = finished.recv();
            }
        });
        let _ = tokio::time::timeout_at(until.into(), finished).await;
    }
}

/// The bindings that an earlier process stored.
pub struct StoredBindings {
    file: Connection,
    listeners: Vec<String>,
    /// By what the ledger knows of them: the address-of-record and the contact, both cut to a bounded length.
    rows: BTreeMap<OpenBinding, Vec<(StoredBinding, u64)>>,
}

/// A binding that is there again.
pub struct RestoredBinding {
    /// The binding.
    pub kept: StoredBinding,
    /// Microseconds since the Unix epoch.
    pub expires_at: u64,
    /// For the record of its end.
    pub room: Reservation,
}

/// Opens the file; bindings are put back at the listener of the same name. A file that cannot be used is
/// moved away, and a new one begun; if that fails too, nothing is kept.
///
/// The ledger's directory must be ours by then.
pub fn open(directory: &Path, listeners: &[String], time: Now) -> Option<StoredBindings> {
    let path = directory.join(FILE);
    let tried = load(&path, listeners, time).or_else(|error| {
        let aside = directory.join("bindings.damaged");
        tracing::warn!(
            file = %path.display(), aside = %aside.display(), %error,
            "the file of bindings over UDP cannot be used and was moved away; phones come back with their next REGISTER"
        );
        move_away(&path, &aside)?;
        load(&path, listeners, time)
    });
    tried.inspect_err(|error| {
        tracing::error!(file = %path.display(), %error, "bindings over UDP will be lost when this process ends");
    })
    .ok()
}

fn move_away(path: &Path, aside: &Path) -> Result<(), rusqlite::Error> {
    let beside = |end: &str| PathBuf::from(format!("{}{end}", path.display()));
    let gone = |outcome: io::Result<()>| match outcome {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(rusqlite::Error::ToSqlConversionFailure(error.into()))
        }
        _ => Ok(()),
    };
    gone(std::fs::rename(path, aside))?;
    gone(std::fs::remove_file(beside("-wal")))?;
    gone(std::fs::remove_file(beside("-shm")))
}

fn load(
    path: &Path,
    listeners: &[String],
    Now { instant: now, unix_micros: at }: Now,
) -> Result<StoredBindings, rusqlite::Error> {
    // SQLite would make it for everybody to read; what it puts beside it gets the mode of this.
    let made = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    made.map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    let file = Connection::open(path)?;
    file.pragma_update(None, "journal_mode", "WAL")?;
    file.pragma_update(None, "synchronous", "NORMAL")?;
    let layout: i64 = file.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if layout != 0 && layout != LAYOUT {
        return Err(rusqlite::Error::IntegralValueOutOfRange(0, layout));
    }
    file.execute_batch(MAKE)?;
    let mut rows: BTreeMap<OpenBinding, Vec<(StoredBinding, u64)>> = BTreeMap::new();
    let mut all = file.prepare(
        "SELECT aor, contact, instance, reg_id, q, call_id, cseq, path, identity, user_agent, listener, remote, \
         expires_at FROM binding",
    )?;
    let mut found = all.query([])?;
    while let Some(row) = found.next()? {
        let listener: String = row.get(10)?;
        let Some(listener) = listeners.iter().position(|name| *name == listener) else { continue };
        let remote: String = row.get(11)?;
        let (Ok(listener), Ok(remote)) = (u16::try_from(listener), remote.parse::<SocketAddr>()) else {
            continue;
        };
        let expires_at = u64::try_from(row.get::<_, i64>(12)?).unwrap_or(0);
        let kept = StoredBinding {
            aor: row.get(0)?,
            contact: row.get(1)?,
            instance: row.get(2)?,
            reg_id: Some(row.get(3)?).filter(|&id| id != 0),
            q: row.get(4)?,
            call_id: row.get(5)?,
            cseq: row.get(6)?,
            path: row.get(7)?,
            identity: row.get(8)?,
            user_agent: row.get(9)?,
            listener,
            remote,
            expires: now + Duration::from_micros(expires_at.saturating_sub(at)),
        };
        let known = OpenBinding { aor: Text::new(&kept.aor), contact: Text::new(&kept.contact) };
        rows.entry(known).or_default().push((kept, expires_at));
    }
    drop(found);
    drop(all);
    Ok(StoredBindings { file, listeners: listeners.to_vec(), rows })
}

impl StoredBindings {
    /// Whether a binding that the ledger has stays, or else why it goes.
    pub fn take(
        &mut self,
        left: &OpenBinding,
        ledger: &Ledger,
        at: u64,
    ) -> Result<RestoredBinding, RemovalCause> {
        let row = self.rows.get_mut(left).and_then(Vec::pop);
        let (kept, expires_at) = row.ok_or(RemovalCause::NodeCrash)?;
        if expires_at <= at {
            return Err(RemovalCause::Expired);
        }
        let room =
            once_there_is_room(|| ledger.reserve(REMOVAL_RESERVE)).map_err(|_| RemovalCause::NodeCrash)?;
        Ok(RestoredBinding { kept, expires_at, room })
    }

    /// Keeps what is told from now on, and of what was kept before only `staying`.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn keep(self, staying: Vec<(StoredBinding, u64)>) -> io::Result<BindingStore> {
        let Self { file, listeners, .. } = self;
        let (sender, receiver) = sync_channel(MOST_WAITING);
        std::thread::Builder::new().name("bindings".to_owned()).spawn(move || {
            let mut file = File { file, listeners, warned: None };
            file.begin(staying);
            let waiting = file.follow(&receiver);
            // Closed, it is one whole file.
            drop(file);
            drop(waiting);
        })?;
        Ok(BindingStore(sender))
    }
}

struct File {
    file: Connection,
    listeners: Vec<String>,
    warned: Option<Instant>,
}

impl File {
    fn begin(&mut self, staying: Vec<(StoredBinding, u64)>) {
        let there = staying.into_iter().map(|(kept, expires_at)| Change::Put(Box::new(kept), expires_at));
        let outcome = self.write(std::iter::once(Change::Clear).chain(there).collect());
        self.warn(outcome);
    }

    /// Writes what comes until the end; says who waits for that.
    fn follow(&mut self, told: &Receiver<StoreChange>) -> Option<SyncSender<()>> {
        while let Ok(first) = told.recv() {
            let (mut batch, mut end) = (Vec::new(), None);
            for told in std::iter::once(first).chain(told.try_iter()).take(AT_ONCE) {
                match told {
                    StoreChange::Change(change) => batch.push(change),
                    StoreChange::Finish(done) => end = Some(done),
                }
            }
            let outcome = self.write(batch);
            self.warn(outcome);
            if end.is_some() {
                return end;
            }
        }
        None
    }

    /// One transaction.
    fn write(&mut self, batch: Vec<Change>) -> Result<(), rusqlite::Error> {
        let transaction = self.file.transaction()?;
        {
            let mut put = transaction.prepare(
                "INSERT OR REPLACE INTO binding (aor, contact, instance, reg_id, q, call_id, cseq, path, identity, \
                 user_agent, listener, remote, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?;
            let mut remove = transaction.prepare(
                "DELETE FROM binding WHERE aor = ? AND contact = ? AND instance = ? AND reg_id = ?",
            )?;
            for change in batch {
                match change {
                    Change::Clear => {
                        transaction.execute("DELETE FROM binding", [])?;
                    }
                    Change::Put(kept, expires_at) => {
                        let Some(listener) = self.listeners.get(usize::from(kept.listener)) else { continue };
                        put.execute(params![
                            kept.aor,
                            kept.contact,
                            kept.instance,
                            kept.reg_id.unwrap_or(0),
                            kept.q,
                            kept.call_id,
                            kept.cseq,
                            kept.path,
                            kept.identity,
                            kept.user_agent,
                            listener,
                            kept.remote.to_string(),
                            i64::try_from(expires_at).unwrap_or(i64::MAX),
                        ])?;
                    }
                    Change::Remove(kept) => {
                        remove.execute(params![
                            kept.aor,
                            kept.contact,
                            kept.instance,
                            kept.reg_id.unwrap_or(0)
                        ])?;
                    }
                }
            }
        }
        transaction.commit()
    }

    /// Says once a minute what goes wrong.
    fn warn(&mut self, outcome: Result<(), rusqlite::Error>) {
        const EVERY: Duration = Duration::from_secs(60);
        if let Err(error) = outcome
            && self.warned.is_none_or(|at| at.elapsed() >= EVERY)
        {
            self.warned = Some(Instant::now());
            tracing::warn!(%error, "bindings over UDP are not stored for the next start");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(user: &str, listener: u16) -> StoredBinding {
        StoredBinding {
            aor: format!("{user}@example.com"),
            contact: b"sip:x@192.0.2.1".to_vec(),
            instance: Vec::new(),
            reg_id: None,
            q: Some(500),
            call_id: b"1".to_vec(),
            cseq: 7,
            path: Vec::new(),
            identity: String::new(),
            user_agent: "phone".to_owned(),
            listener,
            remote: "[2001:db8::1]:5060".parse().unwrap(),
            expires: Instant::now(),
        }
    }

    fn names(names: [&str; 2]) -> Vec<String> {
        names.map(str::to_owned).to_vec()
    }

    /// The bindings in the file, by address-of-record, with the listener's number.
    fn there(directory: &Path, listeners: [&str; 2]) -> Vec<(String, u16)> {
        let found =
            open(directory, &names(listeners), Now { instant: Instant::now(), unix_micros: 0 }).unwrap();
        found.rows.into_values().flatten().map(|(kept, _)| (kept.aor, kept.listener)).collect()
    }

    #[tokio::test]
    async fn what_is_gone_is_not_found_and_what_is_there_is_found_at_its_listener() {
        let directory = std::env::temp_dir().join(format!("sipway-kept-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let keeping = {
            let found = open(&directory, &names(["a", "b"]), Now { instant: Instant::now(), unix_micros: 0 })
                .unwrap();
            found.keep(vec![(binding("stays", 1), 9), (binding("goes", 0), 9)]).unwrap()
        };
        assert!(keeping.put(binding("comes", 0), 9).is_ok() && keeping.remove(binding("goes", 0)).is_ok());
        keeping.finish(Instant::now() + Duration::from_secs(60)).await;
        let comes = |number| ("comes@example.com".to_owned(), number);
        let stays = |number| ("stays@example.com".to_owned(), number);
        assert_eq!(there(&directory, ["a", "b"]), [comes(0), stays(1)]);
        assert_eq!(there(&directory, ["b", "a"]), [comes(1), stays(0)]);
        assert_eq!(there(&directory, ["a", "c"]), [comes(0)], "its listener is gone");

        // Another program wrote it, or nobody that is known.
        let file = Connection::open(directory.join(FILE)).unwrap();
        file.pragma_update(None, "user_version", 99).unwrap();
        drop(file);
        assert_eq!(there(&directory, ["a", "b"]), []);
        assert!(directory.join("bindings.damaged").exists());
        std::fs::remove_dir_all(directory).unwrap();
    }
}
