//! `sipway audit`: proves from the ledger alone that every flow that opened closed once, or is open now; or
//! asks a running server for its own audit.

#[cfg(test)]
mod forged;
mod live;
mod runs;
#[cfg(test)]
mod tests;

use ledger::{Checkpoint, LogReader, Position, ReadError, Tail};
use lifecycle::{EventId, EventKind, Node, OpenState};

use crate::{command::Audit, ledger_place::LedgerPlace, outcome::Outcome, speech::say};
use event_text::counted;
use runs::{Reach, Runs};

/// Findings of one kind that are named; the rest is counted.
const NAMED: usize = 10;

/// How often it is begun again when retention takes records while they are read.
const ATTEMPTS: usize = 3;

pub(crate) fn run(audit: &Audit) -> Outcome {
    if audit.live || audit.admin.is_some() {
        return live::run(audit);
    }
    match read(&audit.place) {
        Ok((books, node)) => books.report(&node),
        Err(outcome) => outcome,
    }
}

fn read(place: &LedgerPlace) -> Result<(LedgerTotals, Node), Outcome> {
    let mut attempt = 1;
    loop {
        let (mut reader, node) = place.open()?;
        match LedgerTotals::read(&mut reader) {
            Ok(books) => return Ok((books, node)),
            Err(ReadError::Removed { .. }) if attempt < ATTEMPTS => attempt += 1,
            Err(error) => {
                return Err(Outcome::failed(format!("the ledger cannot be read to its end: {error}")));
            }
        }
    }
}

/// What a ledger adds up to, for who compares it with what was told elsewhere.
pub(crate) struct Sum {
    pub(crate) opened: u64,
    pub(crate) closed: u64,
    pub(crate) open: u64,
    /// What does not add up, in words.
    pub(crate) wrong: Vec<String>,
    /// The last record there is.
    pub(crate) last: Option<Position>,
}

/// Adds up without a report.
pub(crate) fn sum(place: &LedgerPlace) -> Result<Sum, Outcome> {
    let (books, node) = read(place)?;
    let mut wrong: Vec<_> = books
        .findings(&node)
        .into_iter()
        .filter(|(_, count, _)| *count > 0)
        .map(|(what, count, names)| format!("{what}: {count} ({})", names.join(", ")))
        .collect();
    for (what, difference) in books.differences().into_iter().filter(|(_, difference)| *difference != 0) {
        wrong.push(format!("{what} is {difference}"));
    }
    Ok(Sum {
        opened: books.flows.opened,
        closed: books.flows.closed,
        open: books.flows.flows().len() as u64,
        wrong,
        last: books.last,
    })
}

/// Where the adding up begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beginning {
    /// At the first record there ever was, or the ledger is empty.
    Whole,
    /// At a checkpoint: what came before this record is gone.
    Trimmed { oldest: Position },
}

/// The totals of the ledger.
struct LedgerTotals {
    flows: OpenState,
    /// What runs say of themselves.
    runs: Runs,
    beginning: Beginning,
    /// Not reached yet, oldest first.
    checkpoints: Vec<Checkpoint>,
    /// How far sinks had read when the adding up began.
    cursors: Vec<(String, Position)>,
    /// The checkpoint that the adding up went on from.
    begun_at: Option<Position>,
    incarnations: u64,
    records: u64,
    /// The record before and the record after each hole.
    gaps: Vec<(Position, Position)>,
    /// Checkpoints that say something else than the records before them.
    contradicted: Vec<Position>,
    unknown: Vec<EventId>,
    last: Option<Position>,
    tail: Tail,
}

impl LedgerTotals {
    /// Before the first record. `checkpoints` are those that will be met, oldest first.
    fn empty(checkpoints: Vec<Checkpoint>) -> Self {
        Self {
            flows: OpenState::default(),
            runs: Runs::default(),
            beginning: Beginning::Whole,
            checkpoints,
            cursors: Vec::new(),
            begun_at: None,
            incarnations: 0,
            records: 0,
            gaps: Vec::new(),
            contradicted: Vec::new(),
            unknown: Vec::new(),
            last: None,
            tail: Tail::Empty,
        }
    }

    fn read(reader: &mut LogReader) -> Result<Self, ReadError> {
        // Before the records: retention may drop some while they are read, but none after these.
        let mut checkpoints = reader.checkpoints().map_err(ReadError::Fault)?;
        checkpoints.reverse();
        let mut books = Self::empty(checkpoints);
        // A damaged cursor says nothing of the records; the server names it at its start.
        books.cursors = reader.cursors().unwrap_or_default();
        while let Some(block) = reader.next_block()? {
            for record in block.records() {
                books.take(record.position, record.at, record.kind, record.payload);
            }
        }
        books.tail = reader.tail()?;
        Ok(books)
    }

