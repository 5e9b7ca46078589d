//! The few things the ledger asks of a disk, so that a simulated one can stand in.
//!
//! Names are relative to the ledger's directory, with `/` between folder and file; there is one level of
//! folders.

mod directory;
pub mod sim;

use std::any::Any;
use std::io;
use std::sync::Arc;

pub use directory::Directory;

/// A file as [`Storage::list`] found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The name without its folder.
    pub name: String,
    /// Length in bytes.
    pub len: u64,
}

/// Why the directory could not be taken for this process alone.
#[derive(Debug)]
pub enum LockError {
    /// Another process (or another ledger in this one) has it.
    Held {
        /// The process that has it, if it left its number.
        pid: Option<u32>,
    },
    /// The lock file could not be made or locked.
    Io(io::Error),
}

/// Keeps the directory locked until dropped.
pub type LockGuard = Box<dyn Any + Send + Sync>;

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Only to be read.
    Read,
    /// To be read and written in place.
    Write,
}

/// A directory of files. All calls block.
pub trait Storage: Send + Sync + 'static {
    /// What to call this place in messages: the path of the directory.
    fn place(&self) -> String;
    /// Take the directory for this process alone; `LOCK` is the file used.
    ///
    /// # Errors
    /// Held by another, or the lock file cannot be made.
    fn lock(&self) -> Result<LockGuard, LockError>;
    /// Make a folder (`""` is the directory itself); it may be there already.
    ///
    /// # Errors
    /// As the system says.
    fn make_folder(&self, folder: &str) -> io::Result<()>;
    /// The files of a folder, in any order; a folder that is not there is an error.
    ///
    /// # Errors
    /// As the system says.
    fn list(&self, folder: &str) -> io::Result<Vec<Listed>>;
    /// Make a new file for reading and writing; an existing one is emptied.
    ///
    /// # Errors
    /// As the system says.
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>>;
    /// Open a file that is there.
    ///
    /// # Errors
    /// As the system says; [`io::ErrorKind::NotFound`] if there is none.
    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn File>>;
    /// Give a file another name in the same folder, in place of any file that had it.
    ///
    /// # Errors
    /// As the system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Remove a file.
    ///
    /// # Errors
    /// As the system says.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Make the names in a folder durable.
    ///
    /// # Errors
    /// As the system says.
    fn sync_folder(&self, folder: &str) -> io::Result<()>;
    /// A number no peer can guess.
    fn unguessable(&self) -> u64;
}

/// An open file. All calls block and take any offset.
pub trait File: Send + Sync + 'static {
    /// Read into `buffer` from `offset`; returns how many bytes there were (fewer only at the end of the
    /// file).
    ///
    /// # Errors
    /// As the system says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Write all of `bytes` at `offset`.
    ///
    /// # Errors
    /// As the system says; a part may have been written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Make content and length durable.
    ///
    /// # Errors
    /// As the system says; after one, what was written since the last success may be lost whatever later
    /// calls answer.
    fn sync(&self) -> io::Result<()>;
    /// Cut the file to `len` bytes.
    ///
    /// # Errors
    /// As the system says.
    fn truncate(&self, len: u64) -> io::Result<()>;
    /// Length in bytes.
    ///
    /// # Errors
    /// As the system says.
    fn length(&self) -> io::Result<u64>;
}
