use std::path::PathBuf;
use std::time::Duration;

use ledger::{Batch, Durability, Ledger, ReadFrom, Settings};
use lifecycle::{Direction, Event, FlowFacts, FlowOpened, LedgerTrimmed, Text, Transport, TrimReason};

use super::*;

/// A ledger of several segments with two checkpoints, whose beginning may go.
struct Written {
    directory: PathBuf,
    ledger: Ledger,
    books: OpenState,
    /// Where the records begin that stay.
    cut: Position,
}

impl Drop for Written {
    fn drop(&mut self) {
        let _ = self.ledger.close(Duration::from_secs(5));
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

impl Written {
    fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("sipway-audit-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&directory);
        let settings = Settings {
            segment_bytes: 64 << 10,
            block_bytes: 16 << 10,
            spare_bytes: 0,
            durability: Durability::Memory,
            ..Settings::new("edge1")
        };
        let ledger = Ledger::open(&directory, settings).unwrap().ledger;
        let mut written = Self { directory, ledger, books: OpenState::default(), cut: Position::START };
        written.append(EventKind::NodeStarted, br#"{"version":"0.1.0","flows_recovered":0}"#);
        written.open("edge1.1.early");
        written.fill();
        written.checkpoint();
        written.cut = written.ledger.segments().last().unwrap().first;
        written.fill();
        written.checkpoint();
        written.close("edge1.1.early");
        written.open("edge1.1.late");
        written
    }

    fn append(&mut self, kind: EventKind, payload: &[u8]) {
        let appended = loop {
            let mut batch = Batch::new();
            batch.push(kind.number(), 1, payload);
            match self.ledger.append(batch) {
                Ok(appended) => break appended,
                // The next segment is in the making.
                Err(_) => std::thread::yield_now(),
            }
        };
        self.ledger.durable(appended.last_seq).wait_for(Duration::from_secs(30)).unwrap().unwrap();
        self.books.fold(EventId { incarnation: 1, sequence: appended.last_seq }, 1, kind, payload);
    }

    fn open(&mut self, flow: &str) {
        let facts = FlowFacts {
            transport: Transport::Ws,
            direction: Direction::Accepted,
            listener: Text::new("ws"),
            local: "127.0.0.1:8080".parse().unwrap(),
            remote: "127.0.0.1:40000".parse().unwrap(),
            forwarded: None,
            host: None,
            origin: None,
            path: None,
            user_agent: Some(Text::new("x".repeat(200))),
            tls: None,
        };
        let opened =
            Event::FlowOpened(FlowOpened { flow, opened_at: 1, facts: std::borrow::Cow::Borrowed(&facts) });
        self.append(opened.kind(), &opened.to_json());
    }

    fn close(&mut self, flow: &str) {
        self.append(EventKind::FlowClosed, format!(r#"{{"flow":"{flow}"}}"#).as_bytes());
    }

    /// Flows that come and go, until two more segments were full.
    fn fill(&mut self) {
        let until = self.ledger.status().rolled + 2;
        while self.ledger.status().rolled < until {
            let flow = format!("edge1.1.f{}", self.books.opened);
            self.open(&flow);
            self.close(&flow);
        }
    }

    fn checkpoint(&self) {
        self.ledger.write_checkpoint(self.ledger.durable_position(), &self.books.snapshot()).unwrap();
    }

    fn entomb(&mut self) {
        let last = format!("edge1.1.{}", self.cut.seq - 1);
        let tombstone = Event::LedgerTrimmed(LedgerTrimmed {
            first: "edge1.1.1",
            last: &last,
            records: self.cut.seq - 1,
            bytes: 1,
            reason: TrimReason::Age.into(),
            passed: Vec::new().into(),
            passed_total: 0,
        });
        self.append(tombstone.kind(), &tombstone.to_json());
    }

    fn remove(&self) {
        assert!(self.ledger.remove_before(self.cut).unwrap().segments >= 2);
    }

    fn audit(&self) -> LedgerTotals {
        LedgerTotals::read(&mut LogReader::open(&self.directory, ReadFrom::Oldest).unwrap()).unwrap()
    }
}

fn wrong(books: &LedgerTotals) -> Vec<&'static str> {
    let node = Node::new("edge1").unwrap();
    books.findings(&node).into_iter().filter(|(_, count, _)| *count > 0).map(|(what, ..)| what).collect()
}

#[test]
fn it_adds_up_whole_entombed_and_trimmed() {
    let mut written = Written::new("adds-up");
    let whole = written.audit();
    assert_eq!((wrong(&whole), whole.differences()[0].1, whole.begun_at), (vec![], 0, None));
    written.entomb();
    let entombed = written.audit();
    assert_eq!((wrong(&entombed), entombed.differences()[0].1), (vec![], 0));
    written.remove();
    let trimmed = written.audit();
    assert_eq!((wrong(&trimmed), trimmed.differences()[0].1), (vec![], 0));
    assert!(trimmed.begun_at.is_some() && trimmed.records < whole.records);
    assert_eq!((trimmed.flows.opened, trimmed.flows.closed), (whole.flows.opened, whole.flows.closed));
    assert!(trimmed.flows.flows().keys().map(|flow| &**flow).eq(["edge1.1.late"]));
}

#[test]
fn a_beginning_that_went_without_a_word_is_found() {
    let written = Written::new("no-word");
    written.remove();
    assert_eq!(wrong(&written.audit()), ["beginning"]);
}

#[test]
fn without_a_checkpoint_nobody_knows_what_was_open() {
    let mut written = Written::new("no-checkpoint");
    written.entomb();
    written.remove();
    std::fs::remove_dir_all(written.directory.join("checkpoints")).unwrap();
    std::fs::create_dir(written.directory.join("checkpoints")).unwrap();
    assert!(wrong(&written.audit()).contains(&"beginning"));
}

#[test]
fn what_was_wrong_before_the_beginning_is_still_found() {
    let mut written = Written::new("still-found");
    written.close("edge1.1.nobody");
    written.fill();
    written.checkpoint();
    written.checkpoint();
    written.cut = written.ledger.segments().last().unwrap().first;
    written.fill();
    written.checkpoint();
    written.entomb();
    written.remove();
    assert_eq!(wrong(&written.audit()), ["closed, not open"]);
}

#[test]
fn a_checkpoint_that_lies_is_found() {
    let mut written = Written::new("lies");
    written.books = OpenState::default();
    written.checkpoint();
    assert_eq!(wrong(&written.audit()), ["false checkpoints"]);
}
