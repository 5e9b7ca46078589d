//! Where the server writes: its ledger, and the files of sinks.

use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use config::{Config, NatsLogin, SinkTarget};
use ledger::{LogReader, ReadError, ReadFrom};
use rustix::fs::{Access, access};

use super::Findings;

/// Whether the ledger can be written. Gives the process that has it open, if one has.
pub(super) fn ledger(config: &Config, findings: &mut Findings) -> Option<u32> {
    let directory = &config.ledger.directory;
    let place = directory.display();
    let mend = "make it a directory that the user of the server may write, or name another as `directory` under [ledger]";
    if let Err(error) = may_make(directory) {
        findings.error(format_args!("the ledger cannot be written to {place}: {error}; {mend}"));
        return None;
    }
    match LogReader::open(directory, ReadFrom::Oldest).map(|mut reader| reader.node()) {
        Ok(Ok(Some(node))) if node != config.node.as_str() => findings.error(format_args!(
            "the ledger in {place} is that of node `{node}`, not of `{}`: name the node as before, or give it a directory of its own",
            config.node
        )),
        Ok(Ok(_)) => {}
        Err(ReadError::Fault(fault)) if fault.source.kind() == ErrorKind::NotFound => {}
        Ok(Err(error)) => findings.error(format_args!("the ledger in {place} cannot be read: {error}")),
        Err(error) => findings.error(format_args!("the ledger in {place} cannot be read: {error}")),
    }
    holder(&directory.join("LOCK"))
}

/// Whether the files of sinks can be written, and those that are read with each connection can be read. A
/// sink makes its file, but no directory.
pub(super) fn sinks(config: &Config, findings: &mut Findings) {
    for sink in &config.sinks {
        let (own, read) = match &sink.target {
            SinkTarget::File(file) => (Some(&file.path), [None, None]),
            SinkTarget::Nats(nats) => {
                let credentials = match &nats.login {
                    NatsLogin::Credentials(file) => Some(file),
                    NatsLogin::Nobody | NatsLogin::Token(_) | NatsLogin::User { .. } => None,
                };
                (None, [credentials, nats.ca_file.as_ref()])
            }
            SinkTarget::Redis(redis) => (None, [redis.ca_file.as_ref(), None]),
            SinkTarget::Webhook(_) | SinkTarget::Postgres(_) => (None, [None, None]),
        };
        for path in read.into_iter().flatten() {
            if let Err(error) = fs::File::open(path) {
                let (name, path) = (&sink.name, path.display());
                findings.error(format_args!("sink `{name}` cannot read {path}: {error}"));
            }
        }
        for path in own.into_iter().chain(&sink.dead_letter) {
            if let Err(error) = may_write(path) {
                let (name, path) = (&sink.name, path.display());
                findings.error(format_args!("sink `{name}` cannot write to {path}: {error}"));
            }
        }
    }
}

/// Whether a directory is there and can be written, or can be made.
fn may_make(directory: &Path) -> Result<(), String> {
    let there = directory.ancestors().map(or_here).find(|part| fs::symlink_metadata(part).is_ok());
    let Some(part) = there else { return Err("there is no such place".to_owned()) };
    may_add_to(&part)
}

/// Whether a file can be written, or made where it is to be.
fn may_write(path: &Path) -> Result<(), String> {
    match fs::metadata(path) {
        Ok(about) if about.is_dir() => Err("this is a directory".to_owned()),
        Ok(_) => access(path, Access::WRITE_OK).map_err(|error| io::Error::from(error).to_string()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let directory = or_here(path.parent().unwrap_or(path));
            if directory.exists() {
                may_add_to(&directory)
            } else {
                Err(format!("there is no directory {}; make it", directory.display()))
            }
        }
        Err(error) => Err(error.to_string()),
    }
}

fn may_add_to(directory: &Path) -> Result<(), String> {
    let said = |error: io::Error| format!("{}: {error}", directory.display());
    if !fs::metadata(directory).map_err(said)?.is_dir() {
        return Err(format!("{} is no directory", directory.display()));
    }
    access(directory, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| said(error.into()))
}

fn or_here(path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() { PathBuf::from(".") } else { path.to_owned() }
}

/// The process that has locked a file, as the kernel tells. The lock itself is not asked for: a server that
/// starts meanwhile would find it taken.
fn holder(file: &Path) -> Option<u32> {
    let inode = fs::metadata(file).ok()?.ino();
    let locks = fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| {
        // 1: FLOCK  ADVISORY  WRITE 4711 08:01:1234567 0 EOF; one that waits has `->` behind the number.
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, "WRITE", process, place, ..] = fields[..] else { return None };
        let own = place.rsplit_once(':')?.1.parse() == Ok(inode);
        process.parse().ok().filter(|&process: &u32| own && process > 0)
    })
}
