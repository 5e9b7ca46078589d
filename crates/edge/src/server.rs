//! The server as a whole: start, run, end.

use std::{
    io,
    sync::{Arc, OnceLock, atomic::AtomicUsize},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use config::{AuditPace, Config, Shards};
use identity::{Domains, keep_keys, keep_users};
use ledger::{
    Ledger,
    storage::{Directory, Storage},
};
use lifecycle::{Node, RemovalCause};
use location::{Location, Presence};
use metrics::{Count, Gauge};
use state::{BookkeeperThread, Registry, clock};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinHandle as Task,
};
use transport::accept::{self, Accepted};
use upstream::{LookedUp, Upstreams, look_up, probe, resolver};

use crate::{
    BoundListener, Handle, Recovered, RecoveryError, StartError,
    admission_control::AdmissionControl,
    ask::options,
    audit::{self, Audit},
    call_table::CallTable,
    drain_plan::{AdmissionState, Purpose},
    inbox::Inboxes,
    ledger_config,
    listeners::{self, Sockets},
    private,
    registrations::{PendingRegistration, Registrations},
    routing::flow_token::FlowTokens,
    shard,
    shared::{Pages, Shared},
    unregister, upkeep,
};

/// Bindings that one flow has on average at most, for the bound of the whole table.
const BINDINGS_PER_FLOW: usize = 4;

/// Descriptors that are not for flows: listeners, the ledger, sinks, admin, what lingers.
const SPARE_DESCRIPTORS: u64 = 128;

/// Those of them that no connection gets, whatever comes in: the ledger, sinks and admin open theirs at any
/// time.
const KEPT_DESCRIPTORS: u64 = 64;

/// Between two warnings that no connection can be accepted.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// A running server. Dropping it does not end it in order: call [`Server::shut_down`].
#[derive(Debug)]
pub struct Server {
    handle: Handle,
    acceptors: Vec<Task<()>>,
    shards: Vec<JoinHandle<()>>,
    bookkeeper: BookkeeperThread,
    /// Damage that was repaired at the start.
    pub recovered: Recovered,
}

impl Server {
    /// Starts a server: every listener is bound before the ledger is touched, and nothing is served before
    /// what an earlier process owed is written. Must be called within a runtime; it blocks on the disk.
    /// `pages` takes plain HTTP requests that come to `ws` listeners.
    ///
    /// # Errors
    /// See [`StartError`]; nothing runs then.
    pub fn start(config: &Config, pages: impl FnOnce(Handle) -> Option<Pages>) -> Result<Self, StartError> {
        Self::start_on(Arc::new(Directory::new(&config.ledger.directory)), config, pages)
    }

