//! One run of the world: what happens next is drawn from the seed, and every step is the real code's.

use std::{collections::BTreeSet, rc::Rc, sync::Arc, time::Duration};

use edge::{
    Count,
    stepped::{Policy, Registry, Step, Stepped},
};
use ledger::{
    Position, Settings, Stepped as Did,
    storage::{
        Storage,
        sim::{End, Faults, Simulated},
    },
};
use lifecycle::{Cause, Ending, FlowId, Node};

use crate::{
    At, Plan, Planted, Totals, Trace, Weather,
    chance::Chance,
    client::{self, Bindings, Connection, Device, Registered, State, Wish},
    clock::Clock,
    planted::Careless,
    sink::{Around, Sink},
    witness::Witness,
};

/// Steps within which a world in good weather must come to rest.
const PATIENCE: u32 = 20_000;

/// A process between its start and its end.
struct Process {
    stepped: Stepped,
    registry: Arc<Registry>,
    connections: Vec<Connection>,
    /// Flows numbered so far.
    counter: u64,
    /// Until then the disk does not answer the writer.
    stalled_until: u64,
}

pub(crate) struct World {
    plan: Plan,
    chance: Chance,
    clock: Rc<Clock>,
    disk: Simulated,
    node: Node,
    settings: Settings,
    policy: Policy,
    /// Connections that there may be at a time.
    crowd: usize,
    witness: Witness,
    bindings: Bindings,
    sinks: Vec<Sink>,
    process: Option<Process>,
    /// Whether the disk was told to misbehave.
    troubled: bool,
    totals: Totals,
}

/// Prints a step, if that is wanted.
macro_rules! tell {
    ($world:expr, $($text:tt)*) => {
        if $world.plan.trace == Trace::Told {
            println!("{:>7} {:>13.6} s  {}", $world.totals.steps, $world.clock.passed() as f64 / 1e6, format_args!($($text)*));
        }
    };
}

