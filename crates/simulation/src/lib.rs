//! The life of flows, from admission to delivery, in one thread from one seed.
//!
//! What runs is the server's own code: admission, closes and bindings (`edge::registry`), recovery, the
//! bookkeeper and retention (`state::ManualNode`), the ledger with its writer and keeper
//! (`Ledger::open_stepped`), and the decisions of sinks (`sinks::SinkProgress`). What is simulated is what
//! surrounds it: clients, time, the order in which tasks get their turn, a disk that lies, destinations with
//! moods, and death at any moment. A witness reads every record of every run and holds them to the promise of
//! the design.
//!
//! The same [`Plan`] gives the same run, record for record. `docs/SIMULATION.md` says what is modelled and
//! what is not.
#![forbid(unsafe_code)]

mod chance;
mod client;
mod clock;
mod plan;
mod planted;
mod sink;
mod witness;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use plan::{At, DiskFaults, Plan, Trace};
pub use planted::Planted;

/// What runs came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Flows whose clients were accepted.
    pub flows: u64,
    /// Connections that were refused: no room, a full disk, an end under way.
    pub refused: u64,
    /// REGISTERs that were done.
    pub registers: u64,
    /// Processes that were started, or tried to.
    pub starts: u64,
    /// Processes that were killed while the system lived on.
    pub kills: u64,
    /// Processes that lost power.
    pub power_losses: u64,
    /// Flows that a start found open and closed.
    pub recovered: u64,
    /// Checkpoints that were written.
    pub checkpoints: u64,
    /// Records that retention dropped.
    pub trimmed: u64,
    /// Events that arrived at sinks.
    pub delivered: u64,
    /// Of these, those that came again.
    pub repeated: u64,
    /// Times that everything was compared with everything.
    pub looks: u64,
    /// Steps of all tasks.
    pub steps: u64,
    /// Changes of the disk.
    pub changes: u64,
    /// Of all records in order: the same for the same plan.
    pub digest: u64,
}

impl Totals {
    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        self.flows += other.flows;
        self.refused += other.refused;
        self.registers += other.registers;
        self.starts += other.starts;
        self.kills += other.kills;
        self.power_losses += other.power_losses;
        self.recovered += other.recovered;
        self.checkpoints += other.checkpoints;
        self.trimmed += other.trimmed;
        self.delivered += other.delivered;
        self.repeated += other.repeated;
        self.looks += other.looks;
        self.steps += other.steps;
        self.changes += other.changes;
        self.digest ^= other.digest;
    }
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The run: it replays.
    pub plan: Plan,
    /// The step at which it was seen.
    pub step: u64,
    /// What is wrong.
    pub what: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { plan, step, what } = self;
        write!(
            f,
            "seed {} step {step}: {what}\nreplay: cargo run --release -p simulation -- {plan} --trace",
            plan.seed
        )
    }
}

impl std::error::Error for Violation {}

/// Runs a plan to its orderly end.
///
/// # Errors
/// A promise was broken, or the code panicked.
pub fn run(plan: Plan) -> Result<Totals, Violation> {
    let mut world = world::World::new(plan);
    let outcome = catch_unwind(AssertUnwindSafe(|| world.run()));
    let outcome = outcome.unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        Err(format!("a panic: {}", said.or(panic.downcast_ref::<&str>().copied()).unwrap_or("?")))
    });
    outcome.map_err(|what| Violation { plan, step: world.totals().steps, what })
}
