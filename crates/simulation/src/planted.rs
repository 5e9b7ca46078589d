//! Bugs put in on purpose: each must be found. They live in the simulated parts around the real code, never
//! in it.

use std::{io, str::FromStr, sync::Arc};

use ledger::storage::{
    Access, File, Listed, LockError, LockGuard, Storage,
    sim::{Mounted, Simulated},
};

/// A bug. The first three are the sort that Kamailio had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// Now and then a flow ends without a record.
    CloseWithoutRecord,
    /// Now and then a close is recorded twice.
    RecordTwice,
    /// A late close of an old flow removes what a newer flow has registered.
    StaleCloseDeletesNewer,
    /// A sink counts an event as delivered when it is handed over, not when it is acknowledged.
    CursorBeforeAcknowledgement,
    /// A sync that fails is taken for one that succeeded.
    FailedSyncIgnored,
    /// Now and then a flow is usable before its opening is durable.
    UsableBeforeDurable,
}

impl Planted {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::CloseWithoutRecord,
        Self::RecordTwice,
        Self::StaleCloseDeletesNewer,
        Self::CursorBeforeAcknowledgement,
        Self::FailedSyncIgnored,
        Self::UsableBeforeDurable,
    ];

    /// Its name on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CloseWithoutRecord => "close-without-record",
            Self::RecordTwice => "record-twice",
            Self::StaleCloseDeletesNewer => "stale-close-deletes-newer",
            Self::CursorBeforeAcknowledgement => "cursor-before-acknowledgement",
            Self::FailedSyncIgnored => "failed-sync-ignored",
            Self::UsableBeforeDurable => "usable-before-durable",
        }
    }
}

impl std::fmt::Display for Planted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Planted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = || Self::ALL.iter().copied();
        known().find(|planted| planted.as_str() == text).ok_or_else(|| {
            let names: Vec<&str> = known().map(Self::as_str).collect();
            format!("there is no such bug; there are {}", names.join(", "))
        })
    }
}

/// A disk whose failed syncs go unnoticed.
pub(crate) struct UnsyncedDisk {
    mounted: Mounted,
    disk: Simulated,
}

struct UnsyncedFile {
    disk: Simulated,
    file: Arc<dyn File>,
}

impl UnsyncedDisk {
    pub(crate) fn mount(disk: &Simulated) -> Self {
        Self { mounted: disk.mount(), disk: disk.clone() }
    }

    fn file(&self, file: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(UnsyncedFile { disk: self.disk.clone(), file })
    }
}

impl Storage for UnsyncedDisk {
    fn place(&self) -> String {
        self.mounted.place()
    }

    fn lock(&self) -> Result<LockGuard, LockError> {
        self.mounted.lock()
    }

    fn make_folder(&self, folder: &str) -> io::Result<()> {
        self.mounted.make_folder(folder)
    }

    fn list(&self, folder: &str) -> io::Result<Vec<Listed>> {
        self.mounted.list(folder)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(self.file(self.mounted.create(name)?))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn File>> {
        Ok(self.file(self.mounted.open(name, access)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.mounted.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.mounted.remove(name)
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        self.mounted.sync_folder(folder)
    }

    fn unguessable(&self) -> u64 {
        self.mounted.unguessable()
    }
}

impl File for UnsyncedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        let synced = self.file.sync();
        // Who is dead ignores nothing.
        if self.disk.is_down() { synced } else { Ok(()) }
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.truncate(len)
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }
}
