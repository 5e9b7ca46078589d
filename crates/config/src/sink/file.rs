//! `kind = "file"`: one event a line.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::document::{At, Reading, Section};
use crate::report::{Problem, ProblemKind};

pub(super) const KEYS: &[&str] = &["path"];

/// A file that takes events, one JSON event a line. No other sink writes to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// The file; made if it is not there. `/dev/stdout` is standard output.
    pub path: PathBuf,
}

impl File {
    pub(super) fn read(reading: &mut Reading<'_>, section: &Section<'_>, taken: &mut Taken) -> Option<Self> {
        let path = section.path_field(reading, "path");
        if path.is_absent() {
            section.missing(reading, "path", "\"events.jsonl\"");
        }
        Some(Self { path: taken.claim(reading, path.given()?)? })
    }
}

/// The files that sinks write to, and where each was named.
#[derive(Debug, Default)]
pub(super) struct Taken(BTreeMap<PathBuf, Range<usize>>);

impl Taken {
    /// Takes a file, or notes that it was taken before.
    pub(super) fn claim(&mut self, reading: &mut Reading<'_>, path: At<PathBuf>) -> Option<PathBuf> {
        // "a" and "./a" are one file.
        let file = Path::new(".").join(&path.value);
        if let Some(first) = self.0.get(&file) {
            let problem = Problem::new(ProblemKind::Duplicate, path.span, "two sinks write to one file");
            reading.error(problem.label("this file is taken").related(first.clone(), "by this sink"));
            return None;
        }
        self.0.insert(file, path.span);
        Some(path.value)
    }
}
