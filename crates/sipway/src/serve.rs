//! The server's process: start, what it says, signals, the end.

use std::{
    io,
    net::TcpListener,
    path::Path,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use admin::{Access, Development};
use config::{Config, Machine, Style};
use edge::{Handle, Pages, RecoveryError, Server, StartError, UpstreamError};
use event_text::{counted, describe};
use ledger::{Ledger, More, OpenError, Position, ReadFrom};
use lifecycle::{EventId, EventKind, Node, Transport, cloud_event};
use sinks::{Sink, Sinks};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{certificates, outcome::Outcome, speech::say, systemd, version::VERSION};

/// How long sinks and the reader of standard output are waited for after a second signal.
const HURRY: Duration = Duration::from_secs(3);

/// To whom the process speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutputMode {
    /// A person at a terminal: addresses, then a line for each event.
    People,
    /// A program: `ready` with the addresses, then a CloudEvent on each line.
    Json,
    /// The log alone.
    Logs,
}

/// Serves until a signal. A configuration that came from `file` is read again on SIGHUP.
pub(crate) fn serve(config: Config, talk: OutputMode, file: Option<&Path>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("main")
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => {
            let outcome = runtime.block_on(serve_until_told(config, talk, file));
            // Dropped, it would wait for the sinks that a second signal gave up.
            runtime.shutdown_background();
            outcome
        }
        Err(error) => Outcome::failed(error),
    }
}

async fn serve_until_told(mut config: Config, talk: OutputMode, file: Option<&Path>) -> Outcome {
    // Everything that can be refused is asked for before anything is served.
    let mut orders = match Orders::listen(talk) {
        Ok(orders) => orders,
        Err(error) => return Outcome::failed(error),
    };
    let admin_socket = match config.admin.as_ref().map(|admin| bind_admin(admin.bind)).transpose() {
        Ok(socket) => socket,
        Err(why) => return Outcome::Failed(why),
    };
    let development = if talk == OutputMode::Logs { Development::No } else { Development::Yes };
    let started = Server::start(&config, |handle| (development == Development::Yes).then(|| pages(handle)));
    let server = match started {
        Ok(server) => server,
        Err(
            error @ (StartError::Certificate { .. }
            | StartError::Upstream(UpstreamError::Tls { .. })
            | StartError::Users(_)),
        ) => return Outcome::Refused(error.to_string()),
        Err(error) => return Outcome::Failed(with_hint(&error, talk)),
    };
    let handle = server.handle();
    let wanted = config.sinks.iter().map(sinks::Settings::from);
    let sinks = match Sinks::start(handle.ledger(), handle.node(), wanted) {
        Ok(sinks) => Arc::new(sinks),
        Err(error) => {
            // Connections that came meanwhile are closed, and the ledger is sealed.
            let _ = server.shut_down(Duration::ZERO, config.shutdown.deadline).await;
            return Outcome::failed(error);
        }
    };
    if let Some(socket) = admin_socket {
        if let Ok(address) = socket.local_addr() {
            tracing::info!(%address, "admin API, metrics and health check");
        }
        let access = config.admin.as_ref().map_or(Access::ByAddress, access);
        let router = admin::router(handle.clone(), Arc::clone(&sinks), Development::No, access);
        tokio::spawn(admin::serve(socket, router));
    }
    announce(&server, talk, &config);
    certificates::warn(&config);
    let said = std::thread::spawn({
        let (ledger, node) = (handle.ledger().clone(), handle.node().clone());
        move || print_events(&ledger, &node, talk)
    });

    let reporting = systemd::ready(handle.clone());
    loop {
        match orders.next().await {
            Order::End => break,
            Order::Reload => {
                systemd::reloading();
                reload(&handle, &mut config, file);
                systemd::reloaded();
            }
        }
    }
    let (over, until) = (config.shutdown.over, Instant::now() + config.shutdown.deadline);
    let left = || until.saturating_duration_since(Instant::now());
    systemd::stopping(left());
    tracing::info!(
        flows = handle.live(),
        "shutting down: every open flow is closed and its close is written"
    );
    let mut hurried = false;
    let mut ending = pin!(server.shut_down(over, left()));
    let ended = loop {
        tokio::select! {
            ended = &mut ending => break ended,
            () = orders.end() => {
                tracing::info!(flows = handle.live(), "second signal: all open flows are closed at once");
                hurried = true;
                handle.hurry();
            }
        }
    };
    let patience = left();
    let delivering = tokio::task::spawn_blocking({
        let sinks = Arc::clone(&sinks);
        move || sinks.finish(patience)
    });
    // What a sink that does not answer has not got, it gets from the next start.
    tokio::select! {
        _ = delivering => {}
        () = async {
            if !hurried {
                orders.end().await;
            }
            tokio::time::sleep(HURRY).await;
        } => {}
    }
    for status in sinks.iter().map(Sink::status).filter(|status| status.lag > 0) {
        let error = status.last_error.map_or_else(String::new, |error| error.text);
        tracing::warn!(
            sink = status.name,
            events = status.lag,
            error,
            "shutting down before this sink has all events; the next start delivers the rest"
        );
    }
    // The disk is asked for what is left even if nothing else is.
    let written = ended.and(handle.ledger().close(left().max(HURRY)));
    if let Some(reporting) = reporting {
        reporting.abort();
    }
    // Nobody may read what is printed; that is no reason to stay.
    let until = Instant::now() + HURRY;
    while !said.is_finished() && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    match written {
        Ok(()) => Outcome::Done,
        Err(error) => Outcome::failed(format!("{error}; the next start writes the closes that are missing")),
    }
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    End,
    Reload,
}

