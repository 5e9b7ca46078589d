//! Many connections, ended in many ways: one round of a chaos run.

use std::collections::HashSet;
use std::future::Ready;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use lifecycle::Cause;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::reconcile::{Attempt, Became, Registered};
use crate::{
    AfterClose, Client, CloseWord, ConnectError, Ending, Expected, Farewell, Feed, Findings, Incoming,
    Outcome, Persona, RequestError, Said, Setup, Sources, Target, Waited, now_micros,
};

mod life;
mod witness;

use life::Part;
use witness::Witness;

/// What a round consists of.
#[derive(Clone, Debug)]
pub struct Storm {
    /// Where to connect: clients take them in turn.
    pub targets: Vec<Target>,
    /// How many connections.
    pub flows: usize,
    /// How many connect at once.
    pub connecting: usize,
    /// How they end, in turn; none: every way that the server notices at once.
    pub endings: Vec<Ending>,
    /// What they say right before, in turn; none: nothing.
    pub last_words: Vec<LastWord>,
    /// Where they connect from. Rounds that share it do not use each other's ports up.
    pub sources: Arc<Sources>,
    /// Over how long the endings are spread; zero: at one instant.
    pub spread: Duration,
    /// How long any one step may take: a handshake, a response, the server's reaction to an ending.
    pub patience: Duration,
    /// How long after the last ending the last event may come; zero: there are no events to wait for.
    pub await_events: Duration,
    /// What users' names begin with; must differ between rounds that run at once.
    pub prefix: String,
}

/// What a client says right before its end, without waiting for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LastWord {
    /// Nothing.
    Nothing,
    /// The REGISTER that removes its binding.
    Unregister,
    /// A BYE to the round's witness.
    Bye,
    /// A REGISTER that refreshes its binding.
    Refresh,
    /// Its first REGISTER. Over a plain stream, which is no flow before its first message, it is a refresh.
    Register,
}

impl LastWord {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Nothing, Self::Unregister, Self::Bye, Self::Refresh, Self::Register];
}

/// Whether something befalls the server in the round.
#[derive(Debug)]
pub enum Disaster<F> {
    /// It lives on.
    Never,
    /// It is ended and started again; the function does both and returns when events are read again.
    Strikes {
        /// In which way it is ended.
        blow: Kill,
        /// When.
        at: Moment,
        /// Ends it and starts it again.
        server: F,
    },
}

impl Disaster<fn() -> Ready<io::Result<()>>> {
    /// [`Disaster::Never`], where there is no function whose type could be named.
    #[must_use]
    pub const fn never() -> Self {
        Self::Never
    }
}

/// How the server is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kill {
    /// SIGKILL: the next start closes what was open.
    Kill,
    /// SIGTERM: the server closes what is open.
    Terminate,
}

impl Kill {
    /// The cause of the closes that come of it.
    #[must_use]
    pub const fn cause(self) -> Cause {
        match self {
            Self::Kill => Cause::NodeCrash,
            Self::Terminate => Cause::Shutdown,
        }
    }
}

/// When the server is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// When half the clients have connected; the others go on when it is back.
    WhileOpening,
    /// While every flow is open; no client ends one then.
    AllOpen,
    /// In the middle of the endings.
    AmidEndings,
}

/// How far a round is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// So many clients are connected and registered, or have failed.
    Ready(usize),
    /// The endings begin.
    Ending,
    /// The server is ended and started again now.
    Striking,
    /// So many clients have ended.
    Ended(usize),
    /// The last events are waited for.
    AwaitingEvents,
}

/// What a round left to be reconciled.
#[derive(Clone, Debug)]
pub struct Round {
    /// Every connection.
    pub attempts: Vec<Attempt>,
    /// Clients that could not connect or register, and why.
    pub failed: Findings,
    /// Those that could not because the server was ended just then.
    pub cut_off: u64,
    /// The BYEs that were sent right before an end.
    pub byes: Said,
    /// BYEs that were sent in time before an end and did not arrive where they were sent to.
    pub lost_byes: Findings,
    /// Whether all closes came in time.
    pub events: Waited,
}

