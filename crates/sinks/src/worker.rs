//! The loop of one sink: read, deliver, and only then move the cursor.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ledger::{Cursor, Ledger, More, Position, ReadError, Save};
use tokio::sync::watch;
use tokio::time::sleep_until;

use crate::backoff::Backoff;
use crate::destination::{Appetite, Destination, Failure, Nature};
use crate::feed::{Feed, Filled};
use crate::history::History;
use crate::outage::{Outage, Say};
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

/// What a worker is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Deliver as events come.
    Run,
    /// Deliver up to here, or as far as you get until then; and end.
    Finish { end: Position, until: Instant },
}

/// What comes after a step.
enum Next {
    /// Another step, at once.
    Step,
    /// Nothing to do until there are more events.
    Idle,
    /// Nothing to do until then.
    Pause(Instant),
}

enum Readiness {
    Ready,
    Prepare,
}

pub(crate) struct Worker<D> {
    name: String,
    destination: D,
    readiness: Readiness,
    ledger: Ledger,
    feed: Feed,
    cursor: Cursor,
    pace: Pace,
    backoff: Backoff,
    outage: Option<Outage>,
    retry_at: Option<Instant>,
    /// Events per delivery while a refused one is being singled out.
    limit: usize,
    save_at: Option<Instant>,
    last_save: Option<Instant>,
    board: Arc<Board>,
    orders: watch::Receiver<Order>,
}

/// What one worker is made of.
pub(crate) struct Parts<D> {
    pub(crate) name: String,
    pub(crate) destination: D,
    pub(crate) ledger: Ledger,
    pub(crate) feed: Feed,
    pub(crate) cursor: Cursor,
    pub(crate) pace: Pace,
    pub(crate) board: Arc<Board>,
    pub(crate) orders: watch::Receiver<Order>,
}

impl<D: Destination> Worker<D> {
    pub(crate) fn new(parts: Parts<D>) -> Self {
        let Parts { name, destination, ledger, feed, cursor, pace, board, orders } = parts;
        let limit = destination.appetite().events;
        Self {
            name,
            destination,
            readiness: Readiness::Prepare,
            ledger,
            feed,
            cursor,
            pace,
            backoff: Backoff::new(pace.first_retry, pace.longest_retry),
            outage: None,
            retry_at: None,
            limit,
            save_at: None,
            last_save: None,
            board,
            orders,
        }
    }

    /// Works until told to finish.
    pub(crate) async fn run(mut self) {
        self.board.report().history = History::look(&self.ledger, self.cursor.position());
        let mut known = Order::Run;
        loop {
            let order = *self.orders.borrow_and_update();
            if order != known {
                // Whoever waits for the end should not wait for a pause that began before.
                known = order;
                self.retry_at = None;
                self.backoff.reset();
            }
            if let Order::Finish { end, until } = order {
                if Instant::now() >= until {
                    break;
                }
                if self.feed.read_up_to(end) {
                    self.save(Save::Now).await;
                    // Unless it turned out that something was lost.
                    if self.feed.read_up_to(end) {
                        break;
                    }
                }
            }
            if self.save_at.is_some_and(|due| due <= Instant::now()) {
                self.save(Save::Soon).await;
            }
            let next = match self.retry_at {
                Some(due) if due > Instant::now() => Next::Pause(due),
                _ => self.step().await,
            };
            match next {
                Next::Step => {}
                Next::Idle if self.has_finished(order) => {}
                Next::Idle => {
                    let due = self.save_at;
                    let over = over(self.orders.clone());
                    let more = tokio::select! {
                        more = self.feed.more() => Some(more),
                        _ = self.orders.changed() => None,
                        () = until(due) => None,
                        () = over => None,
                    };
                    if more == Some(More::Closed) {
                        break;
                    }
                }
                Next::Pause(due) => {
                    let due = self.save_at.map_or(due, |save| save.min(due));
                    let over = over(self.orders.clone());
                    tokio::select! {
                        () = sleep_until(due.into()) => {}
                        _ = self.orders.changed() => {}
                        () = over => {}
                    }
                }
            }
        }
        self.save(Save::Now).await;
    }

    fn has_finished(&self, order: Order) -> bool {
        matches!(order, Order::Finish { end, .. } if self.feed.read_up_to(end))
    }

    async fn step(&mut self) -> Next {
        if self.retry_at.take().is_some() {
            self.board.report().retries += 1;
        }
        let Appetite { events, bytes } = self.destination.appetite();
        let filled = match self.feed.fill(Appetite { events, bytes }) {
            Ok(filled) => filled,
            Err(error) => return self.unreadable(&error),
        };
        if matches!(self.readiness, Readiness::Prepare) {
            let from = self.feed.done_to();
            match within(&self.orders, self.destination.prepare(from)).await {
                None => return Next::Step,
                Some(Err(failure)) => return self.failed(&failure),
                Some(Ok(go_on)) => {
                    self.readiness = Readiness::Ready;
                    if go_on < from {
                        self.rewind(go_on);
                        return Next::Step;
                    }
                }
            }
        }
        self.note_place();
        match filled {
            Filled::Dry => {
                self.recovered();
                return Next::Idle;
            }
            Filled::Further => return Next::Step,
            Filled::Ready => {}
        }
        let batch = self.feed.batch(Appetite { events: events.min(self.limit), bytes });
        let count = batch.len();
        match within(&self.orders, self.destination.deliver(batch)).await {
            None => Next::Step,
            Some(Ok(())) => {
                self.acknowledged(count);
                self.recovered();
                self.limit = (self.limit * 2).min(events).max(1);
                Next::Step
            }
            Some(Err(failure)) => {
                let acknowledged = failure.acknowledged.min(count);
                if acknowledged > 0 {
                    self.acknowledged(acknowledged);
                }
                let left = count - acknowledged;
                if failure.nature == Nature::Refused && left > 1 {
                    // One of them is at fault. Those before it shall not wait with it.
                    self.limit = (left / 2).max(1);
                    return Next::Step;
                }
                self.failed(&failure)
            }
        }
    }

