//! The server as a whole: start, run, end.

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use config::{AuditPace, Config, Shards};
use ledger::{
    Ledger,
    storage::{Directory, Storage},
};
use lifecycle::{Cause, Ending, EventId, FlowId, Node, RemovalCause};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    task::JoinHandle as Task,
};
use transport::{
    accept::{self, Accepted},
    certificate::CertificateError,
};

use crate::{
    BanView, Bound, CallView, FlowView, Gauge, Metrics, Recovered, UsersError,
    audit::{self, Audit, AuditView, NoAudit},
    backend,
    bookkeeper::{self, Gate, MOST_ORDERS, Standing},
    calls::CallTable,
    clock,
    domains::Domains,
    draining::Purpose,
    hop::{FlowNumber, MOST},
    inbox::{Closing, Inboxes, Letter},
    jwks, kept,
    listeners::{self, Sockets},
    metrics::Count,
    recovery,
    registry::Registry,
    resolve::resolver,
    retention::Policy,
    shard,
    shared::{Pages, Parts, Shared},
    token::Tokens,
    upkeep,
    upstream::{self, UpstreamView, Upstreams},
    user_database,
};

/// Bindings that one flow has on average at most, for the bound of the whole table.
const BINDINGS_PER_FLOW: usize = 4;

/// Descriptors that are not for flows: listeners, the ledger, sinks, admin, what lingers.
const SPARE_DESCRIPTORS: u64 = 128;

/// Those of them that no connection gets, whatever comes in: the ledger, sinks and admin open theirs at any time.
const KEPT_DESCRIPTORS: u64 = 64;

/// Bans that are shown at a time.
const MOST_BANS: usize = 10_000;

/// Between two warnings that no connection can be accepted.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// A server that did not start. Nothing of it runs.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener's address cannot be bound.
    #[error("listener `{listener}` cannot have {transport} {address}: {error}")]
    Bind {
        /// Its name.
        listener: String,
        /// How SIP travels on it.
        transport: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// A listener's certificate cannot be used.
    #[error("listener `{listener}`: {error}")]
    Certificate {
        /// Its name.
        listener: String,
        /// Why not.
        error: CertificateError,
    },
    /// An upstream's certificates cannot be used.
    #[error("upstream `{upstream}`: {error}")]
    UpstreamTls {
        /// Its name.
        upstream: String,
        /// Why not.
        error: CertificateError,
    },
    /// How names are looked up on this system cannot be read.
    #[error("how names are looked up on this system cannot be read ({0}); write `servers` under [dns]")]
    Dns(String),
    /// More targets over TLS than can be told apart.
    #[error("there are more than {most} targets over TLS")]
    TooManyTlsTargets {
        /// As many as there may be.
        most: usize,
    },
    /// More listeners than a flow's number can name.
    #[error("there are more than {most} listeners")]
    TooManyListeners {
        /// As many as there may be.
        most: usize,
    },
    /// A users file cannot be used.
    #[error(transparent)]
    Users(#[from] UsersError),
    /// The ledger cannot be opened.
    #[error(transparent)]
    Ledger(#[from] ledger::OpenError),
    /// The ledger's history cannot be read.
    #[error("the ledger's history cannot be read: {0}")]
    History(ledger::ReadError),
    /// The ledger's beginning was dropped and no checkpoint tells what was open then.
    #[error(
        "the ledger begins at {oldest} and no checkpoint can be used ({why}), so it is not known which flows were open before: restore the files in `checkpoints` from a backup, or move the ledger's directory away to begin a new one"
    )]
    NoCheckpoint {
        /// The oldest record.
        oldest: ledger::Position,
        /// What is wrong with the checkpoints.
        why: String,
    },
    /// The ledger holds an event of a type that this program does not know.
    #[error("event {}.{} in the ledger is of type {kind}, which this program does not know: it was written by a newer one; run that one", event.incarnation, event.sequence)]
    NewerEvents {
        /// Which.
        event: EventId,
        /// Its type's number.
        kind: u16,
    },
    /// It is not known how far a sink had come.
    #[error("sink `{sink}`: {error}")]
    Cursor {
        /// Its name.
        sink: String,
        /// What is wrong with its cursor.
        error: ledger::CursorError,
    },
    /// What an earlier process owed cannot be written.
    #[error(
        "there is no room in the ledger for the closes that the last process owed: {0}; free some disk and start again, nothing is lost"
    )]
    NoRoomToRecover(ledger::Refused),
    /// The disk did not take the first records in time.
    #[error("the disk under the ledger took longer than {0:?} for its first records")]
    DiskTooSlow(Duration),
    /// A file in the ledger's directory cannot be read or written.
    #[error("{}: {error}", path.display())]
    Secret {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The process may not have enough descriptors for a single flow.
    #[error(
        "this process may have {descriptors} descriptors, and {spare} are not for flows; raise its limit (ulimit -n, LimitNOFILE=)"
    )]
    TooFewDescriptors {
        /// As many as it may have.
        descriptors: u64,
        /// Those for listeners, the ledger, sinks and what lingers.
        spare: u64,
    },
    /// A thread could not be started.
    #[error("a thread cannot be started: {0}")]
    Thread(io::Error),
}

