//! Reads the ledger from its first record to its last, across all runs, and holds it to the promise.

mod users;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use config::EventTypes;
use ledger::{Ledger, Position, ReadFrom, Reader};
use lifecycle::{Cause, EventKind, FlowId, RemovalCause};

use users::Users;

/// What is remembered of a record after it may be gone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    pub(crate) kind: EventKind,
    pub(crate) length: usize,
    pub(crate) fingerprint: u64,
}

/// A binding as records name it.
type Bound = (Option<FlowId>, String, String);

#[derive(Default)]
pub(crate) struct Witness {
    /// Every record ever durable, by run.
    runs: BTreeMap<u64, Vec<Mark>>,
    at: Position,
    reader: Option<Reader>,
    open: BTreeSet<FlowId>,
    closed: BTreeSet<FlowId>,
    bindings: BTreeMap<Bound, u32>,
    /// Bindings that each open flow holds.
    held: BTreeMap<FlowId, u32>,
    users: Users,
    /// For how long a user must have had no binding to be offline.
    hold: Duration,
    /// The run that said `node.stopped` last.
    stopped: u64,
    /// Flows whose clients were accepted, in the current run.
    usable: Vec<FlowId>,
    /// How flows were ended by the run that had them.
    ended: BTreeMap<FlowId, Cause>,
    /// What was durable when the last run went down.
    promised: Position,
    pub(crate) opened_total: u64,
    pub(crate) closed_total: u64,
    /// Of all records so far, in order.
    pub(crate) digest: u64,
}

impl Witness {
    pub(crate) fn new(hold: Duration) -> Self {
        Self { hold, ..Self::default() }
    }

    /// A client was accepted: from now on its flow is promised.
    pub(crate) fn usable(&mut self, flow: FlowId) {
        self.usable.push(flow);
    }

    /// The run that has a flow ends it.
    pub(crate) fn ended(&mut self, flow: FlowId, cause: Cause) {
        self.ended.insert(flow, cause);
    }

    /// A run goes down; what it had said is durable must be found again.
    pub(crate) fn went_down(&mut self, durable: Position) {
        self.promised = self.promised.max(durable);
        self.reader = None;
    }

    /// A new run has written what the earlier ones owed.
    pub(crate) fn begins(&mut self, ledger: &Ledger) -> Result<(), String> {
        let from = if self.at == Position::START { ReadFrom::Oldest } else { ReadFrom::After(self.at) };
        self.reader = Some(ledger.reader(from));
        self.follow()?;
        let reached = self.runs.get(&self.promised.incarnation).map_or(0, |run| run.len() as u64);
        if self.promised.seq > reached {
            return Err(format!(
                "records up to {} were said to be durable and only {reached} are there",
                self.promised
            ));
        }
        for flow in self.usable.drain(..) {
            if !self.closed.contains(&flow) {
                return Err(format!("{flow:?} was usable, and after the next start it has no close"));
            }
        }
        if let Some(flow) = self.open.iter().find(|flow| flow.incarnation < ledger.incarnation()) {
            return Err(format!("{flow:?} was left open by a start"));
        }
        if let Some((binding, _)) = self.bindings.first_key_value() {
            return Err(format!("{binding:?} was left by a start"));
        }
        self.ended.clear();
        Ok(())
    }

    /// Reads what became durable since.
    pub(crate) fn follow(&mut self) -> Result<(), String> {
        let Some(mut reader) = self.reader.take() else { return Ok(()) };
        let followed = self.read(&mut reader);
        self.reader = Some(reader);
        followed
    }

    fn read(&mut self, reader: &mut Reader) -> Result<(), String> {
        loop {
            let block = match reader.next_block() {
                Ok(Some(block)) => block,
                Ok(None) => return Ok(()),
                // Whether that is for good is seen at the next start.
                Err(ledger::ReadError::Fault(_)) => return Ok(()),
                Err(error) => return Err(format!("the ledger cannot be read: {error}")),
            };
            for record in block.records() {
                let position = record.position;
                self.digest = mix(self.digest, position.seq);
                self.record(position, record.at, record.kind, record.payload).map_err(|why| {
                    format!("{position}: {why}: {}", String::from_utf8_lossy(record.payload))
                })?;
                self.at = position;
            }
        }
    }

    fn record(&mut self, position: Position, at: u64, kind: u16, payload: &[u8]) -> Result<(), String> {
        let kind = EventKind::try_from(kind).map_err(|error| error.to_string())?;
        let run = self.runs.entry(position.incarnation).or_default();
        if run.len() as u64 + 1 != position.seq {
            return Err(format!("it follows {} of its run", run.len()));
        }
        if position < self.at {
            return Err(format!("it comes after {}", self.at));
        }
        let fingerprint = fingerprint(payload);
        run.push(Mark { kind, length: payload.len(), fingerprint });
        self.digest = mix(self.digest, fingerprint);
        if self.stopped == position.incarnation {
            return Err("it comes after node.stopped".to_owned());
        }
        if (kind == EventKind::NodeStarted) != (position.seq == 1) {
            return Err("node.started is not the first of its run".to_owned());
        }
        let text = std::str::from_utf8(payload).map_err(|error| error.to_string())?;
        match kind {
            EventKind::FlowOpened => self.opened(position, flow(text)?.ok_or("no flow")?),
            EventKind::FlowClosed => self.closed(position, flow(text)?.ok_or("no flow")?, text),
            EventKind::BindingAdded => self.added(text).and_then(|()| self.users.added(text)),
            EventKind::BindingRemoved => {
                self.removed(position, text).and_then(|()| self.users.removed(at, text))
            }
            EventKind::UserOnline => self.users.online(text),
            EventKind::UserOffline => self.users.offline(at, text, self.hold),
            EventKind::NodeStarted => {
                self.users.begin(at);
                Ok(())
            }
            EventKind::NodeStopped => {
                self.stopped = position.incarnation;
                match (self.open.first(), self.bindings.first_key_value()) {
                    (None, None) => Ok(()),
                    (flow, binding) => Err(format!("still there: {flow:?}, {binding:?}")),
                }
            }
            _ => Ok(()),
        }
    }

