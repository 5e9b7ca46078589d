//! Every connection that clients made, held against what the server told of it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use lifecycle::{Cause, Transport};

use crate::event_log::{SeenClose, SeenFlow, cause_name};
use crate::{Ending, EventLog, Expected, Farewell, Notice};

mod report;

pub use report::{Report, Row, Said, Verdict};

/// Times of the same moment, taken by two threads, may differ by this many microseconds.
const SLACK: u64 = 1_000;

/// Whether a connection became a flow for its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Became {
    /// It got its 101.
    Flow,
    /// It was refused or broke before; the server may have opened a flow all the same, and must then have
    /// closed it.
    Nothing,
}

/// What the client knows of its binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registered {
    /// Its REGISTER was answered with 200.
    Yes,
    /// It never registered, or does not know.
    No,
}

/// One connection as its client knows it. Times are microseconds since the Unix epoch.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Over what.
    pub transport: Transport,
    /// The client's address.
    pub remote: SocketAddr,
    /// Just before the connection was asked for.
    pub started: u64,
    /// What came of it.
    pub became: Became,
    /// Whether the user agent was registered on it.
    pub registered: Registered,
    /// How it was ended; `None`: the client left that to the server.
    pub ending: Option<Ending>,
    /// What was sent right before.
    pub farewell: Farewell,
    /// When the client ended it.
    pub acted_at: Option<u64>,
    /// Which records are right.
    pub expected: Expected,
}

/// Compares. Each flow belongs to the last connection from its remote address that began before it opened.
#[must_use]
pub fn reconcile(log: &EventLog, attempts: &[Attempt]) -> Report {
    let mut report =
        Report { faults: log.faults.clone(), redelivered: log.redelivered().count(), ..Report::default() };
    let mut by_remote: HashMap<SocketAddr, Vec<usize>> = HashMap::with_capacity(attempts.len());
    for (n, attempt) in attempts.iter().enumerate() {
        by_remote.entry(attempt.remote).or_default().push(n);
    }
    for of_remote in by_remote.values_mut() {
        of_remote.sort_by_key(|&n| attempts[n].started);
    }
    let mut flows: Vec<Vec<(&str, &SeenFlow)>> = vec![Vec::new(); attempts.len()];
    for (id, flow) in log.flows() {
        let before = by_remote.get(&flow.remote).and_then(|of_remote| {
            of_remote.iter().rev().find(|&&n| attempts[n].started <= flow.opened_at + SLACK)
        });
        match before {
            Some(&n) => flows[n].push((id, flow)),
            None => report.unknown_flows.add(|| format!("{id} of {}", flow.remote)),
        }
    }
    for (attempt, flows) in attempts.iter().zip(&flows) {
        judge(&mut report, attempt, flows);
    }
    report
}

