//! Rounds against a server of our own, each reconciled four ways: clients, file, webhook, ledger.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use event_text::counted;
use ledger::Position;
use lifecycle::Transport;
use prove::{
    Disaster, EventLog, Feed, Findings, Kill, Moment, Progress, Report, Round, Sources, Storm, Target,
    Waited, reconcile, storm,
};
use tokio::time::sleep;

use super::Verdict;
use super::consumer::{Consumer, ConsumerBehaviour};
use super::follow::{Follower, From};
use super::machine;
use super::place::{Patience, ProveDirectory};
use super::report::{LedgerTotals, Totals, Trials};
use super::rounds::{EACH_ONCE, Kind, Plan, Rounds};
use super::screen::{Lines, Screen};
use super::server::Server;
use crate::audit;
use crate::command::Prove;
use crate::ledger_place::LedgerPlace;
use crate::outcome::Outcome;
use crate::speech::say;

/// How long sinks may take to catch up, and descriptors to go.
const PATIENCE: Duration = Duration::from_secs(120);

/// The file of the sink is moved away when it is so long.
const LONG_FILE: u64 = 64 << 20;

/// So many descriptors more than at first are no leak: segments, a connection to the webhook.
const SLACK: u64 = 16;

/// When to end.
struct Pace {
    flows: u64,
    rounds: u64,
    until: Option<Instant>,
    /// Connections of one round.
    wave: u64,
}

impl Pace {
    fn of(prove: &Prove, largest: u64) -> Self {
        let until = prove.seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        let rounds = prove.rounds.unwrap_or(EACH_ONCE.max(prove.flows.div_ceil(largest)));
        let wave = prove.flows.div_ceil(rounds).clamp(1, largest);
        let (flows, rounds) = match (until, prove.rounds) {
            (Some(_), _) => (u64::MAX, u64::MAX),
            (None, Some(rounds)) => (u64::MAX, rounds),
            // Some kinds have fewer connections than a round may: there are as many rounds as it takes.
            (None, None) => (prove.flows, u64::MAX),
        };
        Self { flows, rounds, until, wave }
    }

    fn is_over(&self, rounds: u64, flows: u64) -> bool {
        rounds >= self.rounds
            || flows >= self.flows
            || self.until.is_some_and(|until| Instant::now() >= until)
    }
}

pub(super) async fn run(prove: &Prove) -> Result<Verdict, String> {
    let pace = Pace::of(prove, machine::largest_wave()?);
    let transports = transports(prove)?;
    let mut place = ProveDirectory::make(prove.keep.as_deref())?;
    machine::has_room(place.path(), pace.wave)?;
    let consumer =
        Consumer::start(place.key).await.map_err(|error| format!("no port for the webhook: {error}"))?;
    place.write_config(pace.wave, consumer.address)?;
    let seed = prove.seed.unwrap_or_else(|| rand::random_range(0..1_000_000));
    let file = Feed::default();
    let mut campaign = Campaign {
        server: Server::of(&place)?,
        _following: Follower::start(&place.events(), From::Beginning, &file),
        file,
        consumer,
        transports,
        sources: Arc::new(Sources::loopback()),
        rounds: Rounds::of(seed, &prove.only),
        totals: Totals { trials: Some(Trials { seed, ..Trials::default() }), ..Totals::default() },
        screen: Screen::new(if prove.json { Lines::Err } else { Lines::Out }),
        place,
    };
    let begun = Instant::now();
    campaign.begin().await?;
    let mut flows = 0;
    while !pace.is_over(campaign.totals.rounds, flows) {
        flows += campaign.round(pace.wave.min(pace.flows - flows)).await?;
    }
    campaign.end().await?;
    let mut totals = campaign.totals;
    totals.took = begun.elapsed();
    let misses = totals.misses();
    if prove.json {
        say!("{:#}", totals.json());
    } else {
        say!("\n{totals}");
        let all = totals.report.total();
        say!(
            "{} in {}, {} s: {} missing, {} doubled, {} wrong",
            counted(all.connections, "flow"),
            counted(totals.rounds, "round"),
            totals.took.as_secs(),
            all.missing,
            all.doubled,
            all.wrong
        );
    }
    if campaign.place.is_kept() {
        campaign.screen.line(&format!("kept in {}", campaign.place.path().display()));
    }
    Ok(if misses == 0 { Verdict::AddsUp } else { Verdict::Misses(misses) })
}

