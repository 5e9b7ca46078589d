//! `[[sink]]`: where events are delivered. Each kind of place has a file of its own with its keys and how
//! they are read.

mod file;
mod nats;
mod postgres;
mod redis;
mod webhook;

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lifecycle::EventKind;

use crate::document::{Field, Reading, Section, SectionSchema};
use crate::event::EventTypes;
use crate::unique::Unique;
use crate::value::{Keyword, Name, one_of};

pub use file::{File, Rotation};
pub use nats::{Nats, NatsLogin, NatsServer, Security, StreamName, SubjectPrefix};
pub use postgres::{DatabaseHost, DatabaseTls, DatabaseUrl, Postgres};
pub use redis::{Redis, RedisScheme, RedisUrl};
pub use webhook::{Delivery, Webhook};

/// The keys of every sink, then those of each kind; one that several kinds know stands here once.
pub(crate) const SCHEMA: SectionSchema = SectionSchema {
    header: "[[sink]]",
    keys: &[
        "kind",
        "name",
        "types",
        "max_rate",
        "dead_letter",
        // file
        "path",
        "rotate_size",
        "rotate_every",
        "keep",
        // webhook
        "url",
        "secret_env",
        "secret_file",
        "mode",
        "batch_max",
        "timeout",
        "concurrency",
        "previous_secret_env",
        "previous_secret_file",
        // postgres
        "password_env",
        "password_file",
        "schema",
        "tls",
        "ca_file",
        // nats
        "servers",
        "stream",
        "subject",
        "user",
        "creds_file",
        // redis
        "key",
        "max_len",
    ],
};

/// How long one exchange with a server may take.
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(300);

/// The keys that every sink has.
const COMMON: &[&str] = &["kind", "name", "types", "max_rate", "dead_letter"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Nats,
    Redis,
    Webhook,
    Postgres,
}

impl Keyword for Kind {
    const CHOICES: &'static [(&'static str, Self)] = &[
        ("file", Self::File),
        ("nats", Self::Nats),
        ("redis", Self::Redis),
        ("webhook", Self::Webhook),
        ("postgres", Self::Postgres),
    ];
}

impl Kind {
    /// The keys that this kind knows besides those of every sink.
    const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::File => file::KEYS,
            Self::Nats => nats::KEYS,
            Self::Redis => redis::KEYS,
            Self::Webhook => webhook::KEYS,
            Self::Postgres => postgres::KEYS,
        }
    }

    const fn noun(self) -> &'static str {
        match self {
            Self::File => "a file",
            Self::Nats => "a NATS stream",
            Self::Redis => "a Redis stream",
            Self::Webhook => "a webhook",
            Self::Postgres => "a PostgreSQL database",
        }
    }

    fn read(
        self,
        reading: &mut Reading<'_>,
        section: &Section<'_>,
        taken: &mut file::Taken<'_>,
    ) -> Option<SinkTarget> {
        match self {
            Self::File => File::read(reading, section, taken).map(SinkTarget::File),
            Self::Nats => Nats::read(reading, section).map(SinkTarget::Nats),
            Self::Redis => Redis::read(reading, section).map(SinkTarget::Redis),
            Self::Webhook => Webhook::read(reading, section).map(SinkTarget::Webhook),
            Self::Postgres => Postgres::read(reading, section).map(SinkTarget::Postgres),
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
    /// Events a second at most, 1 to 1,000,000; `None` is as fast as they are taken.
    pub max_rate: Option<NonZeroU32>,
    /// The file for events that are refused again and again; without one the first such event blocks the
    /// sink. No other sink writes to it.
    pub dead_letter: Option<PathBuf>,
    /// What takes them.
    pub target: SinkTarget,
}

/// What takes the events of a sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkTarget {
    /// A file, one JSON event a line. No other sink writes to it.
    File(File),
    /// A stream of NATS JetStream.
    Nats(Nats),
    /// A stream of Redis.
    Redis(Redis),
    /// An HTTP server, as Standard Webhooks says.
    Webhook(Webhook),
    /// A PostgreSQL database.
    Postgres(Postgres),
}

/// Reads all sinks. Names and files are checked against each other, also of sinks with other faults.
pub(crate) fn read(reading: &mut Reading<'_>, sections: &[Section<'_>], ledger: &Path) -> Vec<Sink> {
    let mut names = Unique::new("sink");
    let mut taken = file::Taken::new(ledger);
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
        let max_rate = section.bounded::<u32>(reading, "max_rate", 1..=1_000_000);
        let max_rate = max_rate.given().and_then(|at| NonZeroU32::new(at.value));
        let dead_letter = match section.path_field(reading, "dead_letter") {
            Field::Absent => Some(None),
            Field::Faulty => None,
            Field::Given(path) => taken.claim(reading, path).map(Some),
        };
        let target = kind.and_then(|kind| {
            refuse_keys_of_others(reading, section, kind.value);
            kind.value.read(reading, section, &mut taken)
        });
        if let (Some(name), Some(types), Some(dead_letter), Some(target)) = (name, types, dead_letter, target)
        {
            sinks.push(Sink { name: name.value, types, max_rate, dead_letter, target });
        }
    }
    sinks
}

/// Notes keys that only other kinds of sinks know.
fn refuse_keys_of_others(reading: &mut Reading<'_>, section: &Section<'_>, kind: Kind) {
    let why = format!("this sink is {}", kind.noun());
    for key in SCHEMA.keys.iter().filter(|key| !COMMON.contains(key) && !kind.keys().contains(key)) {
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
        let mut declared = SCHEMA.keys.to_vec();
        declared.sort_unstable();
        assert_eq!(declared, known);
    }
}
