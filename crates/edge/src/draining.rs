//! Paced closing: a drain and the end of the process empty every shard in the same way.
//!
//! The order to do so is one value that all shards watch. Each closes its own flows, one after another, so
//! spread over the time given that the clients do not come back elsewhere as one wave. First go the flows
//! without calls, then the others: who is in a call gets as much time as there is.

use std::{
    rc::Rc,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use lifecycle::event_time;
use metrics::{Count, Gauge};
use serde::Serialize;
use state::clock;
use tokio::{sync::watch, task::yield_now, time::sleep};
use upstream::PeerKind;

use crate::{
    Handle,
    drain_plan::{AdmissionState, Plan, Purpose},
    shard::Shard,
    shared::Shared,
};

/// The shortest pause; where flows are to go faster, several go at once.
const TICK: Duration = Duration::from_millis(5);

/// Flows closed before others of the shard get their turn.
const AT_ONCE: usize = 256;

/// The end of the process need not go slower than one flow in this time.
const GENTLE: Duration = Duration::from_millis(10);

/// How long connections of servers behind may outlast those of users: what these leave behind is taken back
/// by them.
const FAREWELL: Duration = Duration::from_secs(5);

/// How often the end of the server looks whether all flows are closed.
const LOOK: Duration = Duration::from_millis(2);

/// The state of a node: whether it accepts flows, drains or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeActivity {
    /// New flows are accepted.
    Serving,
    /// New flows are refused, open ones stay.
    Disabled,
    /// New flows are refused, open ones are closed one by one.
    Draining,
    /// New flows are refused, and none is open.
    Drained,
    /// The process ends.
    ShuttingDown,
}

/// How far a drain, or the end of the process, has got.
#[derive(Clone, Debug, Serialize)]
pub struct DrainProgress {
    /// The current activity.
    pub state: NodeActivity,
    /// When it began, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// When the last flow is told, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Seconds until then.
    pub seconds_left: f64,
    /// Flows closed since it began, those that left by themselves included.
    pub closed: u64,
    /// Flows that are open.
    pub left: u64,
}

/// The process ends already: nothing can be drained or accepted any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server is shutting down")]
pub struct ShuttingDown;

impl Handle {
    /// Lets no new flow in and closes the open ones (`drain`, WebSocket code 1012), spread over so much time
    /// from now. Said again, it goes on with the new time.
    ///
    /// # Errors
    /// The process ends already.
    pub fn drain(&self, over: Duration) -> Result<DrainProgress, ShuttingDown> {
        self.0.begin_emptying(Purpose::Drain, over, FAREWELL)?;
        let progress = self.progress();
        tracing::info!(
            flows = progress.left,
            over_seconds = over.as_secs_f64(),
            "drain: new flows are refused, open ones are closed"
        );
        Ok(progress)
    }

    /// Lets new flows in again. Those that were closed stay closed.
    ///
    /// # Errors
    /// The process ends already.
    pub fn serve_again(&self) -> Result<DrainProgress, ShuttingDown> {
        let changed = self.0.change(AdmissionState::Serving)?;
        if changed {
            tracing::info!(flows = self.live(), "new flows are accepted again");
        }
        Ok(self.progress())
    }

    /// Lets no new flow in; open ones stay. A drain goes on.
    ///
    /// # Errors
    /// The process ends already.
    pub fn refuse_new(&self) -> Result<DrainProgress, ShuttingDown> {
        if !matches!(*self.0.admission_state.borrow(), AdmissionState::Emptying(_)) {
            self.0.change(AdmissionState::Shut)?;
            tracing::info!(flows = self.live(), "new flows are refused");
        }
        Ok(self.progress())
    }

    /// Closes at once whatever a drain or the end of the process has not closed yet.
    pub fn hurry(&self) {
        self.0.admission_state.send_if_modified(|admission_state| match admission_state {
            AdmissionState::Emptying(plan) => {
                plan.until = plan.until.min(Instant::now());
                plan.last = plan.last.min(plan.until + FAREWELL);
                true
            }
            AdmissionState::Serving | AdmissionState::Shut => false,
        });
    }