fn transports(prove: &Prove) -> Result<Vec<Transport>, String> {
    let all = [Transport::Ws, Transport::Wss, Transport::Tcp, Transport::Tls];
    let known = |name: &String| {
        let found = all.into_iter().find(|transport| transport.as_str() == name);
        found.ok_or_else(|| format!("--transport {name}: there are ws, wss, tcp and tls"))
    };
    prove.transport.iter().map(known).collect()
}

struct Campaign {
    // First, so that the server is gone before its directory is.
    server: Server,
    _following: Follower,
    file: Feed,
    consumer: Consumer,
    transports: Vec<Transport>,
    sources: Arc<Sources>,
    rounds: Rounds,
    totals: Totals,
    screen: Screen,
    place: ProveDirectory,
}

impl Campaign {
    fn trials(&mut self) -> &mut Trials {
        self.totals.trials.get_or_insert_default()
    }

    async fn begin(&mut self) -> Result<(), String> {
        self.server.start().await.map_err(|error| error.to_string())?;
        let before = self.server.descriptors().unwrap_or(0);
        self.trials().descriptors_before = before;
        Ok(())
    }

    /// The last end is in order, and has nothing to close.
    async fn end(&mut self) -> Result<(), String> {
        self.trials().descriptors_after = self.server.descriptors().unwrap_or(0);
        self.server.terminate().await.map_err(|error| error.to_string())?;
        let panics = self.server.panics();
        self.totals.wrong("panics of the server", &panics);
        self.totals.wrong("webhook requests not as they must be", &self.consumer.forged());
        let repeated = self.file.look(|log| log.redelivered().clone());
        self.totals.wrong("events that are in the file again", &repeated);
        Ok(())
    }

    /// Runs one round with at most so many connections, and reconciles it. Gives how many connections there
    /// were.
    async fn round(&mut self, wave: u64) -> Result<u64, String> {
        let plan = self.rounds.next();
        let flows = wave.min(plan.kind.most());
        let number = self.totals.rounds + 1;
        let begun = Instant::now();
        self.consumer.set(plan.hook);
        let storm = self.storm(plan, number, flows);
        let what = plan.to_string();
        let round = self.play(plan, &storm, |screen, progress| {
            screen.progress(number, &what, flows, progress);
        });
        let round = round.await.map_err(|error| error.to_string())?;
        self.consumer.set(ConsumerBehaviour::Takes);
        let report = self.settle(plan, &round).await?;
        let all = report.total();
        self.screen.line(&format!(
            "{number:>4}  {what:<36} {:>6} flows {:>6} right {:>3} wrong {:>3} missing {:>3} doubled {:>6.1} s",
            all.connections,
            all.right,
            all.wrong,
            all.missing,
            all.doubled,
            begun.elapsed().as_secs_f64()
        ));
        self.totals.rounds = number;
        self.rotate(number)?;
        Ok(all.connections)
    }

    fn storm(&self, plan: Plan, number: u64, flows: u64) -> Storm {
        let targets = |patience| {
            let target = |transport: &Transport| {
                let port = self.place.port(*transport, patience);
                (port > 0).then(|| Target::new(*transport, ([127, 0, 0, 1], port).into()))
            };
            self.transports.iter().filter_map(target).collect::<Vec<_>>()
        };
        let short = if plan.kind == Kind::Silent { targets(Patience::Short) } else { Vec::new() };
        // A stream of plain SIP is not pinged.
        let silent = !short.is_empty();
        let targets = if silent { short } else { targets(Patience::Usual) };
        Storm {
            endings: if silent { plan.kind.endings() } else { Vec::new() },
            spread: plan.kind.spread(),
            sources: Arc::clone(&self.sources),
            patience: Duration::from_secs(60),
            await_events: PATIENCE,
            prefix: format!("r{number}"),
            ..Storm::new(targets, usize::try_from(flows).unwrap_or(usize::MAX))
        }
    }

