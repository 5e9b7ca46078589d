//! The running audit. It compares the kernel's sockets, the shards' tables and the ledger, and does the same
//! for online users and calls.
//!
//! Costs a look at every flow, off the shards: they hand over a part of their table at a time.

mod comparison;
mod sockets;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeSet, HashSet},
    net::SocketAddr,
    os::fd::AsFd,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use ledger::Batch;
use lifecycle::{AuditDiffered, DifferenceKind, Event, EventId, FlowId, Text, Transport, event_time};
use serde::Serialize;
use tokio::{sync::oneshot, time::timeout};

use comparison::{
    Accounts, Comparison, Confidence, Counted, Difference, LedgerTotals, Patience, Subject, UsersAndCalls,
    Views,
};
pub(crate) use comparison::{Listed, Stage, Tally};
use metrics::{Count, Gauge};
use state::clock;
use upstream::FlowNumber;

use crate::{inbox::ShardMessage, shared::Shared};

/// Flows that a shard hands over at once.
pub(crate) const PART: usize = 1024;

/// How long a shard, or the bookkeeper, may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The time that a busy machine may add to a handshake and to a parting.
const SLACK: Duration = Duration::from_secs(3);

/// Differences recorded after one look, so that a mass of them does not flood the ledger; the rest has its
/// turn later.
const MOST_EVENTS: usize = 16;

/// Differences that a view names; the rest is counted.
const NAMED: usize = 100;

/// A part of a shard's table.
#[derive(Debug)]
pub(crate) struct TablePart {
    pub(crate) flows: Vec<Listed>,
    /// Behind which to go on; none at the end.
    pub(crate) next: Option<FlowNumber>,
    pub(crate) tally: Tally,
    /// How long the shard was busy with this.
    pub(crate) held_up: Duration,
}

/// Why there was no look.
#[derive(Debug, thiserror::Error)]
pub enum NoAudit {
    /// A shard did not answer.
    #[error("shard {0} did not hand over its flows within {ANSWER_WITHIN:?}")]
    Shard(usize),
    /// The bookkeeper did not answer.
    #[error("the ledger's books could not be had within {ANSWER_WITHIN:?}")]
    Books,
    /// The server is ending.
    #[error("the server is ending")]
    Ending,
}

/// The result of one look.
#[derive(Clone, Debug, Serialize)]
pub struct AuditView {
    /// When it began, RFC 3339.
    pub at: String,
    /// The ledger was read to here.
    pub ledger_at: String,
    /// Flows in the shards' tables.
    pub flows: usize,
    /// Flows that the ledger says are open.
    pub flows_in_ledger: usize,
    /// Users who are online.
    pub users: usize,
    /// Users who are online by the ledger.
    pub users_in_ledger: usize,
    /// Calls that go on.
    pub calls: usize,
    /// Calls that go on by the ledger.
    pub calls_in_ledger: usize,
    /// Sockets that are connected to a listener; none where the kernel's view cannot be had.
    pub sockets: Option<usize>,
    /// Of them, those that are no flow: shaking hands, parting, or reading a page.
    pub sockets_between: Option<usize>,
    /// Why the kernel's view cannot be had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel_error: Option<String>,
    /// Differences that are certain.
    pub certain: usize,
    /// Differences that may be flows on their way.
    pub suspected: usize,
    /// The first of them.
    pub differences: Vec<DifferenceView>,
    /// Milliseconds that it took.
    pub took_ms: u64,
    /// The longest that a shard was busy with it, in microseconds.
    pub longest_hold_us: u64,
}

/// One difference.
#[derive(Clone, Debug, Serialize)]
pub struct DifferenceView {
    /// Its kind.
    pub kind: DifferenceKind,
    /// Whether it is more than a flow on its way.
    pub certain: bool,
    /// The flow concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow: Option<String>,
    /// The socket's address here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<SocketAddr>,
    /// The socket's peer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<SocketAddr>,
    /// For how long it has been seen, in milliseconds.
    pub lasted_ms: u64,
    /// The evidence, in words.
    pub evidence: String,
}

/// The memory of the audit.
#[derive(Debug)]
pub(crate) struct Audit {
    /// Held for a whole look: looks come one after the other.
    comparison: tokio::sync::Mutex<Comparison>,
    last: Mutex<Option<Arc<AuditView>>>,
    pages: Mutex<HashSet<u64>>,
}