/// Why a round could not be run.
#[derive(Debug, thiserror::Error)]
pub enum StormError {
    /// There is no target.
    #[error("nowhere to connect to")]
    NoTarget,
    /// The client that gets the last messages of the others could not connect.
    #[error("the first client: {0}")]
    Connect(#[from] ConnectError),
    /// The client that gets the last messages of the others could not register.
    #[error("the first client: {0}")]
    Register(#[from] RequestError),
    /// The server did not come back.
    #[error("the server could not be started again: {0}")]
    Restart(io::Error),
}

/// What all clients of a round are told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Stay,
    End,
    Stop,
}

/// When the server was back, in microseconds since the Unix epoch, and what the closes say that came of its
/// end.
#[derive(Clone, Copy, Debug)]
struct Struck {
    to: u64,
    cause: Cause,
}

impl Storm {
    /// So many connections to these targets, ended at one instant in every way the server notices at once.
    #[must_use]
    pub fn new(targets: Vec<Target>, flows: usize) -> Self {
        let sources = targets.first().map_or(Sources::system(), |first| Sources::fitting(first.address));
        Self {
            targets,
            flows,
            connecting: 64,
            endings: Vec::new(),
            last_words: LastWord::ALL.to_vec(),
            sources: Arc::new(sources),
            spread: Duration::ZERO,
            patience: Duration::from_secs(15),
            await_events: Duration::from_secs(30),
            prefix: "prove".to_owned(),
        }
    }

