//! Compares three views of the same flows, and two views of users and of calls. Pure: no sockets, no clock.
//!
//! Flows come and go while the views are taken, so nothing counts that was seen once. A flow differs when it
//! did in two looks running. A socket without a flow is no difference while it may be shaking hands or
//! parting from its peer: a socket has one stretch of each, before and after its flow, and both are bounded.

mod users_and_calls;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    time::{Duration, Instant},
};

use lifecycle::{DifferenceKind, FlowId, Text};

pub(crate) use users_and_calls::{Accounts, Counted, UsersAndCalls};

use crate::audit::sockets::Socket;

/// A flow must differ for so long: its end may have come to the kernel and not to its shard.
const SETTLE: Duration = Duration::from_secs(1);

/// A flow in a shard's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) flow: FlowId,
    /// The kernel's number of its socket; none if the kernel would not tell.
    pub(crate) socket: Option<u64>,
    pub(crate) stage: Stage,
}

/// Whether a flow is open for its peer, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Its `flow.opened` is on its way to the disk, and nobody looks after its socket meanwhile.
    Opening,
    /// Its `flow.opened` is durable.
    Open,
}

/// Counts of a shard, all at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) opened: u64,
    pub(crate) closed: u64,
    /// Flows in its table.
    pub(crate) held: u64,
}

impl Tally {
    fn off(self) -> i128 {
        i128::from(self.opened) - i128::from(self.closed) - i128::from(self.held)
    }
}

/// The totals of the ledger's records, up to one of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct LedgerTotals {
    /// The sequence of the last one folded, in this run.
    pub(crate) to: u64,
    pub(crate) open: BTreeSet<FlowId>,
    /// Of all runs.
    pub(crate) tally: Tally,
}

/// The kernel's view of this process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kernel {
    /// Every socket that it holds.
    pub(crate) held: HashSet<u64>,
    /// Those connected to a listener.
    pub(crate) connected: Vec<Socket>,
}

/// Three views, taken in this order: the books, the tables, the kernel.
#[derive(Clone, Debug)]
pub(crate) struct Views {
    pub(crate) at: Instant,
    pub(crate) books: LedgerTotals,
    pub(crate) tables: Vec<Listed>,
    pub(crate) tallies: Vec<Tally>,
    /// The last sequence given out once the tables had been taken.
    pub(crate) appended: u64,
    /// None where the kernel's view cannot be had.
    pub(crate) kernel: Option<Kernel>,
    /// Sockets that were handed over to the web pages.
    pub(crate) pages: HashSet<u64>,
    /// Users and calls; the ledger's account is of the same moment as the books.
    pub(crate) kept: UsersAndCalls,
}

/// The subject of a difference.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    Flow(DifferenceKind, FlowId),
    User(DifferenceKind, Text<160>),
    Call(DifferenceKind, Box<str>),
    Socket(u64),
    Shard(usize),
    Ledger,
    Counted(Counted),
}

impl Subject {
    pub(crate) const fn kind(&self) -> DifferenceKind {
        match self {
            Self::Flow(kind, _) | Self::User(kind, _) | Self::Call(kind, _) => *kind,
            Self::Socket(_) => DifferenceKind::SocketWithoutFlow,
            Self::Shard(_) | Self::Ledger | Self::Counted(_) => DifferenceKind::Counters,
        }
    }
}

/// How sure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Confidence {
    /// Seen, and perhaps only on its way.
    Suspected,
    /// Seen for long enough, and not told yet.
    Confirmed,
    /// Told already, and still there.
    Reported,
}

/// Something that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) subject: Subject,
    pub(crate) confidence: Confidence,
    pub(crate) lasted: Duration,
    /// The flow concerned, or the one that a socket without one had.
    pub(crate) flow: Option<FlowId>,
    pub(crate) socket: Option<Socket>,
    /// By how much counters are off.
    pub(crate) off: i128,
}

#[derive(Clone, Copy, Debug)]
struct Suspect {
    since: Instant,
    looks: u32,
    /// The last sequence given out when it was first seen: a record that was on its way stands before it.
    appended: u64,
    /// The first look at which a socket's handshake was certainly over.
    past_handshake: Option<Instant>,
    told: bool,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    socket: Option<Socket>,
    flow: Option<FlowId>,
}

/// How long a socket may be held without a flow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Before its flow: the longest handshake.
    pub(crate) before: Duration,
    /// After it: the longest parting.
    pub(crate) after: Duration,
}

/// What is remembered from look to look. Grows with the sockets held and with what differs, with nothing
/// else.
#[derive(Debug)]
pub(crate) struct Comparison {
    patience: Patience,
    suspects: BTreeMap<Subject, Suspect>,
    /// Sockets that were seen at a listener, as long as they are held: one whose connection is gone shows in
    /// no table of the kernel's any more.
    known: HashMap<u64, Known>,
}

