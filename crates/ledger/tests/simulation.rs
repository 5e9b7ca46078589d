//! The promises, checked on a simulated disk: whatever the order of appends, faults, crashes and restarts,
//! every acknowledged record is there, in order, once, and every reservation is honoured.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ledger::storage::sim::{End, Faults, Simulated};
use ledger::{
    Batch, Ledger, OpenError, Opened, Position, ReadFrom, Refused, Reservation, Settings, Stepped, Stepper,
};
use proptest::prelude::*;

fn settings() -> Settings {
    Settings {
        segment_bytes: 64 << 10,
        block_bytes: 4 << 10,
        spare_bytes: 32 << 10,
        stall_after: Duration::from_secs(3600),
        ..Settings::new("edge-1")
    }
}

/// What a record should be, computed from where it stands.
fn payload(position: Position, length: usize) -> Vec<u8> {
    let seed = position.incarnation.wrapping_mul(31).wrapping_add(position.seq);
    (0..length).map(|index| (seed.wrapping_mul(7).wrapping_add(index as u64) % 251) as u8).collect()
}

/// A node and what it may rely on.
struct Node {
    disk: Simulated,
    running: Option<(Opened, Stepper)>,
    reservations: Vec<(Reservation, usize)>,
    /// Lengths of all records appended in the current run.
    appended: BTreeMap<u64, usize>,
    /// Every record that was acknowledged as durable, or seen in a recovered log: it must never go away.
    known: BTreeMap<Position, usize>,
}

impl Node {
    fn new(seed: u64) -> Self {
        let mut node = Self {
            disk: Simulated::new(seed),
            running: None,
            reservations: Vec::new(),
            appended: BTreeMap::new(),
            known: BTreeMap::new(),
        };
        node.start().expect("an empty directory opens");
        node
    }

    fn start(&mut self) -> Result<(), OpenError> {
        self.appended.clear();
        let opened = Ledger::open_stepped(Arc::new(self.disk.mount()), settings())?;
        self.running = Some(opened);
        self.check_history();
        Ok(())
    }

    /// Read all there is: nothing known may be missing or changed, nothing may come twice or out of order.
    fn check_history(&mut self) {
        let Some((opened, _)) = &self.running else { return };
        let mut reader = opened.ledger.reader(ReadFrom::Oldest);
        let mut seen = BTreeMap::new();
        let mut before = Position::START;
        while let Some(block) = reader.next_block().expect("the log reads") {
            for record in block.records() {
                let position = record.position;
                // Retention may have taken the beginning.
                let follows = before == Position::START
                    || (position.incarnation == before.incarnation && position.seq == before.seq + 1)
                    || (position.incarnation > before.incarnation && position.seq == 1);
                assert!(follows, "{position} after {before}");
                assert_eq!(record.payload, payload(position, record.payload.len()), "{position}");
                seen.insert(position, record.payload.len());
                before = position;
            }
        }
        for (position, length) in &self.known {
            assert_eq!(seen.get(position), Some(length), "acknowledged record {position} is gone");
        }
        self.known = seen;
    }

    fn append(&mut self, lengths: &[usize], mut reserved: Vec<(Reservation, usize)>) -> Result<(), Refused> {
        let Some((opened, _)) = &self.running else { return Ok(()) };
        let ledger = &opened.ledger;
        let mut seq = ledger.status().appended;
        let mut batch = Batch::new();
        let mut sizes = Vec::new();
        for length in lengths {
            seq += 1;
            batch.push(1, seq, &payload(Position::new(ledger.incarnation(), seq), *length));
            sizes.push((seq, *length));
        }
        for (reservation, length) in reserved.drain(..) {
            seq += 1;
            let bytes = payload(Position::new(ledger.incarnation(), seq), length);
            batch.push_reserved(reservation, 2, seq, &bytes).expect("within what was reserved");
            sizes.push((seq, length));
        }
        match ledger.append(batch) {
            Ok(appended) => {
                assert_eq!(appended.last_seq, seq);
                self.appended.extend(sizes);
                Ok(())
            }
            Err(rejected) => Err(rejected.why),
        }
    }

    fn acknowledge(&mut self) {
        let Some((opened, _)) = &self.running else { return };
        let durable = opened.ledger.durable_position();
        for (seq, length) in &self.appended {
            if *seq <= durable.seq {
                self.known.insert(Position::new(durable.incarnation, *seq), *length);
            }
        }
    }

    fn step(&mut self, write: bool) -> Stepped {
        let Some((_, stepper)) = &mut self.running else { return Stepped::Idle };
        let stepped = if write { stepper.write() } else { stepper.keep() };
        self.acknowledge();
        stepped
    }

    fn end(&mut self, end: End) {
        self.reservations.clear();
        // First the power, then the handles: nothing may be tidied up on the way down.
        self.disk.end(end);
        self.running = None;
    }
}

