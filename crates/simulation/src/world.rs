//! One run of the world: what happens next is drawn from the seed, and every step is the real code's.

/// Prints a step, if that is wanted.
macro_rules! tell {
    ($world:expr, $($text:tt)*) => {
        if $world.plan.trace == $crate::Trace::Told {
            println!("{:>7} {:>13.6} s  {}", $world.totals.steps, $world.clock.passed() as f64 / 1e6, format_args!($($text)*));
        }
    };
}

mod checks;
mod peers;

use std::{collections::BTreeSet, rc::Rc, sync::Arc, time::Duration};

use ledger::{
    Position, Settings, Stepped as Did,
    storage::{
        Storage,
        sim::{End, Faults, Simulated},
    },
};
use lifecycle::Node;
use metrics::Count;
use state::{ManualNode, Registry, Retention};

use crate::{
    At, DiskFaults, Plan, Planted, Totals,
    chance::SeededRandom,
    client::{Bindings, Connection},
    clock::Clock,
    planted::UnsyncedDisk,
    sink::{Around, Sink},
    witness::Witness,
};

/// A process between its start and its end.
struct Process {
    stepped: ManualNode,
    registry: Arc<Registry>,
    connections: Vec<Connection>,
    /// Flows numbered so far.
    counter: u64,
    /// Until then the disk does not answer the writer.
    stalled_until: u64,
}

pub(crate) struct World {
    plan: Plan,
    chance: SeededRandom,
    clock: Rc<Clock>,
    disk: Simulated,
    node: Node,
    settings: Settings,
    policy: Retention,
    /// Connections that there may be at a time.
    crowd: usize,
    /// For how long a user must have had no binding to be offline.
    hold: Duration,
    witness: Witness,
    bindings: Bindings,
    sinks: Vec<Sink>,
    process: Option<Process>,
    /// Whether the disk was told to misbehave.
    troubled: bool,
    totals: Totals,
}

impl World {
    pub(crate) fn new(plan: Plan) -> Self {
        let mut chance = SeededRandom::new(plan.seed);
        let disk = Simulated::new(chance.draw());
        let rough = plan.weather == DiskFaults::Rough;
        let sinks: Vec<Sink> =
            (0..1 + chance.index(3)).map(|number| Sink::new(number, &mut chance, !rough)).collect();
        let settings = Settings {
            segment_bytes: 64 << 10,
            block_bytes: chance.pick(&[8, 16]) << 10,
            spare_bytes: chance.pick(&[64, 160, 320]) << 10,
            backlog_bytes: chance.pick(&[16, 256]) << 10,
            // Judged by the wall clock, of which there is none here.
            stall_after: Duration::from_secs(1 << 30),
            gather: Duration::ZERO,
            ..Settings::new("sim")
        };
        let policy = Retention {
            keep_for: Duration::from_secs(chance.pick(&[60, 3600])),
            keep_size: chance.pick(&[192, 512]) << 10,
            sinks: sinks.iter().map(|sink| sink.name().to_owned()).collect(),
            drop_unread_of: BTreeSet::new(),
        };
        let crowd = chance.pick(&[4, 16, 40]);
        let hold = Duration::from_secs(chance.pick(&[0, 2, 10]));
        Self {
            plan,
            crowd,
            hold,
            chance,
            clock: Rc::new(Clock::new()),
            disk,
            node: Node::new("sim").expect("it is a node's name"),
            settings,
            policy,
            witness: Witness::new(hold),
            bindings: Bindings::default(),
            sinks,
            process: None,
            troubled: false,
            totals: Totals::default(),
        }
    }

    /// Runs to the orderly end and looks back on all of it.
    pub(crate) fn run(&mut self) -> Result<Totals, String> {
        self.start()?;
        while self.totals.flows + self.totals.refused < self.plan.flows {
            self.step()?;
        }
        self.come_to_rest()?;
        self.totals.digest = self.witness.digest;
        self.totals.changes = self.disk.changes();
        for sink in &self.sinks {
            let (received, repeats) = sink.received();
            self.totals.delivered += received;
            self.totals.repeated += repeats;
        }
        Ok(self.totals)
    }

