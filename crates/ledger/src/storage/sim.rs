//! A disk in memory that behaves as badly as disks do, from a seed.
//!
//! What was written and not synced is lost, kept or torn at a crash, write by write and sector by sector. A
//! sync that fails drops some of what it should have written for good, though reads go on showing it (as
//! Linux does). Names are durable only after their folder was synced; of changes since, a crash keeps a
//! beginning. The disk can be full, refuse, or hang.

mod mounted;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

pub use mounted::Mounted;

const SECTOR: usize = 512;

/// A simulated directory. Clones are the same directory; what runs on it has it [mounted](Self::mount).
#[derive(Clone)]
pub struct Simulated {
    shared: Arc<Shared>,
}

struct Shared {
    world: Mutex<World>,
    released: Condvar,
}

/// Which calls fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Faults {
    /// None.
    #[default]
    None,
    /// Every call that changes anything.
    All,
    /// Each call that changes anything, with a chance of one in so many.
    OneIn(u32),
    /// The next so many syncs of files.
    Syncs(u32),
    /// The next so many writes.
    Writes(u32),
}

/// How a run of the node ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The process dies; the system lives on with all it was given.
    Kill,
    /// The power fails: only what was synced is sure.
    PowerLoss,
}

#[derive(Default)]
struct World {
    random: u64,
    folders: BTreeMap<String, Folder>,
    inodes: BTreeMap<u64, Inode>,
    next_inode: u64,
    capacity: Option<u64>,
    faults: Faults,
    changes: u64,
    crash_at: Option<u64>,
    crashed: bool,
    /// Grows at every restart: what an earlier run had mounted is dead.
    run: u64,
    locked: bool,
    stalled: bool,
}

#[derive(Default)]
struct Folder {
    names: BTreeMap<String, u64>,
    durable: BTreeMap<String, u64>,
    pending: Vec<Rename>,
}

/// A change of names: created (`from` none), removed (`to` none) or renamed.
#[derive(Clone)]
struct Rename {
    inode: u64,
    from: Option<String>,
    to: Option<String>,
}

impl Rename {
    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        if let Some(from) = &self.from {
            names.remove(from);
        }
        if let Some(to) = &self.to {
            names.insert(to.clone(), self.inode);
        }
    }
}

#[derive(Default)]
struct Inode {
    content: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
    /// A failed sync dropped some of it: what reads show is not what is durable.
    doubtful: bool,
}

enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Truncate(usize),
}

fn put(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset..end].copy_from_slice(bytes);
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => put(content, *offset, bytes),
            Self::Truncate(len) => content.truncate(*len),
        }
    }
}

impl World {
    /// SplitMix64.
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound.max(1)
    }

    fn alive(&self, run: u64) -> io::Result<()> {
        if self.crashed || self.run != run {
            return Err(io::Error::other("the simulated machine is down"));
        }
        Ok(())
    }

    /// Count a change; an error if it is to fail.
    fn change(&mut self, kind: Kind) -> io::Result<()> {
        self.changes += 1;
        if self.crash_at.is_some_and(|at| self.changes >= at) {
            self.crashed = true;
        }
        let fails = match &mut self.faults {
            Faults::None => false,
            Faults::All => true,
            Faults::OneIn(odds) => {
                let odds = u64::from(*odds);
                self.below(odds) == 0
            }
            Faults::Syncs(left) if kind == Kind::Sync && *left > 0 => {
                *left -= 1;
                true
            }
            Faults::Writes(left) if kind == Kind::Write && *left > 0 => {
                *left -= 1;
                true
            }
            Faults::Syncs(_) | Faults::Writes(_) => false,
        };
        if fails { Err(io::Error::other("simulated fault")) } else { Ok(()) }
    }

    /// After a change was made: the crash that was planned for it.
    fn after(&self) -> io::Result<()> {
        if self.crashed { Err(io::Error::other("the simulated machine goes down")) } else { Ok(()) }
    }

    fn used(&self) -> u64 {
        self.folders
            .values()
            .flat_map(|folder| folder.names.values())
            .filter_map(|inode| self.inodes.get(inode))
            .map(|inode| inode.content.len() as u64)
            .sum()
    }

    fn find(&self, name: &str) -> Option<u64> {
        let (folder, file) = split(name);
        self.folders.get(folder)?.names.get(file).copied()
    }

    fn rename(&mut self, folder: &str, change: Rename) {
        if let Some(folder) = self.folders.get_mut(folder) {
            change.apply(&mut folder.names);
            folder.pending.push(change);
        }
    }

    fn lose_power(&mut self) {
        let mut inodes = std::mem::take(&mut self.inodes);
        for inode in inodes.values_mut() {
            if inode.pending.is_empty() && !inode.doubtful {
                continue;
            }
            inode.doubtful = false;
            for change in std::mem::take(&mut inode.pending) {
                match (self.below(4), &change) {
                    (0, _) => {}
                    (1, _) | (_, Change::Truncate(_)) => change.apply(&mut inode.durable),
                    (2, Change::Write { offset, bytes }) => {
                        let kept = self.below(bytes.len() as u64 + 1) as usize;
                        put(&mut inode.durable, *offset, &bytes[..kept]);
                    }
                    (_, Change::Write { offset, bytes }) => {
                        for (index, sector) in bytes.chunks(SECTOR).enumerate() {
                            if self.below(2) == 0 {
                                put(&mut inode.durable, offset + index * SECTOR, sector);
                            }
                        }
                    }
                }
            }
            inode.content.clone_from(&inode.durable);
        }
        self.inodes = inodes;
        let mut folders = std::mem::take(&mut self.folders);
        for folder in folders.values_mut() {
            let kept = self.below(folder.pending.len() as u64 + 1) as usize;
            for change in folder.pending.drain(..).take(kept) {
                change.apply(&mut folder.durable);
            }
            folder.names.clone_from(&folder.durable);
        }
        self.folders = folders;
    }

    /// Frees what no name leads to any more.
    fn forget_unnamed(&mut self) {
        let folders = &self.folders;
        let named: BTreeSet<u64> = folders
            .values()
            .flat_map(|folder| {
                let pending = folder.pending.iter().map(|change| &change.inode);
                folder.names.values().chain(folder.durable.values()).chain(pending).copied()
            })
            .collect();
        self.inodes.retain(|inode, _| named.contains(inode));
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Write,
    Sync,
    Other,
}