fn judge(report: &mut Report, attempt: &Attempt, flows: &[(&str, &SeenFlow)]) {
    let name = attempt.ending.map_or("left to the server".to_owned(), |ending| ending.to_string());
    let key = (attempt.transport.as_str(), name);
    let remote = attempt.remote;
    let row = report.rows.entry(key).or_default();
    match attempt.became {
        Became::Flow => row.connections += 1,
        Became::Nothing => report.never_flows += 1,
    }
    let &[(id, flow)] = flows else {
        match (attempt.became, flows.is_empty()) {
            (Became::Flow, true) => {
                row.missing += 1;
                report.missing_opened.add(|| format!("{remote}: no flow.opened"));
            }
            (Became::Nothing, true) => {}
            (_, false) => {
                row.doubled += 1;
                report.doubled.add(|| format!("{remote}: {} flows", flows.len()));
            }
        }
        return;
    };
    if attempt.became == Became::Flow {
        row.opened += 1;
    }
    let [close] = &flow.closes[..] else {
        if flow.closes.is_empty() {
            row.missing += 1;
            report.missing_closed.add(|| format!("{id} of {remote}: no flow.closed"));
        } else {
            row.doubled += 1;
            report.doubled.add(|| format!("{id} of {remote}: {} closes", flow.closes.len()));
        }
        return;
    };
    if attempt.became == Became::Nothing {
        return;
    }
    let SeenClose { cause, code, ref reason, at, read_at, .. } = *close;
    let told = cause.is_some();
    if !told {
        row.untold += 1;
    } else if cause.is_some_and(|cause| attempt.expected.fits(cause, code, reason.as_deref())) {
        row.right += 1;
    } else {
        row.wrong += 1;
        let ending = attempt.ending.map_or_else(String::new, |ending| ending.to_string());
        report.wrong_cause.add(|| {
            let code = code.map_or(String::new(), |code| format!(" {code}"));
            let reason = reason.as_deref().unwrap_or_default();
            let cause = cause_name(cause);
            format!("{id}, {ending}: {cause}{code} {reason:?}, not {}", attempt.expected)
        });
    }
    if let Some(acted_at) = attempt.acted_at
        && attempt.ending.is_some_and(|ending| ending.notice() == Notice::Arrives)
        && cause != Some(Cause::NodeCrash)
    {
        row.recorded.add(Duration::from_micros(at.saturating_sub(acted_at)));
        row.delivered.add(Duration::from_micros(read_at.saturating_sub(acted_at)));
    }
    // Who tells no cause tells nothing of bindings either.
    if told {
        if let Some(fault) = binding_fault(attempt, flow, close) {
            report.wrong_binding.add(|| format!("{id}: {fault}"));
        }
        said(report, id, attempt, flow, close);
    }
}

/// Whether what a client sent last may have come too late: its own RST or the server's end may have been
/// first. A server that shuts down takes no REGISTER any more, and still reads how a client ends its flow.
fn cut_short(attempt: &Attempt, close: &SeenClose) -> bool {
    let crashed = close.cause == Some(Cause::NodeCrash);
    crashed
        || attempt.expected.fits(Cause::Shutdown, None, None)
        || attempt.ending.is_none_or(Ending::may_lose)
}

/// Counts what became of a REGISTER that was sent right before the end: it must have been handled, unless a
/// RST threw it away or the server ended first.
fn said(report: &mut Report, id: &str, attempt: &Attempt, flow: &SeenFlow, close: &SeenClose) {
    let (name, arrived) = match (&attempt.farewell, attempt.registered) {
        (Farewell::Unregister, Registered::Yes) => {
            ("un-REGISTER", flow.removals.last().is_some_and(|last| last == "unregistered"))
        }
        (Farewell::Register, Registered::No) => ("first REGISTER", flow.added > 0),
        // Of a refresh nothing is told; a BYE's receiver knows.
        _ => return,
    };
    let said = report.said.entry(name).or_default();
    said.sent += 1;
    if arrived {
        said.arrived += 1;
    } else if cut_short(attempt, close) {
        said.cut_short += 1;
    } else {
        said.lost += 1;
        report.unheard.add(|| format!("{id}: the {name} right before its end ({})", cause_name(close.cause)));
    }
}

/// A binding must have been added, and have gone for a cause that can be.
fn binding_fault(attempt: &Attempt, flow: &SeenFlow, close: &SeenClose) -> Option<String> {
    if attempt.registered == Registered::No {
        return None;
    }
    if flow.added == 0 {
        // Conversation does not wait for the disk: what was answered last may be lost with the process.
        if close.cause == Some(Cause::NodeCrash) {
            return None;
        }
        return Some("its client was registered, but no binding was added".to_owned());
    }
    let handled = flow.removals.last().is_some_and(|last| last == "unregistered");
    if handled && attempt.farewell != Farewell::Unregister {
        return Some("nobody un-registered, but the binding went so".to_owned());
    }
    None
}

#[cfg(test)]
mod tests;
