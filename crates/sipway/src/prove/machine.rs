//! What this machine allows: descriptors and disk, asked for before anything is started.

use std::path::Path;

use prove::raise_descriptor_limit;

/// Connections at once, however much would be allowed.
const LARGEST_WAVE: u64 = 18_000;

/// Descriptors of a process that are no connections.
const SPARE: u64 = 500;

/// Bytes on disk for each connection of a wave, in the ledger and in the file of a sink.
const BYTES_EACH: u64 = 6_000;

/// Bytes that the ledger takes before the first connection, and that retention leaves it.
const BYTES_ALWAYS: u64 = 512 << 20;

/// The most connections at once: this process and the server have a limit each.
pub(super) fn largest_wave() -> Result<u64, String> {
    let limit = raise_descriptor_limit()
        .map_err(|error| format!("cannot raise the limit of open files: {error}; see `ulimit -Hn`"))?;
    if limit < SPARE * 2 {
        return Err(format!(
            "a process may open only {limit} files here, and {} are needed at least; raise the hard limit (`ulimit -Hn`)",
            SPARE * 2
        ));
    }
    Ok((limit - SPARE).min(LARGEST_WAVE))
}

/// Whether a wave of so many connections has room here.
pub(super) fn has_room(directory: &Path, wave: u64) -> Result<(), String> {
    let place = directory.display();
    let stat = rustix::fs::statvfs(directory).map_err(|error| format!("{place}: {error}"))?;
    let (free, wanted) = (stat.f_bavail.saturating_mul(stat.f_frsize), BYTES_ALWAYS + wave * BYTES_EACH);
    if free >= wanted {
        return Ok(());
    }
    Err(format!(
        "{place} has {} MiB left, and {} MiB may be needed; free some, or choose another place with --keep or TMPDIR",
        free >> 20,
        wanted >> 20
    ))
}