fn split(name: &str) -> (&str, &str) {
    name.rsplit_once('/').unwrap_or(("", name))
}

fn not_found() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
}

impl Simulated {
    /// An empty directory; the seed decides all that is left to chance.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut world = World { random: seed, ..World::default() };
        world.folders.insert(String::new(), Folder::default());
        Self { shared: Arc::new(Shared { world: Mutex::new(world), released: Condvar::new() }) }
    }

    /// The directory as the run that begins now sees it: what is left of an earlier run, threads of it
    /// included, can only fail.
    #[must_use]
    pub fn mount(&self) -> Mounted {
        Mounted { shared: Arc::clone(&self.shared), run: self.world().run }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.shared.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Let calls fail from now on.
    pub fn fail(&self, faults: Faults) {
        self.world().faults = faults;
    }

    /// Bytes the directory can hold; `None`: any.
    pub fn limit(&self, capacity: Option<u64>) {
        self.world().capacity = capacity;
    }

    /// Bytes it holds.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.world().used()
    }

    /// Calls that changed anything, so far.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.world().changes
    }

    /// Go down with the change of this number: it happens, and nothing after it.
    pub fn crash_at(&self, change: u64) {
        self.world().crash_at = Some(change);
    }

    /// Whether it went down and was not ended yet.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.world().crashed
    }

    /// Let every sync hang.
    pub fn stall(&self) {
        self.world().stalled = true;
    }

    /// End the stall.
    pub fn release(&self) {
        self.world().stalled = false;
        self.shared.released.notify_all();
    }

    /// End this run; the directory can be mounted anew. What this run had mounted only fails from now on.
    pub fn end(&self, end: End) {
        let mut world = self.world();
        world.run += 1;
        world.crashed = false;
        world.crash_at = None;
        world.locked = false;
        world.faults = Faults::None;
        if end == End::PowerLoss {
            world.lose_power();
        }
        world.forget_unnamed();
        drop(world);
        self.release();
    }

    /// The files of a folder with their contents.
    #[must_use]
    pub fn files(&self, folder: &str) -> Vec<(String, Vec<u8>)> {
        let world = self.world();
        let Some(names) = world.folders.get(folder).map(|folder| &folder.names) else { return Vec::new() };
        names
            .iter()
            .filter_map(|(name, inode)| Some((name.clone(), world.inodes.get(inode)?.content.clone())))
            .collect()
    }

    /// Put a file there, durably, in place of any other: to build what a test or a fuzzer wants to be found.
    pub fn place_file(&self, name: &str, content: &[u8]) {
        let mut world = self.world();
        let (folder, file) = split(name);
        let inode = world.next_inode;
        world.next_inode += 1;
        world.inodes.insert(
            inode,
            Inode { content: content.to_vec(), durable: content.to_vec(), ..Inode::default() },
        );
        let folder = world.folders.entry(folder.to_owned()).or_default();
        folder.names.insert(file.to_owned(), inode);
        folder.durable.insert(file.to_owned(), inode);
    }
}