    /// The same with the ledger on this storage. What stands beside it (the secret of our routes) is still in
    /// the directory of the configuration.
    ///
    /// # Errors
    /// See [`StartError`]; nothing runs then.
    pub fn start_on(
        storage: Arc<dyn Storage>,
        config: &Config,
        pages: impl FnOnce(Handle) -> Option<Pages>,
    ) -> Result<Self, StartError> {
        let shards = match config.limits.shards {
            Shards::Auto => {
                std::thread::available_parallelism().map_or(1, usize::from).min(usize::from(Shards::MOST))
            }
            Shards::Fixed(number) => usize::from(number.get()),
        };
        let (bounds, sockets): (Vec<BoundListener>, Vec<Sockets>) =
            listeners::bind(config, shards)?.into_iter().unzip();
        let upstreams = Upstreams::new(&config.upstreams, &config.listeners)?;
        let resolver = resolver(&config.dns.servers).map_err(|error| StartError::Dns(error.to_string()))?;
        let domains = Domains::new(&config.domains, |name| upstreams.find(name), &rand::random())?;
        let (pending_unregisters, unregister_inbox) = mpsc::channel(unregister::MOST_WAITING);
        let node = Node::new(config.node.as_str())
            .expect("the configuration checks the node's name by the same rule");
        let began = Instant::now();
        let opened = Ledger::open_on(storage, ledger_config::settings(&config.ledger, &node))
            .map_err(RecoveryError::Open)?;
        private::tighten(&config.ledger.directory);
        let now = clock::now();
        let names: Vec<String> = bounds.iter().map(|bound| bound.name.clone()).collect();
        let mut found = state::open_kept(&config.ledger.directory, &names, now);
        let mut staying = Vec::new();
        let (recovered, books, users) = state::recover(&opened, now.unix_micros, |left| {
            let taken = found.as_mut().map(|found| found.take(left, &opened.ledger, now.unix_micros));
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
                "the limit of file descriptors is too low for `limits.max_flows`: raise it (ulimit -n, LimitNOFILE=)"
            );
        }
        let per_shard = config.limits.max_transactions / u32::try_from(shards).unwrap_or(1).max(1);
        let tokens = FlowTokens::new(&secret, ledger.incarnation());
        let max_bindings = usize::try_from(max_flows).unwrap_or(usize::MAX).saturating_mul(BINDINGS_PER_FLOW);
        let presence =
            Presence::carried_over(users, config.registrar.offline_after, max_bindings, Instant::now());
        let bindings = Location::new(max_bindings, tokens.numbers());
        let mut registry = Registry::new(node, ledger, bindings, presence);
        if let Some(found) = found {
            let there = staying.iter().map(|stays| (stays.kept.clone(), stays.expires_at)).collect();
            registry.keep(found.keep(there).map_err(StartError::Thread)?, staying, now);
        }
        let metrics = Arc::clone(registry.metrics());
        let took = u64::try_from(recovered.took.as_millis()).unwrap_or(u64::MAX);
        metrics.set(Gauge::RecoveryTime, took);
        metrics.set(Gauge::RecoveryRecords, recovered.records);
        let bookkeeper = BookkeeperThread::start(
            &registry,
            books,
            ledger_config::retention(&config.ledger, &config.sinks),
            config.ledger.directory.clone(),
            config.ledger.segment_size,
        )
        .map_err(StartError::Thread)?;
        let admission = AdmissionControl::new(
            &config.defence,
            usize::try_from(max_flows).unwrap_or(usize::MAX),
            Arc::clone(&metrics),
        );
        let shared = Arc::new(Shared {
            state: registry,
            metrics,
            listeners: bounds,
            domains: Arc::new(domains),
            admission,
            upstreams: Arc::new(upstreams),
            pending_unregisters,
            registrations: Registrations::default(),
            untold: PendingRegistration::default(),
            user_flows: AtomicUsize::new(0),
            flow_tokens: tokens,
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
            orders: bookkeeper.orders(),
            branch_secret: rand::random(),
            pages: OnceLock::new(),
            started: Instant::now(),
            admission_state: watch::Sender::new(AdmissionState::Serving),
        });
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
        let (looking_up, looked_up) = LookedUp::new();
        let threads = (0..).zip(receivers).zip(datagrams).map(|((index, inbox), sockets)| {
            let (shared, looked_up) = (Arc::clone(&shared), looked_up.clone());
            std::thread::Builder::new().name(format!("shard-{index}")).spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let Ok(runtime) =
                    runtime.inspect_err(|error| tracing::error!(%error, "a shard cannot start its runtime"))
                else {
                    return;
                };
                let local = tokio::task::LocalSet::new();
                local.block_on(&runtime, shard::run(index, shared, inbox, sockets, looked_up));
            })
        });
        let threads = threads.collect::<Result<_, _>>().map_err(StartError::Thread)?;
        let most = descriptors.saturating_sub(KEPT_DESCRIPTORS);
        let mut acceptors = vec![tokio::spawn(upkeep::run(Arc::clone(&shared)))];
        acceptors.push(tokio::spawn(unregister::run(Arc::clone(&shared), unregister_inbox)));
        let (upstreams, metrics) = (&shared.upstreams, &shared.metrics);
        for number in upstreams.numbers() {
            let probe = probe(Arc::clone(upstreams), number, Arc::clone(metrics), options(&shared));
            acceptors.push(tokio::spawn(probe));
        }
        for name in upstreams.names() {
            let resolver = resolver.clone();
            let looking_up = looking_up.clone();
            let tables = (Arc::clone(upstreams), Arc::clone(metrics));
            acceptors.push(tokio::spawn(look_up(tables, resolver, name, looking_up)));
        }
        drop(looking_up);
        for domain in shared.domains.by_token() {
            acceptors.push(tokio::spawn(keep_keys(
                Arc::clone(&shared.domains),
                Arc::clone(metrics),
                domain.clone(),
            )));
        }
        for domain in shared.domains.by_database() {
            acceptors.push(tokio::spawn(keep_users(
                Arc::clone(&shared.domains),
                Arc::clone(metrics),
                domain.clone(),
            )));
        }
        if let AuditPace::Every(pace) = config.audit.every {
            acceptors.push(tokio::spawn(audit::run(Arc::clone(&shared), pace)));
        }
        for (number, socket) in streams {
            let socket = TcpListener::from_std(socket).map_err(StartError::Thread)?;
            let accepting = accept_all(Arc::clone(&shared), number, socket, most);
            let looked_up = looked_up.clone();
            acceptors.push(tokio::spawn(async move {
                looked_up.wait().await;
                accepting.await;
            }));
        }
        Ok(Self { handle, acceptors, shards: threads, bookkeeper, recovered })
    }

    /// A way to ask and order things.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Ends the server in order: no new flows, every flow closed and its close durable, then `node.stopped`,
    /// then a checkpoint for the next start. The flows are closed at a pace that takes `over` (less with few
    /// flows, or after [`Handle::hurry`]); what is not closed by `patience` is closed by the next start.
    ///
    /// # Errors
    /// The writes that the disk did not finish in time.
    pub async fn shut_down(self, over: Duration, patience: Duration) -> Result<(), ledger::Unwritten> {
        let shared = &self.handle.0;
        let until = Instant::now() + patience;
        // An error says that it is being ended already.
        let over = over.min(patience);
        let _ = shared.begin_emptying(Purpose::Shutdown, over, (patience - over) / 2);
        // Meanwhile open flows are served, and new clients are refused.
        shared.emptied(until).await;
        shared.all_told().await;
        shared.state.begin_closing();
        // After this lock, every flow and binding that was being added has been added.
        drop(shared.state.location());
        shared.emptied(until).await;
        for acceptor in &self.acceptors {
            acceptor.abort();
        }
        shared.end_calls();
        shared.state.release_unowned(clock::now());
        shared.state.kept(until).await;
        self.bookkeeper.close_gate();
        if let Ok(appended) = shared.state.stopped(clock::micros()) {
            let durable =
                tokio::time::timeout_at(until.into(), shared.state.ledger().durable(appended.last_seq)).await;
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

async fn accept_all(shared: Arc<Shared>, listener: u8, socket: TcpListener, most: u64) {
    let mut warned: Option<Instant> = None;
    loop {
        match accept::accept(&socket, most).await {
            Accepted::Connection(stream, remote) => shared.inboxes.hand_over(listener, stream, remote).await,
            Accepted::Starved(error) => {
                shared.metrics.add(Count::AcceptsStarved);
                if warned.is_none_or(|at| at.elapsed() >= WARN_EVERY) {
                    warned = Some(Instant::now());
                    tracing::warn!(%error, "no connection can be accepted: the process has no file descriptor left; raise the limit (ulimit -n, LimitNOFILE=)");
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

/// Descriptors that the process may have, after asking for as many as it can get: the usual soft limit of
/// 1,024 is made for programs that use `select`.
fn descriptors() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let granted = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    granted.unwrap_or(u64::MAX)
}

pub(crate) fn policy(registrar: &config::Registrar) -> sip_registrar::Policy {
    let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
    sip_registrar::Policy {
        min_expires: seconds(registrar.min_expires),
        shorter: sip_registrar::ShortExpiry::Refused,
        max_expires: seconds(registrar.max_expires),
        default_expires: seconds(registrar.default_expires),
        max_contacts: registrar.max_contacts,
        gruu: match registrar.gruu {
            config::Gruu::Off => sip_registrar::Gruu::Off,
            config::Gruu::Public => sip_registrar::Gruu::Public,
        },
    }
}
