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
    AfterClose, Client, CloseWord, ConnectError, Dialled, Ending, Expected, Farewell, Feed, Findings,
    Incoming, Outcome, Persona, RequestError, Setup, Sources, Target, Waited, now_micros,
};

mod witness;

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
    /// Over how long the endings are spread; zero: at one instant.
    pub spread: Duration,
    /// How long any one step may take: a handshake, a response, the server's reaction to an ending, the last event.
    pub patience: Duration,
    /// What users' names begin with; must differ between rounds that run at once.
    pub prefix: String,
}

/// Whether the server is killed in the round.
#[derive(Debug)]
pub enum Disaster<F> {
    /// It lives on.
    Never,
    /// It is killed and started again; the function does both and returns when events are read again.
    Kill(KillAt, F),
}

impl Disaster<fn() -> Ready<io::Result<()>>> {
    /// [`Disaster::Never`], where there is no function whose type could be named.
    #[must_use]
    pub const fn never() -> Self {
        Self::Never
    }
}

/// When the server is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KillAt {
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
    /// The server is killed and started again now.
    Killing,
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
    /// The client that the others say goodbye to could not connect.
    #[error("the first client: {0}")]
    Connect(#[from] ConnectError),
    /// The client that the others say goodbye to could not register.
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

impl Storm {
    /// So many connections to these targets, ended at one instant in every way the server notices at once.
    #[must_use]
    pub fn new(targets: Vec<Target>, flows: usize) -> Self {
        Self {
            targets,
            flows,
            connecting: 64,
            endings: Vec::new(),
            spread: Duration::ZERO,
            patience: Duration::from_secs(15),
            prefix: "prove".to_owned(),
        }
    }

    fn part(&self, n: usize, sources: &Sources, witness: &str) -> Option<Part> {
        let target = self.targets.get(n % self.targets.len())?.clone();
        let turn = n / self.targets.len();
        let prompt = Ending::prompt(target.transport);
        let endings = if self.endings.is_empty() { &prompt } else { &self.endings };
        let ending = *endings.get(turn % endings.len())?;
        let farewell = match turn / endings.len() % 3 {
            0 => Farewell::Nothing,
            1 => Farewell::Unregister,
            _ => Farewell::Bye { to: witness.to_owned(), call: n as u64 },
        };
        let setup = Setup {
            persona: [Persona::JsSip, Persona::SipJs][n % 2],
            source: sources.next(),
            patience: self.patience,
            ..Setup::new(&format!("{}-{n}", self.prefix))
        };
        let delay = self.spread.mul_f64(n as f64 / self.flows.max(1) as f64);
        Some(Part { target, setup, ending, farewell, delay })
    }
}

/// What one client does in a round.
struct Part {
    target: Target,
    setup: Setup,
    ending: Ending,
    farewell: Farewell,
    delay: Duration,
}

/// Runs one round: connects and registers all, ends them, waits until `feed` has told every close. The server's events
/// must be put into `feed` meanwhile. Reconcile afterwards, with the attempts of this or of many rounds.
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
    let sources = Sources::fitting(first.address);
    let (opened_before, open_before) = feed.look(|log| (log.opened_count(), log.open_count()));
    let witness = Witness::connect(first, &format!("{}-witness", plan.prefix), sources.next()).await?;
    let (order, orders) = watch::channel(Order::Stay);
    let (ready, mut readies) = mpsc::channel(64);
    let gate = Arc::new(Semaphore::new(plan.connecting.max(1)));
    let mut clients = JoinSet::new();
    for part in (0..plan.flows).map_while(|n| plan.part(n, &sources, witness.address())) {
        clients.spawn(play(part, Arc::clone(&gate), ready.clone(), orders.clone(), plan.patience));
    }
    drop((ready, orders));
    let mut failed = Findings::default();
    for n in 1.. {
        let Some(outcome) = readies.recv().await else { break };
        if let Err(why) = outcome {
            failed.add(|| why);
        }
        progress(Progress::Ready(n));
    }

    let kill = match disaster {
        Disaster::Never => None,
        Disaster::Kill(at, restart) => Some((at, restart)),
    };
    let crash = kill.as_ref().map(|(at, _)| *at);
    if crash != Some(KillAt::AllOpen) {
        progress(Progress::Ending);
        let _ = order.send(Order::End);
    }
    if let Some((_, restart)) = kill {
        sleep(plan.spread / 2).await;
        progress(Progress::Killing);
        restart().await.map_err(StormError::Restart)?;
        let _ = order.send(Order::Stop);
    }
    let mut attempts = Vec::with_capacity(plan.flows + 1);
    while let Some(ended) = clients.join_next().await {
        attempts.extend(ended.ok().flatten());
        progress(Progress::Ended(attempts.len()));
    }
    let byes = match crash {
        Some(_) => HashSet::new(),
        None => attempts.iter().filter_map(owed_bye).collect(),
    };
    let (witness, lost_byes) = witness.end(byes, crash, plan.patience).await;
    attempts.push(witness);
    if crash.is_some() {
        attempts.iter_mut().for_each(expect_crash);
    }

    progress(Progress::AwaitingEvents);
    let flows = attempts.iter().filter(|attempt| attempt.became == Became::Flow).count() as u64;
    let told = |log: &crate::EventLog| {
        log.opened_count() >= opened_before + flows && log.open_count() <= open_before
    };
    let events = feed.until(plan.patience, told).await;
    Ok(Round { attempts, failed, lost_byes, events })
}

