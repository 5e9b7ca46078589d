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
    /// Of which exactly one opening is recorded.
    pub opened: u64,
    /// With exactly one record, and a right one.
    pub right: u64,
    /// With one record that is wrong.
    pub wrong: u64,
    /// With exactly one record that does not tell its cause.
    pub untold: u64,
    /// Without a record of their opening or their close.
    pub missing: u64,
    /// With more than one.
    pub doubled: u64,
    /// From the client's act to the time in the event.
    pub recorded: Latencies,
    /// From the client's act to when the event was read.
    pub delivered: Latencies,
}

impl Row {
    /// Adds all of another.
    pub fn merge(&mut self, other: &Self) {
        self.connections += other.connections;
        self.opened += other.opened;
        self.right += other.right;
        self.wrong += other.wrong;
        self.untold += other.untold;
        self.missing += other.missing;
        self.doubled += other.doubled;
        self.recorded.merge(&other.recorded);
        self.delivered.merge(&other.delivered);
    }
}

/// What became of messages that were sent right before an end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// How many were sent.
    pub sent: u64,
    /// Those that were handled.
    pub arrived: u64,
    /// Those that were not, and should have been.
    pub lost: u64,
    /// Those that were not, and need not: a RST may throw away what is in front of it, and so may the
    /// server's own end.
    pub cut_short: u64,
}

impl Said {
    /// Adds all of another.
    pub const fn merge(&mut self, other: &Self) {
        self.sent += other.sent;
        self.arrived += other.arrived;
        self.lost += other.lost;
        self.cut_short += other.cut_short;
    }
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
    /// Messages sent right before an end that were not handled, and should have been.
    pub unheard: Findings,
    /// What became of those messages, by kind.
    pub said: BTreeMap<&'static str, Said>,
    /// Flows that belong to no connection of ours.
    pub unknown_flows: Findings,
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
        self.rows.values().for_each(|row| total.merge(row));
        total
    }

    /// Drops all times: those of a round in which something else than the endings happened say nothing.
    pub fn forget_times(&mut self) {
        for row in self.rows.values_mut() {
            (row.recorded, row.delivered) = Default::default();
        }
    }

    /// Adds the report of a later round of the same stream.
    pub fn absorb(&mut self, later: &Self) {
        for (key, row) in &later.rows {
            self.rows.entry(key.clone()).or_default().merge(row);
        }
        for (name, said) in &later.said {
            self.said.entry(name).or_default().merge(said);
        }
        self.never_flows += later.never_flows;
        self.missing_opened.merge(&later.missing_opened);
        self.missing_closed.merge(&later.missing_closed);
        self.doubled.merge(&later.doubled);
        self.wrong_cause.merge(&later.wrong_cause);
        self.wrong_binding.merge(&later.wrong_binding);
        self.unheard.merge(&later.unheard);
        self.unknown_flows.merge(&later.unknown_flows);
        // These the stream itself adds up.
        self.faults = later.faults.clone();
        self.redelivered = later.redelivered;
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
            ("last words lost", &self.unheard),
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
        if self.unknown_flows.count() > 0 {
            writeln!(f, "flows of others: {}", self.unknown_flows.count())?;
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
