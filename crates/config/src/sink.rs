//! `[[sink]]`: where events are delivered.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::document::{At, Field, Reading, Section, Shape};
use lifecycle::EventKind;

use crate::event::EventTypes;
use crate::report::{Problem, ProblemKind};
use crate::secret::WebhookSecret;
use crate::unique::Unique;
use crate::url::{Scheme, WebhookUrl};
use crate::value::{Keyword, Name};

pub(crate) const SHAPE: Shape = Shape {
    header: "[[sink]]",
    keys: &[
        "kind",
        "name",
        "types",
        "path",
        "url",
        "secret_env",
        "secret_file",
        "mode",
        "batch_max",
        "timeout",
    ],
};

const FILE_KEYS: &[&str] = &["path"];
const WEBHOOK_KEYS: &[&str] = &["url", "secret_env", "secret_file", "mode", "batch_max", "timeout"];
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(300);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Webhook,
}

impl Keyword for Kind {
    const CHOICES: &'static [(&'static str, Self)] = &[("file", Self::File), ("webhook", Self::Webhook)];
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Single,
    Batched,
}

impl Keyword for Mode {
    const CHOICES: &'static [(&'static str, Self)] = &[("single", Self::Single), ("batched", Self::Batched)];
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
    File {
        /// The file; made if it is not there.
        path: PathBuf,
    },
    /// An HTTP server, as Standard Webhooks says.
    Webhook(Webhook),
}

/// An HTTP server that takes events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Where events are posted.
    pub url: WebhookUrl,
    /// What they are signed with.
    pub secret: WebhookSecret,
    /// How many go into one request.
    pub delivery: Delivery,
    /// How long one request may take: 10 ms to 5 min.
    pub timeout: Duration,
}

/// How many events go into one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// One: a CloudEvent in structured mode.
    Single,
    /// As many as wait, in CloudEvents batch mode.
    Batched {
        /// The most in one request: 1 to 10,000.
        max: u32,
    },
}

/// Reads all sinks. Names and files are checked against each other, also of sinks with other faults.
pub(crate) fn read(reading: &mut Reading<'_>, sections: &[Section<'_>]) -> Vec<Sink> {
    let mut names = Unique::new("sink");
    let mut paths: BTreeMap<PathBuf, std::ops::Range<usize>> = BTreeMap::new();
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
        let target = kind.and_then(|kind| match kind.value {
            Kind::File => {
                let help = "remove it, or write kind = \"webhook\"";
                section.not_applicable(reading, WEBHOOK_KEYS, "this sink is a file", help);
                file(reading, section, &mut paths)
            }
            Kind::Webhook => {
                let help = "remove it, or write kind = \"file\"";
                section.not_applicable(reading, FILE_KEYS, "this sink is a webhook", help);
                webhook(reading, section)
            }
        });
        if let (Some(name), Some(types), Some(target)) = (name, types, target) {
            sinks.push(Sink { name: name.value, types, target });
        }
    }
    sinks
}

fn file(
    reading: &mut Reading<'_>,
    section: &Section<'_>,
    paths: &mut BTreeMap<PathBuf, std::ops::Range<usize>>,
) -> Option<SinkTarget> {
    let path = section.path_field(reading, "path");
    if path.is_absent() {
        section.missing(reading, "path", "\"events.jsonl\"");
    }
    let At { value: path, span } = path.given()?;
    // "a" and "./a" are one file.
    let file = Path::new(".").join(&path);
    if let Some(first) = paths.get(&file) {
        let problem = Problem::new(ProblemKind::Duplicate, span, "two sinks write to one file");
        reading.error(problem.label("this file is taken").related(first.clone(), "by this sink"));
        return None;
    }
    paths.insert(file, span);
    Some(SinkTarget::File { path })
}

fn webhook(reading: &mut Reading<'_>, section: &Section<'_>) -> Option<SinkTarget> {
    let url = section.required::<WebhookUrl>(reading, "url", "\"https://crm.example.com/sip-events\"");
    if let Some(at) = &url
        && at.value.scheme == Scheme::Http
        && !at.value.host.is_loopback()
    {
        reading.warning(
            Problem::new(ProblemKind::Risky, at.span.clone(), "events leave this machine in the clear")
                .label("they tell who calls whom")
                .help("use https"),
        );
    }
    let secret = WebhookSecret::read(reading, section);
    let mode = section.or(reading, "mode", Mode::Single);
    let batch = section.bounded::<u32>(reading, "batch_max", 1..=10_000);
    let delivery = match mode {
        Mode::Single => {
            section.not_applicable(
                reading,
                &["batch_max"],
                "one event goes into one request: mode = \"single\"",
                "remove it, or write mode = \"batched\"",
            );
            Delivery::Single
        }
        Mode::Batched => Delivery::Batched { max: batch.or(100) },
    };
    let timeout = section.duration(reading, "timeout", TIMEOUT).or(Duration::from_secs(10));
    Some(SinkTarget::Webhook(Webhook { url: url?.value, secret: secret?, delivery, timeout }))
}