    async fn play(
        &mut self,
        plan: Plan,
        storm_plan: &Storm,
        mut seen: impl FnMut(&mut Screen, Progress),
    ) -> Result<Round, prove::StormError> {
        let Self { server, screen, file, rounds, totals, .. } = self;
        let progress = |progress| seen(screen, progress);
        let trials = totals.trials.get_or_insert_default();
        trials.outages += u64::from(plan.hook != ConsumerBehaviour::Takes);
        match plan.kind {
            Kind::Unhurried | Kind::AtOnce | Kind::WithinASecond | Kind::Silent => {
                let mut progress = progress;
                let (before, mut between) = (server.cpu(), None);
                let round = storm(storm_plan, file, Disaster::never(), |now| {
                    if now == Progress::Ending {
                        between = server.cpu();
                    }
                    progress(now);
                });
                let round = round.await?;
                if let (Some(before), Some(between), Some(after)) = (before, between, server.cpu())
                    && let Some(kind) = measured(plan)
                {
                    let delays = trials.delays.entry(kind).or_default();
                    delays.efforts += storm_plan.flows as u64;
                    delays.opening.add(between.since(before));
                    delays.ending.add(after.since(between));
                }
                Ok(round)
            }
            Kind::Struck(blow, at) => {
                let server = async || {
                    match blow {
                        Kill::Kill => {
                            trials.kills += 1;
                            server.kill().await?;
                        }
                        Kill::Terminate => {
                            trials.terminations += 1;
                            server.terminate().await?;
                        }
                    }
                    server.start().await
                };
                storm(storm_plan, file, Disaster::Strikes { blow, at, server }, progress).await
            }
            Kind::KilledAgain => {
                let moments = [rounds.moment(), rounds.moment(), rounds.moment()];
                trials.kills += 1 + moments.len() as u64;
                let server = async || {
                    server.kill().await?;
                    for after in moments {
                        server.start_and_kill(after).await?;
                    }
                    server.start().await
                };
                let disaster = Disaster::Strikes { blow: Kill::Kill, at: Moment::AllOpen, server };
                storm(storm_plan, file, disaster, progress).await
            }
        }
    }

