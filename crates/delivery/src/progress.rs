//! How far a sink has come and what it does next: read, deliver, and only then move the cursor.
//!
//! Nothing here waits or asks for the time. The worker awaits the destination and tells what came of it; so
//! does a simulation.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use config::EventTypes;
use ledger::{Cursor, CursorError, Ledger, More, Position, ReadError, Reader, Save};
use lifecycle::Node;

use crate::backoff::Backoff;
use crate::dead_letters::DeadLetters;
use crate::destination::{BatchLimit, Failure, FailureKind, Outgoing};
use crate::feed::{Feed, Filled};
use crate::history::History;
use crate::outage::{Outage, Say};
use crate::rate::Rate;
use crate::status::{Blocked, Board, State, Trouble};

/// How a sink keeps time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The wait after a first failure; it doubles with each further one.
    pub first_retry: Duration,
    /// The longest wait between attempts, unless the destination asks for more.
    pub longest_retry: Duration,
    /// How often the cursor is saved at most. What was delivered since is delivered again after a crash.
    pub save_every: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            first_retry: Duration::from_millis(100),
            longest_retry: Duration::from_secs(30),
            save_every: Duration::from_millis(200),
        }
    }
}

/// The longest that a destination's own wish to be left alone is granted.
const LONGEST_WISH: Duration = Duration::from_secs(3600);

/// Refusals after which an event goes to the dead letters, where there are any.
pub(crate) const REFUSALS: u32 = 5;

/// A moment, and what chance has in store for it.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// For waits.
    pub now: Instant,
    /// For people.
    pub at: SystemTime,
    /// From 0 to 1: spreads retries.
    pub chance: f64,
}

/// The actions to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Make the destination ready to go on after this record, then call [`SinkProgress::prepared`].
    Prepare(Position),
    /// Hand over [`SinkProgress::batch`], then call [`SinkProgress::delivered`].
    Deliver,
    /// Ask again.
    Again,
    /// Nothing until there are more events.
    Idle,
    /// Nothing until then.
    Pause(Instant),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readiness {
    Ready,
    Prepare,
}

/// One sink between its ledger and its destination.
pub struct SinkProgress {
    name: String,
    readiness: Readiness,
    ledger: Ledger,
    feed: Feed,
    cursor: Cursor,
    pace: Pace,
    backoff: Backoff,
    outage: Option<Outage>,
    retry_at: Option<Instant>,
    batch_limit: BatchLimit,
    /// Events per delivery while a refused one is being singled out.
    limit: usize,
    /// Events per delivery that the rate allows now.
    allowed: usize,
    rate: Option<Rate>,
    dead_letters: Option<DeadLetters>,
    /// The event that was refused last, alone, and how often.
    refused: Option<(Position, u32)>,
    save_at: Option<Instant>,
    last_save: Option<Instant>,
    board: Arc<Board>,
}

impl SinkProgress {
    /// Takes up where the cursor of this name stands. Blocks.
    ///
    /// # Errors
    /// The cursor cannot be read.
    pub fn open(
        ledger: &Ledger,
        node: &Node,
        name: String,
        types: EventTypes,
        pace: Pace,
        batch_limit: BatchLimit,
    ) -> Result<Self, CursorError> {
        let cursor = ledger.cursor(&name)?;
        Ok(Self {
            name,
            readiness: Readiness::Prepare,
            ledger: ledger.clone(),
            feed: Feed::new(ledger.clone(), node.clone(), types, cursor.position()),
            board: Arc::new(Board::new(cursor.position())),
            cursor,
            pace,
            backoff: Backoff::new(pace.first_retry, pace.longest_retry),
            outage: None,
            retry_at: None,
            batch_limit,
            limit: batch_limit.events,
            allowed: batch_limit.events,
            rate: None,
            dead_letters: None,
            refused: None,
            save_at: None,
            last_save: None,
        })
    }

    /// Goes no faster than this.
    pub fn at_most(self, rate: Option<Rate>) -> Self {
        Self { rate, ..self }
    }

