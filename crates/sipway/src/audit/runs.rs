//! What each run of a node says of itself, held against its records.
//!
//! Checksums and sequences show whatever a disk did. Who takes a record out, numbers the rest anew and writes
//! new checksums leaves neither; but every run tells at its start how many flows it found open, and at its
//! end how many it opened and closed, and behind either nothing of an earlier run may be open.

use event_text::counted;
use ledger::Position;
use lifecycle::{EventKind, NodeStarted, NodeStopped, OpenState};

/// Flows that one finding names; the rest is counted.
const NAMED: usize = 4;

/// Findings that are kept in words; the rest is counted.
const KEPT: usize = 10;

/// How far back the fold goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// It knows all that is open.
    Whole,
    /// What was open at the oldest record is not known yet.
    Partial,
}

/// How much is known of the run that is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// Its first record is gone.
    Nothing,
    /// What was opened and closed before it, and how many flows it says it found open and closed at its
    /// start.
    Start { opened: u64, closed: u64, recovered: u64 },
}

/// Where the run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It closes what earlier runs left open.
    Settling,
    /// It has opened flows.
    Serving,
    /// It has ended, and says so; how many of its flows had not closed by then (their closes came too late
    /// for it).
    Stopped { owed: u64 },
}

/// Goes along with the fold, one record behind the other.
#[derive(Debug)]
pub(super) struct Runs {
    incarnation: u64,
    known: Known,
    stage: Stage,
    /// What does not fit, in words.
    pub(super) wrong: Vec<String>,
    /// How often something did not fit.
    pub(super) count: u64,
}

impl Default for Runs {
    fn default() -> Self {
        Self { incarnation: 0, known: Known::Nothing, stage: Stage::Settling, wrong: Vec::new(), count: 0 }
    }
}

impl Runs {
    /// The next record, which `folded` does not have yet.
    pub(super) fn take(
        &mut self,
        at: Position,
        kind: EventKind,
        payload: &[u8],
        folded: &OpenState,
        reach: Reach,
    ) {
        if at.incarnation != self.incarnation {
            self.begin(at, kind, payload, folded, reach);
        } else if kind == EventKind::NodeStarted {
            self.say(format!("{at}: this node.started is not the first event of its run"));
        } else if let Stage::Stopped { owed } = self.stage {
            let late =
                matches!(kind, EventKind::FlowClosed | EventKind::BindingRemoved | EventKind::CallEnded);
            if !late || owed == 0 {
                self.say(format!("{at}: this {kind} stands behind the node.stopped of its run"));
            }
        }
        match kind {
            EventKind::FlowOpened if self.stage == Stage::Settling => {
                self.stage = Stage::Serving;
                let earlier = |flow: &str| incarnation(flow).is_some_and(|of| of < at.incarnation);
                self.left_open(folded, earlier, &format!("run {} serves from {at} on", at.incarnation));
            }
            EventKind::NodeStopped => self.stop(at, payload, folded),
            _ => {}
        }
    }

    fn begin(&mut self, at: Position, kind: EventKind, payload: &[u8], folded: &OpenState, reach: Reach) {
        let run = at.incarnation;
        self.incarnation = run;
        self.stage = Stage::Settling;
        self.known = Known::Nothing;
        if at.seq != 1 {
            // The oldest record there is, or a gap that is found elsewhere.
            return;
        }
        if kind != EventKind::NodeStarted {
            return self.say(format!("run {run} begins with {kind}, not with node.started"));
        }
        let Ok(NodeStarted { flows_recovered: recovered, .. }) = serde_json::from_slice(payload) else {
            return self.say(format!("{at}: node.started does not tell how many flows its run found open"));
        };
        if reach == Reach::Partial {
            return;
        }
        self.known = Known::Start { opened: folded.opened, closed: folded.closed, recovered };
        let open = folded.flows().len() as u64;
        if recovered != open {
            self.say(format!(
                "run {run} found {} open as it says itself ({at}), and the records before it leave {open} open: {}",
                counted(recovered, "flow"),
                by_how_many(recovered, open)
            ));
        }
    }

    /// Holds what `node.stopped` says against what was read of its run.
    fn stop(&mut self, at: Position, payload: &[u8], folded: &OpenState) {
        let run = self.incarnation;
        let Ok(NodeStopped { flows_opened, flows_closed }) = serde_json::from_slice(payload) else {
            self.stage = Stage::Stopped { owed: 0 };
            return self.say(format!("{at}: node.stopped does not tell what its run opened and closed"));
        };
        let owed = flows_opened.saturating_sub(flows_closed);
        self.stage = Stage::Stopped { owed };
        if let Known::Start { opened, closed, recovered } = self.known {
            let told_closed = flows_closed.saturating_add(recovered);
            for (what, told, there) in [
                ("opened", flows_opened, folded.opened.saturating_sub(opened)),
                ("closed", told_closed, folded.closed.saturating_sub(closed)),
            ] {
                if told != there {
                    self.say(format!(
                        "run {run} {what} {} as it says itself ({at}), and its records say {there}: {}",
                        counted(told, "flow"),
                        by_how_many(told, there)
                    ));
                }
            }
        }
        if owed == 0 {
            self.left_open(folded, |_| true, &format!("run {run} ended with all flows closed ({at})"));
        }
    }

    /// Flows that may not be open any more.
    fn left_open(&mut self, folded: &OpenState, over: impl Fn(&str) -> bool, when: &str) {
        let mut left = folded.flows().keys().map(|flow| &**flow).filter(|flow| over(flow));
        let named: Vec<&str> = left.by_ref().take(NAMED).collect();
        if named.is_empty() {
            return;
        }
        let more = left.count();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        self.say(format!("{when}, and there is no close of {}{more}", named.join(", ")));
    }

    fn say(&mut self, words: String) {
        self.count += 1;
        if self.wrong.len() < KEPT {
            self.wrong.push(words);
        }
    }
}

fn by_how_many(told: u64, there: u64) -> String {
    if told > there { format!("{} missing", told - there) } else { format!("{} too many", there - told) }
}

/// The run that a flow belongs to.
fn incarnation(flow: &str) -> Option<u64> {
    lifecycle::FlowId::parse(flow).ok().map(|(_, id)| id.incarnation)
}