/// A running server. Dropping it does not end it in order: call [`Server::shut_down`].
#[derive(Debug)]
pub struct Server {
    handle: Handle,
    acceptors: Vec<Task<()>>,
    shards: Vec<JoinHandle<()>>,
    bookkeeper: bookkeeper::Running,
    /// What was mended at the start.
    pub recovered: Recovered,
}

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

impl Server {
    /// Starts a server: every listener is bound before the ledger is touched, and nothing is served before what an
    /// earlier process owed is written. Must be called within a runtime; it blocks on the disk. `pages` takes plain
    /// HTTP requests that come to `ws` listeners.
    ///
    /// # Errors
    /// See [`StartError`]; nothing runs then.
    pub fn start(config: &Config, pages: impl FnOnce(Handle) -> Option<Pages>) -> Result<Self, StartError> {
        Self::start_on(Arc::new(Directory::new(&config.ledger.directory)), config, pages)
    }

    /// The same with the ledger on this storage. What stands beside it (the secret of our routes) is still in the
    /// directory of the configuration.
    ///
    /// # Errors
    /// See [`StartError`]; nothing runs then.
    pub fn start_on(
        storage: Arc<dyn Storage>,
        config: &Config,
        pages: impl FnOnce(Handle) -> Option<Pages>,
    ) -> Result<Self, StartError> {
        let shards = match config.limits.shards {
            Shards::Auto => std::thread::available_parallelism().map_or(1, usize::from),
            Shards::Fixed(number) => usize::from(number.get()),
        }
        .min(MOST);
        let (bounds, sockets): (Vec<Bound>, Vec<Sockets>) =
            listeners::bind(config, shards)?.into_iter().unzip();
        let upstreams = Upstreams::new(&config.upstreams, &config.listeners)?;
        let resolver = resolver(&config.dns.servers).map_err(|error| StartError::Dns(error.to_string()))?;
        let domains = Domains::new(&config.domains, &upstreams, &rand::random())?;
        let (orphans, orphans_inbox) = mpsc::channel(backend::MOST_WAITING);
        let node = Node::new(config.node.as_str())
            .expect("the configuration checks the node's name by the same rule");
        let began = Instant::now();
        let opened = recovery::open(storage, &config.ledger, &node)?;
        let now = (began, clock::micros());
        let mut found = kept::open(&config.ledger.directory, &bounds, now);
        let mut staying = Vec::new();
        let (recovered, books) = recovery::recover(&opened, now.1, |left| {
            let taken = found.as_mut().map(|found| found.take(left, &opened.ledger, now.1));
            taken.unwrap_or(Err(RemovalCause::NodeCrash)).map(|stays| staying.push(stays)).err()
        })?;
        let recovered = Recovered { took: began.elapsed(), ..recovered };
        let ledger = opened.ledger;
        for sink in &config.sinks {
            let cursor = ledger.cursor(sink.name.as_str());
            cursor.map_err(|error| StartError::Cursor { sink: sink.name.to_string(), error })?;
        }
        let secret = route_secret(config)?;
        let (inboxes, receivers) = Inboxes::new(shards);
        let descriptors = descriptors();
        let wanted = u64::from(config.limits.max_flows);
        let max_flows = wanted.min(descriptors.saturating_sub(SPARE_DESCRIPTORS));
        if max_flows == 0 {
            return Err(StartError::TooFewDescriptors { descriptors, spare: SPARE_DESCRIPTORS });
        }
        if max_flows < wanted {
            tracing::warn!(
                max_flows,
                wanted,
                descriptors,
                "this process may have fewer descriptors than `limits.max_flows` asks for; raise its limit (ulimit -n, LimitNOFILE=)"
            );
        }
        let per_shard = config.limits.max_transactions / u32::try_from(shards).unwrap_or(1).max(1);
        let (orders, orders_inbox) = std::sync::mpsc::sync_channel(MOST_ORDERS);
        let tokens = Tokens::new(&secret, ledger.incarnation());
        let max_bindings = usize::try_from(max_flows).unwrap_or(usize::MAX).saturating_mul(BINDINGS_PER_FLOW);
        let mut registry = Registry::new(node, ledger, max_bindings);
        if let Some(found) = found {
            let there = staying.iter().map(|stays| (stays.kept.clone(), stays.expires_at)).collect();
            registry.keep(found.keep(there).map_err(StartError::Thread)?, staying, now.1);
        }
        let shared = Shared::new(Parts {
            registry,
            listeners: bounds,
            domains,
            upstreams,
            orphans,
            tokens,
            policy: policy(&config.registrar),
            replaced_flow: config.registrar.replaced_flow,
            proxy: sip_proxy::Settings {
                timers: sip_transaction::Timers {
                    t1: config.timers.t1,
                    t2: config.timers.t2,
                    t4: config.timers.t4,
                },
                timer_c: config.timers.timer_c,
                ring_timeout: config.timers.ring_timeout,
                max_transactions: per_shard.max(1),
                max_kept: config.limits.transaction_memory / u64::try_from(shards).unwrap_or(1).max(1),
            },
            max_flows,
            inboxes,
            audit: Audit::new(config.limits.handshake_timeout, config.limits.close_timeout),
            calls: CallTable::new(&config.calls, config.timers.timer_c),
            orders: orders.clone(),
            defence: config.defence.clone(),
        });
        let took = u64::try_from(recovered.took.as_millis()).unwrap_or(u64::MAX);
        shared.metrics.set(Gauge::RecoveryTime, took);
        shared.metrics.set(Gauge::RecoveryRecords, recovered.records);
        let bookkeeper = bookkeeper::Parts {
            ledger: shared.ledger.clone(),
            node: shared.node.clone(),
            books,
            policy: Policy::new(&config.ledger, &config.sinks),
            metrics: Arc::clone(&shared.metrics),
            gate: Arc::new(Gate::default()),
        };
        let directory = config.ledger.directory.clone();
        let bookkeeper = bookkeeper::Running::start(
            bookkeeper,
            (orders, orders_inbox),
            directory,
            config.ledger.segment_size,
        )
        .map_err(StartError::Thread)?;
        let handle = Handle(Arc::clone(&shared));
        if let Some(pages) = pages(handle.clone()) {
            shared.serve_pages(pages);
        }
        let mut datagrams: Vec<Vec<(u8, std::net::UdpSocket)>> = (0..shards).map(|_| Vec::new()).collect();
        let mut streams = Vec::new();
        for (number, sockets) in (0..).zip(sockets) {
            match sockets {
                Sockets::Stream(socket) => streams.push((number, socket)),
                Sockets::Datagram(sockets) => {
                    for (shard, socket) in datagrams.iter_mut().zip(sockets) {
                        shard.push((number, socket));
                    }
                }
            }
        }
        let threads = (0..).zip(receivers).zip(datagrams).map(|((index, inbox), sockets)| {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new().name(format!("shard-{index}")).spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let Ok(runtime) =
                    runtime.inspect_err(|error| tracing::error!(%error, "a shard has no runtime"))
                else {
                    return;
                };
                let local = tokio::task::LocalSet::new();
                local.block_on(&runtime, shard::run(index, shared, inbox, sockets));
            })
        });
        let threads = threads.collect::<Result<_, _>>().map_err(StartError::Thread)?;
        let most = descriptors.saturating_sub(KEPT_DESCRIPTORS);
        let mut acceptors = vec![tokio::spawn(upkeep::run(Arc::clone(&shared)))];
        acceptors.push(tokio::spawn(backend::run(Arc::clone(&shared), orphans_inbox)));
        for upstream in 0..config.upstreams.len() {
            acceptors.push(tokio::spawn(upstream::probe(Arc::clone(&shared), upstream)));
        }
        for name in shared.upstreams.names() {
            let resolver = resolver.clone();
            acceptors.push(tokio::spawn(upstream::look_up(Arc::clone(&shared), resolver, name)));
        }
        for domain in shared.domains.by_token() {
            acceptors.push(tokio::spawn(jwks::keep(Arc::clone(&shared), domain.clone())));
        }
        for domain in shared.domains.by_database() {
            acceptors.push(tokio::spawn(user_database::keep(Arc::clone(&shared), domain.clone())));
        }
        if let AuditPace::Every(pace) = config.audit.every {
            acceptors.push(tokio::spawn(audit::run(Arc::clone(&shared), pace)));
        }
        for (number, socket) in streams {
            let socket = TcpListener::from_std(socket).map_err(StartError::Thread)?;
            acceptors.push(tokio::spawn(accept_all(Arc::clone(&shared), number, socket, most)));
        }
        Ok(Self { handle, acceptors, shards: threads, bookkeeper, recovered })
    }

    /// A way to ask and order things.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Ends the server in order: no new flows, every flow closed and its close durable, then `node.stopped`, then a
    /// checkpoint for the next start. The flows are closed at a pace that takes `over` (less with few flows, or after
    /// [`Handle::hurry`]); what is not closed by `patience` is closed by the next start.
    ///
    /// # Errors
    /// What the disk did not take in time.
    pub async fn shut_down(self, over: Duration, patience: Duration) -> Result<(), ledger::Unwritten> {
        let shared = &self.handle.0;
        let until = Instant::now() + patience;
        // An error says that it is being ended already.
        let _ = shared.begin_emptying(Purpose::Shutdown, over.min(patience));
        // Meanwhile open flows are served as ever, and whoever knocks is told to go elsewhere.
        shared.emptied(until).await;
        shared.begin_closing();
        // Whoever was opening a flow or adding a binding has done so once the table was had.
        drop(shared.location());
        shared.emptied(until).await;
        for acceptor in &self.acceptors {
            acceptor.abort();
        }
        shared.end_calls();
        shared.let_go_of_unowned(clock::micros());
        self.bookkeeper.close_gate();
        if let Ok(appended) = shared.stopped(clock::micros()) {
            let durable =
                tokio::time::timeout_at(until.into(), shared.ledger.durable(appended.last_seq)).await;
            if matches!(durable, Ok(Ok(_))) {
                self.bookkeeper.finish(until).await;
            }
        }
        Ok(())
    }

    /// The threads of the shards, which end with the process.
    #[must_use]
    pub fn shard_count(&self) -> usize {
        self.shards.len()
    }
}