    /// Puts events that are refused again and again here, and goes on.
    pub fn giving_up_to(self, dead_letters: Option<DeadLetters>) -> Self {
        Self { dead_letters, ..self }
    }

    /// Where it shows how it is doing.
    pub fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// Counts what waits in earlier incarnations, for people. Blocks.
    pub fn look_back(&self) {
        self.board.report().history = History::look(&self.ledger, self.cursor.position());
    }

    /// A pause that began before is over.
    pub fn hurry(&mut self) {
        self.retry_at = None;
        self.backoff.reset();
    }

    /// Whether everything up to `end` is done with.
    #[must_use]
    pub fn read_up_to(&self, end: Position) -> bool {
        self.feed.read_up_to(end)
    }

    /// Where the cursor was last saved.
    #[must_use]
    pub fn saved(&self) -> Position {
        self.cursor.position()
    }

    /// Waits until there is more to read.
    pub async fn more(&mut self) -> More {
        self.feed.more().await
    }

    /// What to do now.
    pub fn next(&mut self, moment: Moment) -> Work {
        if let Some(due) = self.retry_at {
            if due > moment.now {
                return Work::Pause(due);
            }
            self.retry_at = None;
            self.board.report().retries += 1;
        }
        let filled = match self.feed.fill(self.batch_limit) {
            Ok(filled) => filled,
            Err(error) => {
                self.unreadable(&error, moment);
                return Work::Again;
            }
        };
        if self.readiness == Readiness::Prepare {
            return Work::Prepare(self.feed.done_to());
        }
        self.note_place(moment.now);
        match filled {
            Filled::Dry => {
                self.recovered(moment.now);
                Work::Idle
            }
            Filled::Further => Work::Again,
            Filled::Ready => match self.rate.as_mut().map(|rate| rate.allows(moment.now)) {
                Some(Err(due)) => Work::Pause(due),
                Some(Ok(allowed)) => {
                    self.allowed = allowed;
                    Work::Deliver
                }
                None => Work::Deliver,
            },
        }
    }

    /// The destination was made ready, and says where to go on; or it was not.
    pub fn prepared(&mut self, outcome: Result<Position, Failure>, moment: Moment) {
        match outcome {
            Ok(go_on) => {
                self.readiness = Readiness::Ready;
                let from = self.feed.done_to();
                if go_on < from {
                    self.rewind(go_on, moment.at);
                } else if go_on > from {
                    tracing::info!(sink = self.name, %from, %go_on, "the destination already has some of these events");
                    self.feed.restart(go_on);
                }
            }
            Err(failure) => self.failed(&failure, moment),
        }
    }

    /// The destination was found to be gone while there was nothing to deliver: it is made ready again.
    pub fn broken(&mut self, failure: &Failure, moment: Moment) {
        self.failed(failure, moment);
    }

    /// The next delivery.
    pub fn batch(&mut self) -> &[Outgoing] {
        self.batch_and_more().0
    }

    /// The next delivery, and what tells of more behind it; none if it is as long as it may be.
    pub fn batch_and_more(&mut self) -> (&[Outgoing], Option<&mut Reader>) {
        let BatchLimit { events, bytes } = self.batch_limit;
        let events = events.min(self.limit).min(self.allowed);
        let (batch, reader) = self.feed.batch(BatchLimit { events, bytes });
        let room = batch.len() < events;
        (batch, room.then_some(reader))
    }

    /// What became of the delivery of so many events.
    pub fn delivered(&mut self, count: usize, outcome: Result<(), Failure>, moment: Moment) {
        let Err(failure) = outcome else {
            self.acknowledged(count, moment);
            self.recovered(moment.now);
            self.limit = (self.limit * 2).min(self.batch_limit.events).max(1);
            return;
        };
        let acknowledged = failure.acknowledged.min(count);
        if acknowledged > 0 {
            self.acknowledged(acknowledged, moment);
        }
        let left = (count - acknowledged).min(failure.concerned.unwrap_or(usize::MAX));
        if failure.nature == FailureKind::Refused && left > 1 {
            // One of them is at fault. Those before it shall not wait with it.
            self.limit = (left / 2).max(1);
            return;
        }
        if failure.nature == FailureKind::Refused && left == 1 {
            return self.refused(failure, moment);
        }
        self.failed(&failure, moment);
    }

