//! What a run came to: the table, and the same as JSON.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::time::Duration;

use event_text::counted;
use prove::{Findings, Latencies, Report, Row, Said};
use serde_json::{Value, json};

use super::server::Cpu;

/// From a client's last act to the event.
#[derive(Clone, Debug, Default)]
pub(super) struct Delays {
    /// Until the event says it was recorded.
    pub(super) recorded: Latencies,
    /// Until it was read from the file.
    pub(super) file: Latencies,
    /// Until it was received by the webhook's consumer.
    pub(super) webhook: Latencies,
    /// Connections that the server's time was measured for.
    pub(super) efforts: u64,
    /// The server's processor time while they opened and registered.
    pub(super) opening: Cpu,
    /// The same while they ended, and until all was delivered to the file.
    pub(super) ending: Cpu,
}

impl Delays {
    /// For each connection, in microseconds.
    fn each(&self, time: Duration) -> f64 {
        time.as_secs_f64() * 1e6 / self.efforts.max(1) as f64
    }
}

/// The totals of the ledger.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LedgerTotals {
    pub(super) opened: u64,
    pub(super) closed: u64,
    pub(super) open: u64,
}

/// What was done to a server of our own.
#[derive(Clone, Debug, Default)]
pub(super) struct Trials {
    pub(super) seed: u64,
    pub(super) kills: u64,
    pub(super) terminations: u64,
    pub(super) outages: u64,
    pub(super) descriptors_before: u64,
    pub(super) descriptors_after: u64,
    pub(super) books: LedgerTotals,
    /// What the webhook told.
    pub(super) webhook: Report,
    /// By the kind of round, where nothing but the endings happened.
    pub(super) delays: BTreeMap<&'static str, Delays>,
}

/// What a run came to.
#[derive(Clone, Debug, Default)]
pub(super) struct Totals {
    pub(super) rounds: u64,
    pub(super) took: Duration,
    /// What the file, or the server's events, told.
    pub(super) report: Report,
    pub(super) byes: Said,
    /// Clients that could not connect because the server was dead.
    pub(super) cut_off: u64,
    /// What is wrong beside what the reports say.
    pub(super) other: Vec<(&'static str, Findings)>,
    /// `None`: the server was not started by this run.
    pub(super) trials: Option<Trials>,
}

impl Totals {
    /// Adds something that must not be.
    pub(super) fn wrong(&mut self, what: &'static str, findings: &Findings) {
        if findings.count() == 0 {
            return;
        }
        match self.other.iter_mut().find(|(known, _)| *known == what) {
            Some((_, known)) => known.merge(findings),
            None => self.other.push((what, findings.clone())),
        }
    }

    fn wrongs(&self) -> Vec<(String, &Findings)> {
        let own = |(what, findings)| (String::from(what), findings);
        let mut wrongs: Vec<_> = self.report.wrongs().into_iter().map(own).collect();
        if let Some(trials) = &self.trials {
            let hooks = trials.webhook.wrongs().into_iter();
            wrongs.extend(hooks.map(|(what, findings)| (format!("{what} (webhook)"), findings)));
        }
        wrongs.extend(self.other.iter().map(|(what, findings)| ((*what).to_owned(), findings)));
        wrongs
    }

    pub(super) fn misses(&self) -> u64 {
        self.wrongs().iter().map(|(_, findings)| findings.count()).sum()
    }

    /// The rows of all transports together, by ending.
    fn by_ending(&self) -> BTreeMap<&str, Row> {
        let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
        for ((_, name), row) in &self.report.rows {
            rows.entry(name).or_default().merge(row);
        }
        rows
    }

    fn by_transport(&self) -> BTreeMap<&str, u64> {
        let mut flows = BTreeMap::new();
        for ((transport, _), row) in &self.report.rows {
            *flows.entry(*transport).or_default() += row.connections;
        }
        flows
    }

    fn said(&self) -> BTreeMap<&'static str, Said> {
        let mut said = self.report.said.clone();
        said.insert("BYE", self.byes);
        said
    }

