//! A sink: the real one's decisions, and a destination with moods that holds it to the promise.

use std::time::Duration;

use config::EventTypes;
use delivery::{BatchLimit, Failure, FailureKind, Moment, Outgoing, Pace, SinkProgress, Work};
use ledger::{Ledger, Position, Save};
use lifecycle::{EventId, EventKind, Node};

use crate::{
    chance::SeededRandom,
    clock::Clock,
    planted::Planted,
    witness::{Witness, fingerprint},
};

/// What a destination is like.
#[derive(Clone, Copy, Debug)]
struct DestinationBehaviour {
    /// One delivery in so many fails; 0: none.
    fails: u64,
    /// One answer in so many is lost, though all was taken.
    answers_lost: u64,
    /// One event in so many is refused a few times.
    refuses: u64,
    /// One delivery in so many makes it lose what it took since it was last settled.
    forgets: u64,
    /// One delivery in so many is followed by a long outage.
    outages: u64,
    /// One delivery in so many takes its time.
    slow: u64,
}

impl DestinationBehaviour {
    const GOOD: Self = Self { fails: 0, answers_lost: 0, refuses: 0, forgets: 0, outages: 0, slow: 4 };

    fn any(chance: &mut SeededRandom) -> Self {
        let mut odds = |some: &[u64]| chance.pick(some);
        Self {
            fails: odds(&[0, 0, 4, 20]),
            answers_lost: odds(&[0, 0, 10, 40]),
            refuses: odds(&[0, 0, 30]),
            forgets: odds(&[0, 0, 25]),
            outages: odds(&[0, 50, 200]),
            slow: odds(&[1, 2, 8]),
        }
    }
}

/// What an answer that is under way will say, and when.
enum Doing {
    Nothing,
    Preparing { due: u64, outcome: Result<Position, Failure> },
    Delivering { due: u64, count: usize, outcome: Result<(), Failure> },
    Settling { due: u64, to: Position, outcome: Result<(), Failure> },
}

/// What the world outside has of our events.
#[derive(Default)]
struct Held {
    /// In order, each once: who keeps the id knows a repeat.
    events: Vec<(Position, u64)>,
    /// Those that it will not lose.
    settled: usize,
    down_until: u64,
    /// An event it does not like, and how often yet.
    poison: Option<(Position, u64)>,
    /// It lost something and has not said so.
    lost: bool,
    received: u64,
    repeats: u64,
}

pub(crate) struct Sink {
    name: String,
    types: EventTypes,
    temper: DestinationBehaviour,
    held: Held,
    doing: Doing,
    progress: Option<SinkProgress>,
    /// What was counted as delivered before it was: a planted bug.
    unsent: Vec<Outgoing>,
}

/// What a sink needs of the world.
pub(crate) struct Around<'a> {
    pub(crate) chance: &'a mut SeededRandom,
    pub(crate) clock: &'a Clock,
    pub(crate) witness: &'a mut Witness,
    pub(crate) node: &'a Node,
    pub(crate) planted: Option<Planted>,
}

impl Around<'_> {
    fn moment(&mut self) -> Moment {
        Moment { now: self.clock.now(), at: self.clock.wall(), chance: self.chance.fraction() }
    }
}

