//! `[ledger]`: where the record of flows, bindings and calls is kept.

use std::path::PathBuf;

use crate::document::{Reading, Section, Shape};
use crate::report::{Problem, ProblemKind};
use crate::value::Keyword;

pub(crate) const SHAPE: Shape =
    Shape { header: "[ledger]", keys: &["directory", "durability", "segment_size"] };

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
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            directory: PathBuf::from("./sipway-ledger"),
            durability: Durability::Disk,
            segment_size: 32 << 20,
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
        Self {
            directory: directory.or(reading.resolve(&default.directory)),
            durability: durability.map_or(default.durability, |at| at.value),
            segment_size: section.size(reading, "segment_size", 64 << 10..=1 << 30).or(default.segment_size),
        }
    }
}
