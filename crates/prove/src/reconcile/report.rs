//! What a reconciliation found, and the table that shows it.

use std::collections::BTreeMap;
use std::fmt;

use crate::Latencies;
use crate::event_log::StreamFaults;
use crate::findings::Findings;

/// What was found for one way to end.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// Connections that became flows.
    pub connections: u64,
    /// With exactly one record, and a right one.
    pub right: u64,
    /// With one record that is wrong.
    pub wrong: u64,
    /// Without a record of their opening or their close.
    pub missing: u64,
    /// With more than one.
    pub doubled: u64,
    /// From the client's act to the time in the event.
    pub recorded: Latencies,
    /// From the client's act to when the event was read.
    pub delivered: Latencies,
}

/// What a reconciliation found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// By transport and way to end.
    pub rows: BTreeMap<(&'static str, String), Row>,
    /// Connections that never became flows for their clients.
    pub never_flows: u64,
    /// Connections with 101 and without `flow.opened`.
    pub missing_opened: Findings,
    /// Flows without `flow.closed`.
    pub missing_closed: Findings,
    /// Connections with several flows, flows with several closes.
    pub doubled: Findings,
    /// Closes with a cause, code or reason that cannot be.
    pub wrong_cause: Findings,
    /// Bindings that were not added, or went for a cause that cannot be.
    pub wrong_binding: Findings,
    /// Flows that belong to no connection of ours.
    pub strangers: Findings,
    /// What the stream itself has wrong.
    pub faults: StreamFaults,
    /// Events that came again with the same id: allowed.
    pub redelivered: u64,
}

impl Report {
    /// The sum of all rows.
    #[must_use]
    pub fn total(&self) -> Row {
        let mut total = Row::default();
        for row in self.rows.values() {
            total.connections += row.connections;
            total.right += row.right;
            total.wrong += row.wrong;
            total.missing += row.missing;
            total.doubled += row.doubled;
            total.recorded.merge(&row.recorded);
            total.delivered.merge(&row.delivered);
        }
        total
    }

    /// Everything that must not be, with its name.
    #[must_use]
    pub fn wrongs(&self) -> Vec<(&'static str, &Findings)> {
        let mut wrongs = vec![
            ("opens missing", &self.missing_opened),
            ("closes missing", &self.missing_closed),
            ("doubled", &self.doubled),
            ("wrong cause", &self.wrong_cause),
            ("wrong binding", &self.wrong_binding),
        ];
        wrongs.extend(self.faults.all());
        wrongs.retain(|(_, findings)| findings.count() > 0);
        wrongs
    }

    /// Whether everything is as it must be.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        if self.wrongs().is_empty() { Verdict::AddsUp } else { Verdict::DoesNotAddUp }
    }
}

/// The outcome in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every connection has its one open and its one right close.
    AddsUp,
    /// Something is missing, doubled or wrong.
    DoesNotAddUp,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<4} {:<34} {:>8} {:>8} {:>6} {:>7} {:>7}   {:>21}   {:>21}",
            "",
            "ended by",
            "flows",
            "right",
            "wrong",
            "missing",
            "doubled",
            "recorded p50 / p99 ms",
            "read p50 / p99 ms"
        )?;
        for ((transport, name), row) in &self.rows {
            line(f, transport, name, row)?;
        }
        line(f, "", "all", &self.total())?;
        if self.never_flows > 0 {
            writeln!(f, "connections that became no flow: {}", self.never_flows)?;
        }
        if self.redelivered > 0 {
            writeln!(f, "events that came again with the same id (allowed): {}", self.redelivered)?;
        }
        if self.strangers.count() > 0 {
            writeln!(f, "flows of others: {}", self.strangers.count())?;
        }
        for (name, findings) in self.wrongs() {
            writeln!(f, "WRONG {name}: {findings}")?;
        }
        Ok(())
    }
}

fn line(f: &mut fmt::Formatter<'_>, transport: &str, name: &str, row: &Row) -> fmt::Result {
    let both = |latencies: &Latencies| match (latencies.percentile(50.0), latencies.percentile(99.0)) {
        (Some(middle), Some(late)) => {
            format!("{:.2} / {:.2}", middle.as_secs_f64() * 1000.0, late.as_secs_f64() * 1000.0)
        }
        _ => "-".to_owned(),
    };
    writeln!(
        f,
        "{transport:<4} {name:<34} {:>8} {:>8} {:>6} {:>7} {:>7}   {:>21}   {:>21}",
        row.connections,
        row.right,
        row.wrong,
        row.missing,
        row.doubled,
        both(&row.recorded),
        both(&row.delivered)
    )
}
