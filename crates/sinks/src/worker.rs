//! The loop of one sink: does what its progress says, and waits in between.

#[cfg(test)]
mod tests;

use std::time::{Instant, SystemTime};

use ledger::{More, Position, Reader, Save};
use tokio::sync::watch;
use tokio::time::sleep_until;

use crate::destination::Destination;
use delivery::{Moment, SinkProgress, Work};

/// What a worker is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Deliver as events come.
    Run,
    /// Deliver up to here, or as far as you get until then; and end.
    Finish { end: Position, until: Instant },
}

pub(crate) struct Worker<D> {
    destination: D,
    progress: SinkProgress,
    orders: watch::Receiver<Order>,
}

/// Now, on every clock.
fn now() -> Moment {
    Moment { now: Instant::now(), at: SystemTime::now(), chance: rand::random() }
}

impl<D: Destination> Worker<D> {
    pub(crate) fn new(destination: D, progress: SinkProgress, orders: watch::Receiver<Order>) -> Self {
        Self { destination, progress, orders }
    }

    /// Works until told to finish.
    pub(crate) async fn run(mut self) {
        self.progress.look_back();
        let mut known = Order::Run;
        loop {
            let order = *self.orders.borrow_and_update();
            if order != known {
                // A caller that waits for the end must not wait for a pause that began before.
                known = order;
                self.progress.hurry();
            }
            if let Order::Finish { end, until } = order {
                if Instant::now() >= until {
                    break;
                }
                if self.progress.read_up_to(end) {
                    self.save(Save::Now).await;
                    // Unless it turned out that something was lost.
                    if self.progress.read_up_to(end) {
                        break;
                    }
                }
            }
            if self.progress.save_at().is_some_and(|due| due <= Instant::now()) {
                self.save(Save::Soon).await;
            }
            match self.progress.next(now()) {
                Work::Again => {}
                Work::Prepare(from) => {
                    if let Some(outcome) = within(&self.orders, self.destination.prepare(from)).await {
                        self.progress.prepared(outcome, now());
                    }
                }
                Work::Deliver => {
                    let (batch, reader) = self.progress.batch_and_more();
                    let count = batch.len();
                    let outcome = tokio::select! {
                        biased;
                        outcome = within(&self.orders, self.destination.deliver(batch)) => outcome,
                        () = more(reader), if D::RESUMES => None,
                    };
                    match outcome {
                        None => {}
                        Some(Ok(0)) => self.save(Save::Soon).await,
                        Some(Ok(taken)) => self.progress.delivered(taken.min(count), Ok(()), now()),
                        Some(Err(failure)) => self.progress.delivered(count, Err(failure), now()),
                    }
                }
                Work::Idle if self.has_finished(order) => {}
                Work::Idle => {
                    let due = self.progress.save_at();
                    let over = over(self.orders.clone());
                    tokio::select! {
                        more = self.progress.more() => if more == More::Closed { break },
                        failure = self.destination.broken() => self.progress.broken(&failure, now()),
                        _ = self.orders.changed() => {}
                        () = until(due) => {}
                        () = over => {}
                    }
                }
                Work::Pause(due) => {
                    let due = self.progress.save_at().map_or(due, |save| save.min(due));
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
        matches!(order, Order::Finish { end, .. } if self.progress.read_up_to(end))
    }

    /// Remembers on disk how far the destination has acknowledged.
    async fn save(&mut self, save: Save) {
        if let Some(to) = self.progress.begin_save() {
            let outcome = self.destination.settle(to).await;
            self.progress.settled(to, outcome, save, now());
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

/// Resolves when there is more to read.
async fn more(reader: Option<&mut Reader>) {
    if let Some(reader) = reader
        && reader.more().await == More::Ready
    {
        return;
    }
    std::future::pending().await
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
