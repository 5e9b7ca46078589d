//! What a run of the node does to the simulated directory.

use std::io;
use std::sync::{Arc, MutexGuard, PoisonError};

use super::super::{Access, File, Listed, LockError, LockGuard, Storage};
use super::{Change, Folder, Inode, Kind, Rename, Shared, World, not_found, split};

/// A [`Simulated`] directory as one run of the node sees it, until that run [ends](Simulated::end).
pub struct Mounted {
    pub(super) shared: Arc<Shared>,
    pub(super) run: u64,
}

impl Mounted {
    fn world(&self) -> io::Result<MutexGuard<'_, World>> {
        living(&self.shared, self.run)
    }
}

fn living(shared: &Shared, run: u64) -> io::Result<MutexGuard<'_, World>> {
    let world = shared.world.lock().unwrap_or_else(PoisonError::into_inner);
    world.alive(run)?;
    Ok(world)
}

impl Storage for Mounted {
    fn place(&self) -> String {
        "(simulated)".to_owned()
    }

    fn lock(&self) -> Result<LockGuard, LockError> {
        let mut world = self.world().map_err(LockError::Io)?;
        if world.locked {
            return Err(LockError::Held { pid: None });
        }
        world.locked = true;
        Ok(Box::new(Unlock { shared: Arc::clone(&self.shared), run: self.run }))
    }

    fn make_folder(&self, folder: &str) -> io::Result<()> {
        let mut world = self.world()?;
        if !world.folders.contains_key(folder) {
            world.change(Kind::Other)?;
            world.folders.insert(folder.to_owned(), Folder::default());
        }
        world.after()
    }

    fn list(&self, folder: &str) -> io::Result<Vec<Listed>> {
        let world = self.world()?;
        let names = &world.folders.get(folder).ok_or_else(not_found)?.names;
        let len = |inode| world.inodes.get(inode).map_or(0, |inode: &Inode| inode.content.len() as u64);
        Ok(names.iter().map(|(name, inode)| Listed { name: name.clone(), len: len(inode) }).collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut world = self.world()?;
        world.change(Kind::Other)?;
        let (folder, file) = split(name);
        if !world.folders.contains_key(folder) {
            return Err(not_found());
        }
        let inode = world.next_inode;
        world.next_inode += 1;
        world.inodes.insert(inode, Inode::default());
        world.rename(folder, Rename { inode, from: None, to: Some(file.to_owned()) });
        world.after()?;
        Ok(Arc::new(Handle { shared: Arc::clone(&self.shared), inode, run: self.run }))
    }

    fn open(&self, name: &str, _: Access) -> io::Result<Arc<dyn File>> {
        let world = self.world()?;
        let inode = world.find(name).ok_or_else(not_found)?;
        Ok(Arc::new(Handle { shared: Arc::clone(&self.shared), inode, run: self.run }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut world = self.world()?;
        world.change(Kind::Other)?;
        let inode = world.find(from).ok_or_else(not_found)?;
        let ((folder, from), (_, to)) = (split(from), split(to));
        world.rename(folder, Rename { inode, from: Some(from.to_owned()), to: Some(to.to_owned()) });
        world.after()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut world = self.world()?;
        world.change(Kind::Other)?;
        let inode = world.find(name).ok_or_else(not_found)?;
        let (folder, file) = split(name);
        world.rename(folder, Rename { inode, from: Some(file.to_owned()), to: None });
        world.after()
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        let mut world = self.world()?;
        world.change(Kind::Other)?;
        let folder = world.folders.get_mut(folder).ok_or_else(not_found)?;
        for change in std::mem::take(&mut folder.pending) {
            change.apply(&mut folder.durable);
        }
        world.after()
    }

    fn unguessable(&self) -> u64 {
        self.shared.world.lock().unwrap_or_else(PoisonError::into_inner).draw()
    }
}

struct Unlock {
    shared: Arc<Shared>,
    run: u64,
}

impl Drop for Unlock {
    fn drop(&mut self) {
        let mut world = self.shared.world.lock().unwrap_or_else(PoisonError::into_inner);
        if world.run == self.run {
            world.locked = false;
        }
    }
}

struct Handle {
    shared: Arc<Shared>,
    inode: u64,
    run: u64,
}

impl Handle {
    fn world(&self) -> io::Result<MutexGuard<'_, World>> {
        living(&self.shared, self.run)
    }
}

fn inode(world: &mut World, number: u64) -> io::Result<&mut Inode> {
    world.inodes.get_mut(&number).ok_or_else(not_found)
}

impl File for Handle {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut world = self.world()?;
        let content = &inode(&mut world, self.inode)?.content;
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(content.len());
        let count = buffer.len().min(content.len() - from);
        buffer[..count].copy_from_slice(&content[from..from + count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut world = self.world()?;
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let outcome = world.change(Kind::Write);
        let mut kept = bytes.len();
        if outcome.is_err() {
            kept = world.below(bytes.len() as u64 + 1) as usize;
        }
        let grows = (offset + kept).saturating_sub(inode(&mut world, self.inode)?.content.len()) as u64;
        if grows > 0 && world.capacity.is_some_and(|capacity| world.used() + grows > capacity) {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        let file = inode(&mut world, self.inode)?;
        let change = Change::Write { offset, bytes: bytes[..kept].to_vec() };
        change.apply(&mut file.content);
        file.pending.push(change);
        outcome.and_then(|()| world.after())
    }

    fn sync(&self) -> io::Result<()> {
        let mut world = self.world()?;
        while world.stalled {
            world = self.shared.released.wait(world).unwrap_or_else(PoisonError::into_inner);
        }
        world.alive(self.run)?;
        let outcome = world.change(Kind::Sync);
        let pending = std::mem::take(&mut inode(&mut world, self.inode)?.pending);
        for change in pending {
            // A failed sync marks as written what it did not write: only reads still show it.
            let written = outcome.is_ok() || world.below(2) == 0;
            let file = inode(&mut world, self.inode)?;
            if written {
                change.apply(&mut file.durable);
            } else {
                file.doubtful = true;
            }
        }
        outcome.and_then(|()| world.after())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut world = self.world()?;
        world.change(Kind::Write)?;
        let file = inode(&mut world, self.inode)?;
        let change = Change::Truncate(usize::try_from(len).unwrap_or(usize::MAX));
        change.apply(&mut file.content);
        file.pending.push(change);
        world.after()
    }

    fn length(&self) -> io::Result<u64> {
        Ok(inode(&mut *self.world()?, self.inode)?.content.len() as u64)
    }
}
