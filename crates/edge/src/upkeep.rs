//! What is done once a second: a sign of life, and bindings whose time is over.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ledger::Batch;
use lifecycle::RemovalCause;

use crate::{clock, register::push_removed, shared::Shared};

const PERIOD: Duration = Duration::from_secs(1);

/// Bindings removed before others get the table.
const AT_ONCE: usize = 256;

pub(crate) async fn run(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(PERIOD);
    loop {
        ticks.tick().await;
        shared.ledger.beat(clock::micros());
        while expire(&shared, Instant::now()) == AT_ONCE {
            tokio::task::yield_now().await;
        }
    }
}

fn expire(shared: &Shared, now: Instant) -> usize {
    let mut location = shared.location();
    let taken = location.expire(now, AT_ONCE);
    let count = taken.len();
    let (mut batch, at) = (Batch::new(), clock::micros());
    for binding in taken {
        push_removed(shared, &mut batch, *binding, RemovalCause::Expired, at);
    }
    shared.append(batch);
    drop(location);
    count
}

/// Takes away the bindings that no flow takes with it (UDP), for the end of the process.
pub(crate) fn remove_unowned(shared: &Shared) {
    let (mut batch, at) = (Batch::new(), clock::micros());
    for binding in shared.location().take_unowned(usize::MAX) {
        push_removed(shared, &mut batch, *binding, RemovalCause::Shutdown, at);
    }
    shared.append(batch);
}
