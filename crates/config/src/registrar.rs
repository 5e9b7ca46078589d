//! `[registrar]`: how long bindings live and how many there may be.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::document::{Field, ReadSection, Reading, Section, SectionSchema};
use crate::duration::Span;
use crate::report::{Problem, ProblemKind};
use crate::value::Keyword;

const BOUNDS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(7 * 24 * 3600);

/// What becomes of a flow when its last binding moves to another flow of the same user agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReplacedFlow {
    /// It stays until it ends by itself: a call may still run on it.
    Keep,
    /// It is closed with `replaced`.
    Close,
}

impl Keyword for ReplacedFlow {
    const CHOICES: &'static [(&'static str, Self)] = &[("keep", Self::Keep), ("close", Self::Close)];
}

/// Which GRUUs (RFC 5627) user agents that ask for them are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Gruu {
    /// None.
    Off,
    /// Public ones.
    Public,
}

impl Keyword for Gruu {
    const CHOICES: &'static [(&'static str, Self)] = &[("off", Self::Off), ("public", Self::Public)];
}

/// What a registration may ask for (RFC 3261 §10.3). Always `min_expires` ≤ `default_expires` ≤
/// `max_expires`, in whole seconds from 1 s to 7 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registrar {
    /// Shorter wishes are answered 423.
    pub min_expires: Duration,
    /// Longer wishes are cut to this.
    pub max_expires: Duration,
    /// For a registration that names no time.
    pub default_expires: Duration,
    /// Bindings of one address-of-record: 1 to 1000.
    pub max_contacts: u32,
    /// What becomes of a flow whose last binding moved to another flow of the same user agent.
    pub replaced_flow: ReplacedFlow,
    /// Which GRUUs user agents are given.
    pub gruu: Gruu,
    /// How long a user must have had no binding to be offline: up to 1 h; zero waits for nobody.
    pub offline_after: Duration,
}

impl Default for Registrar {
    fn default() -> Self {
        Self {
            min_expires: Duration::from_secs(60),
            max_expires: Duration::from_secs(3600),
            default_expires: Duration::from_secs(600),
            max_contacts: 10,
            replaced_flow: ReplacedFlow::Keep,
            gruu: Gruu::Off,
            offline_after: Duration::from_secs(10),
        }
    }
}

impl ReadSection for Registrar {
    const SCHEMA: SectionSchema = SectionSchema {
        header: "[registrar]",
        keys: &[
            "min_expires",
            "max_expires",
            "default_expires",
            "max_contacts",
            "replaced_flow",
            "gruu",
            "offline_after",
        ],
    };

    fn read(reading: &mut Reading<'_>, section: &Section<'_>) -> Self {
        let default = Self::default();
        let least = whole_seconds(reading, section, "min_expires");
        let most = whole_seconds(reading, section, "max_expires");
        let usual = whole_seconds(reading, section, "default_expires");
        let min_expires = least.compared(default.min_expires, Duration::ZERO);
        let max_expires = most.compared(default.max_expires, Duration::MAX);
        if min_expires > max_expires {
            if let Some(span) = least.place().or(most.place()) {
                let problem = Problem::new(
                    ProblemKind::Conflict,
                    span,
                    "`registrar.min_expires` is longer than `registrar.max_expires`",
                );
                let (shortest, longest) = (Span(min_expires), Span(max_expires));
                reading.error(problem.label(format!("{shortest} is more than {longest}")));
            }
        } else if let Field::Given(at) = &usual
            && !(min_expires..=max_expires).contains(&at.value)
        {
            let problem = Problem::new(
                ProblemKind::Conflict,
                at.span.clone(),
                "`registrar.default_expires` must lie between `min_expires` and `max_expires`",
            );
            reading.error(problem.label(format!("not from {} to {}", Span(min_expires), Span(max_expires))));
        }
        // Left out, the usual time follows the bounds.
        let default_expires = usual.or(default.default_expires.min(max_expires).max(min_expires));
        let max_contacts = section.bounded(reading, "max_contacts", 1..=1000).or(default.max_contacts);
        let replaced_flow = section.or(reading, "replaced_flow", default.replaced_flow);
        let gruu = section.or(reading, "gruu", default.gruu);
        let offline_after =
            section.duration(reading, "offline_after", Duration::ZERO..=Duration::from_secs(3600));
        let offline_after = offline_after.or(default.offline_after);
        Self { min_expires, max_expires, default_expires, max_contacts, replaced_flow, gruu, offline_after }
    }
}

/// `Expires` counts seconds: a fraction could not be told to anybody.
fn whole_seconds(reading: &mut Reading<'_>, section: &Section<'_>, key: &str) -> Field<Duration> {
    match section.duration(reading, key, BOUNDS) {
        Field::Given(at) if at.value.subsec_nanos() != 0 => {
            let title = format!("`registrar.{key}` must be whole seconds");
            let problem = Problem::new(ProblemKind::BadValue, at.span, title);
            reading.error(problem.label("SIP counts this time in seconds"));
            Field::Faulty
        }
        field => field,
    }
}