    /// What it has come to so far.
    pub(crate) fn totals(&self) -> Totals {
        self.totals
    }

    fn rough(&self) -> bool {
        self.plan.weather == DiskFaults::Rough
    }

    // ---- starts and ends
    // ------------------------------------------------------------------------------------------

    /// Starts a process, through as many crashes on the way as chance has in store.
    fn start(&mut self) -> Result<(), String> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            self.totals.starts += 1;
            if self.rough() && attempts < 5 {
                match self.chance.below(8) {
                    0 | 1 => {
                        let dies = self.disk.changes() + 1 + self.chance.below(40);
                        self.disk.crash_at(dies);
                    }
                    2 => self.trouble(),
                    _ => {}
                }
            }
            self.arm();
            let storage: Arc<dyn Storage> = match self.plan.planted {
                Some(Planted::FailedSyncIgnored) => Arc::new(UnsyncedDisk::mount(&self.disk)),
                _ => Arc::new(self.disk.mount()),
            };
            let now = self.clock.both();
            let (settings, policy) = (self.settings.clone(), self.policy.clone());
            let started = ManualNode::start(storage, settings, &self.node, policy, 10_000, self.hold, now);
            match started {
                Ok(stepped) if !self.disk.is_down() => {
                    if self.serve(stepped)? {
                        return Ok(());
                    }
                }
                Ok(_) => tell!(self, "dies at the end of its start"),
                Err(error) if self.disk.is_down() || self.troubled => tell!(self, "does not start: {error}"),
                Err(error) => return Err(format!("it does not start on a sound disk: {error}")),
            }
            self.down(None);
            if attempts > 4 {
                self.mend();
            }
        }
    }

    /// Takes up work; false if the disk went down meanwhile.
    fn serve(&mut self, stepped: ManualNode) -> Result<bool, String> {
        let registry = Arc::clone(&stepped.registry);
        tell!(
            self,
            "starts run {}: {} flows and {} bindings were left, {} bytes torn",
            registry.incarnation(),
            stepped.recovered.flows,
            stepped.recovered.bindings,
            stepped.recovered.torn_bytes
        );
        self.totals.recovered += stepped.recovered.flows;
        self.witness.begins(registry.ledger())?;
        self.bindings = Bindings::default();
        for sink in &mut self.sinks {
            if let Err(error) = sink.start(registry.ledger(), &self.node, &mut self.chance) {
                if self.disk.is_down() {
                    return Ok(false);
                }
                return Err(error);
            }
        }
        let stalled_until = 0;
        self.process =
            Some(Process { stepped, registry, connections: Vec::new(), counter: 0, stalled_until });
        Ok(true)
    }

    /// Has the disk go down at the planned change, if that is still to come.
    fn arm(&mut self) {
        if let Some((At::Change(change), _)) = self.plan.crash
            && change > self.disk.changes()
        {
            self.disk.crash_at(change);
        }
    }

    /// The process dies where it stands.
    fn down(&mut self, end: Option<End>) {
        let planned = self.plan.crash.map(|(_, end)| end);
        let end = end.or(planned).unwrap_or(if self.chance.once_in(2) { End::Kill } else { End::PowerLoss });
        let durable = self.durable();
        match end {
            End::Kill => self.totals.kills += 1,
            End::PowerLoss => self.totals.power_losses += 1,
        }
        tell!(self, "{end:?}; durable up to {durable}");
        if let Some(process) = &self.process {
            let metrics = process.registry.metrics();
            self.totals.trimmed += metrics.get(Count::RecordsTrimmed);
            self.totals.checkpoints += metrics.get(Count::Checkpoints);
        }
        // First the power, then the values: nothing may be tidied up on the way down.
        self.disk.end(end);
        self.troubled = self.rough() && self.troubled && self.chance.once_in(2);
        if !self.troubled {
            self.disk.limit(None);
        }
        self.witness.went_down(durable);
        for sink in &mut self.sinks {
            sink.die(&mut self.chance);
        }
        self.process = None;
        self.clock.advance(1000 + self.chance.below(5_000_000));
    }

    fn durable(&self) -> Position {
        self.process.as_ref().map_or(Position::START, |process| process.registry.ledger().durable_position())
    }

    /// The disk misbehaves from now on.
    fn trouble(&mut self) {
        self.troubled = true;
        match self.chance.below(6) {
            0 => self.disk.fail(Faults::All),
            1 | 2 => self.disk.fail(Faults::OneIn(2 + self.chance.below(30) as u32)),
            3 => self.disk.fail(Faults::Syncs(1 + self.chance.below(2) as u32)),
            4 => self.disk.fail(Faults::Writes(1)),
            _ => {
                let room = self.disk.used() + self.chance.below(96 << 10);
                self.disk.limit(Some(room));
            }
        }
        tell!(self, "the disk misbehaves");
    }

    fn mend(&mut self) {
        self.troubled = false;
        self.disk.fail(Faults::None);
        self.disk.limit(None);
        if let Some(process) = &mut self.process {
            process.stalled_until = 0;
        }
    }

    // ---- one step
    // -------------------------------------------------------------------------------------------------

    fn step(&mut self) -> Result<(), String> {
        self.totals.steps += 1;
        self.clock.advance(self.chance.below(2000));
        match self.chance.below(100) {
            0..=11 => self.connect(),
            12..=39 => self.act()?,
            40..=63 => drop(self.write()),
            64..=70 => drop(self.keep()),
            71..=73 => self.keep_books()?,
            74..=91 => self.deliver()?,
            92 => self.upkeep(),
            93 => self.pass_time(),
            94 => self.look()?,
            95 if self.rough() => self.weather(),
            96..=98 => self.datagram()?,
            _ if self.rough() && self.chance.once_in(16) => self.down(None),
            _ => {}
        }
        if let Some((At::Step(step), end)) = self.plan.crash
            && step == self.totals.steps
        {
            self.down(Some(end));
        }
        self.revive()
    }

    fn weather(&mut self) {
        match self.chance.below(12) {
            0 | 1 => self.trouble(),
            2 => {
                let until = self.clock.passed() + self.chance.below(400_000);
                if let Some(process) = &mut self.process {
                    process.stalled_until = until;
                }
                tell!(self, "the disk stalls");
            }
            3 => {
                let dies = self.disk.changes() + 1 + self.chance.below(30);
                self.disk.crash_at(dies);
            }
            _ => {
                self.mend();
                tell!(self, "the disk is well");
            }
        }
    }

    fn write(&mut self) -> Did {
        let Some(process) = &mut self.process else { return Did::Idle };
        if process.stalled_until > self.clock.passed() {
            return Did::Failed;
        }
        process.stepped.stepper.write()
    }

    fn keep(&mut self) -> Did {
        self.process.as_mut().map_or(Did::Idle, |process| process.stepped.stepper.keep())
    }

    fn keep_books(&mut self) -> Result<(), String> {
        // The witness first: what is dropped now was delivered, and is read no more.
        self.witness.follow()?;
        let Some(process) = &mut self.process else { return Ok(()) };
        match process.stepped.keep_books(self.clock.micros()) {
            Err(error) if !self.troubled && !self.disk.is_down() => {
                Err(format!("the books cannot be kept: {error}"))
            }
            _ => Ok(()),
        }
    }

    fn deliver(&mut self) -> Result<(), String> {
        let index = self.chance.index(self.sinks.len());
        self.deliver_to(index)
    }

    fn deliver_to(&mut self, index: usize) -> Result<(), String> {
        let mut around = Around {
            chance: &mut self.chance,
            clock: &self.clock,
            witness: &mut self.witness,
            node: &self.node,
            planted: self.plan.planted,
        };
        self.sinks[index].step(&mut around)
    }

    /// What the server does once a second.
    fn upkeep(&mut self) {
        let Some(process) = &mut self.process else { return };
        process.registry.ledger().beat(self.clock.micros());
        let now = self.clock.both();
        while process.registry.expire(now, 4) == 4 {}
        while process.registry.tell_offline(now, 4) == 4 {}
    }

    fn pass_time(&mut self) {
        let most = self.chance.pick(&[100_000, 2_000_000, 2_000_000, 90_000_000]);
        let passed = self.chance.below(most);
        self.clock.advance(passed);
    }
}
