//! The durable half of the server, driven by hand so that a simulation decides what happens when.
//!
//! Recovery, [`Registry`] and bookkeeper are those that the server runs; its sockets, threads and clocks are
//! missing.

use std::{sync::Arc, time::Duration};

use ledger::{Batch, Ledger, ReadError, Settings, Stepped as Did, Stepper, storage::Storage};
use lifecycle::{Node, Now, OpenState, RemovalCause};
use location::Presence;

use crate::{
    Recovered, RecoveryError, Registry, Retention, Step,
    bookkeeper::{Bookkeeper, Gate},
    recovery,
};

/// Steps in vain after which a start gives up on the disk.
const PATIENCE: u32 = 8;

/// A node without sockets and threads. Times are microseconds since the Unix epoch.
pub struct ManualNode {
    /// Its flows and bindings.
    pub registry: Arc<Registry>,
    /// Its ledger's writer and keeper.
    pub stepper: Stepper,
    /// Damage that was repaired at the start.
    pub recovered: Recovered,
    bookkeeper: Bookkeeper,
    gate: Arc<Gate>,
}

impl ManualNode {
    /// Starts as the server does: opens the ledger and writes what an earlier run owed.
    ///
    /// # Errors
    /// As at a server's start.
    pub fn start(
        storage: Arc<dyn Storage>,
        settings: Settings,
        node: &Node,
        policy: Retention,
        max_bindings: usize,
        offline_after: Duration,
        Now { instant: now, unix_micros: at }: Now,
    ) -> Result<Self, RecoveryError> {
        let (opened, mut stepper) = Ledger::open_stepped(storage, settings)?;
        let (recovered, books, users) = recovery::settle(
            &opened,
            at,
            |_| Some(RemovalCause::NodeCrash),
            |batch| commit(&opened.ledger, &mut stepper, batch),
        )?;
        let presence = Presence::carried_over(users, offline_after, max_bindings, now);
        let registry = Registry::new(
            node.clone(),
            opened.ledger.clone(),
            location::Location::new(max_bindings, &[0; 16]),
            presence,
        );
        let registry = Arc::new(registry);
        let gate = Arc::new(Gate::default());
        let place = (opened.ledger, node.clone(), Arc::clone(&registry.metrics));
        let bookkeeper = Bookkeeper::new(place, books, policy, Arc::clone(&gate));
        Ok(Self { registry, stepper, recovered, bookkeeper, gate })
    }

    /// One step of the bookkeeper: folds what is durable, then checkpoints and drops what is due.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn keep_books(&mut self, now: u64) -> Result<Step, ReadError> {
        self.bookkeeper.step(now)
    }

    /// From now on the bookkeeper appends nothing: before `node.stopped` is written.
    pub fn close_gate(&self) {
        self.gate.close();
    }

    /// The bookkeeper's fold of the records so far.
    #[must_use]
    pub fn books(&self) -> &OpenState {
        self.bookkeeper.books()
    }
}

impl std::fmt::Debug for ManualNode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stepped").field("registry", &self.registry).finish_non_exhaustive()
    }
}

/// Appends a batch and steps until it is durable.
fn commit(ledger: &Ledger, stepper: &mut Stepper, batch: Batch) -> Result<(), RecoveryError> {
    if batch.is_empty() {
        return Ok(());
    }
    let mut in_vain = 0;
    let mut batch = batch;
    let appended = loop {
        match ledger.append(batch) {
            Ok(appended) => break appended,
            // On a small disk the next segment may still be in the making.
            Err(rejected) if in_vain < PATIENCE && stepper.keep() == Did::Done => {
                in_vain += 1;
                batch = rejected.batch;
            }
            Err(rejected) => return Err(RecoveryError::NoRoomToRecover(rejected.why)),
        }
    };
    in_vain = 0;
    while ledger.durable_position().seq < appended.last_seq {
        if stepper.write() != Did::Done {
            stepper.keep();
            in_vain += 1;
        }
        if in_vain > PATIENCE {
            return Err(RecoveryError::DiskTooSlow(std::time::Duration::ZERO));
        }
    }
    Ok(())
}