#[derive(Debug, Clone)]
enum Action {
    Append(Vec<usize>),
    Reserve(usize),
    Use(usize),
    Release,
    Write,
    Keep,
    Faults(Faults),
    Full(bool),
    Kill,
    PowerLoss,
    CrashAfter(u64),
    Checkpoint,
    Retain,
    Close,
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => prop::collection::vec(0_usize..900, 1..4).prop_map(Action::Append),
        4 => (1_usize..3000).prop_map(Action::Reserve),
        4 => (0_usize..3000).prop_map(Action::Use),
        1 => Just(Action::Release),
        8 => Just(Action::Write),
        4 => Just(Action::Keep),
        1 => (2_u32..8).prop_map(|odds| Action::Faults(Faults::OneIn(odds))),
        1 => Just(Action::Faults(Faults::Syncs(1))),
        1 => Just(Action::Faults(Faults::Writes(1))),
        1 => Just(Action::Faults(Faults::All)),
        2 => Just(Action::Faults(Faults::None)),
        1 => any::<bool>().prop_map(Action::Full),
        1 => Just(Action::Kill),
        1 => Just(Action::PowerLoss),
        1 => (1_u64..12).prop_map(Action::CrashAfter),
        1 => Just(Action::Checkpoint),
        1 => Just(Action::Retain),
        1 => Just(Action::Close),
    ]
}

fn perform(node: &mut Node, action: &Action) {
    match action {
        Action::Append(lengths) => {
            let _ = node.append(lengths, Vec::new());
        }
        Action::Reserve(bytes) => {
            let Some((opened, _)) = &node.running else { return };
            if let Ok(reservation) = opened.ledger.reserve(*bytes) {
                node.reservations.push((reservation, *bytes));
            }
        }
        Action::Use(length) => {
            if let Some((reservation, bytes)) = node.reservations.pop() {
                let length = (*length).min(bytes);
                node.append(&[], vec![(reservation, length)]).expect("a reserved append is always taken");
            }
        }
        Action::Release => {
            node.reservations.pop();
        }
        Action::Write => {
            node.step(true);
        }
        Action::Keep => {
            node.step(false);
        }
        Action::Faults(faults) => node.disk.fail(*faults),
        Action::Full(full) => node.disk.limit(full.then(|| node.disk.used())),
        Action::Kill | Action::PowerLoss => {
            node.end(if matches!(action, Action::Kill) { End::Kill } else { End::PowerLoss });
            node.disk.limit(None);
            node.start().expect("no crash makes a log unreadable");
        }
        Action::CrashAfter(changes) => {
            node.disk.crash_at(node.disk.changes() + changes);
            for _ in 0..*changes {
                let _ = node.append(&[100], Vec::new());
                node.step(true);
                node.step(false);
            }
            node.end(End::PowerLoss);
            node.disk.limit(None);
            node.start().expect("no crash makes a log unreadable");
        }
        Action::Checkpoint => {
            let Some((opened, _)) = &node.running else { return };
            let _ = opened.ledger.write_checkpoint(opened.ledger.durable_position(), b"state");
        }
        Action::Retain => {
            let Some((opened, _)) = &node.running else { return };
            let at = opened.ledger.durable_position();
            let at = Position::new(at.incarnation, at.seq / 2);
            // Whether it could or not: what lies before may be gone from now on.
            let _ = opened.ledger.remove_before(at);
            node.known.retain(|position, _| *position >= at);
            node.appended.retain(|seq, _| *seq >= at.seq);
        }
        Action::Close => {
            node.disk.fail(Faults::None);
            node.disk.limit(None);
            if let Some((opened, _)) = &node.running {
                opened.ledger.close(Duration::ZERO).expect("stepped");
            }
            for _ in 0..100 {
                node.step(false);
                if node.step(true) == Stepped::Ended {
                    break;
                }
            }
            node.known.extend(node.appended.iter().filter_map(|(seq, length)| {
                let (opened, _) = node.running.as_ref()?;
                Some((Position::new(opened.incarnation, *seq), *length))
            }));
            node.end(End::PowerLoss);
            node.start().expect("a closed log opens");
            let Some((opened, _)) = &node.running else { return };
            assert!(opened.previous.is_some_and(|previous| previous.ended == ledger::Ended::Cleanly));
        }
    }
}

/// `LEDGER_CASES` asks for a longer search.
fn cases() -> u32 {
    std::env::var("LEDGER_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(120)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn acknowledged_records_survive_everything(seed in any::<u64>(), actions in prop::collection::vec(action(), 1..80)) {
        let mut node = Node::new(seed);
        for action in &actions {
            perform(&mut node, action);
        }
        node.check_history();
        node.end(End::PowerLoss);
        node.disk.limit(None);
        node.start().expect("opens at the end");
    }
}

/// One run with rolls, a checkpoint and retention, going down at its `n`th change of the disk, for every `n`.
#[test]
fn a_crash_at_every_step_of_a_run_loses_nothing_acknowledged() {
    let mut finished = false;
    for step in 1..2000 {
        let mut node = Node::new(step);
        for _ in 0..3 {
            node.append(&[50], Vec::new()).expect("room");
            node.step(true);
        }
        let down_at = node.disk.changes() + step;
        node.disk.crash_at(down_at);
        for round in 0..60 {
            let _ = node.append(&[900, 900, 900], Vec::new());
            node.step(true);
            node.step(false);
            if round % 20 == 10 {
                perform(&mut node, &Action::Checkpoint);
            }
            if round == 50 {
                perform(&mut node, &Action::Retain);
            }
        }
        finished = node.disk.changes() < down_at;
        let end = if step % 2 == 0 { End::Kill } else { End::PowerLoss };
        node.end(end);
        // The mending itself may be interrupted, too.
        node.disk.crash_at(node.disk.changes() + 1 + step % 11);
        if node.start().is_err() {
            node.end(End::PowerLoss);
            node.start().expect("opens after two crashes");
        }
        if finished {
            break;
        }
    }
    assert!(finished, "the run has fewer steps than were tried");
}
