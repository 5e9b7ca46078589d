//! Keeps the ledger private, since it says who called whom. New directories and files are for the user of the
//! server alone, whatever the umask. This module also corrects the modes of those that earlier versions made.

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, OFlags, fchmod, open};

/// Folders of the ledger.
const FOLDERS: [&str; 3] = ["segments", "cursors", "checkpoints"];

/// What stands beside them; also whatever begins with `bindings.`.
const FILES: [&str; 3] = ["LOCK", "heartbeat", "route-secret"];

/// Anything for the group or for others.
const LOOSE: u32 = 0o077;

/// Takes the permissions of everybody else away from what a ledger left in this directory. The directory
/// itself stays as it is, with a warning, if it holds files of others, too: the events of a file sink may be
/// meant for somebody.
pub(crate) fn tighten(directory: &Path) {
    let mut foreign = false;
    for (name, path) in entries(directory) {
        if FOLDERS.contains(&name.as_str()) {
            for (_, path) in entries(&path) {
                take_away(&path, 0o600);
            }
            take_away(&path, 0o700);
        } else if FILES.contains(&name.as_str()) || name.starts_with("bindings.") {
            take_away(&path, 0o600);
        } else {
            foreign = true;
        }
    }
    if !foreign {
        return take_away(directory, 0o700);
    }
    // Of the group to read is a choice; the ledger's own files are closed to it.
    if fs::metadata(directory).is_ok_and(|metadata| metadata.mode() & 0o027 != 0) {
        tracing::warn!(
            directory = %directory.display(),
            "other users can enter or change the directory of the ledger, which also holds other files: run chmod 700 on it, or move those files"
        );
    }
}

/// The content of a directory. Nothing if it cannot be read, or is no directory: the ledger says so by
/// itself.
fn entries(directory: &Path) -> Vec<(String, PathBuf)> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    entries
        .filter_map(Result::ok)
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
        .collect()
}

/// Leaves no more than this mode. A symbolic link is not followed.
fn take_away(path: &Path, mode: u32) {
    let loose = fs::symlink_metadata(path)
        .is_ok_and(|metadata| (metadata.is_file() || metadata.is_dir()) && metadata.mode() & LOOSE != 0);
    if !loose {
        return;
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let changed = open(path, flags, Mode::empty()).and_then(|file| fchmod(file, Mode::from_raw_mode(mode)));
    if let Err(error) = changed.map_err(std::io::Error::from)
        && error.kind() != ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "other users can read this part of the ledger, and the server cannot change its mode: run chmod on it");
    }
}
