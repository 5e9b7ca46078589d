//! What lies outside the configuration text: files and environment variables.
//!
//! Reading goes through a trait, so that tests and the fuzzer run without a disk and a validated
//! [`Config`](crate::Config) depends on nothing that is not named here.

use std::collections::{BTreeMap, BTreeSet};
use std::env::VarError;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The largest file that is read, in bytes. A configuration, a certificate chain and a users file are all far
/// smaller; the bound is there for the path that names a device or a log by mistake.
pub const LARGEST_FILE: u64 = 64 * 1024 * 1024;

/// Where a configuration finds the files and variables that it refers to.
pub trait Environment {
    /// The whole content of a file.
    ///
    /// # Errors
    /// Whatever keeps the file from being read, as the operating system says it.
    fn read_file(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// The value of an environment variable.
    ///
    /// # Errors
    /// The variable is not set, or its value is not UTF-8.
    fn variable(&self, name: &str) -> Result<String, VarError>;

    /// Where a path leads, past symbolic links and `..`; also that of a file which is yet to be made. Two
    /// paths that lead to one place are one file.
    fn place(&self, path: &Path) -> PathBuf;

    /// Whether a directory is there.
    fn is_directory(&self, path: &Path) -> bool;

    /// Whether every user of the machine may read a file: its mode says so, and that of each directory above
    /// it.
    fn everybody_reads(&self, path: &Path) -> bool;
}

/// Why a file could not be read, in words for the operator.
pub(crate) fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "this process may not read it (permission denied)".to_owned(),
        io::ErrorKind::IsADirectory => "this is a directory".to_owned(),
        io::ErrorKind::FileTooLarge => format!("longer than {} MiB", LARGEST_FILE >> 20),
        _ => error.to_string(),
    }
}

/// The disk and the environment of this process.
#[derive(Debug, Clone, Copy, Default)]
pub struct Machine;

impl Environment for Machine {
    fn read_file(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        std::fs::File::open(path)?.take(LARGEST_FILE + 1).read_to_end(&mut content)?;
        if content.len() as u64 > LARGEST_FILE {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        Ok(content)
    }

    fn variable(&self, name: &str) -> Result<String, VarError> {
        std::env::var(name)
    }

    fn place(&self, path: &Path) -> PathBuf {
        for part in path.ancestors() {
            let part = if part.as_os_str().is_empty() { Path::new(".") } else { part };
            if let Ok(place) = part.canonicalize() {
                // The rest is not there yet.
                return place
                    .components()
                    .chain(path.strip_prefix(part).unwrap_or(path).components())
                    .collect();
            }
        }
        path.to_owned()
    }

    fn is_directory(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn everybody_reads(&self, path: &Path) -> bool {
        let others_may = |path: &Path, bit: u32| path.metadata().is_ok_and(|about| about.mode() & bit != 0);
        let Ok(place) = path.canonicalize() else { return false };
        others_may(&place, 0o004) && place.ancestors().skip(1).all(|directory| others_may(directory, 0o001))
    }
}

/// Environment made up in memory: for tests, and for checking a configuration meant for another machine.
#[derive(Debug, Clone, Default)]
pub struct FakeEnvironment {
    files: BTreeMap<PathBuf, Vec<u8>>,
    directories: BTreeSet<PathBuf>,
    links: BTreeMap<PathBuf, PathBuf>,
    open: BTreeSet<PathBuf>,
    variables: BTreeMap<String, String>,
}

impl FakeEnvironment {
    /// Environment with no file and no variable.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file under exactly this path.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>, content: impl Into<Vec<u8>>) -> Self {
        self.files.insert(path.into(), content.into());
        self
    }

    /// Adds a directory under exactly this path.
    #[must_use]
    pub fn directory(mut self, path: impl Into<PathBuf>) -> Self {
        self.directories.insert(path.into());
        self
    }

    /// Says that everybody may read the file under exactly this path.
    #[must_use]
    pub fn read_by_everybody(mut self, path: impl Into<PathBuf>) -> Self {
        self.open.insert(path.into());
        self
    }

    /// Adds a symbolic link to a file.
    #[must_use]
    pub fn link(mut self, path: impl Into<PathBuf>, to: impl Into<PathBuf>) -> Self {
        self.links.insert(path.into(), to.into());
        self
    }

    /// Adds an environment variable.
    #[must_use]
    pub fn set(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }
}

impl Environment for FakeEnvironment {
    fn read_file(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.files.get(path).cloned().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn variable(&self, name: &str) -> Result<String, VarError> {
        self.variables.get(name).cloned().ok_or(VarError::NotPresent)
    }

    fn place(&self, path: &Path) -> PathBuf {
        // "a" and "./a" are one file.
        Path::new(".").join(self.links.get(path).map_or(path, PathBuf::as_path))
    }

    fn is_directory(&self, path: &Path) -> bool {
        self.directories.contains(path)
    }

    fn everybody_reads(&self, path: &Path) -> bool {
        self.open.contains(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_the_same_by_every_path_to_it() {
        let folder =
            std::env::temp_dir().canonicalize().unwrap().join(format!("sipway-place-{}", std::process::id()));
        let (real, link) = (folder.join("real"), folder.join("link"));
        std::fs::create_dir_all(&real).unwrap();
        std::fs::write(real.join("file"), "").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        assert_eq!(Machine.place(&link.join("file")), real.join("file"));
        assert_eq!(Machine.place(&link.join("../real/file")), real.join("file"));
        assert_eq!(Machine.place(&link.join("new")), real.join("new"));
        assert_eq!(Machine.place(&link.join("new/newer")), real.join("new/newer"));
        assert!(Machine.place(Path::new("no-such-file")).is_absolute());
        assert!(Machine.is_directory(&link) && !Machine.is_directory(&link.join("file")));
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_file_is_read_by_everybody_only_if_its_directories_are_open_too() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = std::env::temp_dir().join(format!("sipway-modes-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("key");
        std::fs::write(&file, "").unwrap();
        let set = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        for (directory, mode, everybody) in
            [(0o755, 0o644, true), (0o755, 0o640, false), (0o700, 0o644, false), (0o711, 0o604, true)]
        {
            set(&folder, directory);
            set(&file, mode);
            assert_eq!(Machine.everybody_reads(&file), everybody, "{directory:o} {mode:o}");
        }
        assert!(!Machine.everybody_reads(&folder.join("none")));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