    fn take(&mut self, at: Position, when: u64, kind: u16, payload: &[u8]) {
        if self.last.is_none() && at != Position::new(1, 1) {
            self.beginning = Beginning::Trimmed { oldest: at };
            // Those before the oldest record say nothing of what is there.
            self.checkpoints.retain(|checkpoint| checkpoint.position >= at);
        }
        let same_run = self.last.is_some_and(|last| last.incarnation == at.incarnation);
        let expected = if same_run { self.last.map_or(1, |last| last.seq + 1) } else { 1 };
        // The oldest record there is may have older ones before it that retention took.
        if at.seq != expected && self.last.is_some() {
            self.gaps.push((self.last.unwrap_or_default(), at));
        }
        if !same_run {
            self.incarnations += 1;
        }
        self.last = Some(at);
        self.records += 1;
        let id = EventId { incarnation: at.incarnation, sequence: at.seq };
        match EventKind::try_from(kind) {
            Ok(kind) => {
                let whole = self.beginning == Beginning::Whole || self.begun_at.is_some();
                let reach = if whole { Reach::Whole } else { Reach::Partial };
                self.runs.take(at, kind, payload, &self.flows, reach);
                self.flows.fold(id, when, kind, payload);
            }
            Err(_) => self.unknown.push(id),
        }
        while self.checkpoints.first().is_some_and(|checkpoint| checkpoint.position <= at) {
            let checkpoint = self.checkpoints.remove(0);
            self.compare(&checkpoint);
        }
    }

    /// The fold has reached a checkpoint: takes over what it knows, or holds it against what the records say.
    fn compare(&mut self, checkpoint: &Checkpoint) {
        let Ok(known) = OpenState::restore(&checkpoint.payload) else {
            return self.contradicted.push(checkpoint.position);
        };
        let trimmed = matches!(self.beginning, Beginning::Trimmed { .. });
        if trimmed && self.begun_at.is_none() {
            // Of the records between the oldest and here it is only known what they opened.
            let opened = self.flows.flows();
            if opened.iter().any(|(flow, left)| known.flows().get(flow) != Some(left)) {
                self.contradicted.push(checkpoint.position);
            }
            self.begun_at = Some(checkpoint.position);
            self.flows = known;
        } else if self.flows != known {
            self.contradicted.push(checkpoint.position);
        }
    }

    /// What is wrong with the beginning: records may be gone only if a tombstone says so, and what was open
    /// there must be known.
    fn beginning(&self) -> Vec<String> {
        let Beginning::Trimmed { oldest } = self.beginning else { return Vec::new() };
        let mut wrong = Vec::new();
        let explained = self.flows.trimmed().is_some_and(|trimmed| {
            let last = Position::new(trimmed.last.incarnation, trimmed.last.sequence);
            let next_run = oldest.seq == 1 && oldest.incarnation <= last.incarnation + 1;
            // A process that died between the tombstone and the removal left more than that.
            oldest <= last || oldest == Position::new(last.incarnation, last.seq + 1) || next_run
        });
        if !explained {
            wrong.push(format!("no ledger.trimmed explains what is missing before {oldest}"));
        }
        if self.begun_at.is_none() {
            wrong.push(format!("no checkpoint tells what was open at {oldest}"));
        }
        wrong
    }

