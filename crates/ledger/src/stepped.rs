//! Driving a ledger by hand, so that a simulation decides what happens when.

use crate::keeper::{Keeper, KeeperStep};
use crate::writer::{Step, Writer};

/// The result of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stepped {
    /// There was nothing to do.
    Idle,
    /// Something was done; there may be more.
    Done,
    /// It could not be done now; a real ledger would try again later.
    Failed,
    /// The ledger is closed.
    Ended,
}

/// The writer and the keeper of a ledger without threads.
pub struct Stepper {
    writer: Writer,
    keeper: Keeper,
}

impl Stepper {
    pub(crate) fn new(writer: Writer, keeper: Keeper) -> Self {
        Self { writer, keeper }
    }

    /// One commit: write what waits, sync, publish.
    pub fn write(&mut self) -> Stepped {
        match self.writer.step() {
            Step::Idle => Stepped::Idle,
            Step::Committed => Stepped::Done,
            Step::Wait(_) => Stepped::Failed,
            Step::Ended => Stepped::Ended,
        }
    }

    /// One piece of upkeep: prepare a segment, or write the heartbeat.
    pub fn keep(&mut self) -> Stepped {
        match self.keeper.step() {
            KeeperStep::Idle => Stepped::Idle,
            KeeperStep::Done => Stepped::Done,
            KeeperStep::Wait(_) => Stepped::Failed,
            KeeperStep::Ended => Stepped::Ended,
        }
    }
}
