//! Starting sinks, asking how they are, ending them.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant, SystemTime};

use config::{EventTypes, SinkTarget};
use ledger::{CursorError, Ledger, Position};
use lifecycle::Node;
use tokio::sync::watch;

use crate::destination::Destination;
use crate::file::FileSink;
use crate::nats::NatsSink;
use crate::postgres::PostgresSink;
use crate::redis::RedisSink;
use crate::stdout::Stdout;
use crate::webhook::WebhookSink;
use crate::worker::{Order, Worker};
use delivery::DeadLetters;
use delivery::Rate;
use delivery::{Board, State, Status, Trouble};
use delivery::{Pace, SinkProgress};

/// What a sink is asked to be.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its name; its cursor in the ledger goes by it.
    pub name: String,
    /// Which events go there.
    pub types: EventTypes,
    /// What takes them.
    pub target: SinkTarget,
    /// Events a second at most; `None` is as fast as the destination takes them.
    pub max_rate: Option<NonZeroU32>,
    /// The file for events that the destination refuses; without one the first such event blocks the sink.
    pub dead_letter: Option<PathBuf>,
    /// How it keeps time.
    pub pace: Pace,
}

impl From<&config::Sink> for Settings {
    fn from(sink: &config::Sink) -> Self {
        Self {
            name: sink.name.as_str().to_owned(),
            types: sink.types.clone(),
            target: sink.target.clone(),
            max_rate: sink.max_rate,
            dead_letter: sink.dead_letter.clone(),
            pace: Pace::default(),
        }
    }
}

/// Why a sink could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its cursor cannot be read.
    #[error("sink \"{name}\": {source}")]
    Cursor {
        /// The sink.
        name: String,
        /// Why.
        source: CursorError,
    },
    /// The system gives no thread.
    #[error("sink \"{name}\": cannot start its thread: {source}")]
    Thread {
        /// The sink.
        name: String,
        /// The error of the operating system.
        source: std::io::Error,
    },
}

/// How far a sink got when it was told to finish.
#[derive(Clone, Debug)]
pub struct Finished {
    /// How it was at the end; [`Status::lag`] is what is left in the ledger, to be delivered after the next
    /// start.
    pub status: Status,
    /// Whether it came to rest, or its destination holds it in the middle of a write.
    pub rest: Rest,
}

/// Whether a sink's thread came to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Yes, and its cursor is saved.
    Ended,
    /// No: it was left behind in a call that does not return, and dies with the process.
    Stuck,
}

/// One sink at work: a thread of its own with a runtime of its own, so that whatever its destination does,
/// nobody else notices. Dropping it ends it at once, without waiting.
#[derive(Debug)]
pub struct Sink {
    name: String,
    target: String,
    ledger: Quiet,
    board: Arc<Board>,
    orders: watch::Sender<Order>,
    ended: Mutex<mpsc::Receiver<()>>,
}

/// A ledger handle that shows nothing of itself.
struct Quiet(Ledger);

impl std::fmt::Debug for Quiet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ledger")
    }
}