    /// What does not add up, by kind.
    fn findings(&self, node: &Node) -> Vec<(&'static str, u64, Vec<String>)> {
        fn named(
            what: &'static str,
            count: u64,
            names: impl Iterator<Item = String>,
        ) -> (&'static str, u64, Vec<String>) {
            (what, count, names.take(NAMED).collect())
        }
        let flow = |(id, flow): &(EventId, String)| format!("{flow} by event {}", node.event(*id));
        let user = flow;
        let event = |id: &EventId| node.event(*id);
        let (flows, users) = (&self.flows, &self.flows.users);
        let beginning = self.beginning();
        let unreached = |checkpoint: &Checkpoint| {
            format!(
                "a checkpoint tells of {}, and the last event there is is {}",
                checkpoint.position,
                self.last_word()
            )
        };
        let read = |(sink, at): &(String, Position)| {
            format!(
                "sink {sink} has read as far as {at}, and the last event there is is {}",
                self.last_word()
            )
        };
        let last = self.last.unwrap_or_default();
        let unread = self.cursors.iter().filter(|(_, at)| *at > last);
        let ends: Vec<_> = self.checkpoints.iter().map(unreached).chain(unread.map(read)).collect();
        let gap = |(from, to): &(Position, Position)| format!("between {from} and {to}");
        vec![
            named("beginning", beginning.len() as u64, beginning.into_iter()),
            named("gaps in sequences", self.gaps.len() as u64, self.gaps.iter().map(gap)),
            named("missing end", ends.len() as u64, ends.into_iter()),
            named("runs that differ", self.runs.count, self.runs.wrong.iter().cloned()),
            named(
                "closed, not open",
                flows.closed_without_open.len(),
                flows.closed_without_open.iter().map(flow),
            ),
            named("opened twice", flows.opened_twice.len(), flows.opened_twice.iter().map(flow)),
            named(
                "calls ended, not up",
                flows.calls.ended_without_start.len(),
                flows.calls.ended_without_start.iter().map(flow),
            ),
            named(
                "calls started twice",
                flows.calls.started_twice.len(),
                flows.calls.started_twice.iter().map(flow),
            ),
            named("online twice", users.online_twice.len(), users.online_twice.iter().map(user)),
            named(
                "offline, not online",
                users.offline_without_online.len(),
                users.offline_without_online.iter().map(user),
            ),
            named(
                "offline, registered",
                users.offline_with_binding.len(),
                users.offline_with_binding.iter().map(user),
            ),
            named("unreadable events", flows.unreadable.len(), flows.unreadable.iter().map(event)),
            named("unknown events", self.unknown.len() as u64, self.unknown.iter().map(event)),
            named(
                "false checkpoints",
                self.contradicted.len() as u64,
                self.contradicted.iter().map(|at| format!("at {at}")),
            ),
        ]
    }

    fn last_word(&self) -> String {
        self.last.map_or_else(|| "none".to_owned(), |last| last.to_string())
    }

    /// What came, less what went, less what is there: zero each.
    fn differences(&self) -> [(&'static str, i128); 3] {
        let off = |came: u64, went: u64, there: usize| i128::from(came) - i128::from(went) - there as i128;
        let (flows, users, calls) = (&self.flows, &self.flows.users, &self.flows.calls);
        [
            ("opened-closed-open", off(flows.opened, flows.closed, flows.flows().len())),
            ("came-went-online", off(users.came, users.went, users.online())),
            ("started-ended-open", off(calls.started, calls.ended, calls.open().len())),
        ]
    }

    fn report(&self, node: &Node) -> Outcome {
        let open = self.flows.flows().len() as u64;
        say!("node {node}: {} of {}", counted(self.records, "event"), counted(self.incarnations, "run"));
        if let (Beginning::Trimmed { oldest }, Some(at)) = (self.beginning, self.begun_at) {
            say!("events before {oldest} were dropped; what they came to is told by the checkpoint at {at}");
        }
        say!("flows opened        {:>12}", self.flows.opened);
        say!("flows closed        {:>12}", self.flows.closed);
        say!("flows open          {open:>12}  ({})", self.state(open));
        let differences = self.differences();
        let say_difference = |number: usize| {
            let (what, difference) = differences[number];
            say!("{what:<20}{difference:>12}");
        };
        say_difference(0);
        let users = &self.flows.users;
        if users.came > 0 {
            say!("users came online   {:>12}", users.came);
            say!("users went offline  {:>12}", users.went);
            say!("users online        {:>12}", users.online());
            say_difference(1);
        }
        let calls = &self.flows.calls;
        if calls.started > 0 {
            say!("calls started       {:>12}", calls.started);
            say!("calls ended         {:>12}", calls.ended);
            say!("calls open          {:>12}", calls.open().len());
            say_difference(2);
        }
        let mut wrong = 0;
        for (what, count, names) in self.findings(node) {
            say!("{what:<20}{count:>12}");
            wrong += count;
            names.iter().for_each(|name| say!("    {name}"));
            let more = count.saturating_sub(names.len() as u64);
            if more > 0 {
                say!("    and {more} more");
            }
        }
        if wrong == 0 && differences.iter().all(|(_, difference)| *difference == 0) {
            say!("it adds up");
            return Outcome::Done;
        }
        Outcome::failed(format!("{}: this ledger does not add up", counted(wrong, "finding")))
    }

    fn state(&self, open: u64) -> &'static str {
        match self.tail {
            Tail::Sealed if open == 0 => "the node ended in order",
            Tail::Sealed => "the node ended; its next start closes them",
            Tail::Open | Tail::Torn(_) => "a node is running, or died: its next start closes them",
            Tail::Empty => "nothing was ever written",
        }
    }
}
