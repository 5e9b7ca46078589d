//! Whatever is opened, closed, bound, rolled, checkpointed, dropped, damaged or cut off in between: a start
//! owes what a fold over everything that was ever written owes, nothing a sink has not read is gone, and no
//! hole is without its word.

use std::collections::BTreeMap;

use ledger::{
    Batch, Opened, ReadFrom, Save, Settings,
    storage::sim::{End, Simulated},
};
use lifecycle::{
    BindingAdded, BindingRemoved, Direction, Event, FlowFacts, FlowOpened, RemovalCause, Text, Transport,
};
use proptest::prelude::*;

use super::*;
use crate::{RecoveryError, recovery};

const DAY: u64 = 86_400_000_000;
const PATIENCE: Duration = Duration::from_secs(30);

fn settings() -> Settings {
    Settings {
        segment_bytes: 64 << 10,
        block_bytes: 16 << 10,
        spare_bytes: 64 << 10,
        gather: Duration::ZERO,
        ..Settings::new("e")
    }
}

fn settle(opened: &Opened) -> Result<(recovery::Recovered, LedgerFold), RecoveryError> {
    let settled = recovery::recover(opened, clock::micros(), |_| Some(RemovalCause::NodeCrash))?;
    Ok((settled.0, settled.1))
}

type Payloads = BTreeMap<Position, (EventKind, Vec<u8>)>;

struct World {
    disk: Simulated,
    node: Node,
    now: u64,
    /// Every record there ever was, tombstones apart.
    written: Payloads,
    damaged: Option<String>,
    dropping: Vec<String>,
    run: Option<Run>,
}

struct Run {
    opened: Opened,
    bookkeeper: Bookkeeper,
}

fn policy(dropping: &[String]) -> Retention {
    Retention {
        keep_for: Duration::from_secs(3600),
        keep_size: 192 << 10,
        sinks: vec!["crm".to_owned()],
        drop_unread_of: dropping.iter().cloned().collect(),
    }
}

fn facts(number: u8) -> FlowFacts {
    FlowFacts {
        transport: Transport::Ws,
        direction: Direction::Accepted,
        listener: Text::new("ws"),
        local: "127.0.0.1:8080".parse().unwrap(),
        remote: ([127, 0, 0, 1], u16::from(number)).into(),
        forwarded: None,
        host: None,
        origin: None,
        path: None,
        user_agent: None,
        tls: None,
    }
}

fn settled(unfinished: &OpenState) -> Vec<(EventKind, Vec<u8>)> {
    let mut settled = Vec::new();
    unfinished.settle(
        0,
        1,
        |_| Some(RemovalCause::NodeCrash),
        |event| settled.push((event.kind(), event.to_json())),
    );
    settled
}

impl World {
    fn new(seed: u64, dropping: &[&str]) -> Self {
        let mut world = Self {
            disk: Simulated::new(seed),
            node: Node::new("e").unwrap(),
            now: DAY,
            written: BTreeMap::new(),
            damaged: None,
            dropping: dropping.iter().map(|name| (*name).to_owned()).collect(),
            run: None,
        };
        world.start().expect("an empty directory opens");
        world
    }

    fn ledger(&self) -> &Ledger {
        &self.run.as_ref().expect("it runs").opened.ledger
    }

    fn fold_all(&self) -> OpenState {
        let mut all = OpenState::default();
        self.written.iter().for_each(|(at, (kind, payload))| all.fold(event_id(*at), 1, *kind, payload));
        all
    }

    fn start(&mut self) -> Result<(), RecoveryError> {
        let opened = Ledger::open_on(Arc::new(self.disk.mount()), settings())?;
        let (recovered, books) = settle(&opened)?;
        let all = self.fold_all();
        assert_eq!(settled(&books.unfinished), settled(&all));
        assert_eq!((books.unfinished.opened, books.unfinished.closed), (all.opened, all.closed));
        assert_eq!(recovered.flows, all.flows().len() as u64);
        let run = Position::new(opened.incarnation, 0);
        self.written.extend(read(&opened.ledger, ReadFrom::After(run)).0);
        let place = (opened.ledger.clone(), self.node.clone(), Arc::new(Metrics::new()));
        let bookkeeper = Bookkeeper::new(place, books, policy(&self.dropping), Arc::default());
        self.run = Some(Run { opened, bookkeeper });
        self.check();
        Ok(())
    }

