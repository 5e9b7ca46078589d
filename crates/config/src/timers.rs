//! `[timers]`: the times of SIP transactions.

use std::time::Duration;

use crate::document::{Field, ReadSection, Reading, Section, SectionSchema};
use crate::duration::Span;
use crate::report::{Problem, ProblemKind};

/// The times of SIP transactions. Always `t1` ≤ `t2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timers {
    /// Estimate of the round trip (RFC 3261 §17.1.1.1): 10 ms to 10 s.
    pub t1: Duration,
    /// Longest gap between retransmissions of a non-INVITE request: 10 ms to 60 s.
    pub t2: Duration,
    /// How long a message stays in the network: 10 ms to 60 s.
    pub t4: Duration,
    /// Timer C (RFC 3261 §16.6): how long an INVITE may stay without a provisional response; more than 3 min,
    /// at most 1 h.
    pub timer_c: Duration,
    /// How long a call may ring before it is cancelled and answered 408: 1 s to 1 h.
    pub ring_timeout: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            t1: Duration::from_millis(500),
            t2: Duration::from_secs(4),
            t4: Duration::from_secs(5),
            timer_c: Duration::from_secs(181),
            ring_timeout: Duration::from_secs(120),
        }
    }
}

impl ReadSection for Timers {
    const SCHEMA: SectionSchema =
        SectionSchema { header: "[timers]", keys: &["t1", "t2", "t4", "timer_c", "ring_timeout"] };

    fn read(reading: &mut Reading<'_>, section: &Section<'_>) -> Self {
        let default = Self::default();
        let least = Duration::from_millis(10);
        let minute = Duration::from_secs(60);
        let hour = Duration::from_secs(3600);
        let t1 = section.duration(reading, "t1", least..=Duration::from_secs(10));
        let t2 = section.duration(reading, "t2", least..=minute);
        let timers = Self {
            t1: t1.compared(default.t1, Duration::ZERO),
            t2: t2.compared(default.t2, Duration::MAX),
            t4: section.duration(reading, "t4", least..=minute).or(default.t4),
            timer_c: section.duration(reading, "timer_c", default.timer_c..=hour).or(default.timer_c),
            ring_timeout: section
                .duration(reading, "ring_timeout", Duration::from_secs(1)..=hour)
                .or(default.ring_timeout),
        };
        if timers.t1 > timers.t2
            && let Some(span) = t1.place().or(t2.place())
        {
            let problem = Problem::new(ProblemKind::Conflict, span, "`timers.t1` is longer than `timers.t2`");
            reading.error(problem.label(format!("{} is more than {}", Span(timers.t1), Span(timers.t2))));
        } else if let Field::Given(at) = t1
            && at.value < default.t1
        {
            let problem = Problem::new(ProblemKind::Risky, at.span, "`timers.t1` is shorter than 500ms");
            reading.warning(
                problem
                    .label("slow peers are taken for dead, and lost packets are repeated too often")
                    .help("RFC 3261 §17.1.1.1 advises a shorter T1 in closed networks only"),
            );
        }
        timers
    }
}
