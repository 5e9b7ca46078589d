//! What is done once a second: a sign of life, bindings whose time is over, and users who are gone.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{clock, shared::Shared};

const PERIOD: Duration = Duration::from_secs(1);

/// Bindings removed, or users told offline, before others get the table.
const AT_ONCE: usize = 256;

pub(crate) async fn run(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(PERIOD);
    loop {
        ticks.tick().await;
        shared.ledger.beat(clock::micros());
        while shared.expire((Instant::now(), clock::micros()), AT_ONCE) == AT_ONCE {
            tokio::task::yield_now().await;
        }
        while shared.tell_offline((Instant::now(), clock::micros()), AT_ONCE) == AT_ONCE {
            tokio::task::yield_now().await;
        }
        shared.door.measure();
        shared.keep_calls().await;
    }
}