    fn end(&mut self, end: End) {
        self.disk.end(end);
        // Nobody waits for a machine that is down.
        let _ = self.ledger().close(Duration::ZERO);
        self.run = None;
    }

    fn append(&mut self, events: &[Event<'_>]) {
        let mut batch = Batch::new();
        events.iter().for_each(|event| {
            batch.push(event.kind().number(), self.now, &event.to_json());
        });
        let until = Instant::now() + PATIENCE;
        // The next segment may still be in the making.
        let appended = loop {
            match self.ledger().append(batch) {
                Ok(appended) => break appended,
                Err(rejected) => {
                    assert!(Instant::now() < until, "{}", rejected.why);
                    batch = rejected.batch;
                    std::thread::yield_now();
                }
            }
        };
        self.ledger().durable(appended.last_seq).wait_for(PATIENCE).expect("in time").expect("durable");
        for (seq, event) in (appended.first_seq..).zip(events) {
            self.written.insert(Position::new(appended.incarnation, seq), (event.kind(), event.to_json()));
        }
    }

    fn flow(&self, number: u8) -> String {
        format!("e.{}.f{number}", self.ledger().incarnation())
    }

    fn toggle(&mut self, number: u8) {
        let flow = self.flow(number);
        let facts = facts(number);
        if self.fold_all().flows().contains_key(flow.as_str()) {
            self.append(&[Event::FlowClosed(lifecycle::FlowEnd {
                flow: &flow,
                facts: &facts,
                identity: None,
                opened_at: 0,
                closed_at: lifecycle::ClosedAt::Seen(1),
                ending: &lifecycle::Ending::of(lifecycle::Cause::Eof),
                certainty: lifecycle::Certainty::Observed,
                traffic: None,
                bindings: &[],
                bindings_total: 0,
                calls: &[],
                calls_total: 0,
            })]);
        } else {
            self.append(&[Event::FlowOpened(FlowOpened {
                flow: &flow,
                opened_at: 0,
                facts: std::borrow::Cow::Borrowed(&facts),
            })]);
        }
    }

    /// More than a segment of bindings that come and go; the first one stays if there was none.
    fn fill(&mut self) {
        let aor = Text::new("u@".to_owned() + &"x".repeat(150));
        let contact = Text::new("sip:".to_owned() + &"y".repeat(300));
        let added = Event::BindingAdded(BindingAdded {
            aor: aor.clone(),
            contact: contact.clone(),
            flow: None,
            transport: Transport::Udp,
            remote: "127.0.0.1:5060".parse().unwrap(),
            instance: None,
            reg_id: None,
            identity: None,
            user_agent: None,
            expires_at: 0,
        });
        let removed = Event::BindingRemoved(BindingRemoved {
            aor,
            contact,
            flow: None,
            cause: RemovalCause::Expired.into(),
        });
        let one = [added, removed];
        if self.fold_all().bindings().next().is_none() {
            self.append(&one[..1]);
        }
        let ten: Vec<Event<'_>> = (0..20).map(|number| one[number % 2].clone()).collect();
        for _ in 0..8 {
            self.append(&ten);
        }
    }

    fn step(&mut self) {
        self.step_for(PATIENCE);
    }

    fn step_for(&mut self, patience: Duration) {
        self.now += DAY;
        let now = self.now;
        let run = self.run.as_mut().expect("it runs");
        // On a disk that is about to fail it may say so.
        let _ = run.bookkeeper.step(now);
        if let Some(tombstone) = run.bookkeeper.tombstone {
            let _ = run.opened.ledger.durable(tombstone.seq).wait_for(patience);
        }
    }

    fn deliver(&mut self, save: Save) {
        let mut cursor = self.ledger().cursor("crm").unwrap();
        cursor.advance(self.ledger().durable_position(), save).unwrap();
    }

    /// Spoils the newest checkpoint, unless another one is spoilt already.
    fn spoil(&mut self) {
        let files = self.disk.files("checkpoints");
        if files.iter().any(|(name, _)| self.damaged.as_ref() == Some(name)) || files.len() < 2 {
            return;
        }
        if let Some((name, mut content)) = files.into_iter().max() {
            *content.last_mut().unwrap() ^= 1;
            self.disk.place_file(&format!("checkpoints/{name}"), &content);
            self.damaged = Some(name);
        }
    }

    fn check(&self) {
        let (there, kept) = read(self.ledger(), ReadFrom::Oldest);
        let cursors = self.ledger().cursors().unwrap();
        let cursor = cursors.iter().find(|(name, _)| name == "crm").map_or(Position::START, |found| found.1);
        for (at, record) in &self.written {
            let undelivered = *at > cursor && self.dropping.is_empty();
            match there.get(at) {
                Some(found) => assert_eq!(found, record),
                None => assert!(!undelivered, "{at} was dropped, the sink has read up to {cursor}"),
            }
        }
        let oldest = self.ledger().segments()[0].first;
        if oldest > Position::new(1, 1) {
            let last = kept.trimmed().expect("a hole has a tombstone").last;
            let last = Position::new(last.incarnation, last.sequence);
            let follows = Position::new(last.incarnation, last.seq + 1);
            let next_run = Position::new(last.incarnation + 1, 1);
            assert!(oldest <= follows || oldest == next_run, "{oldest} is there, up to {last} was dropped");
        }
    }
}

/// All records there are, tombstones apart; and a fold over them.
fn read(ledger: &Ledger, from: ReadFrom) -> (Payloads, OpenState) {
    let (mut records, mut fold) = (BTreeMap::new(), OpenState::default());
    let mut reader = ledger.reader(from);
    while let Some(block) = reader.next_block().expect("the log reads") {
        for record in block.records() {
            let kind = EventKind::try_from(record.kind).expect("a kind of ours");
            fold.fold(event_id(record.position), record.at, kind, record.payload);
            if kind != EventKind::LedgerTrimmed {
                records.insert(record.position, (kind, record.payload.to_vec()));
            }
        }
    }
    (records, fold)
}

#[derive(Clone, Debug)]
enum Action {
    Toggle(u8),
    Fill,
    Step,
    Deliver,
    Spoil,
    Restart(End),
    /// The power fails in the middle of what the bookkeeper does.
    CutOff(u64),
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        5 => (0u8..6).prop_map(Action::Toggle),
        4 => Just(Action::Fill),
        6 => Just(Action::Step),
        3 => Just(Action::Deliver),
        1 => Just(Action::Spoil),
        1 => Just(Action::Restart(End::Kill)),
        1 => Just(Action::Restart(End::PowerLoss)),
        2 => (1u64..24).prop_map(Action::CutOff),
    ]
}

