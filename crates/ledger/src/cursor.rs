//! How far a reader has come, kept under a name.
//!
//! `cursors/<name>.cursor`, 40 bytes with a checksum, replaced by writing a second file and renaming it. The
//! content is synced before the rename, always: a crash leaves the old place or the new one, never an empty
//! file.

use std::io;
use std::sync::Arc;

use crate::error::{CursorError, Fault, Faulty};
use crate::format::{checksum_around, get_u32, get_u64};
use crate::position::Position;
use crate::shared::Shared;
use crate::storage::{Access, Storage};

const MAGIC: [u8; 8] = *b"LEDGCURS";
const VERSION: u32 = 1;
const LENGTH: usize = 32;

/// Whether a saved cursor must survive a loss of power at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Save {
    /// A loss of power may take the reader back to an earlier save.
    Soon,
    /// Durable when the call returns.
    Now,
}

/// A named place in the ledger. The last record it has seen, not the next.
pub struct Cursor {
    shared: Arc<Shared>,
    name: String,
    position: Position,
}

impl Cursor {
    /// Open the cursor of this name; a new one stands at [`Position::START`].
    pub(crate) fn open(shared: Arc<Shared>, name: &str) -> Result<Self, CursorError> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
        if name.is_empty() || name.len() > 64 || name.starts_with('.') || !name.bytes().all(allowed) {
            return Err(CursorError::Name { name: name.to_owned() });
        }
        let position = read(&*shared.storage, &file_name(name))?.unwrap_or(Position::START);
        Ok(Self { shared, name: name.to_owned(), position })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The last record seen.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// Move forward to `to` and save. Blocks; two syncs at most.
    ///
    /// # Errors
    /// `to` lies behind or is not durable, or the disk refused; the cursor then stands where it stood.
    pub fn advance(&mut self, to: Position, save: Save) -> Result<(), CursorError> {
        if to < self.position {
            return Err(CursorError::Backward { at: self.position, to });
        }
        self.reset(to, save)
    }

    /// Move anywhere and save: a sink that lost what it was given starts again from further back.
    ///
    /// # Errors
    /// `to` is not durable, or the disk refused; the cursor then stands where it stood.
    pub fn reset(&mut self, to: Position, save: Save) -> Result<(), CursorError> {
        let durable = Position::new(self.shared.incarnation, self.shared.durable());
        if to > durable {
            return Err(CursorError::Ahead { to, durable });
        }
        let name = file_name(&self.name);
        write(&*self.shared.storage, &name, to)?;
        if save == Save::Now {
            self.shared.storage.sync_folder("cursors").fault("cannot sync", "cursors")?;
        }
        self.position = to;
        Ok(())
    }
}

fn file_name(name: &str) -> String {
    format!("cursors/{name}.cursor")
}

fn write(storage: &dyn Storage, name: &str, position: Position) -> Result<(), Fault> {
    let mut bytes = [0; LENGTH];
    bytes[0..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[16..24].copy_from_slice(&position.incarnation.to_le_bytes());
    bytes[24..32].copy_from_slice(&position.seq.to_le_bytes());
    let sum = checksum_around(&bytes, 12);
    bytes[12..16].copy_from_slice(&sum.to_le_bytes());
    replace(storage, name, &bytes)
}

/// Put a file in place of another so that a crash leaves one of them whole.
pub(crate) fn replace(storage: &dyn Storage, name: &str, bytes: &[u8]) -> Result<(), Fault> {
    let new = format!("{name}.new");
    let file = storage.create(&new).fault("cannot create", &new)?;
    file.write_at(bytes, 0).fault("cannot write", &new)?;
    file.sync().fault("cannot sync", &new)?;
    storage.rename(&new, name).fault("cannot rename to", name)
}

fn read(storage: &dyn Storage, name: &str) -> Result<Option<Position>, CursorError> {
    let file = match storage.open(name, Access::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).fault("cannot open", name).map_err(CursorError::from),
    };
    let mut bytes = [0; LENGTH + 1];
    let count = file.read_at(&mut bytes, 0).fault("cannot read", name)?;
    decode(&bytes[..count]).map(Some).ok_or_else(|| CursorError::Damaged { file: name.to_owned() })
}

fn decode(bytes: &[u8]) -> Option<Position> {
    let whole = bytes.len() == LENGTH
        && bytes[0..8] == MAGIC
        && get_u32(bytes, 8)? == VERSION
        && get_u32(bytes, 12)? == checksum_around(bytes, 12);
    if !whole {
        return None;
    }
    Some(Position::new(get_u64(bytes, 16)?, get_u64(bytes, 24)?))
}

/// All cursors and where they stand, by name; a damaged one is an error.
pub(crate) fn all(storage: &dyn Storage) -> Result<Vec<(String, Position)>, CursorError> {
    let mut found = Vec::new();
    for listed in storage.list("cursors").fault("cannot list", "cursors")? {
        if let Some(name) = listed.name.strip_suffix(".cursor")
            && let Some(position) = read(storage, &file_name(name))?
        {
            found.push((name.to_owned(), position));
        }
    }
    found.sort();
    Ok(found)
}

/// Forget a cursor, so that retention need not wait for its reader.
pub(crate) fn remove(storage: &dyn Storage, name: &str) -> Result<(), CursorError> {
    let name = file_name(name);
    match storage.remove(&name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).fault("cannot remove", &name).map_err(CursorError::from)
        }
        _ => storage.sync_folder("cursors").fault("cannot sync", "cursors").map_err(CursorError::from),
    }
}