impl Audit {
    /// `handshake` and `parting` are how long a connection may take before and after its flow.
    pub(crate) fn new(handshake: Duration, parting: Duration) -> Self {
        let patience = Patience { before: handshake + SLACK, after: parting + SLACK };
        Self {
            comparison: tokio::sync::Mutex::new(Comparison::new(patience)),
            last: Mutex::default(),
            pages: Mutex::default(),
        }
    }

    /// This connection goes to the web pages, which may keep it open without limit.
    pub(crate) fn hand_over(&self, stream: &impl AsFd) {
        if let Some(number) = socket_number(stream) {
            self.pages.lock().unwrap_or_else(PoisonError::into_inner).insert(number);
        }
    }

    /// The result of the last look.
    pub(crate) fn last(&self) -> Option<Arc<AuditView>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The kernel's number of a socket, as its tables have it.
pub(crate) fn socket_number(socket: &impl AsFd) -> Option<u64> {
    rustix::fs::fstat(socket.as_fd()).ok().map(|facts| facts.st_ino)
}

/// Looks again and again.
pub(crate) async fn run(shared: Arc<Shared>, every: Duration) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = look(&shared).await {
            tracing::warn!(%error, "the audit cannot run");
        }
    }
}

/// Looks now, and records what is certain.
pub(crate) async fn look(shared: &Arc<Shared>) -> Result<Arc<AuditView>, NoAudit> {
    let mut comparison = shared.audit.comparison.lock().await;
    let looked = compare(shared, &mut comparison).await;
    shared.metrics.add(if looked.is_ok() { Count::Audits } else { Count::AuditsFailed });
    let (mut view, differences) = looked?;
    measure(shared, &view, &differences);
    let fresh = differences.iter().filter(|one| one.confidence == Confidence::Confirmed);
    let recorded: Vec<&Difference> = fresh.take(MOST_EVENTS).take_while(|one| record(shared, one)).collect();
    if let Some(first) = recorded.first() {
        tracing::error!(
            kind = %first.subject.kind(), evidence = evidence(shared, first), lasted_ms = millis(first.lasted), certain = view.certain,
            "the kernel, the server and the ledger differ: see GET /api/audit, and please report it"
        );
    }
    for difference in recorded {
        comparison.told(&difference.subject);
    }
    view.differences = differences.iter().take(NAMED).map(|one| show(shared, one)).collect();
    let view = Arc::new(view);
    *shared.audit.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&view));
    Ok(view)
}