fn perform(world: &mut World, action: &Action) {
    match action {
        Action::Toggle(number) => world.toggle(*number),
        Action::Fill => world.fill(),
        Action::Step => world.step(),
        Action::Deliver => world.deliver(Save::Soon),
        Action::Spoil => world.spoil(),
        Action::Restart(end) => {
            world.end(*end);
            world.start().expect("no end makes a ledger unusable");
        }
        Action::CutOff(changes) => {
            world.disk.crash_at(world.disk.changes() + changes);
            world.step_for(Duration::from_millis(5));
            world.step_for(Duration::from_millis(5));
            world.end(End::PowerLoss);
            world.start().expect("no end makes a ledger unusable");
        }
    }
    world.check();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_start_owes_what_the_whole_history_owes(
        seed: u64, actions in proptest::collection::vec(action(), 1..40),
    ) {
        let mut world = World::new(seed, &[]);
        actions.iter().for_each(|action| perform(&mut world, action));
        perform(&mut world, &Action::Restart(End::Kill));
    }
}

/// Enough rolls and looks that retention has something to drop.
fn age(world: &mut World) {
    for _ in 0..6 {
        world.fill();
        world.step();
    }
    world.step();
}

#[test]
fn old_records_go_once_they_are_delivered_and_a_tombstone_says_which() {
    let mut world = World::new(1, &[]);
    world.toggle(1);
    age(&mut world);
    assert_eq!(world.ledger().segments()[0].first, Position::new(1, 1), "the sink has read nothing yet");
    let held = world.run.as_ref().unwrap().bookkeeper.metrics.gauge(Gauge::HeldBack);
    assert!(held >= 64 << 10, "{held} bytes held back");
    world.deliver(Save::Now);
    world.step();
    world.step();
    let oldest = world.ledger().segments()[0].first;
    assert!(oldest > Position::new(1, 1));
    world.check();
    // The flow that opened in what is gone is still owed its close.
    world.end(End::Kill);
    world.start().unwrap();
    let (last, (kind, _)) = world.written.last_key_value().unwrap();
    assert_eq!((last.incarnation, *kind), (2, EventKind::BindingRemoved));
    assert!(world.fold_all().flows().is_empty());
}

