//! Runs simulated worlds until there were as many flows as asked for, or a promise was broken.
#![forbid(unsafe_code)]

use std::{
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use clap::Parser;
use ledger::storage::sim::End;
use simulation::{At, DiskFaults, Plan, Planted, Totals, Trace, Violation, run};

/// Simulated flows from admission to delivery, on a lying disk, with crashes at any step. Every seed replays.
#[derive(Parser)]
struct Arguments {
    /// Flows in all.
    #[arg(long, default_value_t = 100_000)]
    flows: u64,
    /// Connections of one run, each from a seed of its own.
    #[arg(long, default_value_t = 300)]
    run: u64,
    /// Only this seed.
    #[arg(long)]
    seed: Option<u64>,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// End after so many seconds.
    #[arg(long)]
    seconds: Option<u64>,
    /// Threads; as many as there are processors if not given.
    #[arg(long)]
    threads: Option<usize>,
    /// Print every step of the one seed, and what the code logs.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Nothing goes wrong but what is asked for.
    #[arg(long)]
    calm: bool,
    /// Go down with this change of the disk.
    #[arg(long)]
    crash_at_change: Option<u64>,
    /// Go down after this step.
    #[arg(long, conflicts_with = "crash_at_change")]
    crash_at_step: Option<u64>,
    /// Such a crash kills the process alone; without it the power fails.
    #[arg(long)]
    kill: bool,
    /// Run the one seed calmly again and again, with a crash at every change of the disk and after every
    /// step.
    #[arg(long, requires = "seed", conflicts_with_all = ["crash_at_change", "crash_at_step", "trace"])]
    sweep: bool,
    /// Put a bug in, to see it found.
    #[arg(long)]
    planted: Option<Planted>,
}

impl Arguments {
    fn plan(&self, seed: u64) -> Plan {
        let at = self.crash_at_change.map(At::Change).or(self.crash_at_step.map(At::Step));
        Plan {
            seed,
            flows: self.run,
            weather: if self.calm { DiskFaults::Calm } else { DiskFaults::Rough },
            crash: at.map(|at| (at, if self.kill { End::Kill } else { End::PowerLoss })),
            planted: self.planted,
            trace: if self.trace { Trace::Told } else { Trace::Silent },
        }
    }
}

/// What all threads come to.
#[derive(Default)]
struct Tally {
    totals: Mutex<(u64, Totals)>,
    next: AtomicU64,
    over: AtomicBool,
    broken: Mutex<Option<Violation>>,
}

impl Tally {
    fn work(&self, arguments: &Arguments) {
        while !self.over.load(Ordering::Relaxed) {
            let seed = arguments.from + self.next.fetch_add(1, Ordering::Relaxed);
            match run(arguments.plan(seed)) {
                Ok(totals) => {
                    let mut all = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
                    all.0 += 1;
                    all.1.add(&totals);
                    if all.1.flows >= arguments.flows {
                        self.over.store(true, Ordering::Relaxed);
                    }
                }
                Err(violation) => {
                    self.broken.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(violation);
                    self.over.store(true, Ordering::Relaxed);
                }
            }
        }
    }

    fn print(&self, began: Instant) {
        let (seeds, totals) = *self.totals.lock().unwrap_or_else(PoisonError::into_inner);
        let Totals { flows, refused, recovered, registers, starts, kills, power_losses, .. } = totals;
        println!(
            "{:>6.1} s  {seeds} seeds, {flows} flows, {refused} refused, {recovered} left by a crash, {registers} registers; \
             {starts} starts, {kills} kills, {power_losses} power losses; {} checkpoints, {} records dropped; {} events delivered, {} again; {} looks",
            began.elapsed().as_secs_f64(),
            totals.checkpoints,
            totals.trimmed,
            totals.delivered,
            totals.repeated,
            totals.looks,
        );
    }
}

fn many(arguments: &Arguments) -> ExitCode {
    let (tally, began) = (Tally::default(), Instant::now());
    let threads =
        arguments.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| tally.work(arguments));
        }
        let mut said = Instant::now();
        while !tally.over.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(50));
            if said.elapsed() >= Duration::from_secs(10) {
                said = Instant::now();
                tally.print(began);
            }
            if arguments.seconds.is_some_and(|seconds| began.elapsed().as_secs() >= seconds) {
                tally.over.store(true, Ordering::Relaxed);
            }
        }
    });
    tally.print(began);
    let broken = tally.broken.lock().unwrap_or_else(PoisonError::into_inner);
    match &*broken {
        None => {
            println!("no promise was broken");
            ExitCode::SUCCESS
        }
        Some(violation) => {
            println!("BROKEN: {violation}");
            ExitCode::FAILURE
        }
    }
}

/// A crash at every place there is in one run.
fn sweep(calm: Plan) -> Result<u64, Violation> {
    let Totals { changes, steps, .. } = run(calm)?;
    let places = (1..=changes).map(At::Change).chain((1..=steps).map(At::Step));
    let mut runs = 0;
    for at in places {
        for end in [End::Kill, End::PowerLoss] {
            run(Plan { crash: Some((at, end)), ..calm })?;
            runs += 1;
        }
    }
    Ok(runs)
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.trace {
        tracing_subscriber::fmt().without_time().with_writer(std::io::stdout).init();
    }
    let Some(seed) = arguments.seed else { return many(&arguments) };
    let outcome = if arguments.sweep {
        let calm = Plan { weather: DiskFaults::Calm, ..arguments.plan(seed) };
        sweep(calm).map(|runs| println!("{runs} runs, each with one crash"))
    } else {
        run(arguments.plan(seed)).map(|totals| println!("{totals:#?}"))
    };
    match outcome {
        Ok(()) => {
            println!("no promise was broken");
            ExitCode::SUCCESS
        }
        Err(violation) => {
            println!("BROKEN: {violation}");
            ExitCode::FAILURE
        }
    }
}