impl Sink {
    pub(crate) fn new(number: usize, chance: &mut SeededRandom, good: bool) -> Self {
        let types = match chance.below(if number == 0 { 1 } else { 3 }) {
            0 => EventTypes::All,
            1 => EventTypes::Only(vec![EventKind::FlowClosed]),
            _ => EventTypes::Only(vec![EventKind::FlowOpened, EventKind::FlowClosed]),
        };
        Self {
            name: format!("sink{number}"),
            types,
            temper: if good { DestinationBehaviour::GOOD } else { DestinationBehaviour::any(chance) },
            held: Held::default(),
            doing: Doing::Nothing,
            progress: None,
            unsent: Vec::new(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn received(&self) -> (u64, u64) {
        (self.held.received, self.held.repeats)
    }

    /// The process starts.
    pub(crate) fn start(
        &mut self,
        ledger: &Ledger,
        node: &Node,
        chance: &mut SeededRandom,
    ) -> Result<(), String> {
        let pace = Pace {
            first_retry: Duration::from_millis(100),
            longest_retry: Duration::from_secs(30),
            save_every: Duration::from_millis(chance.pick(&[0, 200, 2000])),
        };
        let batch_limit = BatchLimit { events: chance.pick(&[1, 8, 64]), bytes: 64 << 10 };
        let opened =
            SinkProgress::open(ledger, node, self.name.clone(), self.types.clone(), pace, batch_limit);
        self.progress = Some(opened.map_err(|error| error.to_string())?);
        self.doing = Doing::Nothing;
        Ok(())
    }

    /// The process dies.
    pub(crate) fn die(&mut self, chance: &mut SeededRandom) {
        self.progress = None;
        self.doing = Doing::Nothing;
        self.unsent.clear();
        if self.temper.forgets > 0 && chance.once_in(4) {
            self.held.events.truncate(self.held.settled);
        }
    }

    /// From now on the destination is well.
    pub(crate) fn be_good(&mut self) {
        self.temper = DestinationBehaviour::GOOD;
        self.held.down_until = 0;
        self.held.poison = None;
        if let Some(progress) = &mut self.progress {
            progress.hurry();
        }
    }

    /// The worker's turn: an answer comes, or the next thing begins.
    pub(crate) fn step(&mut self, around: &mut Around<'_>) -> Result<(), String> {
        let passed = around.clock.passed();
        let Some(progress) = &mut self.progress else { return Ok(()) };
        match std::mem::replace(&mut self.doing, Doing::Nothing) {
            Doing::Nothing => {}
            Doing::Preparing { due, outcome } if due <= passed => {
                progress.prepared(outcome, around.moment());
                return Ok(());
            }
            Doing::Delivering { due, count, outcome } if due <= passed => {
                if around.planted == Some(Planted::CursorBeforeAcknowledgement) {
                    // The worker was told already, and forgets about a failure.
                    let unsent = std::mem::take(&mut self.unsent);
                    return match outcome {
                        Ok(()) => {
                            unsent.iter().try_for_each(|event| self.held.take(event, &self.types, around))
                        }
                        Err(_) => Ok(()),
                    };
                }
                progress.delivered(count, outcome, around.moment());
                return Ok(());
            }
            Doing::Settling { due, to, outcome } if due <= passed => {
                progress.settled(to, outcome, Save::Soon, around.moment());
                return Ok(());
            }
            waiting => {
                self.doing = waiting;
                return Ok(());
            }
        }
        if progress.save_at().is_some_and(|due| due <= around.clock.now())
            && let Some(to) = progress.begin_save()
        {
            let outcome = self.held.settle();
            match self.temper.answers_at(around) {
                Some(due) => self.doing = Doing::Settling { due, to, outcome },
                None => progress.settled(to, outcome, Save::Soon, around.moment()),
            }
            return Ok(());
        }
        match progress.next(around.moment()) {
            Work::Again | Work::Idle | Work::Pause(_) => {}
            Work::Prepare(from) => {
                let outcome = self.held.prepare(from, passed);
                match self.temper.answers_at(around) {
                    Some(due) => self.doing = Doing::Preparing { due, outcome },
                    None => progress.prepared(outcome, around.moment()),
                }
            }
            Work::Deliver if around.planted == Some(Planted::CursorBeforeAcknowledgement) => {
                let batch = progress.batch();
                let count = batch.len();
                self.unsent = batch.to_vec();
                progress.delivered(count, Ok(()), around.moment());
                let failed = around.chance.once_in(self.temper.fails);
                let outcome = if failed { Err(Failure::new(FailureKind::Transient, "down")) } else { Ok(()) };
                self.doing = Doing::Delivering { due: passed + 1000, count, outcome };
            }
            Work::Deliver => {
                let batch = progress.batch();
                let count = batch.len();
                let outcome = self.held.deliver(batch, &self.types, self.temper, around)?;
                match self.temper.answers_at(around) {
                    Some(due) => self.doing = Doing::Delivering { due, count, outcome },
                    None => progress.delivered(count, outcome, around.moment()),
                }
            }
        }
        Ok(())
    }

    /// Whether everything in the ledger has arrived, and is settled.
    pub(crate) fn has_everything(&self, witness: &Witness) -> bool {
        let last = self.held.last();
        witness.next(last, &self.types).is_none()
    }

    /// What is missing, for people.
    pub(crate) fn missing(&self, witness: &Witness) -> String {
        let last = self.held.last();
        format!("{} has events up to {last}; next would be {:?}", self.name, witness.next(last, &self.types))
    }
}

impl DestinationBehaviour {
    /// When an answer comes; none: at once.
    fn answers_at(self, around: &mut Around<'_>) -> Option<u64> {
        if !around.chance.once_in(self.slow) {
            return None;
        }
        Some(around.clock.passed() + around.chance.below(20_000))
    }
}

impl Held {
    fn last(&self) -> Position {
        self.events.last().map_or(Position::START, |(position, _)| *position)
    }

    fn prepare(&mut self, from: Position, passed: u64) -> Result<Position, Failure> {
        if passed < self.down_until {
            return Err(Failure::new(FailureKind::Transient, "down"));
        }
        // It reads back what it holds.
        let lost = std::mem::take(&mut self.lost);
        Ok(if lost { from.min(self.last()) } else { from })
    }

    fn settle(&mut self) -> Result<(), Failure> {
        if std::mem::take(&mut self.lost) {
            return Err(Failure::new(FailureKind::Lost, "lost"));
        }
        self.settled = self.events.len();
        Ok(())
    }

    fn deliver(
        &mut self,
        events: &[Outgoing],
        types: &EventTypes,
        temper: DestinationBehaviour,
        around: &mut Around<'_>,
    ) -> Result<Result<(), Failure>, String> {
        let passed = around.clock.passed();
        if passed < self.down_until {
            return Ok(Err(Failure::new(FailureKind::Transient, "down")));
        }
        if around.chance.once_in(temper.forgets) {
            // A restart of it: what it had not settled is gone, and the connection with it.
            self.events.truncate(self.settled);
            self.lost = true;
            return Ok(Err(Failure::new(FailureKind::Transient, "it was restarted")));
        }
        if around.chance.once_in(temper.outages) {
            self.down_until = passed + around.chance.below(120_000_000);
        }
        if self.poison.is_none() && around.chance.once_in(temper.refuses) {
            let event = &events[around.chance.index(events.len())];
            self.poison = Some((event.position, around.chance.below(4)));
        }
        if let Some((position, times)) = &mut self.poison
            && events.iter().any(|event| event.position == *position)
        {
            if events.len() > 1 || *times > 0 {
                if events.len() == 1 {
                    *times -= 1;
                }
                return Ok(Err(Failure::new(FailureKind::Refused, "refused")));
            }
            self.poison = None;
        }
        let fails = around.chance.once_in(temper.fails);
        let taken = if fails { around.chance.index(events.len() + 1) } else { events.len() };
        for event in &events[..taken] {
            self.take(event, types, around)?;
        }
        if fails || around.chance.once_in(temper.answers_lost) {
            let acknowledged = around.chance.index(taken + 1);
            return Ok(Err(Failure { acknowledged, ..Failure::new(FailureKind::Transient, "broken off") }));
        }
        Ok(Ok(()))
    }

    /// One event arrives: a repeat must be the same, a new one must be the next.
    fn take(&mut self, event: &Outgoing, types: &EventTypes, around: &mut Around<'_>) -> Result<(), String> {
        let at = event.position;
        self.received += 1;
        if around.witness.at() < at {
            around.witness.follow()?;
        }
        let print = fingerprint(event.json.as_bytes());
        if at <= self.last() {
            self.repeats += 1;
            let known = self.events.binary_search_by_key(&at, |(position, _)| *position);
            return match known.map(|index| self.events[index].1 == print) {
                Ok(true) => Ok(()),
                Ok(false) => Err(format!("{at} was delivered again with other bytes: {}", event.json)),
                Err(_) => Err(format!("{at} was delivered after {}", self.last())),
            };
        }
        let due = around.witness.next(self.last(), types);
        if due != Some(at) {
            return Err(format!("{at} was delivered after {}; {due:?} is missing", self.last()));
        }
        let id = around.node.event(EventId { incarnation: at.incarnation, sequence: at.seq });
        let json = event.json.as_bytes();
        let mark = around.witness.mark(at).ok_or("an event that is not in the ledger was delivered")?;
        let data = json.len().checked_sub(mark.length + 1).and_then(|from| json.get(from..json.len() - 1));
        if event.id != id || data.map(fingerprint) != Some(mark.fingerprint) {
            return Err(format!("{at} was delivered as something else: {}", event.json));
        }
        self.events.push((at, print));
        Ok(())
    }
}