    fn opened(&mut self, position: Position, flow: FlowId) -> Result<(), String> {
        if flow.incarnation != position.incarnation {
            return Err("a flow of another run opens".to_owned());
        }
        if self.open.first().is_some_and(|left| left.incarnation < flow.incarnation) {
            return Err("a flow opens before an earlier run's were closed".to_owned());
        }
        if self.closed.contains(&flow) || !self.open.insert(flow) {
            return Err("it opens twice".to_owned());
        }
        self.opened_total += 1;
        Ok(())
    }

    fn closed(&mut self, position: Position, flow: FlowId, text: &str) -> Result<(), String> {
        if !self.open.remove(&flow) {
            let twice = self.closed.contains(&flow);
            return Err(if twice { "it closes twice" } else { "it closes and never opened" }.to_owned());
        }
        self.closed.insert(flow);
        self.closed_total += 1;
        if let Some(held) = self.held.remove(&flow).filter(|held| *held > 0) {
            return Err(format!("it closes with {held} bindings"));
        }
        let cause = field(text, "cause").ok_or("no cause")?;
        let certainty = field(text, "certainty").ok_or("no certainty")?;
        let (cause_due, certainty_due) = if flow.incarnation == position.incarnation {
            let ended = self.ended.get(&flow).ok_or("nobody ended this flow")?;
            (ended.as_str(), "observed")
        } else {
            (Cause::NodeCrash.as_str(), "journal_replay")
        };
        if (cause, certainty) != (cause_due, certainty_due) {
            return Err(format!("the cause is {cause}, {certainty}; it was {cause_due}, {certainty_due}"));
        }
        Ok(())
    }

    fn added(&mut self, text: &str) -> Result<(), String> {
        let bound = bound(text)?;
        if let Some(flow) = bound.0 {
            if !self.open.contains(&flow) {
                return Err("a binding comes to a flow that is not open".to_owned());
            }
            *self.held.entry(flow).or_default() += 1;
        }
        *self.bindings.entry(bound).or_default() += 1;
        Ok(())
    }

    fn removed(&mut self, position: Position, text: &str) -> Result<(), String> {
        let bound = bound(text)?;
        let crashed = field(text, "cause") == Some(RemovalCause::NodeCrash.as_str());
        if let Some(flow) = bound.0 {
            if !self.open.contains(&flow) {
                return Err("a binding goes from a flow that is not open".to_owned());
            }
            if crashed != (flow.incarnation < position.incarnation) {
                return Err("the cause of its end is not true".to_owned());
            }
            if let Some(held) = self.held.get_mut(&flow) {
                *held -= held.min(&mut 1).to_owned();
            }
        }
        match self.bindings.get_mut(&bound) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) => drop(self.bindings.remove(&bound)),
            None => return Err("a binding goes that was not there".to_owned()),
        }
        Ok(())
    }

    /// What stands at a place.
    pub(crate) fn mark(&self, at: Position) -> Option<&Mark> {
        let index = usize::try_from(at.seq.checked_sub(1)?).ok()?;
        self.runs.get(&at.incarnation)?.get(index)
    }

    /// The first record behind `after` of these types.
    pub(crate) fn next(&self, after: Position, types: &EventTypes) -> Option<Position> {
        for (&incarnation, run) in self.runs.range(after.incarnation..) {
            let seen = if incarnation == after.incarnation { after.seq } else { 0 };
            let rest = run.get(usize::try_from(seen).ok()?..).unwrap_or_default();
            if let Some(index) = rest.iter().position(|mark| types.include(mark.kind)) {
                return Some(Position::new(incarnation, seen + 1 + index as u64));
            }
        }
        None
    }

    /// The last record read.
    pub(crate) fn at(&self) -> Position {
        self.at
    }

    /// Who is online by the records.
    pub(crate) fn users(&self) -> &Users {
        &self.users
    }

    /// Flows that are open by the records.
    pub(crate) fn open(&self) -> &BTreeSet<FlowId> {
        &self.open
    }
}

fn flow(text: &str) -> Result<Option<FlowId>, String> {
    let Some(name) = field(text, "flow") else { return Ok(None) };
    FlowId::parse(name).map(|(_, flow)| Some(flow)).map_err(|error| error.to_string())
}

fn bound(text: &str) -> Result<Bound, String> {
    let aor = field(text, "aor").ok_or("no aor")?;
    let contact = field(text, "contact").ok_or("no contact")?;
    Ok((flow(text)?, aor.to_owned(), contact.to_owned()))
}

/// The text under a key; no text of ours has quotes in it.
fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let mut rest = text;
    loop {
        let at = rest.find(key)?;
        let (before, after) = (&rest[..at], &rest[at + key.len()..]);
        if before.ends_with('"')
            && let Some(value) = after.strip_prefix("\":\"")
        {
            return value.split('"').next();
        }
        rest = after;
    }
}

fn mix(state: u64, word: u64) -> u64 {
    let mixed = (state ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 32)
}

/// Tells texts apart.
pub(crate) fn fingerprint(bytes: &[u8]) -> u64 {
    let mut state = bytes.len() as u64;
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        state = mix(state, word.try_into().map_or(0, u64::from_le_bytes));
    }
    words.remainder().iter().fold(state, |state, byte| mix(state, u64::from(*byte) + 1))
}