    pub(super) fn json(&self) -> Value {
        let row = |row: &Row| {
            json!({
                "done": row.connections, "opened": row.opened, "right": row.right, "wrong": row.wrong,
                "cause_untold": row.untold, "missing": row.missing, "doubled": row.doubled,
                "recorded": times(&row.recorded), "delivered": times(&row.delivered),
            })
        };
        let endings: Vec<_> = self
            .report
            .rows
            .iter()
            .map(|((transport, name), of)| {
                let mut of = row(of);
                of["transport"] = (*transport).into();
                of["ending"] = name.as_str().into();
                of
            })
            .collect();
        let said: BTreeMap<_, _> = self
            .said()
            .into_iter()
            .map(|(what, of)| {
                let of = json!({"sent": of.sent, "arrived": of.arrived, "lost": of.lost, "cut_short": of.cut_short});
                (what, of)
            })
            .collect();
        let wrongs: Vec<_> = self
            .wrongs()
            .into_iter()
            .map(|(what, of)| json!({"what": what, "count": of.count(), "examples": of.examples()}))
            .collect();
        let mut all = json!({
            "rounds": self.rounds, "seconds": self.took.as_secs_f64(), "misses": self.misses(),
            "total": row(&self.report.total()), "endings": endings, "said_before_the_end": said,
            "no_flow": self.report.never_flows, "cut_off": self.cut_off,
            "redelivered": self.report.redelivered, "wrong": wrongs,
        });
        if let Some(trials) = &self.trials {
            let delays: BTreeMap<_, _> = trials
                .delays
                .iter()
                .map(|(kind, of)| {
                    let of = json!({
                        "recorded": times(&of.recorded), "file": times(&of.file), "webhook": times(&of.webhook),
                        "server_cpu_us": {
                            "open": of.each(of.opening.used), "open_waited": of.each(of.opening.waited),
                            "end": of.each(of.ending.used), "end_waited": of.each(of.ending.waited),
                        },
                    });
                    (kind, of)
                })
                .collect();
            all["server"] = json!({
                "seed": trials.seed, "kills": trials.kills, "terminations": trials.terminations,
                "webhook_outages": trials.outages,
                "descriptors": {"before": trials.descriptors_before, "after": trials.descriptors_after},
                "ledger": {"opened": trials.books.opened, "closed": trials.books.closed, "open": trials.books.open},
                "webhook": {"total": row(&trials.webhook.total()), "redelivered": trials.webhook.redelivered},
                "close_to_event": delays,
            });
        }
        all
    }
}

/// In milliseconds.
fn times(of: &Latencies) -> Value {
    let millis = |time: Option<Duration>| time.map(|time| time.as_secs_f64() * 1000.0);
    let at = |percent| millis(of.percentile(percent));
    json!({"count": of.count(), "p50_ms": at(50.0), "p99_ms": at(99.0), "max_ms": millis(of.longest())})
}

