//! What all shards share.

use std::{
    ops::Deref,
    sync::{Arc, OnceLock, atomic::AtomicUsize, mpsc::SyncSender},
    time::Instant,
};

use ledger::Reservation;
use metrics::Count;
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    Bound,
    audit::Audit,
    bookkeeper::{Order, Standing},
    calls::CallTable,
    domains::Domains,
    door::Door,
    draining::Stance,
    inbox::{Inboxes, Letter, Undelivered},
    registrations::Registrations,
    registry::Registry,
    routing::{
        backend::Untold,
        flow_token::{Device, Tokens},
        tables::Tables,
    },
    upstream::Upstreams,
};

/// Takes a request for a page.
pub type Pages = Box<dyn Fn(transport::PlainHttp) + Send + Sync>;

/// The registry, and what serving takes besides.
pub(crate) struct Shared {
    registry: Registry,
    pub(crate) listeners: Vec<Bound>,
    pub(crate) domains: Domains,
    pub(crate) door: Arc<Door>,
    pub(crate) upstreams: Upstreams,
    /// Bindings to be taken back from the registrars behind us, in turn.
    pub(crate) orphans: mpsc::Sender<Device>,
    pub(crate) registrations: Registrations,
    pub(crate) untold: Untold,
    /// Open flows of user agents: all but those that lead to others ([`crate::shard::Leads`]).
    pub(crate) user_flows: AtomicUsize,
    pub(crate) tokens: Tokens,
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
    orders: SyncSender<Order>,
    /// When it started.
    pub(crate) started: Instant,
    pages: OnceLock<Pages>,
    /// Whether flows come in. Changed in `draining` alone.
    pub(crate) stance: watch::Sender<Stance>,
}

impl Deref for Shared {
    type Target = Registry;

    fn deref(&self) -> &Registry {
        &self.registry
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("node", &self.node).finish_non_exhaustive()
    }
}

/// What [`Shared`] is made of.
pub(crate) struct Parts {
    pub(crate) registry: Registry,
    pub(crate) listeners: Vec<Bound>,
    pub(crate) domains: Domains,
    pub(crate) upstreams: Upstreams,
    pub(crate) orphans: mpsc::Sender<Device>,
    pub(crate) tokens: Tokens,
    pub(crate) policy: sip_registrar::Policy,
    pub(crate) replaced_flow: config::ReplacedFlow,
    pub(crate) proxy: sip_proxy::Settings,
    pub(crate) max_flows: u64,
    pub(crate) inboxes: Inboxes,
    pub(crate) audit: Audit,
    pub(crate) calls: CallTable,
    pub(crate) orders: SyncSender<Order>,
    pub(crate) defence: config::Defence,
}

impl Shared {
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        Arc::new(Self {
            door: Door::new(
                &parts.defence,
                usize::try_from(parts.max_flows).unwrap_or(usize::MAX),
                Arc::clone(&parts.registry.metrics),
            ),
            registry: parts.registry,
            listeners: parts.listeners,
            domains: parts.domains,
            upstreams: parts.upstreams,
            orphans: parts.orphans,
            registrations: Registrations::default(),
            untold: Untold::default(),
            user_flows: AtomicUsize::new(0),
            tokens: parts.tokens,
            policy: parts.policy,
            replaced_flow: parts.replaced_flow,
            proxy: parts.proxy,
            branch_secret: rand::random(),
            max_flows: parts.max_flows,
            inboxes: parts.inboxes,
            audit: parts.audit,
            calls: parts.calls,
            orders: parts.orders,
            pages: OnceLock::new(),
            started: Instant::now(),
            stance: watch::Sender::new(Stance::Serving),
        })
    }

    /// Room for the close of one flow more, or why none may open.
    pub(crate) fn admit(&self) -> Result<Reservation, &'static str> {
        if self.live() >= self.max_flows {
            return Err("there are as many connections as there may be");
        }
        self.pay_for_close().map_err(|_| "there is no room in the ledger")
    }

    /// What routing reads.
    pub(crate) fn tables(&self) -> Tables<'_> {
        Tables {
            domains: &self.domains,
            upstreams: &self.upstreams,
            tokens: &self.tokens,
            listeners: &self.listeners,
            registry: &self.registry,
            calls: &self.calls,
            accounts: &self.door.accounts,
            metrics: &self.metrics,
            policy: &self.policy,
        }
    }

    /// From now on plain HTTP on `ws` listeners is answered by this.
    pub(crate) fn serve_pages(&self, pages: Pages) {
        let _ = self.pages.set(pages);
    }

    /// Who answers plain HTTP.
    pub(crate) fn pages(&self) -> Option<&Pages> {
        self.pages.get()
    }

    /// What the ledger says is open, up to what is durable now. None if the bookkeeper has too much to do or has ended.
    pub(crate) async fn standing(&self) -> Option<Standing> {
        let (answer, standing) = oneshot::channel();
        self.orders.try_send(Order::Copy(answer)).ok()?;
        standing.await.ok()
    }

    /// Tells a shard something; a full inbox is counted, and the letter is lost.
    pub(crate) fn tell(&self, shard: usize, letter: Letter) -> Result<(), Letter> {
        self.inboxes.send(shard, letter).map_err(|undelivered| match undelivered {
            Undelivered::InboxFull(letter) => {
                self.metrics.add(Count::InboxFull);
                letter
            }
            Undelivered::NobodyThere(letter) => letter,
        })
    }
}