/// The signals that say what to do.
struct Orders {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    /// A terminal that closes ends what a person started in it; a service has no terminal.
    hanging_up: Order,
}

impl Orders {
    fn listen(talk: OutputMode) -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            hanging_up: if talk == OutputMode::Logs { Order::Reload } else { Order::End },
        })
    }

    async fn next(&mut self) -> Order {
        tokio::select! {
            _ = self.terminate.recv() => Order::End,
            _ = self.interrupt.recv() => Order::End,
            _ = self.hang_up.recv() => self.hanging_up,
        }
    }

    /// Resolves when the process is to end.
    async fn end(&mut self) {
        while self.next().await != Order::End {}
    }
}

/// Reads the configuration again and takes over what a running server can.
fn reload(handle: &Handle, config: &mut Config, file: Option<&Path>) {
    let Some(file) = file else { return };
    let newer = match Config::load(file, &Machine) {
        Ok(newer) => newer,
        Err(errors) => {
            let errors = errors.render(Style::Plain);
            return tracing::error!("SIGHUP: nothing was reloaded from {}:\n{errors}", file.display());
        }
    };
    let certificates = match handle.reload(&newer) {
        Ok(certificates) => certificates,
        Err(error) => {
            return tracing::error!("SIGHUP: nothing was reloaded from {}: {error}", file.display());
        }
    };
    config.shutdown.clone_from(&newer.shutdown);
    config.defence.clone_from(&newer.defence);
    let at_restart = config.differences(&newer);
    // Without a value the field would only raise the question which.
    let certificates = (!certificates.is_empty()).then(|| certificates.join(", "));
    tracing::info!(
        certificates,
        "SIGHUP: certificates, users, [defence] and [shutdown] are reloaded and used from now on"
    );
    certificates::warn(&newer);
    if !at_restart.is_empty() {
        let sections = at_restart.join(", ");
        tracing::warn!(sections, "SIGHUP: changes in these sections need a restart");
    }
}

/// Where other machines can reach it they may name it as they do, and nothing keeps them out anyway.
fn access(admin: &config::Admin) -> Access {
    match &admin.token {
        Some(token) => Access::Bearer(token.expose().to_owned()),
        None if admin.bind.ip().is_loopback() => Access::ByAddress,
        None => Access::Anyone,
    }
}

fn bind_admin(address: std::net::SocketAddr) -> Result<tokio::net::TcpListener, String> {
    let bind = || -> io::Result<_> {
        let socket = TcpListener::bind(address)?;
        socket.set_nonblocking(true)?;
        tokio::net::TcpListener::from_std(socket)
    };
    bind().map_err(|error| {
        format!("the admin listener cannot have {address}: {error}; choose another with `[admin] bind`")
    })
}

/// The softphone page on `ws` and `wss` listeners, served on the main runtime so that a shard has no part in
/// it.
fn pages(handle: Handle) -> Pages {
    // A page of another site whose name leads to this machine is kept out, as at the admin API.
    let here = handle.listeners().iter().all(|bound| bound.local.ip().to_canonical().is_loopback());
    let access = if here { Access::ByAddress } else { Access::Anyone };
    let router = admin::router(handle, Arc::default(), Development::Yes, access);
    let runtime = tokio::runtime::Handle::current();
    Box::new(move |request| match request.detach() {
        Ok(connection) => drop(runtime.spawn(admin::serve_connection(connection, router.clone()))),
        Err(error) => tracing::debug!(%error, "HTTP"),
    })
}