async fn compare(
    shared: &Arc<Shared>,
    comparison: &mut Comparison,
) -> Result<(AuditView, Vec<Difference>), NoAudit> {
    let (began, at) = (Instant::now(), clock::micros());
    let confidence =
        timeout(ANSWER_WITHIN, shared.orders.snapshot()).await.ok().flatten().ok_or(NoAudit::Books)?;
    let flow = |name: &str| FlowId::parse(name).ok().map(|(_, flow)| flow);
    let (unfinished, position) = (&confidence.unfinished, confidence.at);
    let books = LedgerTotals {
        to: if position.incarnation == shared.state.incarnation() { position.seq } else { 0 },
        open: unfinished.flows().keys().filter_map(|name| flow(name)).collect(),
        tally: Tally {
            opened: unfinished.opened,
            closed: unfinished.closed,
            held: unfinished.flows().len() as u64,
        },
    };
    let tally = |opened, closed, held: usize| Tally { opened, closed, held: held as u64 };
    let (users, calls) = (&unfinished.users, &unfinished.calls);
    let mut kept = UsersAndCalls {
        users: Accounts {
            here: BTreeSet::new(),
            in_ledger: users.who().map(|(aor, _)| aor.clone()).collect(),
            tally: tally(users.came, users.went, users.online()),
        },
        calls: Accounts {
            here: BTreeSet::new(),
            in_ledger: calls.open().keys().cloned().collect(),
            tally: tally(calls.started, calls.ended, calls.open().len()),
        },
        calls_here: Tally::default(),
    };
    drop(confidence);
    kept.users.here = shared.state.users().into_iter().map(|(aor, _)| aor).collect();
    (kept.calls.here, kept.calls_here) = shared.roll_of_calls();
    let (mut tables, mut tallies, mut longest) = (Vec::new(), Vec::new(), Duration::ZERO);
    for shard in 0..shared.inboxes.shards() {
        let mut after = None;
        loop {
            let (answer, part) = oneshot::channel();
            shared
                .tell(shard, ShardMessage::ListPage { after, answer })
                .map_err(|_| NoAudit::Shard(shard))?;
            let part: TablePart =
                timeout(ANSWER_WITHIN, part).await.ok().and_then(Result::ok).ok_or(NoAudit::Shard(shard))?;
            tables.extend(part.flows);
            longest = longest.max(part.held_up);
            after = part.next;
            if after.is_none() {
                tallies.push(part.tally);
                break;
            }
        }
    }
    let appended = shared.state.ledger().status().appended;
    let listeners: Vec<SocketAddr> = shared
        .listeners
        .iter()
        .filter(|bound| bound.transport != Transport::Udp)
        .map(|bound| bound.local)
        .collect();
    let flows: HashSet<u64> = tables.iter().filter_map(|listed| listed.socket).collect();
    let seen = tokio::task::spawn_blocking(move || sockets::look(&listeners, &flows)).await;
    let (kernel, kernel_error) = match seen.map_err(|_| NoAudit::Ending)? {
        Ok(kernel) => (Some(kernel), None),
        Err(error) => (None, Some(format!("/proc/self cannot be read: {error}"))),
    };
    let pages = {
        let mut pages = shared.audit.pages.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kernel) = &kernel {
            pages.retain(|inode| kernel.held.contains(inode));
        }
        pages.clone()
    };
    let sockets = kernel.as_ref().map(|kernel| kernel.connected.len());
    let between = kernel.as_ref().map(|kernel| {
        let owned: HashSet<u64> = tables.iter().filter_map(|listed| listed.socket).collect();
        kernel.connected.iter().filter(|socket| !owned.contains(&socket.inode)).count()
    });
    let event = EventId { incarnation: position.incarnation, sequence: position.seq };
    let mut view = AuditView {
        at: event_time(at),
        ledger_at: shared.state.node().event(event),
        flows: tables.len(),
        flows_in_ledger: books.open.len(),
        users: kept.users.here.len(),
        users_in_ledger: kept.users.in_ledger.len(),
        calls: kept.calls.here.len(),
        calls_in_ledger: kept.calls.in_ledger.len(),
        sockets,
        sockets_between: between,
        kernel_error,
        certain: 0,
        suspected: 0,
        differences: Vec::new(),
        took_ms: 0,
        longest_hold_us: u64::try_from(longest.as_micros()).unwrap_or(u64::MAX),
    };
    let views = Views { at: Instant::now(), books, tables, tallies, appended, kernel, pages, kept };
    let differences = comparison.compare(&views);
    view.suspected = differences.iter().filter(|one| one.confidence == Confidence::Suspected).count();
    view.certain = differences.len() - view.suspected;
    view.took_ms = millis(began.elapsed());
    Ok((view, differences))
}

fn measure(shared: &Shared, view: &AuditView, differences: &[Difference]) {
    let metrics = &shared.metrics;
    metrics.set(Gauge::AuditTime, view.took_ms);
    metrics.set(Gauge::AuditHold, view.longest_hold_us);
    metrics.set(Gauge::SocketsBetween, view.sockets_between.unwrap_or(0) as u64);
    for &kind in DifferenceKind::ALL {
        let certain =
            |one: &&Difference| one.subject.kind() == kind && one.confidence != Confidence::Suspected;
        metrics.set(gauge_of(kind), differences.iter().filter(certain).count() as u64);
    }
}

const fn gauge_of(kind: DifferenceKind) -> Gauge {
    match kind {
        DifferenceKind::FlowWithoutSocket => Gauge::FlowsWithoutSocket,
        DifferenceKind::SocketWithoutFlow => Gauge::SocketsWithoutFlow,
        DifferenceKind::FlowNotInLedger => Gauge::FlowsNotInLedger,
        DifferenceKind::LedgerWithoutFlow => Gauge::LedgerWithoutFlow,
        DifferenceKind::UserNotInLedger => Gauge::UsersNotInLedger,
        DifferenceKind::LedgerWithoutUser => Gauge::LedgerWithoutUser,
        DifferenceKind::CallNotInLedger => Gauge::CallsNotInLedger,
        DifferenceKind::LedgerWithoutCall => Gauge::LedgerWithoutCall,
        DifferenceKind::Counters => Gauge::CountersOff,
    }
}

