//! What all shards share.

use std::{
    sync::{Arc, OnceLock, atomic::AtomicUsize},
    time::Instant,
};

use identity::Domains;
use ledger::Reservation;
use metrics::{Count, Metrics};
use state::{Orders, Registry};
use tokio::sync::{mpsc, watch};
use upstream::Upstreams;

use crate::{
    BoundListener,
    admission_control::AdmissionControl,
    audit::Audit,
    call_table::CallTable,
    drain_plan::AdmissionState,
    inbox::{Inboxes, ShardMessage, Undelivered},
    registrations::{PendingRegistration, Registrations},
    routing::{
        flow_token::{Device, FlowTokens},
        tables::Tables,
    },
};

/// Takes a request for a page.
pub type Pages = Box<dyn Fn(transport::PlainHttp) + Send + Sync>;

/// The state of the node, and what serving takes besides.
pub(crate) struct Shared {
    /// Flows, bindings and users, and the ledger that tells of them.
    pub(crate) state: Registry,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) listeners: Vec<BoundListener>,
    pub(crate) domains: Arc<Domains>,
    pub(crate) admission: Arc<AdmissionControl>,
    pub(crate) upstreams: Arc<Upstreams>,
    /// Bindings to be taken back from the registrars behind us, in turn.
    pub(crate) pending_unregisters: mpsc::Sender<Device>,
    pub(crate) registrations: Registrations,
    pub(crate) untold: PendingRegistration,
    /// Open flows of user agents: all but those that lead to others ([`upstream::PeerKind`]).
    pub(crate) user_flows: AtomicUsize,
    pub(crate) flow_tokens: FlowTokens,
    pub(crate) policy: sip_registrar::Policy,
    pub(crate) replaced_flow: config::ReplacedFlow,
    pub(crate) proxy: sip_proxy::Settings,
    /// Signs branches; the same for all shards.
    pub(crate) branch_secret: [u8; 16],
    pub(crate) max_flows: u64,
    pub(crate) inboxes: Inboxes,
    pub(crate) audit: Audit,
    pub(crate) calls: CallTable,
    /// To the bookkeeper.
    pub(crate) orders: Orders,
    /// When it started.
    pub(crate) started: Instant,
    pub(crate) pages: OnceLock<Pages>,
    /// Whether flows come in. Changed in `draining` alone.
    pub(crate) admission_state: watch::Sender<AdmissionState>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("node", &self.state.node()).finish_non_exhaustive()
    }
}

impl Shared {
    /// Room for the close of one flow more, or why none may open.
    pub(crate) fn admit(&self) -> Result<Reservation, &'static str> {
        if self.state.live() >= self.max_flows {
            return Err("there are as many connections as there may be");
        }
        self.state.pay_for_close().map_err(|_| "there is no room in the ledger")
    }

    /// The tables that routing reads.
    pub(crate) fn tables(&self) -> Tables<'_> {
        Tables {
            domains: &self.domains,
            upstreams: &self.upstreams,
            flow_tokens: &self.flow_tokens,
            listeners: &self.listeners,
            registry: &self.state,
            calls: &self.calls,
            quotas: &self.admission.quotas,
            metrics: &self.metrics,
            policy: &self.policy,
        }
    }

    /// From now on plain HTTP on `ws` listeners is answered by this.
    pub(crate) fn serve_pages(&self, pages: Pages) {
        let _ = self.pages.set(pages);
    }

    /// The handler of plain HTTP.
    pub(crate) fn pages(&self) -> Option<&Pages> {
        self.pages.get()
    }

    /// Tells a shard something; a full inbox is counted, and the message is lost.
    pub(crate) fn tell(&self, shard: usize, message: ShardMessage) -> Result<(), ShardMessage> {
        self.inboxes.send(shard, message).map_err(|undelivered| match undelivered {
            Undelivered::InboxFull(message) => {
                self.metrics.add(Count::InboxFull);
                message
            }
            Undelivered::NobodyThere(message) => message,
        })
    }
}