    fn part(&self, n: usize, witness: &str) -> Option<Part> {
        let target = self.targets.get(n % self.targets.len())?.clone();
        let turn = n / self.targets.len();
        let prompt = Ending::prompt(target.transport);
        let endings = if self.endings.is_empty() { &prompt } else { &self.endings };
        let ending = *endings.get(turn % endings.len())?;
        let words = self.last_words.len().max(1);
        let word = self.last_words.get(turn / endings.len() % words).copied().unwrap_or(LastWord::Nothing);
        let registers = match word {
            LastWord::Register if target.is_websocket() => Registered::No,
            _ => Registered::Yes,
        };
        let farewell = match word {
            LastWord::Nothing => Farewell::Nothing,
            LastWord::Unregister => Farewell::Unregister,
            LastWord::Bye => Farewell::Bye { to: witness.to_owned(), call: n as u64 },
            LastWord::Refresh | LastWord::Register => Farewell::Register,
        };
        let persona =
            if target.is_websocket() { [Persona::JsSip, Persona::SipJs][turn % 2] } else { Persona::Phone };
        let setup = Setup {
            persona,
            source: self.sources.next(),
            patience: self.patience,
            ..Setup::new(&format!("{}-{n}", self.prefix))
        };
        let delay = self.spread.mul_f64(n as f64 / self.flows.max(1) as f64);
        Some(Part { target, setup, registers, ending, farewell, delay })
    }
}

/// Runs one round: connects and registers all, ends them, waits until `feed` has told every close. The
/// server's events must be put into `feed` meanwhile. Reconcile afterwards, with the attempts of this or of
/// many rounds.
///
/// # Errors
/// The round could not be run; what clients meet in it is no error but part of the outcome.
pub async fn storm<F: AsyncFnOnce() -> io::Result<()>>(
    plan: &Storm,
    feed: &Feed,
    disaster: Disaster<F>,
    mut progress: impl FnMut(Progress),
) -> Result<Round, StormError> {
    let first = plan.targets.first().ok_or(StormError::NoTarget)?;
    let (opened_before, open_before) = feed.look(|log| (log.opened_count(), log.open_count()));
    let witness = Witness::connect(first, &format!("{}-witness", plan.prefix), plan.sources.next()).await?;
    let (order, orders) = watch::channel(Order::Stay);
    let (ready, mut readies) = mpsc::channel(64);
    let gate = Arc::new(Semaphore::new(plan.connecting.max(1)));
    let mut clients = JoinSet::new();
    for part in (0..plan.flows).map_while(|n| plan.part(n, witness.address())) {
        clients.spawn(life::live(part, Arc::clone(&gate), ready.clone(), orders.clone(), plan.patience));
    }
    drop((ready, orders));
    let (when, mut blow) = match disaster {
        Disaster::Never => (None, None),
        Disaster::Strikes { blow, at, server } => (Some(at), Some((blow, server))),
    };
    let mut struck: Option<Struck> = None;
    let (mut failed, mut cut_off) = (Findings::default(), 0);
    for n in 1.. {
        let Some(outcome) = readies.recv().await else { break };
        match outcome {
            Err(failure) if struck.is_some_and(|struck| failure.started < struck.to) => cut_off += 1,
            Err(failure) => failed.add(|| failure.why),
            Ok(()) => {}
        }
        progress(Progress::Ready(n));
        if when == Some(Moment::WhileOpening)
            && n >= plan.flows.div_ceil(2)
            && let Some((blow, server)) = blow.take()
        {
            progress(Progress::Striking);
            struck = Some(strike(blow, server).await?);
        }
    }

    if when != Some(Moment::AllOpen) {
        progress(Progress::Ending);
        let _ = order.send(Order::End);
    }
    if let Some((blow, server)) = blow {
        if when == Some(Moment::AmidEndings) {
            sleep(plan.spread / 2).await;
        }
        progress(Progress::Striking);
        struck = Some(strike(blow, server).await?);
        let _ = order.send(Order::Stop);
    }
    let mut attempts = Vec::with_capacity(plan.flows + 1);
    while let Some(ended) = clients.join_next().await {
        attempts.extend(ended.ok().flatten());
        progress(Progress::Ended(attempts.len()));
    }
    let byes = || attempts.iter().filter_map(bye);
    let sent = byes().count() as u64;
    let owed = match struck {
        Some(_) => HashSet::new(),
        None => byes().filter(|(_, owed)| *owed == Owed::Yes).map(|(call, _)| call).collect(),
    };
    let (witness, byes, lost_byes) = witness.end(sent, owed, plan.patience).await;
    attempts.push(witness);
    if let Some(struck) = struck {
        attempts.iter_mut().for_each(|attempt| expect_blow(attempt, struck));
    }

    progress(Progress::AwaitingEvents);
    let flows = attempts.iter().filter(|attempt| attempt.became == Became::Flow).count() as u64;
    let told = |log: &crate::EventLog| {
        log.opened_count() >= opened_before + flows && log.open_count() <= open_before
    };
    let events = feed.until(plan.await_events, told).await;
    Ok(Round { attempts, failed, cut_off, byes, lost_byes, events })
}

async fn strike<F: AsyncFnOnce() -> io::Result<()>>(blow: Kill, server: F) -> Result<Struck, StormError> {
    server().await.map_err(StormError::Restart)?;
    Ok(Struck { to: now_micros(), cause: blow.cause() })
}

/// Whether a message must have arrived.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owed {
    Yes,
    No,
}

/// The BYE that was sent right before an end.
fn bye(attempt: &Attempt) -> Option<(u64, Owed)> {
    let Farewell::Bye { call, .. } = attempt.farewell else { return None };
    let lost_is_right = attempt.ending.is_none_or(Ending::may_lose);
    Some((call, if lost_is_right { Owed::No } else { Owed::Yes }))
}

/// What was open when the server was ended may have been closed by that, and must have been if its client did
/// not end it.
fn expect_blow(attempt: &mut Attempt, struck: Struck) {
    if attempt.started >= struck.to {
        return;
    }
    let blow = Outcome::any(struck.cause);
    attempt.expected = match attempt.ending {
        Some(_) => attempt.expected.clone().or(blow, "the server was ended while it ended"),
        None => Expected::only(blow),
    };
}