const fn count_of(kind: DifferenceKind) -> Count {
    match kind {
        DifferenceKind::FlowWithoutSocket => Count::FlowWithoutSocket,
        DifferenceKind::SocketWithoutFlow => Count::SocketWithoutFlow,
        DifferenceKind::FlowNotInLedger => Count::FlowNotInLedger,
        DifferenceKind::LedgerWithoutFlow => Count::LedgerWithoutFlow,
        DifferenceKind::UserNotInLedger => Count::UserNotInLedger,
        DifferenceKind::LedgerWithoutUser => Count::LedgerWithoutUser,
        DifferenceKind::CallNotInLedger => Count::CallNotInLedger,
        DifferenceKind::LedgerWithoutCall => Count::LedgerWithoutCall,
        DifferenceKind::Counters => Count::CountersOff,
    }
}

/// Writes `audit.differed`; whether the ledger took it.
fn record(shared: &Shared, difference: &Difference) -> bool {
    let flow = difference.flow.map(|flow| shared.state.node().flow(flow));
    let event = Event::AuditDiffered(AuditDiffered {
        kind: difference.subject.kind().into(),
        flow: flow.as_deref(),
        local: difference.socket.map(|socket| socket.local),
        remote: difference.socket.map(|socket| socket.remote),
        lasted_ms: millis(difference.lasted),
        evidence: Text::new(evidence(shared, difference)),
    });
    let mut batch = Batch::new();
    batch.push(event.kind().number(), clock::micros(), &event.to_json());
    // The end of the server waits for this lock before it writes the last record.
    let _table = shared.state.location();
    let taken = !shared.state.is_closing() && shared.state.ledger().append(batch).is_ok();
    if taken {
        shared.metrics.add(count_of(difference.subject.kind()));
    }
    taken
}

fn show(shared: &Shared, difference: &Difference) -> DifferenceView {
    DifferenceView {
        kind: difference.subject.kind(),
        certain: difference.confidence != Confidence::Suspected,
        flow: difference.flow.map(|flow| shared.state.node().flow(flow)),
        local: difference.socket.map(|socket| socket.local),
        remote: difference.socket.map(|socket| socket.remote),
        lasted_ms: millis(difference.lasted),
        evidence: evidence(shared, difference),
    }
}

/// The evidence, in words.
fn evidence(shared: &Shared, difference: &Difference) -> String {
    let flow = || difference.flow.map_or_else(|| "a flow".to_owned(), |flow| shared.state.node().flow(flow));
    match &difference.subject {
        Subject::Counted(what) => {
            let (of, place) = match what {
                Counted::CallsHere => ("calls started", "the server"),
                Counted::CallsInLedger => ("calls started", "the ledger"),
                Counted::UsersInLedger => ("users who came online", "the ledger"),
            };
            format!("{place} counted {} more {of} than such that ended and go on", difference.off)
        }
        Subject::User(DifferenceKind::UserNotInLedger, user) => {
            format!("{user} is online, and not by the ledger")
        }
        Subject::User(_, user) => format!("{user} is online by the ledger, and is not"),
        Subject::Call(DifferenceKind::CallNotInLedger, call) => {
            format!("{call} goes on, and the ledger does not have it open")
        }
        Subject::Call(_, call) => format!("{call} is open in the ledger, and there is no such call"),
        Subject::Shard(shard) => {
            format!("shard {shard} counted {} more flows opened than it closed and holds", difference.off)
        }
        Subject::Ledger => {
            format!("the ledger has {} more flows opened than closed and open", difference.off)
        }
        Subject::Socket(inode) => {
            let had = difference.flow.map_or_else(
                || ", which never was a flow".to_owned(),
                |flow| format!(", whose flow {} is over", shared.state.node().flow(flow)),
            );
            match difference.socket {
                Some(socket) => {
                    format!("socket {inode} from {} to {} is still held{had}", socket.remote, socket.local)
                }
                None => format!("socket {inode} is still held{had}"),
            }
        }
        Subject::Flow(DifferenceKind::FlowWithoutSocket, _) => {
            format!("{} is in a shard's table and the kernel has no connection for it", flow())
        }
        Subject::Flow(DifferenceKind::FlowNotInLedger, _) => {
            format!("{} is in a shard's table and the ledger does not have it open", flow())
        }
        Subject::Flow(..) => format!("{} is open in the ledger and in no shard's table", flow()),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