impl Comparison {
    pub(crate) fn new(patience: Patience) -> Self {
        Self { patience, suspects: BTreeMap::new(), known: HashMap::new() }
    }

    /// Everything that differs in this look, by subject.
    pub(crate) fn compare(&mut self, views: &Views) -> Vec<Difference> {
        let mut found: BTreeMap<Subject, Difference> = BTreeMap::new();
        let mut differs = |subject, flow, socket, off| {
            let (confidence, lasted) = (Confidence::Suspected, Duration::ZERO);
            let difference = Difference { subject, confidence, lasted, flow, socket, off };
            found.insert(difference.subject.clone(), difference);
        };
        for (subject, off) in views.kept.differences() {
            differs(subject, None, None, off);
        }
        for (shard, tally) in views.tallies.iter().enumerate().filter(|(_, tally)| tally.off() != 0) {
            differs(Subject::Shard(shard), None, None, tally.off());
        }
        if views.books.tally.off() != 0 {
            differs(Subject::Ledger, None, None, views.books.tally.off());
        }
        let open = |listed: &&Listed| listed.stage == Stage::Open;
        let listed: HashSet<FlowId> = views.tables.iter().map(|listed| listed.flow).collect();
        for listed in views.tables.iter().filter(open) {
            if !views.books.open.contains(&listed.flow) {
                differs(
                    Subject::Flow(DifferenceKind::FlowNotInLedger, listed.flow),
                    Some(listed.flow),
                    None,
                    0,
                );
            }
        }
        for &flow in views.books.open.iter().filter(|flow| !listed.contains(flow)) {
            differs(Subject::Flow(DifferenceKind::LedgerWithoutFlow, flow), Some(flow), None, 0);
        }
        if let Some(kernel) = &views.kernel {
            let connected: HashMap<u64, Socket> =
                kernel.connected.iter().map(|one| (one.inode, *one)).collect();
            for listed in views.tables.iter().filter(open) {
                if listed.socket.is_some_and(|socket| !connected.contains_key(&socket)) {
                    let socket = listed.socket.and_then(|inode| self.known.get(&inode)?.socket);
                    differs(
                        Subject::Flow(DifferenceKind::FlowWithoutSocket, listed.flow),
                        Some(listed.flow),
                        socket,
                        0,
                    );
                }
            }
            self.remember(kernel, &views.tables);
            let owned: HashSet<u64> = views.tables.iter().filter_map(|listed| listed.socket).collect();
            for (&inode, known) in &self.known {
                if !owned.contains(&inode) && !views.pages.contains(&inode) {
                    differs(Subject::Socket(inode), known.flow, known.socket, 0);
                }
            }
        }
        self.suspects.retain(|subject, _| found.contains_key(subject));
        found.into_values().map(|difference| self.judge(difference, views)).collect()
    }

    fn remember(&mut self, kernel: &Kernel, tables: &[Listed]) {
        self.known.retain(|inode, _| kernel.held.contains(inode));
        for &socket in &kernel.connected {
            self.known.entry(socket.inode).or_insert(Known { socket: None, flow: None }).socket =
                Some(socket);
        }
        for listed in tables {
            if let Some(inode) = listed.socket.filter(|inode| kernel.held.contains(inode)) {
                self.known.entry(inode).or_insert(Known { socket: None, flow: None }).flow =
                    Some(listed.flow);
            }
        }
    }

    fn judge(&mut self, mut difference: Difference, views: &Views) -> Difference {
        let now = views.at;
        let suspect = self.suspects.entry(difference.subject.clone()).or_insert(Suspect {
            since: now,
            looks: 0,
            appended: views.appended,
            past_handshake: None,
            told: false,
        });
        suspect.looks += 1;
        difference.lasted = now.saturating_duration_since(suspect.since);
        let certain = match difference.subject {
            Subject::Socket(_) => {
                let past_handshake = difference.flow.is_some() || difference.lasted > self.patience.before;
                if past_handshake {
                    suspect.past_handshake.get_or_insert(now);
                }
                suspect
                    .past_handshake
                    .is_some_and(|from| now.saturating_duration_since(from) > self.patience.after)
            }
            // A record may have been on its way to the disk, for as long as a disk can stall.
            Subject::Flow(..)
            | Subject::User(..)
            | Subject::Call(..)
            | Subject::Shard(_)
            | Subject::Ledger
            | Subject::Counted(_) => {
                suspect.looks > 1 && difference.lasted >= SETTLE && views.books.to >= suspect.appended
            }
        };
        difference.confidence = match (certain, suspect.told) {
            (_, true) => Confidence::Reported,
            (true, false) => Confidence::Confirmed,
            (false, false) => Confidence::Suspected,
        };
        difference
    }

    /// A difference that was certain is recorded now: it is not told again while it lasts.
    pub(crate) fn told(&mut self, subject: &Subject) {
        if let Some(suspect) = self.suspects.get_mut(subject) {
            suspect.told = true;
        }
    }
}