    /// The node's current activity, and its progress.
    #[must_use]
    pub fn progress(&self) -> DrainProgress {
        let admission_state = *self.0.admission_state.borrow();
        let left = self.live();
        let AdmissionState::Emptying(plan) = admission_state else {
            let state = if matches!(admission_state, AdmissionState::Shut) {
                NodeActivity::Disabled
            } else {
                NodeActivity::Serving
            };
            return DrainProgress { state, since: None, until: None, seconds_left: 0.0, closed: 0, left };
        };
        let state = match plan.purpose {
            Purpose::Shutdown => NodeActivity::ShuttingDown,
            Purpose::Drain if left == 0 => NodeActivity::Drained,
            Purpose::Drain => NodeActivity::Draining,
        };
        let time_left = plan.until.saturating_duration_since(Instant::now());
        let until = clock::micros() + u64::try_from(time_left.as_micros()).unwrap_or(u64::MAX);
        DrainProgress {
            state,
            since: Some(event_time(plan.since)),
            until: (!time_left.is_zero()).then(|| event_time(until)),
            seconds_left: time_left.as_secs_f64(),
            closed: self.metrics().get(Count::FlowsClosed).saturating_sub(plan.closed_before),
            left,
        }
    }
}

impl Shared {
    /// Has every shard close its flows, spread over so much time from now, and those that lead to servers
    /// behind at most `farewell` later. With few flows the end of the process takes less.
    pub(crate) fn begin_emptying(
        &self,
        purpose: Purpose,
        over: Duration,
        farewell: Duration,
    ) -> Result<(), ShuttingDown> {
        let over = match purpose {
            Purpose::Drain => over,
            Purpose::Shutdown => {
                over.min(GENTLE.saturating_mul(u32::try_from(self.state.live()).unwrap_or(u32::MAX)))
            }
        };
        let now = Instant::now();
        // Some hundred years are as good as never.
        let until = now.checked_add(over).unwrap_or(now);
        let fresh = Plan {
            purpose,
            since: clock::micros(),
            until,
            last: until.checked_add(farewell.min(FAREWELL)).unwrap_or(until),
            closed_before: self.metrics.get(Count::FlowsClosed),
        };
        self.metrics.set(Gauge::Draining, 1);
        let mut refused = false;
        self.admission_state.send_if_modified(|admission_state| {
            match admission_state {
                AdmissionState::Emptying(Plan { purpose: Purpose::Shutdown, .. }) => {
                    refused = true;
                    return false;
                }
                AdmissionState::Emptying(under_way) if under_way.purpose == purpose => {
                    (under_way.until, under_way.last) = (until, fresh.last);
                }
                _ => *admission_state = AdmissionState::Emptying(fresh),
            }
            true
        });
        if refused { Err(ShuttingDown) } else { Ok(()) }
    }

    fn change(&self, to: AdmissionState) -> Result<bool, ShuttingDown> {
        let mut outcome = Ok(false);
        self.admission_state.send_if_modified(|admission_state| {
            outcome = match (&*admission_state, to) {
                (AdmissionState::Emptying(Plan { purpose: Purpose::Shutdown, .. }), _) => Err(ShuttingDown),
                (AdmissionState::Serving, AdmissionState::Serving)
                | (AdmissionState::Shut, AdmissionState::Shut) => Ok(false),
                _ => Ok(true),
            };
            if outcome == Ok(true) {
                *admission_state = to;
                self.metrics.set(Gauge::Draining, 0);
            }
            outcome == Ok(true)
        });
        outcome
    }

    /// Waits until no flow is open, or for the time to be over.
    pub(crate) async fn emptied(&self, until: Instant) {
        while self.state.live() > 0 && Instant::now() < until {
            sleep(LOOK).await;
        }
    }

    /// Users are gone and what they left at registrars behind is taken back, or that has taken too long.
    async fn said_farewell(&self, plan: Plan) {
        while self.says_farewell(plan) {
            sleep(LOOK).await;
        }
    }

    fn says_farewell(&self, plan: Plan) -> bool {
        let owed = self.user_flows.load(Ordering::Acquire) > 0 || self.untold.others() > 0;
        owed && Instant::now() < plan.last
    }

    /// The same, for those that are told by datagrams.
    pub(crate) async fn all_told(&self) {
        let admission_state = *self.admission_state.borrow();
        if let AdmissionState::Emptying(plan) = admission_state {
            self.said_farewell(plan).await;
        }
    }

