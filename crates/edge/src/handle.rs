//! The handle of a running server: questions to it and orders for it. More of its methods are in `flow_list`,
//! `draining` and `reload`.

use std::{sync::Arc, time::Duration};

use ledger::Ledger;
use lifecycle::{Cause, Ending, FlowId, Node};
use metrics::Metrics;
use state::{LedgerSnapshot, clock};
use tokio::sync::oneshot;
use upstream::{FlowNumber, UpstreamView};

use crate::{
    BanView, BoundListener, CallView, FlowView, HinderedView,
    audit::{self, AuditView, NoAudit},
    certificate_remarks::expires_at,
    inbox::{Closing, ShardMessage},
    shared::Shared,
};

/// Bans that are shown at a time.
const MOST_BANS: usize = 10_000;

/// A way to ask and order things of a running server.
#[derive(Clone, Debug)]
pub struct Handle(pub(crate) Arc<Shared>);

/// Whether the shards are at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answering {
    /// All of them.
    All,
    /// This one did not answer in time.
    Stuck {
        /// Its number.
        shard: usize,
    },
}

impl Handle {
    /// The listeners, in the order of the configuration.
    #[must_use]
    pub fn listeners(&self) -> &[BoundListener] {
        &self.0.listeners
    }

    /// How long a call waits for a side whose flow ended.
    #[must_use]
    pub fn call_hold(&self) -> Duration {
        self.0.calls.hold
    }

    /// The calls under way, the oldest first, at most so many.
    #[must_use]
    pub fn calls(&self, most: usize) -> Vec<CallView> {
        self.0.look_at_calls(most)
    }

    /// The node's name.
    #[must_use]
    pub fn node(&self) -> &Node {
        self.0.state.node()
    }

    /// The ledger.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        self.0.state.ledger()
    }

    /// How long it has been running.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.0.started.elapsed()
    }

    /// When it started, in microseconds since the Unix epoch.
    #[must_use]
    pub fn started_at(&self) -> u64 {
        clock::micros().saturating_sub(u64::try_from(self.uptime().as_micros()).unwrap_or(u64::MAX))
    }

    /// Counters.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// When the certificates of listeners expire that are served with now, in seconds since the Unix epoch,
    /// by the listener's name. None of those that were made at the start.
    pub fn certificates(&self) -> impl Iterator<Item = (&str, i64)> {
        self.0.listeners.iter().filter_map(|bound| {
            let own = bound.certificate.as_ref()?.own()?;
            Some((bound.name.as_str(), expires_at(&own)?))
        })
    }

    /// Flows that are open now.
    #[must_use]
    pub fn live(&self) -> u64 {
        self.0.state.live()
    }

    /// Whether one flow more could open now. What orders and the disk have to say besides is in
    /// [`Handle::progress`] and [`Ledger::health`].
    ///
    /// # Errors
    /// Why it would be refused, for people.
    pub fn has_room(&self) -> Result<(), &'static str> {
        // Its opening takes less than its close.
        let _opening = self.0.admit()?;
        self.0.admit().map(drop)
    }

    /// Flows that may be open at a time.
    #[must_use]
    pub fn max_flows(&self) -> u64 {
        self.0.max_flows
    }

    /// The servers of all upstreams, and how they are.
    #[must_use]
    pub fn upstreams(&self) -> Vec<UpstreamView> {
        self.0.upstreams.views().collect()
    }

    /// Every upstream, and how many of this server's un-REGISTERs failed there.
    pub fn unregisters_failed(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.upstreams.unregisters_failed()
    }

    /// The addresses that are banned now; of very many, some.
    #[must_use]
    pub fn bans(&self) -> Vec<BanView> {
        self.0.admission.bans(MOST_BANS).into_iter().map(BanView::from).collect()
    }

    /// Ends the bans of an address; gives those there were.
    #[must_use]
    pub fn lift_bans(&self, address: std::net::IpAddr) -> Vec<BanView> {
        self.0.admission.lift(address).into_iter().map(BanView::from).collect()
    }

    /// Bindings and addresses-of-record there are now.
    #[must_use]
    pub fn bindings(&self) -> (usize, usize) {
        let location = self.0.state.location();
        (location.len(), location.aors())
    }

    /// The users that took more than they may within the last hour, the last first; of very many, some.
    #[must_use]
    pub fn hindered(&self) -> Vec<HinderedView> {
        self.0.admission.quotas.hindered().into_iter().map(HinderedView::from).collect()
    }

    /// Facts about an open flow.
    pub async fn look(&self, flow: FlowId) -> Option<FlowView> {
        let number = self.own(flow)?;
        let (answer, looked) = oneshot::channel();
        self.0.tell(number.shard(), ShardMessage::Describe { flow: number, answer }).ok()?;
        looked.await.ok().flatten()
    }

    /// Closes a flow: tells its peer 1000 with this reason, records the cause `admin`.
    pub async fn close(&self, flow: FlowId, reason: &str) -> Closing {
        let Some(number) = self.own(flow) else { return Closing::NoSuchFlow };
        let ending = Ending::of(Cause::Admin).code(1000).reason(reason);
        let (done, closing) = oneshot::channel();
        match self.0.tell(number.shard(), ShardMessage::Close { flow: number, ending, done }) {
            Ok(()) => closing.await.unwrap_or(Closing::NoSuchFlow),
            Err(_) => Closing::NoSuchFlow,
        }
    }

    /// Has the running audit look now.
    ///
    /// # Errors
    /// Something did not answer.
    pub async fn audit(&self) -> Result<Arc<AuditView>, NoAudit> {
        audit::look(&self.0).await
    }

    /// The last result of the running audit; none before its first look.
    #[must_use]
    pub fn last_audit(&self) -> Option<Arc<AuditView>> {
        self.0.audit.last()
    }

    /// What the ledger says is open, as of its last durable record: a copy, about as large as what is open.
    /// None if the server is ending, or has more of these to make than it can.
    pub async fn standing(&self) -> Option<LedgerSnapshot> {
        self.0.orders.snapshot().await
    }

    /// Whether every shard answers within this time: they have one thread each, and one that is stuck serves
    /// nobody.
    pub async fn shards_answer(&self, within: Duration) -> Answering {
        let until = tokio::time::Instant::now() + within;
        for shard in 0..self.0.inboxes.shards() {
            let (answer, answered) = oneshot::channel();
            let told = self.0.tell(shard, ShardMessage::HealthCheck(answer)).is_ok();
            if !told || !matches!(tokio::time::timeout_at(until, answered).await, Ok(Ok(()))) {
                return Answering::Stuck { shard };
            }
        }
        Answering::All
    }

    pub(crate) fn own(&self, flow: FlowId) -> Option<FlowNumber> {
        (flow.incarnation == self.0.state.incarnation()).then_some(FlowNumber(flow.counter))
    }
}