    /// Waits until both sinks have all that the ledger has, and holds everything against everything.
    async fn settle(&mut self, plan: Plan, round: &Round) -> Result<Report, String> {
        let file = self.file.clone();
        let webhook = self.consumer.feed.clone();
        let mut other = Findings::default();
        let until = Instant::now() + PATIENCE;
        let sum = loop {
            let place = LedgerPlace::at(self.place.ledger());
            let sum = tokio::task::spawn_blocking(move || audit::sum(&place)).await;
            let sum = sum.map_err(|error| error.to_string())?.map_err(Outcome::words)?;
            let left = until.saturating_duration_since(Instant::now());
            let has_all = |log: &EventLog| sum.last.is_none_or(|last| has(log, last));
            let file_has = file.until(left, has_all).await;
            let webhook_has = webhook.until(left, has_all).await;
            if sum.open == 0 && (file_has, webhook_has) == (Waited::Fulfilled, Waited::Fulfilled) {
                break sum;
            }
            if Instant::now() >= until {
                for (sink, has) in [("file", file_has), ("webhook", webhook_has)] {
                    if has == Waited::InVain {
                        other.add(|| format!("the {sink} did not get all that the ledger has"));
                    }
                }
                break sum;
            }
            sleep(Duration::from_millis(100)).await;
        };
        for (sink, feed) in [("file", &file), ("webhook", &webhook)] {
            let told = feed.look(|log| (log.opened_count(), log.closed_count()));
            if told != (sum.opened, sum.closed) {
                let ledger = (sum.opened, sum.closed);
                other.add(|| format!("opened and closed: {ledger:?} in the ledger, {told:?} in the {sink}"));
            }
        }
        if sum.open > 0 {
            let are = if sum.open == 1 { "is" } else { "are" };
            other.add(|| {
                format!("{} {are} open in the ledger, and no client has any", counted(sum.open, "flow"))
            });
        }
        if round.events == Waited::InVain {
            other.add(|| "some closes did not come in time".to_owned());
        }
        sum.wrong.iter().for_each(|wrong| other.add(|| format!("sipway audit: {wrong}")));
        let before = self.trials().descriptors_before;
        if !self.descriptors_go(before + SLACK).await {
            let now = self.server.descriptors().unwrap_or(0);
            other.add(|| format!("the server has {} open, {before} at first", counted(now, "descriptor")));
        }
        let report = file.look(|log| reconcile(log, &round.attempts));
        let told = webhook.look(|log| reconcile(log, &round.attempts));
        file.forget_closed();
        webhook.forget_closed();
        self.add(plan, round, &report, &told);
        self.trials().books = LedgerTotals { opened: sum.opened, closed: sum.closed, open: sum.open };
        self.totals.wrong("after the round", &other);
        Ok(report)
    }

    fn add(&mut self, plan: Plan, round: &Round, report: &Report, told: &Report) {
        let totals = &mut self.totals;
        totals.wrong("clients that could not connect or register", &round.failed);
        totals.wrong("BYEs lost", &round.lost_byes);
        totals.byes.merge(&round.byes);
        totals.cut_off += round.cut_off;
        let trials = totals.trials.get_or_insert_default();
        let mut report = report.clone();
        match measured(plan) {
            Some(kind) => {
                let delays = trials.delays.entry(kind).or_default();
                delays.recorded.merge(&report.total().recorded);
                delays.file.merge(&report.total().delivered);
                delays.webhook.merge(&told.total().delivered);
            }
            None => report.forget_times(),
        }
        totals.report.absorb(&report);
        trials.webhook.absorb(told);
    }

    /// Whether no more than so many descriptors are left in time.
    async fn descriptors_go(&self, most: u64) -> bool {
        let until = Instant::now() + PATIENCE;
        while self.server.descriptors().is_some_and(|open| open > most) {
            if Instant::now() >= until {
                return false;
            }
            sleep(Duration::from_millis(20)).await;
        }
        true
    }

    /// Moves a long file away, as logrotate does.
    fn rotate(&self, round: u64) -> Result<(), String> {
        let rotate = || -> io::Result<()> {
            if std::fs::metadata(self.place.events())?.len() < LONG_FILE {
                return Ok(());
            }
            let aside = self.place.rotate(round)?;
            if !self.place.is_kept() {
                std::fs::remove_file(aside)?;
            }
            Ok(())
        };
        rotate().map_err(|error| format!("{}: {error}", self.place.events().display()))
    }
}

/// The kind of a round whose times are measured: a dead server or sink delays what it tells.
fn measured(plan: Plan) -> Option<&'static str> {
    match plan.kind {
        _ if plan.hook != ConsumerBehaviour::Takes => None,
        Kind::Unhurried => Some("one after the other"),
        Kind::AtOnce => Some("at one instant"),
        Kind::WithinASecond => Some("within one second"),
        Kind::Silent | Kind::Struck(..) | Kind::KilledAgain => None,
    }
}

/// Whether this record, or a later one of its run, was told.
fn has(log: &EventLog, last: Position) -> bool {
    log.runs().any(|(_, incarnation, told)| incarnation == last.incarnation && told >= last.seq)
}
