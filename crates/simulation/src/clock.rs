//! Virtual time: it passes when the simulation says so.

use std::{
    cell::Cell,
    time::{Duration, Instant, SystemTime},
};

use lifecycle::Now;

/// Where time begins: a moment in 2027, in microseconds since the Unix epoch.
const BEGINNING: u64 = 1_800_000_000_000_000;

/// The only clock there is.
#[derive(Debug)]
pub(crate) struct Clock {
    /// Only differences to it matter.
    base: Instant,
    passed: Cell<u64>,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { base: Instant::now(), passed: Cell::new(0) }
    }

    pub(crate) fn advance(&self, micros: u64) {
        self.passed.set(self.passed.get() + micros);
    }

    /// Microseconds since the Unix epoch.
    pub(crate) fn micros(&self) -> u64 {
        BEGINNING + self.passed.get()
    }

    /// Microseconds since time began.
    pub(crate) fn passed(&self) -> u64 {
        self.passed.get()
    }

    /// The present moment by both clocks of a server.
    pub(crate) fn both(&self) -> Now {
        Now { instant: self.now(), unix_micros: self.micros() }
    }

    pub(crate) fn now(&self) -> Instant {
        self.base + Duration::from_micros(self.passed.get())
    }

    pub(crate) fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_micros(self.micros())
    }
}