    /// The destination refuses the event in front, which it was given alone. Blocks if it goes to the dead
    /// letters.
    fn refused(&mut self, failure: Failure, moment: Moment) {
        let (Some(event), Some(letters)) = (self.feed.oldest(), &self.dead_letters) else {
            return self.failed(&failure, moment);
        };
        let before = self.refused.filter(|(known, _)| *known == event.position).map_or(0, |(_, times)| times);
        let times = before + 1;
        self.refused = Some((event.position, times));
        if times < REFUSALS {
            return self.failed(&failure, moment);
        }
        if let Err(fault) = letters.put(&self.name, event, &failure.text, moment.at) {
            let text = format!("{}; and {fault}", failure.text);
            return self.failed(&Failure { text, ..failure }, moment);
        }
        tracing::error!(
            sink = self.name,
            event = event.id,
            refusals = times,
            error = failure.text,
            "the destination refused an event; it is in the dead letters now"
        );
        self.feed.acknowledge(1);
        let mut report = self.board.report();
        report.dead_lettered += 1;
        report.last_error = Some(Trouble { at: moment.at, text: failure.text });
        drop(report);
        self.recovered(moment.now);
        self.note_place(moment.now);
    }

    fn acknowledged(&mut self, count: usize, moment: Moment) {
        self.feed.acknowledge(count);
        if let Some(rate) = &mut self.rate {
            rate.spend(count);
        }
        let mut report = self.board.report();
        report.delivered += count as u64;
        report.deliveries += 1;
        report.last_delivery = Some(moment.at);
        drop(report);
        self.note_place(moment.now);
    }

    /// Shows where we are, and plans to remember it.
    fn note_place(&mut self, now: Instant) {
        let mut report = self.board.report();
        report.cursor = self.feed.done_to();
        report.oldest_waiting_at = self.feed.oldest().map(|event| event.at);
        report.unknown = self.feed.unknown;
        drop(report);
        if self.feed.done_to() > self.cursor.position() && self.save_at.is_none() {
            self.save_at = Some(self.last_save.map_or(now, |last| (last + self.pace.save_every).max(now)));
        }
    }

    fn recovered(&mut self, now: Instant) {
        self.backoff.reset();
        let Some(outage) = self.outage.take() else { return };
        let mut report = self.board.report();
        report.state = State::Working;
        report.blocked = None;
        drop(report);
        let lasted = outage.lasted(now);
        tracing::info!(
            sink = self.name,
            failures = outage.failures(),
            "delivers again after {} s",
            lasted.as_secs()
        );
    }

    /// Notes the failure, and plans the next attempt.
    fn failed(&mut self, failure: &Failure, moment: Moment) {
        let Moment { now, at, chance } = moment;
        if failure.nature == FailureKind::Lost {
            self.rewind(self.cursor.position(), at);
        }
        let event = self.feed.oldest().map(|event| event.id.clone());
        let blocking = event
            .clone()
            .filter(|_| matches!(failure.nature, FailureKind::Refused | FailureKind::Misconfigured));
        if failure.nature != FailureKind::Refused {
            self.readiness = Readiness::Prepare;
        }
        let pause = self.backoff.wait(chance);
        let pause = pause.max(failure.retry_after.unwrap_or_default().min(LONGEST_WISH));
        self.retry_at = Some(now + pause);

        let outage = self.outage.get_or_insert_with(|| Outage::new(now));
        let mut report = self.board.report();
        let state = if blocking.is_some() { State::Blocked } else { State::Retrying };
        if report.state != state {
            outage.turned(now);
        }
        report.state = state;
        report.last_error = Some(Trouble { at, text: failure.text.clone() });
        report.blocked = blocking.map(|event| {
            let since = report.blocked.as_ref().filter(|known| known.event == event).map_or(at, |b| b.since);
            Blocked { event, since, error: failure.text.clone() }
        });
        drop(report);
        if outage.failed(now) == Say::Now {
            let event = event.as_deref().unwrap_or("-");
            let (failures, error) = (outage.failures(), failure.text.as_str());
            match state {
                State::Blocked => tracing::error!(
                    sink = self.name,
                    event,
                    failures,
                    error,
                    "the destination refused an event; this event and all later ones wait"
                ),
                _ => tracing::warn!(
                    sink = self.name,
                    event,
                    failures,
                    error,
                    "cannot deliver; events wait in the ledger"
                ),
            }
        }
    }

