//! `kind = "file"`: one event a line.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::document::{At, Reading, Section};
use crate::report::{Problem, ProblemKind};

pub(super) const KEYS: &[&str] = &["path", "rotate_size", "rotate_every", "keep"];

const SIZE: RangeInclusive<u64> = 4 << 10..=1 << 50;
/// Files that are kept where `keep` does not say.
const KEEP: u32 = 10;
const EVERY: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(3650 * 86_400);

/// A file that takes events, one JSON event a line. No other sink writes to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// The file; made if it is not there. `/dev/stdout` is standard output.
    pub path: PathBuf,
    /// When a new file is begun; `None` leaves that to others.
    pub rotation: Option<Rotation>,
}

/// When the sink moves its file away and begins a new one. At least one of size and age is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rotation {
    /// Before it would grow beyond so many bytes: 4 KiB to 1 PiB.
    pub size: Option<u64>,
    /// When its first event is older: 1 min to 3650 days.
    pub every: Option<Duration>,
    /// How many files that were moved away are kept, 1 to 1000.
    pub keep: NonZeroU32,
}

impl File {
    pub(super) fn read(
        reading: &mut Reading<'_>,
        section: &Section<'_>,
        taken: &mut Taken<'_>,
    ) -> Option<Self> {
        let path = section.path_field(reading, "path");
        if path.is_absent() {
            section.missing(reading, "path", "\"events.jsonl\"");
        }
        let size = section.size(reading, "rotate_size", SIZE);
        let every = section.duration(reading, "rotate_every", EVERY);
        let keep = section.bounded::<u32>(reading, "keep", 1..=1000);
        if size.is_absent() && every.is_absent() {
            let help = "remove it, or add `rotate_size = \"100MiB\"` or `rotate_every = \"1d\"`";
            section.not_applicable(reading, &["keep"], "nothing is rotated", help);
        }
        let size = size.given().map(|at| at.value);
        let every = every.given().map(|at| at.value);
        let keep = NonZeroU32::new(keep.or(KEEP)).unwrap_or(NonZeroU32::MIN);
        let rotation = (size.is_some() || every.is_some()).then_some(Rotation { size, every, keep });
        let At { value, span } = path.given()?;
        let path = taken.claim(reading, At { value, span: span.clone() })?;
        // Files that were moved away are this sink's too: it moves and removes whatever stands under their
        // names.
        for number in (1..=keep.get()).take_while(|_| rotation.is_some()) {
            let mut value = path.clone().into_os_string();
            value.push(format!(".{number}"));
            taken.claim(reading, At { value: value.into(), span: span.clone() })?;
        }
        Some(Self { path, rotation })
    }
}

/// The files that sinks write to, and where each was named.
#[derive(Debug)]
pub(super) struct Taken<'a> {
    ledger: &'a Path,
    files: BTreeMap<PathBuf, Range<usize>>,
}

impl<'a> Taken<'a> {
    /// None yet; the ledger's directory is not for sinks.
    pub(super) fn new(ledger: &'a Path) -> Self {
        Self { ledger, files: BTreeMap::new() }
    }

    /// Takes a file, or notes why it cannot be this sink's.
    pub(super) fn claim(&mut self, reading: &mut Reading<'_>, path: At<PathBuf>) -> Option<PathBuf> {
        let At { value, span } = path;
        let place = reading.environment.place(&value);
        let bad =
            |title: &str, label: &str| Problem::new(ProblemKind::BadFile, span.clone(), title).label(label);
        let problem = if let Some(first) = self.files.get(&place) {
            Problem::new(ProblemKind::Duplicate, span.clone(), "two sinks write to one file")
                .label("this file is taken")
                .related(first.clone(), "by this sink")
        } else if reading.environment.is_directory(&value) {
            bad("a sink writes to a file", "this is a directory").help("name a file in it")
        } else if place.starts_with(reading.environment.place(self.ledger)) {
            bad("a sink cannot write where the ledger is kept", "this is in the ledger's directory")
                .help("choose a file elsewhere")
        } else if place == reading.environment.place(&reading.file) {
            bad("a sink cannot write to the configuration", "this is the file that you are checking")
                .help("choose another file")
        } else {
            self.files.insert(place, span);
            return Some(value);
        };
        reading.error(problem);
        None
    }
}