/// p50, p99 and the longest, in columns.
fn columns(of: &Latencies) -> String {
    let mut text = String::new();
    for time in [of.percentile(50.0), of.percentile(99.0), of.longest()] {
        let time = time.map_or("-".to_owned(), |time| format!("{:.1}", time.as_secs_f64() * 1000.0));
        let _ = write!(text, " {time:>8}");
    }
    text
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let untold = self.report.total().untold > 0;
        let right = if untold { "closed" } else { "right" };
        writeln!(
            f,
            "{:<32} {:>8} {:>8} {right:>8} {:>6} {:>7} {:>7} {:>8} {:>8} {:>8}",
            "ended by", "done", "opened", "wrong", "missing", "doubled", "p50 ms", "p99 ms", "max ms"
        )?;
        let mut line = |name: &str, row: &Row| {
            writeln!(
                f,
                "{name:<32} {:>8} {:>8} {:>8} {:>6} {:>7} {:>7}{}",
                row.connections,
                row.opened,
                row.right + row.untold,
                row.wrong,
                row.missing,
                row.doubled,
                columns(&row.delivered)
            )
        };
        for (name, row) in self.by_ending() {
            line(name, &row)?;
        }
        line("all", &self.report.total())?;
        let transports: Vec<_> =
            self.by_transport().into_iter().map(|(name, flows)| format!("{name} {flows}")).collect();
        writeln!(f, "\nby transport: {}", transports.join(", "))?;
        if let Some(trials) = &self.trials {
            delays(f, &trials.delays)?;
        }
        writeln!(
            f,
            "\n{:<32} {:>8} {:>8} {:>8} {:>10}",
            "said right before the end", "sent", "arrived", "lost", "cut short*"
        )?;
        for (what, said) in self.said() {
            let Said { sent, arrived, lost, cut_short } = said;
            writeln!(f, "{what:<32} {sent:>8} {arrived:>8} {lost:>8} {cut_short:>10}")?;
        }
        writeln!(f, "* by a RST, which may throw away what is in front of it, or by the server's own end")?;
        if let Some(trials) = &self.trials {
            writeln!(f)?;
            summary(f, trials, self)?;
        }
        for (what, findings) in self.wrongs() {
            writeln!(f, "\nWRONG {what}: {findings}")?;
        }
        Ok(())
    }
}

fn delays(f: &mut fmt::Formatter<'_>, delays: &BTreeMap<&'static str, Delays>) -> fmt::Result {
    if delays.is_empty() {
        return Ok(());
    }
    writeln!(
        f,
        "\n{:<32} {:>8} {:<18} {:>8} {:>8} {:>8}",
        "from the end to the event", "flows", "", "p50 ms", "p99 ms", "max ms"
    )?;
    for (kind, delays) in delays {
        let of = [
            ("recorded", &delays.recorded),
            ("read from the file", &delays.file),
            ("webhook received", &delays.webhook),
        ];
        for (n, (what, latencies)) in of.into_iter().enumerate() {
            let (kind, count) =
                if n == 0 { (*kind, latencies.count().to_string()) } else { ("", String::new()) };
            writeln!(f, "{kind:<32} {count:>8} {what:<18}{}", columns(latencies))?;
        }
        let [open, open_waited, end, end_waited] =
            [delays.opening.used, delays.opening.waited, delays.ending.used, delays.ending.waited]
                .map(|time| delays.each(time));
        writeln!(
            f,
            "{:<41} server's CPU, µs each: open {open:.0} (and waited {open_waited:.0}), end {end:.0} (and waited {end_waited:.0})",
            ""
        )?;
    }
    Ok(())
}

fn summary(f: &mut fmt::Formatter<'_>, trials: &Trials, totals: &Totals) -> fmt::Result {
    let LedgerTotals { opened, closed, open } = trials.books;
    let hook = trials.webhook.total();
    writeln!(f, "ledger     {opened} opened, {closed} closed, {open} open")?;
    writeln!(
        f,
        "file       {} missing, {} doubled; {} came again with the same id",
        totals.report.total().missing,
        totals.report.total().doubled,
        counted(totals.report.redelivered, "event")
    )?;
    writeln!(
        f,
        "webhook    {} missing, {} doubled; {} came again with the same id",
        hook.missing,
        hook.doubled,
        counted(trials.webhook.redelivered, "event")
    )?;
    writeln!(
        f,
        "server     {} by kill -9, {} by SIGTERM; {}; descriptors {} before, {} after",
        counted(trials.kills, "end"),
        counted(trials.terminations, "end"),
        counted(trials.outages, "webhook outage"),
        trials.descriptors_before,
        trials.descriptors_after
    )?;
    writeln!(
        f,
        "clients    {} became no flow, {} cut off while the server was dead",
        counted(totals.report.never_flows, "connection"),
        counted(totals.cut_off, "client")
    )?;
    writeln!(f, "seed       {}", trials.seed)
}
