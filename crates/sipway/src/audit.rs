//! `sipway audit`: proves from the ledger alone that every flow that opened closed once, or is open now.

use ledger::{LogReader, Position, ReadError, Tail};
use lifecycle::{EventId, EventKind, Node, Unfinished};

use crate::{command::Audit, outcome::Outcome, speech::say};

/// Findings of one kind that are named; the rest is counted.
const NAMED: usize = 10;

pub(crate) fn run(audit: &Audit) -> Outcome {
    let (mut reader, node) = match audit.place.open() {
        Ok(opened) => opened,
        Err(outcome) => return outcome,
    };
    match Books::read(&mut reader) {
        Ok(books) => books.report(&node),
        Err(error) => Outcome::failed(format!("the ledger cannot be read to its end: {error}")),
    }
}

/// What the ledger adds up to.
struct Books {
    flows: Unfinished,
    incarnations: u64,
    records: u64,
    /// The record before and the record after each hole.
    gaps: Vec<(Position, Position)>,
    unknown: Vec<EventId>,
    last: Option<Position>,
    tail: Tail,
}

impl Books {
    fn read(reader: &mut LogReader) -> Result<Self, ReadError> {
        let mut books = Self {
            flows: Unfinished::default(),
            incarnations: 0,
            records: 0,
            gaps: Vec::new(),
            unknown: Vec::new(),
            last: None,
            tail: Tail::Empty,
        };
        while let Some(block) = reader.next_block()? {
            for record in block.records() {
                books.take(record.position, record.kind, record.payload);
            }
        }
        books.tail = reader.tail()?;
        Ok(books)
    }

    fn take(&mut self, at: Position, kind: u16, payload: &[u8]) {
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
            Ok(kind) => self.flows.fold(id, kind, payload),
            Err(_) => self.unknown.push(id),
        }
    }

    fn report(&self, node: &Node) -> Outcome {
        let open = self.flows.flows().len() as u64;
        say!("node {node}: {} events of {} runs", self.records, self.incarnations);
        say!("flows opened        {:>12}", self.flows.opened);
        say!("flows closed        {:>12}", self.flows.closed);
        say!("flows open          {open:>12}  ({})", self.state(open));
        let difference = i128::from(self.flows.opened) - i128::from(self.flows.closed) - i128::from(open);
        say!("opened-closed-open  {difference:>12}");
        let mut wrong = 0;
        let mut finding = |what: &str, mut names: Vec<String>| {
            say!("{what:<20}{:>12}", names.len());
            wrong += names.len();
            let more = names.len().saturating_sub(NAMED);
            names.truncate(NAMED);
            names.iter().for_each(|name| say!("    {name}"));
            if more > 0 {
                say!("    and {more} more");
            }
        };
        let flow = |(id, flow): &(EventId, String)| format!("{flow} by event {}", node.event(*id));
        finding(
            "gaps in sequences",
            self.gaps.iter().map(|(from, to)| format!("between {from} and {to}")).collect(),
        );
        finding("closed, not open", self.flows.closed_without_open.iter().map(flow).collect());
        finding("opened twice", self.flows.opened_twice.iter().map(flow).collect());
        finding("unreadable events", self.flows.unreadable.iter().map(|id| node.event(*id)).collect());
        finding("unknown events", self.unknown.iter().map(|id| node.event(*id)).collect());
        if wrong == 0 && difference == 0 {
            say!("it adds up");
            return Outcome::Done;
        }
        Outcome::failed(format!("{wrong} findings: this ledger does not add up"))
    }

    fn state(&self, open: u64) -> &'static str {
        match self.tail {
            Tail::Sealed if open == 0 => "the node ended in order",
            Tail::Sealed => "sealed by a later start",
            Tail::Open | Tail::Torn(_) => "a node is running, or died: its next start closes them",
            Tail::Empty => "nothing was ever written",
        }
    }
}