/// The BYE that must have arrived.
fn owed_bye(attempt: &Attempt) -> Option<u64> {
    match attempt.farewell {
        Farewell::Bye { call, .. } if attempt.ending.is_some_and(|ending| !ending.may_lose()) => Some(call),
        _ => None,
    }
}

fn expect_crash(attempt: &mut Attempt) {
    let crash = Outcome::any(Cause::NodeCrash);
    attempt.expected = match attempt.ending {
        Some(_) => attempt.expected.clone().or(crash, "the server was killed while it ended"),
        None => Expected::only(crash),
    };
}

/// One client's life. `None` if it did not even get a TCP connection.
async fn play(
    part: Part,
    gate: Arc<Semaphore>,
    ready: mpsc::Sender<Result<(), String>>,
    mut orders: watch::Receiver<Order>,
    patience: Duration,
) -> Option<Attempt> {
    let Part { target, setup, ending, farewell, delay } = part;
    let permit = gate.acquire_owned().await;
    let started = now_micros();
    let dialled = match Dialled::connect(&target, &setup).await {
        Ok(dialled) => dialled,
        Err(error) => {
            let _ = ready.send(Err(format!("{}: {error}", setup.user))).await;
            return None;
        }
    };
    let mut attempt = Attempt {
        transport: target.transport,
        remote: dialled.local(),
        started,
        became: Became::Nothing,
        registered: Registered::No,
        ending: None,
        farewell: Farewell::Nothing,
        acted_at: None,
        expected: Expected::only(Outcome::any(Cause::NodeCrash)),
    };
    let mut client = match dialled.upgrade(&setup).await {
        Ok(client) => client,
        Err(error) => {
            let _ = ready.send(Err(format!("{}: {error}", setup.user))).await;
            return Some(attempt);
        }
    };
    attempt.became = Became::Flow;
    let outcome = match client.register(600).await {
        Ok(response) if response.status == 200 => {
            attempt.registered = Registered::Yes;
            Ok(())
        }
        Ok(response) => Err(format!("{}: REGISTER was answered {}", setup.user, response.status)),
        Err(error) => Err(format!("{}: REGISTER: {error}", setup.user)),
    };
    drop(permit);
    let _ = ready.send(outcome).await;
    drop(ready);

    let order = tokio::select! {
        order = async { orders.wait_for(|order| *order != Order::Stay).await.ok().map(|order| *order) } => order,
        _ = client.serve() => return Some(attempt),
    };
    if order != Some(Order::End) || client.serve_for(delay).await.is_some() {
        return Some(attempt);
    }
    attempt.ending = Some(ending);
    attempt.expected = ending.expected();
    let parting = client.end(ending, &farewell, patience).await;
    attempt.farewell = farewell;
    attempt.acted_at = Some(parting.acted_at);
    Some(attempt)
}
