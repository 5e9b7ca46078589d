//! Work of each second: a sign of life, expired bindings, and users who have gone offline.

use state::clock;
use std::{sync::Arc, time::Duration};

use crate::shared::Shared;

const PERIOD: Duration = Duration::from_secs(1);

/// Bindings removed, or users told offline, before others get the table.
const AT_ONCE: usize = 256;

pub(crate) async fn run(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(PERIOD);
    loop {
        ticks.tick().await;
        shared.state.ledger().beat(clock::micros());
        while shared.state.expire(clock::now(), AT_ONCE) == AT_ONCE {
            tokio::task::yield_now().await;
        }
        while shared.state.tell_offline(clock::now(), AT_ONCE) == AT_ONCE {
            tokio::task::yield_now().await;
        }
        shared.admission.measure();
        shared.keep_calls().await;
    }
}