    /// Goes back: what comes after `to` is delivered again.
    fn rewind(&mut self, to: Position, at: SystemTime) {
        tracing::warn!(sink = self.name, from = %self.feed.done_to(), %to, "delivers again the events that may have been lost");
        if to < self.cursor.position()
            && let Err(error) = self.cursor.reset(to, Save::Now)
        {
            self.trouble(error.to_string(), at);
        }
        self.save_at = None;
        self.feed.restart(to);
        self.board.report().cursor = to;
    }

    /// The ledger does not give what comes next.
    fn unreadable(&mut self, error: &ReadError, moment: Moment) {
        let Moment { now, at, chance } = moment;
        let text = error.to_string();
        let go_on = match error {
            ReadError::Removed { oldest, .. } => {
                Some(Position::new(oldest.incarnation, oldest.seq.saturating_sub(1)))
            }
            // Everything up to the end of the older copy was delivered once; what this run writes was not.
            ReadError::Ahead { wanted } => {
                let run = self.ledger.incarnation();
                Some(Position::new((wanted.incarnation + 1).min(run), 0))
            }
            _ => None,
        };
        let Some(go_on) = go_on else {
            if self.outage.get_or_insert_with(|| Outage::new(now)).failed(now) == Say::Now {
                tracing::error!(sink = self.name, error = text, "cannot read the ledger");
            }
            self.retry_at = Some(now + self.backoff.wait(chance));
            self.feed.restart(self.feed.done_to());
            self.board.report().state = State::Retrying;
            self.trouble(text, at);
            return;
        };
        tracing::error!(sink = self.name, error = text, go_on = %go_on, "events are missing between the last delivered event and the next one");
        self.trouble(text, at);
        self.board.report().gaps += 1;
        if let Err(error) = self.cursor.reset(go_on, Save::Now) {
            self.trouble(error.to_string(), at);
        }
        self.save_at = None;
        self.feed.restart(go_on);
        self.note_place(now);
    }

    fn trouble(&self, text: String, at: SystemTime) {
        self.board.report().last_error = Some(Trouble { at, text });
    }

    /// When the cursor is to be saved, if it is.
    #[must_use]
    pub fn save_at(&self) -> Option<Instant> {
        self.save_at
    }

    /// The saving of the cursor begins. If there is anything to remember, this is it: settle the destination,
    /// then call [`SinkProgress::settled`] with it.
    pub fn begin_save(&mut self) -> Option<Position> {
        self.save_at = None;
        Some(self.feed.done_to()).filter(|to| *to > self.cursor.position())
    }

    /// The destination was settled, or was not: remembers on disk how far it has acknowledged. Blocks.
    pub fn settled(&mut self, to: Position, outcome: Result<(), Failure>, save: Save, moment: Moment) {
        if let Err(failure) = outcome {
            return self.failed(&failure, moment);
        }
        self.last_save = Some(moment.now);
        if let Err(error) = self.cursor.advance(to, save) {
            // Harmless for now: after a crash, more is delivered again.
            tracing::warn!(sink = self.name, error = %error, "cannot write the cursor; after a restart some events are delivered again");
            self.trouble(error.to_string(), moment.at);
            self.save_at = Some(moment.now + self.pace.longest_retry);
        }
    }
}

impl std::fmt::Debug for SinkProgress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Progress").field("name", &self.name).finish_non_exhaustive()
    }
}
