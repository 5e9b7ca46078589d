//! `[[sink]]`: where events are delivered. Each kind of place has a file of its own with its keys and how they are read.

mod file;
mod webhook;

use lifecycle::EventKind;

use crate::document::{Field, Reading, Section, Shape};
use crate::event::EventTypes;
use crate::unique::Unique;
use crate::value::{Keyword, Name, one_of};

pub use file::File;
pub use webhook::{Delivery, Webhook};

/// The keys of every sink, then those of each kind; one that several kinds know stands here once.
pub(crate) const SHAPE: Shape = Shape {
    header: "[[sink]]",
    keys: &[
        "kind",
        "name",
        "types",
        // file
        "path",
        // webhook
        "url",
        "secret_env",
        "secret_file",
        "mode",
        "batch_max",
        "timeout",
    ],
};

/// The keys that every sink has.
const COMMON: &[&str] = &["kind", "name", "types"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Webhook,
}

impl Keyword for Kind {
    const CHOICES: &'static [(&'static str, Self)] = &[("file", Self::File), ("webhook", Self::Webhook)];
}

impl Kind {
    /// The keys that this kind knows besides those of every sink.
    const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::File => file::KEYS,
            Self::Webhook => webhook::KEYS,
        }
    }

    const fn noun(self) -> &'static str {
        match self {
            Self::File => "a file",
            Self::Webhook => "a webhook",
        }
    }

    fn read(
        self,
        reading: &mut Reading<'_>,
        section: &Section<'_>,
        taken: &mut file::Taken,
    ) -> Option<SinkTarget> {
        match self {
            Self::File => File::read(reading, section, taken).map(SinkTarget::File),
            Self::Webhook => Webhook::read(reading, section).map(SinkTarget::Webhook),
        }
    }
}

/// A place where events are delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sink {
    /// Its name, unique among sinks; its cursor in the ledger goes by it.
    pub name: Name,
    /// Which events go there.
    pub types: EventTypes,
    /// What takes them.
    pub target: SinkTarget,
}

/// What takes the events of a sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkTarget {
    /// A file, one JSON event a line. No other sink writes to it.
    File(File),
    /// An HTTP server, as Standard Webhooks says.
    Webhook(Webhook),
}

/// Reads all sinks. Names and files are checked against each other, also of sinks with other faults.
pub(crate) fn read(reading: &mut Reading<'_>, sections: &[Section<'_>]) -> Vec<Sink> {
    let mut names = Unique::new("sink");
    let mut taken = file::Taken::default();
    let mut sinks = Vec::with_capacity(sections.len());
    for section in sections {
        let kind = section.required::<Kind>(reading, "kind", "\"file\"");
        let name = section.required::<Name>(reading, "name", "\"crm\"");
        if let Some(name) = &name {
            names.claim(reading, name.value.as_str(), name.span.clone());
        }
        let types = match section.set::<EventKind>(reading, "types") {
            Field::Absent => Some(EventTypes::All),
            Field::Faulty => None,
            Field::Given(list) => Some(EventTypes::Only(list.value.into_iter().map(|at| at.value).collect())),
        };
        let target = kind.and_then(|kind| {
            refuse_keys_of_others(reading, section, kind.value);
            kind.value.read(reading, section, &mut taken)
        });
        if let (Some(name), Some(types), Some(target)) = (name, types, target) {
            sinks.push(Sink { name: name.value, types, target });
        }
    }
    sinks
}

/// Notes keys that only other kinds of sinks know.
fn refuse_keys_of_others(reading: &mut Reading<'_>, section: &Section<'_>, kind: Kind) {
    let why = format!("this sink is {}", kind.noun());
    for key in SHAPE.keys.iter().filter(|key| !COMMON.contains(key) && !kind.keys().contains(key)) {
        let knowing =
            Kind::CHOICES.iter().filter(|(_, other)| other.keys().contains(key)).map(|(word, _)| *word);
        let help = format!("remove it, or write kind = {}", one_of(knowing));
        section.not_applicable(reading, &[key], &why, &help);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_belongs_to_a_kind_and_stands_once() {
        let mut known: Vec<&str> = COMMON.to_vec();
        known.extend(Kind::CHOICES.iter().flat_map(|(_, kind)| kind.keys()));
        known.sort_unstable();
        known.dedup();
        let mut shape = SHAPE.keys.to_vec();
        shape.sort_unstable();
        assert_eq!(shape, known);
    }
}
