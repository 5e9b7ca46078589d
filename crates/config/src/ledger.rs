//! `[ledger]`: where the record of flows, bindings and calls is kept.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use crate::document::{Field, Reading, Section, SectionSchema};
use crate::report::{Problem, ProblemKind};
use crate::size::Size;
use crate::value::{Keyword, Name};

pub(crate) const SCHEMA: SectionSchema = SectionSchema {
    header: "[ledger]",
    keys: &["directory", "durability", "segment_size", "keep_for", "keep_size", "drop_unread_of"],
};

/// From a minute to a hundred years.
const KEEP_FOR: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(36_500 * 86_400);

/// Segments that are always there: the one being written, and those that a start from the checkpoints would
/// read.
const LEAST_SEGMENTS: u64 = 4;

/// What a written record survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Durability {
    /// Nothing; for benchmarks and tests.
    Memory,
    /// A crash of the process and a reboot of the machine.
    Disk,
}

impl Keyword for Durability {
    const CHOICES: &'static [(&'static str, Self)] = &[("disk", Self::Disk), ("memory", Self::Memory)];
}

/// Where and how durably the ledger is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    /// The directory of the segments; made at start if it is not there.
    pub directory: PathBuf,
    /// What a record survives.
    pub durability: Durability,
    /// Length of one segment file in bytes: 64 KiB to 1 GiB.
    pub segment_size: u64,
    /// Segments whose newest record is older are dropped: a minute to a hundred years.
    pub keep_for: Duration,
    /// Bytes of all segments beyond which the oldest are dropped: four segments to 1 PiB.
    pub keep_size: u64,
    /// Sinks that retention does not wait for: what they have not read may be dropped.
    pub drop_unread_of: Vec<Name>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            directory: PathBuf::from("./sipway-ledger"),
            durability: Durability::Disk,
            segment_size: 32 << 20,
            keep_for: Duration::from_secs(30 * 86_400),
            keep_size: 10 << 30,
            drop_unread_of: Vec::new(),
        }
    }
}

impl Ledger {
    pub(crate) fn read(reading: &mut Reading<'_>, section: Option<&Section<'_>>) -> Self {
        let default = Self::default();
        let Some(section) = section else {
            return Self { directory: reading.resolve(&default.directory), ..default };
        };
        let directory = section.path_field(reading, "directory");
        let durability = section.field::<Durability>(reading, "durability").given();
        if let Some(at) = &durability
            && at.value == Durability::Memory
        {
            reading.warning(
                Problem::new(ProblemKind::Risky, at.span.clone(), "the ledger is kept in memory only")
                    .label("a crash or restart loses the record of every close")
                    .help("write \"disk\" unless this is a test"),
            );
        }
        let segment = section.size(reading, "segment_size", 64 << 10..=1 << 30);
        let keep_for = section.duration(reading, "keep_for", KEEP_FOR).or(default.keep_for);
        let keep = section.size(reading, "keep_size", 256 << 10..=1 << 50);
        let least = segment.compared(default.segment_size, 0) * LEAST_SEGMENTS;
        if keep.compared(default.keep_size, u64::MAX) < least
            && let Some(span) = keep.place()
        {
            reading.error(
                Problem::new(
                    ProblemKind::Conflict,
                    span,
                    "`ledger.keep_size` is less than four times `ledger.segment_size`",
                )
                .label("the newest segments are always kept")
                .help(format!("set `keep_size` to {} or more, or lower `segment_size`", Size(least))),
            );
        }
        let drop_unread_of = match section.set::<Name>(reading, "drop_unread_of") {
            Field::Given(names) => names.value.into_iter().map(|at| at.value).collect(),
            Field::Absent | Field::Faulty => default.drop_unread_of,
        };
        Self {
            directory: directory.or(reading.resolve(&default.directory)),
            durability: durability.map_or(default.durability, |at| at.value),
            segment_size: segment.or(default.segment_size),
            keep_for,
            keep_size: keep.or(default.keep_size),
            drop_unread_of,
        }
    }
}