impl Sink {
    /// Starts it where its cursor stands; a new one at the oldest event there is. Reads the cursor from disk.
    ///
    /// # Errors
    /// The cursor cannot be read, or there is no thread to be had. Whatever is wrong with the destination is
    /// no error here.
    pub fn start(ledger: &Ledger, node: &Node, settings: Settings) -> Result<Self, StartError> {
        let Settings { name, types, target, max_rate, dead_letter, pace } = settings;
        let base = Base { ledger, node, name, types, max_rate, dead_letter, pace };
        match target {
            // Opening it by name fails where standard output is a socket, as under systemd.
            SinkTarget::File(file) if file.path.as_os_str() == "/dev/stdout" => {
                base.start("stdout".to_owned(), Stdout::new())
            }
            SinkTarget::File(file) => {
                let shown = format!("file {}", file.path.display());
                base.start(shown, FileSink::new(file, node.clone()))
            }
            SinkTarget::Nats(nats) => {
                let sink = NatsSink::new(nats, node.clone());
                base.start(sink.shown(), sink)
            }
            SinkTarget::Redis(redis) => {
                let sink = RedisSink::new(redis, node.clone());
                base.start(sink.shown(), sink)
            }
            SinkTarget::Postgres(postgres) => {
                let shown = format!("postgres {}", postgres.url);
                let destination = PostgresSink::new(postgres, node, &base.name);
                base.start(shown, destination)
            }
            SinkTarget::Webhook(webhook) => {
                // The path of a webhook's address is often a secret of its own.
                let shown = format!("webhook {}://{}", webhook.url.scheme.as_str(), webhook.url.authority());
                base.start(shown, WebhookSink::new(&webhook))
            }
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it is doing. Never blocks on a disk or a network.
    #[must_use]
    pub fn status(&self) -> Status {
        self.board.status(&self.name, &self.target, self.ledger.0.durable_position())
    }

    /// Tells it to deliver up to the current end of the ledger, within the patience, and to end then.
    fn order_finish(&self, patience: Duration) {
        let appended = self.ledger.0.status().appended;
        let end = Position::new(self.ledger.0.incarnation(), appended);
        // Some of the patience is for saving the cursor.
        let until = Instant::now() + patience.mul_f64(0.9);
        self.orders.send_replace(Order::Finish { end, until });
    }

    fn wait_ended(&self, until: Instant) -> Finished {
        let left = until.saturating_duration_since(Instant::now());
        let rest = match self.ended.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(left) {
            Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => Rest::Ended,
            Err(mpsc::RecvTimeoutError::Timeout) => Rest::Stuck,
        };
        Finished { status: self.status(), rest }
    }

    /// Tries to deliver everything up to the current end of the ledger, then ends, after at most `patience`.
    /// Blocks.
    #[must_use]
    pub fn finish(&self, patience: Duration) -> Finished {
        let until = Instant::now() + patience;
        self.order_finish(patience);
        self.wait_ended(until)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.orders.send_if_modified(|order| {
            let running = *order == Order::Run;
            if running {
                *order = Order::Finish { end: Position::START, until: Instant::now() };
            }
            running
        });
    }
}

/// Tells of the end of a sink's thread, whatever ended it.
struct Ending {
    board: Arc<Board>,
    tell: mpsc::Sender<()>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let mut report = self.board.report();
        report.state = State::Stopped;
        if std::thread::panicking() {
            let text = "an internal error ended this sink; its events wait in the ledger".to_owned();
            report.last_error = Some(Trouble { at: SystemTime::now(), text });
        }
        drop(report);
        let _ = self.tell.send(());
    }
}

/// What all kinds of sinks are started with.
struct Base<'a> {
    ledger: &'a Ledger,
    node: &'a Node,
    name: String,
    types: EventTypes,
    max_rate: Option<NonZeroU32>,
    dead_letter: Option<PathBuf>,
    pace: Pace,
}

impl Base<'_> {
    fn start<D: Destination>(self, target: String, destination: D) -> Result<Sink, StartError> {
        let Self { ledger, node, name, types, max_rate, dead_letter, pace } = self;
        let batch_limit = destination.batch_limit();
        let progress = SinkProgress::open(ledger, node, name.clone(), types, pace, batch_limit)
            .map_err(|source| StartError::Cursor { name: name.clone(), source })?
            .at_most(max_rate.map(|events| Rate::new(events, Instant::now())))
            .giving_up_to(dead_letter.map(DeadLetters::new));
        let board = Arc::clone(progress.board());
        let (orders, listen) = watch::channel(Order::Run);
        let (tell_ended, ended) = mpsc::channel();
        let worker = Worker::new(destination, progress, listen);
        let failed = |source| StartError::Thread { name: name.clone(), source };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            // For name resolution alone.
            .max_blocking_threads(2)
            .build()
            .map_err(failed)?;
        let ending = Ending { board: Arc::clone(&board), tell: tell_ended };
        std::thread::Builder::new()
            .name(format!("sink-{name}"))
            .spawn(move || {
                let _ending = ending;
                runtime.block_on(worker.run());
                // A name that is still being looked up must not hold us.
                runtime.shutdown_background();
            })
            .map_err(failed)?;
        Ok(Sink { name, target, ledger: Quiet(ledger.clone()), board, orders, ended: Mutex::new(ended) })
    }
}

/// All sinks of a node.
#[derive(Debug, Default)]
pub struct Sinks(Vec<Sink>);

impl Sinks {
    /// Starts all of them.
    ///
    /// # Errors
    /// The first that cannot be started; those before it end again.
    pub fn start(
        ledger: &Ledger,
        node: &Node,
        settings: impl IntoIterator<Item = Settings>,
    ) -> Result<Self, StartError> {
        settings.into_iter().map(|one| Sink::start(ledger, node, one)).collect::<Result<_, _>>().map(Self)
    }

    /// How they are doing, in the order they were given. Never blocks on a disk or a network.
    #[must_use]
    pub fn status(&self) -> Vec<Status> {
        self.0.iter().map(Sink::status).collect()
    }

    /// The sinks, one by one.
    pub fn iter(&self) -> impl Iterator<Item = &Sink> {
        self.0.iter()
    }

    /// Tries to deliver everything up to the current end of the ledger to all of them at once, then ends
    /// them, after at most `patience`. Blocks.
    #[must_use]
    pub fn finish(&self, patience: Duration) -> Vec<Finished> {
        let until = Instant::now() + patience;
        for sink in &self.0 {
            sink.order_finish(patience);
        }
        self.0.iter().map(|sink| sink.wait_ended(until)).collect()
    }
}