impl World {
    pub(crate) fn new(plan: Plan) -> Self {
        let mut chance = Chance::new(plan.seed);
        let disk = Simulated::new(chance.draw());
        let rough = plan.weather == Weather::Rough;
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
        let policy = Policy {
            keep_for: Duration::from_secs(chance.pick(&[60, 3600])),
            keep_size: chance.pick(&[192, 512]) << 10,
            sinks: sinks.iter().map(|sink| sink.name().to_owned()).collect(),
            drop_unread_of: BTreeSet::new(),
        };
        Self {
            plan,
            crowd: chance.pick(&[4, 16, 40]),
            chance,
            clock: Rc::new(Clock::new()),
            disk,
            node: Node::new("sim").expect("it is a node's name"),
            settings,
            policy,
            witness: Witness::default(),
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
        self.plan.weather == Weather::Rough
    }

    // ---- starts and ends ------------------------------------------------------------------------------------------

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
                Some(Planted::FailedSyncIgnored) => Arc::new(Careless::mount(&self.disk)),
                _ => Arc::new(self.disk.mount()),
            };
            let now = self.clock.micros();
            let started =
                Stepped::start(storage, self.settings.clone(), &self.node, self.policy.clone(), 10_000, now);
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
    fn serve(&mut self, stepped: Stepped) -> Result<bool, String> {
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

    // ---- one step -------------------------------------------------------------------------------------------------

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

    fn connect(&mut self) {
        let crowd = self.crowd;
        let Some(process) = self.process.as_mut().filter(|one| one.connections.len() < crowd) else { return };
        process.counter += 1;
        let device = Device::any(&mut self.chance);
        let asked =
            Connection::ask(&process.registry, &self.clock, device, process.counter, self.plan.planted);
        let Some(connection) = asked else {
            self.totals.refused += 1;
            return;
        };
        tell!(self, "{} asks to be opened for {device:?}", connection.name);
        process.connections.push(connection);
        let last = process.connections.len() - 1;
        self.poll(last);
    }

    /// Looks whether a flow is open by now.
    fn poll(&mut self, index: usize) {
        let Some(process) = &mut self.process else { return };
        let connection = &mut process.connections[index];
        let State::Opening(opening) = &mut connection.state else { return };
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match opening.as_mut().poll(&mut context) {
            std::task::Poll::Pending => {
                if self.plan.planted == Some(Planted::UsableBeforeDurable) && self.chance.once_in(8) {
                    self.witness.usable(connection.flow);
                }
            }
            std::task::Poll::Ready(Ok(flow)) => {
                let (id, name) = (connection.flow, connection.name.clone());
                connection.state = State::Open(flow);
                self.witness.usable(id);
                self.totals.flows += 1;
                tell!(self, "{name} is open");
            }
            std::task::Poll::Ready(Err(why)) => {
                let connection = process.connections.swap_remove(index);
                self.totals.refused += 1;
                tell!(self, "{} is refused: {why}", connection.name);
            }
        }
    }

    /// A connection does something.
    fn act(&mut self) -> Result<(), String> {
        let Some(process) = self.process.as_mut().filter(|one| !one.connections.is_empty()) else {
            return Ok(());
        };
        let index = self.chance.index(process.connections.len());
        let connection = &mut process.connections[index];
        let State::Open(_) = &connection.state else {
            self.poll(index);
            return Ok(());
        };
        match self.chance.below(20) {
            0..=6 => {
                connection.registers += 1;
                let expires = match self.chance.below(8) {
                    0 => 0,
                    1 => 60,
                    _ => 600,
                };
                let wish = Wish {
                    device: connection.device,
                    flow: Some((connection.flow, &connection.name)),
                    cseq: connection.registers,
                    expires,
                };
                let done = self.bindings.register(&process.registry, &self.clock, &wish)?;
                if done == Registered::Done {
                    self.totals.registers += 1;
                }
                tell!(self, "{} registers for {expires} s: {done:?}", process.connections[index].name);
            }
            7..=13 => {
                let ending = client::ending(&mut self.chance);
                self.end(index, &ending)?;
            }
            // It goes on talking.
            _ => {}
        }
        Ok(())
    }

    /// A flow ends: it is closed, or its task is lost, which closes it too.
    fn end(&mut self, index: usize, ending: &Ending) -> Result<(), String> {
        let Some(process) = &mut self.process else { return Ok(()) };
        let Connection { flow: id, name, device, state, .. } = process.connections.swap_remove(index);
        let State::Open(flow) = state else { return Ok(()) };
        tell!(self, "{name} ends: {}", ending.cause);
        self.witness.ended(id, ending.cause);
        match self.plan.planted {
            Some(Planted::CloseWithoutRecord) if self.chance.once_in(16) => {
                drop(process.registry.location().flow_closed(id));
                std::mem::forget(flow);
            }
            Some(Planted::StaleCloseDeletesNewer) => {
                flow.close(ending);
                if let Some(newer) = self.bindings.moved_on(device, id) {
                    // By the address-of-record and not by the flow.
                    drop(process.registry.location().flow_closed(newer));
                }
            }
            _ if ending.cause == Cause::InternalError => drop(flow),
            _ => flow.close(ending),
        }
        self.bindings.ended(id);
        self.bindings.compare_user(&process.registry, device.user, self.clock.now())
    }

    /// A desk phone registers over UDP, where bindings have no flow.
    fn datagram(&mut self) -> Result<(), String> {
        let Some(process) = &mut self.process else { return Ok(()) };
        if !self.chance.once_in(3) {
            return Ok(());
        }
        let device = Device { user: self.chance.below(client::USERS), number: client::DEVICES };
        let expires = self.chance.pick(&[0, 60, 600]);
        let wish = Wish { device, flow: None, cseq: self.totals.steps, expires };
        let done = self.bindings.register(&process.registry, &self.clock, &wish)?;
        tell!(self, "{device:?} registers over UDP for {expires} s: {done:?}");
        Ok(())
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
        let now = (self.clock.now(), self.clock.micros());
        while process.registry.expire(now, 4) == 4 {}
    }

    fn pass_time(&mut self) {
        let most = self.chance.pick(&[100_000, 2_000_000, 2_000_000, 90_000_000]);
        let passed = self.chance.below(most);
        self.clock.advance(passed);
    }

    // ---- checks ---------------------------------------------------------------------------------------------------

    /// If everything is written and read, everything must add up.
    fn look(&mut self) -> Result<(), String> {
        if self.troubled {
            return Ok(());
        }
        for _ in 0..64 {
            match self.write() {
                Did::Done => {}
                Did::Idle => break,
                _ => drop(self.keep()),
            }
        }
        self.keep_books()?;
        let Some(process) = &self.process else { return Ok(()) };
        let ledger = process.registry.ledger().status();
        if self.disk.is_down() || ledger.durable < ledger.appended || self.witness.at().seq != ledger.durable
        {
            return Ok(());
        }
        self.totals.looks += 1;
        let registry = &*process.registry;
        self.bindings.compare(registry, self.clock.now())?;
        let books = process.stepped.books();
        let wrong = books.closed_without_open.len() + books.opened_twice.len() + books.unreadable.len();
        if wrong > 0 {
            return Err(format!("the fold finds {wrong} records that do not add up"));
        }
        if (books.opened, books.closed) != (self.witness.opened_total, self.witness.closed_total) {
            return Err(format!(
                "the fold counts {} opened and {} closed; there are {} and {}",
                books.opened, books.closed, self.witness.opened_total, self.witness.closed_total
            ));
        }
        let metrics = registry.metrics();
        let (opened, closed) = (metrics.get(Count::FlowsOpened), metrics.get(Count::FlowsClosed));
        let due: BTreeSet<FlowId> = process.connections.iter().map(|one| one.flow).collect();
        let live = due.len() as u64;
        if opened - closed != live || registry.live() != live {
            return Err(format!("{opened} opened, {closed} closed, and {live} are there"));
        }
        if registry.location().open_flows() as u64 != live {
            return Err("the location table has other flows than there are".to_owned());
        }
        let folded: BTreeSet<FlowId> =
            books.flows().keys().filter_map(|name| FlowId::parse(name).ok()).map(|(_, flow)| flow).collect();
        if folded != due || *self.witness.open() != due {
            return Err(format!("by the records {folded:?} are open, and {due:?} are there"));
        }
        self.compare_folded(registry)
    }

    /// The fold's bindings against those in memory.
    fn compare_folded(&self, registry: &Registry) -> Result<(), String> {
        let Some(process) = &self.process else { return Ok(()) };
        let mut folded: Vec<_> = process
            .stepped
            .books()
            .bindings()
            .map(|(flow, left)| (flow.map(ToOwned::to_owned), left.aor.to_string(), left.contact.to_string()))
            .collect();
        let location = registry.location();
        let mut held: Vec<_> = location
            .all()
            .map(|binding| {
                (
                    binding.flow().map(|flow| self.node.flow(flow)),
                    binding.aor().to_owned(),
                    String::from_utf8_lossy(binding.contact()).into_owned(),
                )
            })
            .collect();
        folded.sort();
        held.sort();
        if folded == held {
            Ok(())
        } else {
            Err(format!("by the records {folded:?} are bound, and {held:?} are"))
        }
    }

    // ---- the end --------------------------------------------------------------------------------------------------

    /// In good weather: an orderly end, a last start, and everything delivered.
    fn come_to_rest(&mut self) -> Result<(), String> {
        self.plan.weather = Weather::Calm;
        if self.plan.crash.is_none() {
            self.disk.crash_at(u64::MAX);
        }
        self.mend();
        self.clock.advance(10_000_000);
        self.look()?;
        self.stop_for_good()?;
        self.start()?;
        self.look()?;
        let mut left = PATIENCE;
        while !self.sinks.iter().all(|sink| sink.has_everything(&self.witness)) {
            self.clock.advance(50_000);
            self.write();
            self.keep_books()?;
            for index in 0..self.sinks.len() {
                self.sinks[index].be_good();
                self.deliver_to(index)?;
            }
            self.revive()?;
            left -= 1;
            if left == 0 {
                let missing: Vec<String> =
                    self.sinks.iter().map(|sink| sink.missing(&self.witness)).collect();
                return Err(format!("not everything is delivered: {}", missing.join("; ")));
            }
        }
        self.stop_for_good()?;
        self.start()?;
        match self.witness.open().first() {
            None => Ok(()),
            Some(flow) => Err(format!("{flow:?} is open at the end")),
        }
    }

    /// If it went down, a new process starts.
    fn revive(&mut self) -> Result<(), String> {
        if self.disk.is_down() {
            self.down(None);
        }
        if self.process.is_none() { self.start() } else { Ok(()) }
    }

    /// Until an end in order is not cut short by a crash.
    fn stop_for_good(&mut self) -> Result<(), String> {
        loop {
            self.revive()?;
            let stopped = self.stop();
            if !self.disk.is_down() {
                return stopped;
            }
        }
    }

    /// Ends the process as `Server::shut_down` does.
    fn stop(&mut self) -> Result<(), String> {
        for sink in &mut self.sinks {
            sink.be_good();
        }
        let Some(process) = &self.process else { return Ok(()) };
        process.registry.begin_closing();
        drop(process.registry.location());
        let ending = Ending::of(Cause::Shutdown).code(1001).reason("the server is shutting down");
        let mut left = PATIENCE;
        while let Some(process) = self.process.as_ref().filter(|process| !process.connections.is_empty()) {
            let index = self.chance.index(process.connections.len());
            match process.connections[index].state {
                State::Opening(_) => self.poll(index),
                State::Open(_) => self.end(index, &ending)?,
            }
            if self.write() == Did::Failed {
                self.keep();
            }
            left -= 1;
            if self.disk.is_down() {
                return Ok(());
            }
            if left == 0 {
                return Err("flows are still open though the disk is well".to_owned());
            }
        }
        let now = self.clock.micros();
        let Some(process) = &mut self.process else { return Ok(()) };
        process.registry.let_go_of_unowned(now);
        process.stepped.close_gate();
        let mut left = 64;
        while let Err(rejected) = process.registry.stopped(now) {
            left -= 1;
            process.stepped.stepper.write();
            process.stepped.stepper.keep();
            if left == 0 {
                return Err(format!("node.stopped was not taken: {}", rejected.why));
            }
        }
        tell!(self, "stops in order");
        let mut left = PATIENCE;
        while let Some(process) = &mut self.process {
            if process.stepped.stepper.write() == Did::Failed {
                process.stepped.stepper.keep();
            }
            if self.disk.is_down() {
                return Ok(());
            }
            self.witness.follow()?;
            let Some(process) = &mut self.process else { break };
            let books = process.stepped.keep_books(self.clock.micros());
            if books.map_err(|error| error.to_string())? == Step::Ended {
                break;
            }
            left -= 1;
            if left == 0 {
                return Err("the books are not closed though the disk is well".to_owned());
            }
        }
        if let Some(process) = &mut self.process {
            process.registry.ledger().close(Duration::ZERO).map_err(|error| error.to_string())?;
            while process.stepped.stepper.write() != Did::Ended {}
        }
        if !self.disk.is_down() {
            self.down(Some(End::PowerLoss));
        }
        Ok(())
    }
}
