//! `[shutdown]`: how the server ends.

use std::time::Duration;

use crate::document::{ReadSection, Reading, Section, SectionSchema};
use crate::duration::Span;
use crate::report::{Problem, ProblemKind};

/// How the server ends. Always `over` ≤ `deadline`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shutdown {
    /// Over how long the closing of open flows is spread: 0 to 1 h. With few flows it takes less.
    pub over: Duration,
    /// When the process ends whatever is not done: 1 s to 1 h.
    pub deadline: Duration,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { over: Duration::from_secs(5), deadline: Duration::from_secs(30) }
    }
}

impl ReadSection for Shutdown {
    const SCHEMA: SectionSchema = SectionSchema { header: "[shutdown]", keys: &["over", "deadline"] };

    fn read(reading: &mut Reading<'_>, section: &Section<'_>) -> Self {
        let default = Self::default();
        let hour = Duration::from_secs(3600);
        let over = section.duration(reading, "over", Duration::ZERO..=hour);
        let deadline = section.duration(reading, "deadline", Duration::from_secs(1)..=hour);
        let shutdown = Self {
            over: over.compared(default.over, Duration::ZERO),
            deadline: deadline.compared(default.deadline, Duration::MAX),
        };
        if shutdown.over > shutdown.deadline
            && let Some(span) = over.place().or(deadline.place())
        {
            let title = "`shutdown.over` is longer than `shutdown.deadline`";
            let problem = Problem::new(ProblemKind::Conflict, span, title);
            reading.error(
                problem
                    .label(format!("{} is more than {}", Span(shutdown.over), Span(shutdown.deadline)))
                    .help("leave some seconds between the two: closes are written and delivered in them"),
            );
        }
        shutdown
    }
}