/// A start error with the flag or key that mends it.
fn with_hint(error: &StartError, talk: OutputMode) -> String {
    match error {
        StartError::Bind { listener, transport, address, error: cause } => {
            let mend = match cause.kind() {
                io::ErrorKind::AddrNotAvailable => format!("This machine has no address {}.", address.ip()),
                io::ErrorKind::PermissionDenied if address.port() < 1024 => {
                    "Ports below 1024 need the capability CAP_NET_BIND_SERVICE.".to_owned()
                }
                _ => "Another process has it.".to_owned(),
            };
            if talk == OutputMode::Logs {
                format!("{error}\n{mend} Give listener `{listener}` another `bind` address.")
            } else {
                format!(
                    "{error}\n{mend} Choose another with --{transport} 127.0.0.1:PORT (port 0 takes a free one)."
                )
            }
        }
        StartError::Recovery(RecoveryError::Open(OpenError::Directory { .. } | OpenError::Held { .. })) => {
            let with = if talk == OutputMode::Logs { "`directory` under `[ledger]`" } else { "--ledger" };
            format!("{error} with {with}.")
        }
        _ => error.to_string(),
    }
}

fn announce(server: &Server, talk: OutputMode, config: &Config) {
    let handle = server.handle();
    let recovered = &server.recovered;
    let bound = |transport| handle.listeners().iter().find(|bound| bound.transport == transport);
    let page = bound(Transport::Ws).map(|ws| format!("http://{}/", ws.local));
    let secure = bound(Transport::Wss).map(|wss| wss.local);
    match talk {
        OutputMode::Logs => {
            for bound in handle.listeners() {
                tracing::info!(listener = bound.name, transport = %bound.transport, address = %bound.local, "listening");
            }
            tracing::info!(
                version = VERSION, node = %handle.node(), incarnation = handle.ledger().incarnation(),
                flows_recovered = recovered.flows, bindings_recovered = recovered.bindings, bindings_kept = recovered.kept, torn_bytes = recovered.torn_bytes,
                records_read = recovered.records, recovery_ms = recovered.took.as_millis() as u64,
                "ready"
            );
        }
        OutputMode::Json => {
            let secure_page = secure.map(|address| format!("https://{address}/"));
            let mut ready = serde_json::json!({
                "ledger": config.ledger.directory, "page": page, "secure_page": secure_page,
            });
            for bound in handle.listeners() {
                ready[bound.transport.as_str()] = bound.local.to_string().into();
            }
            say!("ready {ready}");
        }
        OutputMode::People => {
            say!(
                "Sipway {} · node {} · incarnation {}",
                VERSION,
                handle.node(),
                handle.ledger().incarnation()
            );
            for bound in handle.listeners() {
                say!("  {:<4} {}", bound.transport, bound.local);
            }
            say!("  ledger {}", config.ledger.directory.display());
            if recovered.flows > 0 {
                let were = if recovered.flows == 1 { "was" } else { "were" };
                let open = counted(recovered.flows, "connection");
                say!("  {open} {were} open when the last process died; the closes that are owed follow");
            }
            if let Some(page) = page {
                say!(
                    "\nOpen {page} in two tabs, register two names, call. Close a tab and see why it ended. Ctrl-C ends.\n"
                );
            }
            if let Some(address) = secure.filter(|address| !address.ip().to_canonical().is_loopback()) {
                let host = match address.ip().is_unspecified() {
                    true => format!("ADDRESS-OF-THIS-MACHINE:{}", address.port()),
                    false => address.to_string(),
                };
                say!(
                    "On another machine open https://{host}/ and accept the certificate, which was made now: browsers give \
                     the microphone to secure pages only.\n"
                );
            }
        }
    }
}

/// Says each event of this process as it becomes durable.
fn print_events(ledger: &Ledger, node: &Node, talk: OutputMode) {
    if talk == OutputMode::Logs {
        return;
    }
    let mut reader = ledger.reader(ReadFrom::After(Position::new(ledger.incarnation(), 0)));
    loop {
        match reader.next_block() {
            Ok(Some(block)) => {
                let mut lines = String::new();
                for record in block.records() {
                    let Ok(kind) = EventKind::try_from(record.kind) else { continue };
                    let id =
                        EventId { incarnation: record.position.incarnation, sequence: record.position.seq };
                    lines.push_str(&match talk {
                        OutputMode::Json => cloud_event(node, id, kind, record.at, record.payload),
                        OutputMode::People | OutputMode::Logs => {
                            describe(node, id, kind, record.at, record.payload)
                        }
                    });
                    lines.push('\n');
                }
                // Nobody reads any more: that is no reason to end.
                if io::Write::write_all(&mut io::stdout().lock(), lines.as_bytes()).is_err() {
                    return;
                }
                continue;
            }
            Ok(None) => {}
            Err(error) => return tracing::error!(%error, "events can no longer be printed"),
        }
        if reader.wait_for(Duration::from_millis(500)) == More::Closed {
            return;
        }
    }
}