    /// Why no flow that leads there may open now, if none may. As long as there is something to be said for
    /// users, servers behind are connected to.
    pub(crate) fn shut_because(&self, leads: PeerKind) -> Option<&'static str> {
        match &*self.admission_state.borrow() {
            AdmissionState::Serving => None,
            AdmissionState::Shut if leads == PeerKind::Server => None,
            AdmissionState::Emptying(plan) if leads == PeerKind::Server && self.says_farewell(*plan) => None,
            AdmissionState::Shut => Some("the server takes no new connections at present"),
            AdmissionState::Emptying(Plan { purpose: Purpose::Drain, .. }) => {
                Some("the server is being drained")
            }
            AdmissionState::Emptying(Plan { purpose: Purpose::Shutdown, .. }) => {
                Some("the server is shutting down")
            }
        }
    }
}

/// Closes a shard's flows whenever it is told to.
pub(crate) async fn run(shard: Rc<Shard>, mut admission_state: watch::Receiver<AdmissionState>) {
    loop {
        let now = *admission_state.borrow_and_update();
        let changed = match now {
            AdmissionState::Serving | AdmissionState::Shut => admission_state.changed().await,
            AdmissionState::Emptying(plan) => tokio::select! {
                changed = admission_state.changed() => changed,
                changed = async {
                    empty(&shard, plan).await;
                    std::future::pending().await
                } => changed,
            },
        };
        if changed.is_err() {
            return;
        }
    }
}

/// Closes every flow of a shard by a plan: the oldest first, but those with calls behind all others, and
/// servers behind these. Meanwhile no user comes in, and once all are gone no server is connected to, so each
/// is met by going through the table thrice.
async fn empty(shard: &Shard, plan: Plan) {
    let ending = plan.ending();
    for which in [DrainPhase::UsersWithoutCalls, DrainPhase::Users, DrainPhase::All] {
        if which == DrainPhase::All {
            shard.shared.said_farewell(plan).await;
        }
        let mut behind = None;
        loop {
            let left = plan.until.saturating_duration_since(Instant::now());
            let turn = Turn::next(left, shard.flow_count());
            if turn.pause.is_zero() {
                yield_now().await;
            } else {
                // Half the pause more or less: neither shards nor nodes go in step.
                sleep(turn.pause.mul_f64(rand::random_range(0.5..1.5))).await;
            }
            let mut flows = turn.flows;
            while flows > 0
                && let Some(number) = shard.next_leaving(behind, which)
            {
                shard.send_away(number, &ending);
                behind = Some(number);
                flows -= 1;
            }
            if flows > 0 {
                break;
            }
        }
    }
}

/// Which flows are to be closed next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DrainPhase {
    UsersWithoutCalls,
    Users,
    All,
}

/// One step: a pause, then so many flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Turn {
    pause: Duration,
    flows: usize,
}

impl Turn {
    /// The next step when so many flows share so much time. Asked anew at every step, so what one step took
    /// too long the others make up for.
    fn next(left: Duration, flows: usize) -> Self {
        if left.is_zero() || flows == 0 {
            return Self { pause: Duration::ZERO, flows: AT_ONCE };
        }
        let share = left / u32::try_from(flows).unwrap_or(u32::MAX);
        // As many at once as make the pause worth its while.
        let at_once = TICK.as_nanos().div_ceil(share.as_nanos().max(1));
        let at_once = u32::try_from(at_once).unwrap_or(u32::MAX);
        Self { pause: (share * at_once).min(left), flows: (at_once as usize).min(flows) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// However many flows share however much time: all go, at an even pace, and within the time.
        #[test]
        fn the_pace_is_even_and_kept(flows in 1usize..20_000, over_ms in 1u64..600_000) {
            let over = Duration::from_millis(over_ms);
            let (mut left, mut now) = (flows, Duration::ZERO);
            while left > 0 && now < over {
                let turn = Turn::next(over - now, left);
                now += turn.pause;
                left -= turn.flows.min(left);
                let due = flows as f64 * now.as_secs_f64() / over.as_secs_f64();
                let gone = (flows - left) as f64;
                prop_assert!((gone - due).abs() <= turn.flows as f64 + 1.0, "{gone} of {flows} gone where {due} were due");
            }
            prop_assert_eq!(left, 0);
            prop_assert!(now <= over);
        }
    }

    #[test]
    fn once_the_time_is_over_the_rest_goes_at_once() {
        assert_eq!(Turn::next(Duration::ZERO, 5), Turn { pause: Duration::ZERO, flows: AT_ONCE });
    }
}