    fn acknowledged(&mut self, count: usize) {
        self.feed.acknowledge(count);
        let mut report = self.board.report();
        report.delivered += count as u64;
        report.deliveries += 1;
        report.last_delivery = Some(SystemTime::now());
        drop(report);
        self.note_place();
    }

    /// Shows where we are, and plans to remember it.
    fn note_place(&mut self) {
        let mut report = self.board.report();
        report.cursor = self.feed.done_to();
        report.oldest_waiting_at = self.feed.oldest().map(|event| event.at);
        report.unknown = self.feed.unknown;
        drop(report);
        if self.feed.done_to() > self.cursor.position() && self.save_at.is_none() {
            let now = Instant::now();
            self.save_at = Some(self.last_save.map_or(now, |last| (last + self.pace.save_every).max(now)));
        }
    }

    fn recovered(&mut self) {
        self.backoff.reset();
        let Some(outage) = self.outage.take() else { return };
        let mut report = self.board.report();
        report.state = State::Working;
        report.blocked = None;
        drop(report);
        let lasted = outage.lasted(Instant::now());
        tracing::info!(
            sink = self.name,
            failures = outage.failures(),
            "well again after {} s",
            lasted.as_secs()
        );
    }

    /// Notes the failure, and plans the next attempt.
    fn failed(&mut self, failure: &Failure) -> Next {
        let now = Instant::now();
        if failure.nature == Nature::Lost {
            self.rewind(self.cursor.position());
        }
        let event = self.feed.oldest().map(|event| event.id.clone());
        let blocking = event.clone().filter(|_| failure.nature == Nature::Refused);
        if blocking.is_none() {
            self.readiness = Readiness::Prepare;
        }
        let pause = self.backoff.wait(rand::random::<f64>());
        let pause = pause.max(failure.retry_after.unwrap_or_default().min(LONGEST_WISH));
        self.retry_at = Some(now + pause);

        let outage = self.outage.get_or_insert_with(|| Outage::new(now));
        let mut report = self.board.report();
        let state = if blocking.is_some() { State::Blocked } else { State::Retrying };
        if report.state != state {
            outage.turned(now);
        }
        report.state = state;
        let at = SystemTime::now();
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
                    "the destination refuses an event; everything behind it waits"
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
        Next::Step
    }

    /// Goes back: what comes after `to` is delivered again.
    fn rewind(&mut self, to: Position) {
        tracing::warn!(sink = self.name, from = %self.feed.done_to(), %to, "delivers again what may have been lost");
        if to < self.cursor.position()
            && let Err(error) = self.cursor.reset(to, Save::Now)
        {
            self.trouble(error.to_string());
        }
        self.save_at = None;
        self.feed.restart(to);
        self.board.report().cursor = to;
    }

    /// The ledger does not give what comes next.
    fn unreadable(&mut self, error: &ReadError) -> Next {
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
            let now = Instant::now();
            if self.outage.get_or_insert_with(|| Outage::new(now)).failed(now) == Say::Now {
                tracing::error!(sink = self.name, error = text, "cannot read the ledger");
            }
            self.retry_at = Some(now + self.backoff.wait(rand::random::<f64>()));
            self.feed.restart(self.feed.done_to());
            self.board.report().state = State::Retrying;
            self.trouble(text);
            return Next::Step;
        };
        tracing::error!(sink = self.name, error = text, go_on = %go_on, "there is a gap in what is delivered");
        self.trouble(text);
        self.board.report().gaps += 1;
        if let Err(error) = self.cursor.reset(go_on, Save::Now) {
            self.trouble(error.to_string());
        }
        self.save_at = None;
        self.feed.restart(go_on);
        self.note_place();
        Next::Step
    }

    fn trouble(&self, text: String) {
        self.board.report().last_error = Some(Trouble { at: SystemTime::now(), text });
    }

    /// Remembers on disk how far the destination has acknowledged.
    async fn save(&mut self, save: Save) {
        self.save_at = None;
        let to = self.feed.done_to();
        if to <= self.cursor.position() {
            return;
        }
        if let Err(failure) = self.destination.settle().await {
            self.failed(&failure);
            return;
        }
        let now = Instant::now();
        self.last_save = Some(now);
        if let Err(error) = self.cursor.advance(to, save) {
            // Harmless for now: after a crash, more is delivered again.
            tracing::warn!(sink = self.name, error = %error, "cannot remember how far it got");
            self.trouble(error.to_string());
            self.save_at = Some(now + self.pace.longest_retry);
        }
    }
}

/// Does this, unless the time to finish is over before.
async fn within<T>(orders: &watch::Receiver<Order>, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        done = work => Some(done),
        () = over(orders.clone()) => None,
    }
}

/// Resolves when the time to finish is over.
async fn over(mut orders: watch::Receiver<Order>) {
    loop {
        let order = *orders.borrow_and_update();
        match order {
            Order::Finish { until, .. } => return sleep_until(until.into()).await,
            // Nobody can tell anything any more: then nobody waits either.
            Order::Run if orders.changed().await.is_err() => return,
            Order::Run => {}
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