impl Handle {
    /// The listeners, in the order of the configuration.
    #[must_use]
    pub fn listeners(&self) -> &[Bound] {
        &self.0.listeners
    }

    /// The calls under way, the oldest first, at most so many.
    #[must_use]
    pub fn calls(&self, most: usize) -> Vec<CallView> {
        self.0.look_at_calls(most)
    }

    /// The node's name.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.0.node
    }

    /// The ledger.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.0.ledger
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

    /// Flows that are open now.
    #[must_use]
    pub fn live(&self) -> u64 {
        self.0.live()
    }

    /// Whether one flow more could open now. What orders and the disk have to say besides is in [`Handle::progress`] and
    /// [`Ledger::health`].
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

    /// The addresses that are banned now; of very many, some.
    #[must_use]
    pub fn bans(&self) -> Vec<BanView> {
        self.0.door.bans(MOST_BANS).into_iter().map(BanView::from).collect()
    }

    /// Ends the bans of an address; gives those there were.
    #[must_use]
    pub fn lift_bans(&self, address: std::net::IpAddr) -> Vec<BanView> {
        self.0.door.lift(address).into_iter().map(BanView::from).collect()
    }

    /// Bindings and addresses-of-record there are now.
    #[must_use]
    pub fn bindings(&self) -> (usize, usize) {
        let location = self.0.location();
        (location.len(), location.aors())
    }

    /// What is known of an open flow.
    pub async fn look(&self, flow: FlowId) -> Option<FlowView> {
        let number = self.own(flow)?;
        let (answer, looked) = oneshot::channel();
        self.0.tell(number.shard(), Letter::Look { flow: number, answer }).ok()?;
        looked.await.ok().flatten()
    }

    /// Closes a flow: tells its peer 1000 with this reason, records the cause `admin`.
    pub async fn close(&self, flow: FlowId, reason: &str) -> Closing {
        let Some(number) = self.own(flow) else { return Closing::NoSuchFlow };
        let ending = Ending::of(Cause::Admin).code(1000).reason(reason);
        let (done, closing) = oneshot::channel();
        match self.0.tell(number.shard(), Letter::Close { flow: number, ending, done }) {
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

    /// What the running audit saw last; none before its first look.
    #[must_use]
    pub fn last_audit(&self) -> Option<Arc<AuditView>> {
        self.0.audit.last()
    }

    /// What the ledger says is open, as of its last durable record: a copy, about as large as what is open. None if the server
    /// is ending, or has more of these to make than it can.
    pub async fn standing(&self) -> Option<Standing> {
        self.0.standing().await
    }

    /// Whether every shard answers within this time: they have one thread each, and one that is stuck serves nobody.
    pub async fn shards_answer(&self, within: Duration) -> Answering {
        let until = tokio::time::Instant::now() + within;
        for shard in 0..self.0.inboxes.shards() {
            let (answer, answered) = oneshot::channel();
            let told = self.0.tell(shard, Letter::Echo(answer)).is_ok();
            if !told || !matches!(tokio::time::timeout_at(until, answered).await, Ok(Ok(()))) {
                return Answering::Stuck { shard };
            }
        }
        Answering::All
    }

    pub(crate) fn own(&self, flow: FlowId) -> Option<FlowNumber> {
        (flow.incarnation == self.0.incarnation).then_some(FlowNumber(flow.counter))
    }
}

async fn accept_all(shared: Arc<Shared>, listener: u8, socket: TcpListener, most: u64) {
    let mut warned: Option<Instant> = None;
    loop {
        match accept::accept(&socket, most).await {
            Accepted::Connection(stream, remote) => shared.inboxes.hand_over(listener, stream, remote).await,
            Accepted::Starved(error) => {
                shared.metrics.add(Count::AcceptsStarved);
                if warned.is_none_or(|at| at.elapsed() >= WARN_EVERY) {
                    warned = Some(Instant::now());
                    tracing::warn!(%error, "no connection can be accepted for the moment; raise the limit (ulimit -n, LimitNOFILE=)");
                }
            }
        }
    }
}

/// The secret that signs our routes: it outlives the process, so that routes over UDP do too.
fn route_secret(config: &Config) -> Result<[u8; 32], StartError> {
    let path = config.ledger.directory.join("route-secret");
    let failed = |error| StartError::Secret { path: path.clone(), error };
    match std::fs::read(&path) {
        Ok(bytes) if bytes.len() == 32 => {
            let mut secret = [0; 32];
            secret.copy_from_slice(&bytes);
            Ok(secret)
        }
        // A torn or missing one is made anew: dialogs over UDP that know the old one end with 403.
        Ok(_) => write_secret(&path).map_err(failed),
        Err(error) if error.kind() == io::ErrorKind::NotFound => write_secret(&path).map_err(failed),
        Err(error) => Err(failed(error)),
    }
}

fn write_secret(path: &std::path::Path) -> io::Result<[u8; 32]> {
    use std::{fs::OpenOptions, io::Write as _, os::unix::fs::OpenOptionsExt as _};
    let secret: [u8; 32] = rand::random();
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?.write_all(&secret)?;
    Ok(secret)
}

/// Descriptors that the process may have, after asking for as many as it can get: the usual soft limit of 1,024 is
/// made for programs that use `select`.
fn descriptors() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let granted = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    granted.unwrap_or(u64::MAX)
}

fn policy(registrar: &config::Registrar) -> sip_registrar::Policy {
    let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
    sip_registrar::Policy {
        min_expires: seconds(registrar.min_expires),
        max_expires: seconds(registrar.max_expires),
        default_expires: seconds(registrar.default_expires),
        max_contacts: registrar.max_contacts,
    }
}