#[test]
fn a_sink_that_the_operator_named_is_passed_and_the_tombstone_names_it() {
    let mut world = World::new(2, &["crm"]);
    age(&mut world);
    assert!(world.ledger().segments()[0].first > Position::new(1, 1));
    let mut reader = world.ledger().reader(ReadFrom::Oldest);
    let mut passed = Vec::new();
    while let Some(block) = reader.next_block().unwrap() {
        for record in block.records().filter(|record| record.kind == EventKind::LedgerTrimmed.number()) {
            passed.push(String::from_utf8(record.payload.to_vec()).unwrap());
        }
    }
    assert!(passed.iter().all(|text| text.contains(r#""passed":[{"sink":"crm"}]"#)), "{passed:?}");
    assert!(!passed.is_empty());
}

#[test]
fn one_spoilt_checkpoint_costs_a_longer_start_and_two_are_refused() {
    let mut world = World::new(3, &[]);
    world.toggle(1);
    for _ in 0..3 {
        age(&mut world);
        world.deliver(Save::Now);
    }
    world.step();
    world.step();
    assert!(world.ledger().segments()[0].first > Position::new(1, 1));
    let spoil_all = |world: &World| {
        for (name, mut content) in world.disk.files("checkpoints") {
            content.pop();
            world.disk.place_file(&format!("checkpoints/{name}"), &content);
        }
    };
    world.spoil();
    world.end(End::Kill);
    world.start().unwrap();
    // One good, one spoilt: nothing more is dropped before there are two good ones.
    world.step();
    assert_eq!(world.run.as_ref().unwrap().bookkeeper.checkpoints.len(), 1);
    spoil_all(&world);
    world.end(End::Kill);
    assert!(matches!(world.start(), Err(RecoveryError::NoCheckpoint { .. })));
}

#[test]
fn without_anything_dropped_spoilt_checkpoints_cost_time_alone() {
    let mut world = World::new(4, &[]);
    world.toggle(1);
    world.fill();
    world.step();
    for (name, mut content) in world.disk.files("checkpoints") {
        *content.last_mut().unwrap() ^= 1;
        world.disk.place_file(&format!("checkpoints/{name}"), &content);
    }
    world.end(End::Kill);
    world.start().unwrap();
}

#[test]
fn after_an_orderly_end_nothing_is_appended_and_the_next_start_reads_nothing() {
    let mut world = World::new(5, &["crm"]);
    age(&mut world);
    world.run.as_ref().unwrap().bookkeeper.gate.close();
    world.append(&[Event::NodeStopped(lifecycle::NodeStopped { flows_opened: 0, flows_closed: 0 })]);
    let now = world.now + DAY;
    assert_eq!(world.run.as_mut().unwrap().bookkeeper.step(now).unwrap(), Step::Ended);
    let stopped = world.ledger().durable_position();
    world.end(End::PowerLoss);
    let opened = Ledger::open_on(Arc::new(world.disk.mount()), settings()).unwrap();
    assert_eq!(opened.checkpoint.as_ref().unwrap().position, stopped);
    assert_eq!(settle(&opened).unwrap().0.records, 0);
}
