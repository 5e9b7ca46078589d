//! What must be true at any time, and what once all has come to rest.

use std::{collections::BTreeSet, time::Duration};

use ledger::{Stepped as Did, storage::sim::End};
use lifecycle::{Cause, Ending, FlowId};
use metrics::Count;
use state::{Registry, Step};

use super::World;
use crate::{DiskFaults, client::State};

/// Steps within which a world in good weather must come to rest.
const PATIENCE: u32 = 20_000;

impl World {
    /// If everything is written and read, everything must add up.
    pub(super) fn look(&mut self) -> Result<(), String> {
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
        self.compare_users(registry)?;
        self.compare_folded(registry)
    }

    /// Who is online by the records, by the fold, and in memory.
    fn compare_users(&self, registry: &Registry) -> Result<(), String> {
        let Some(process) = &self.process else { return Ok(()) };
        if let Some(user) = self.witness.users().overlooked() {
            return Err(format!("{user} has a binding and is not online"));
        }
        let written: Vec<_> = self.witness.users().who().map(|(aor, held)| (aor.to_owned(), held)).collect();
        let held: Vec<_> = registry.users().into_iter().map(|(aor, held)| (aor.to_string(), held)).collect();
        let books = &process.stepped.books().users;
        let online = books.users().iter().filter(|(_, user)| user.online_at.is_some());
        let folded: Vec<_> = online.map(|(aor, user)| (aor.to_string(), user.bindings)).collect();
        if books.wrong() > 0 || books.came - books.went != held.len() as u64 {
            return Err(format!("the fold finds users who do not alternate: {books:?}"));
        }
        if written == held && folded == held {
            Ok(())
        } else {
            Err(format!("by the records {written:?} are online, by the fold {folded:?}, and {held:?} are"))
        }
    }

    /// The fold's bindings against those in memory.
    pub(super) fn compare_folded(&self, registry: &Registry) -> Result<(), String> {
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

    /// In good weather: an orderly end, a last start, and everything delivered.
    pub(super) fn come_to_rest(&mut self) -> Result<(), String> {
        self.plan.weather = DiskFaults::Calm;
        if self.plan.crash.is_none() {
            self.disk.crash_at(u64::MAX);
        }
        self.mend();
        self.clock.advance(10_000_000);
        self.look()?;
        self.stop_for_good()?;
        self.start()?;
        self.look()?;
        self.see_off()?;
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

    /// No flow is open and no binding there: everybody is told offline.
    fn see_off(&mut self) -> Result<(), String> {
        let mut left = PATIENCE;
        while self.witness.users().who().next().is_some() {
            self.clock.advance(1_000_000);
            self.upkeep();
            self.write();
            self.keep_books()?;
            self.revive()?;
            left -= 1;
            if left == 0 {
                let users: Vec<_> = self.witness.users().who().collect();
                return Err(format!("{users:?} stay online without a binding"));
            }
        }
        Ok(())
    }

    /// If it went down, a new process starts.
    pub(super) fn revive(&mut self) -> Result<(), String> {
        if self.disk.is_down() {
            self.down(None);
        }
        if self.process.is_none() { self.start() } else { Ok(()) }
    }

    /// Until an end in order is not cut short by a crash.
    pub(super) fn stop_for_good(&mut self) -> Result<(), String> {
        loop {
            self.revive()?;
            let stopped = self.stop();
            if !self.disk.is_down() {
                return stopped;
            }
        }
    }

    /// Ends the process as `Server::shut_down` does.
    pub(super) fn stop(&mut self) -> Result<(), String> {
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
        process.registry.release_unowned(self.clock.both());
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
