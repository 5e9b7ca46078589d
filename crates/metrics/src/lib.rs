//! Counters and gauges of the process. The metrics page reads them.
//!
//! All methods are lock-free, and safe to call from any thread. A reader may see one counter ahead of
//! another.
#![forbid(unsafe_code)]

mod figures;

use std::sync::atomic::{AtomicU64, Ordering};

use sip_message::{Leniencies, Leniency};

pub use figures::{Count, Gauge};

/// All counters and gauges of a process.
#[derive(Debug)]
pub struct Metrics {
    counts: [AtomicU64; Count::ALL.len()],
    gauges: [AtomicU64; Gauge::ALL.len()],
    /// By [`Leniency`], in declaration order.
    forgiven: [AtomicU64; Leniency::ALL.len()],
}

/// The names of the counters of ended calls, one counter for each cause, begin with this.
const CALL_ENDS: &str = "calls_ended_";

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Calls that ended, whatever the cause.
    #[must_use]
    pub fn calls_ended(&self) -> u64 {
        let ends = Count::ALL.iter().filter(|count| count.name().starts_with(CALL_ENDS));
        ends.map(|end| self.get(*end)).sum()
    }

    /// All at zero.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            counts: [const { AtomicU64::new(0) }; Count::ALL.len()],
            gauges: [const { AtomicU64::new(0) }; Gauge::ALL.len()],
            forgiven: [const { AtomicU64::new(0) }; Leniency::ALL.len()],
        }
    }

    /// Counts one event.
    pub fn add(&self, count: Count) {
        self.add_many(count, 1);
    }

    /// Counts several events at once.
    pub fn add_many(&self, count: Count, times: u64) {
        self.counts[count as usize].fetch_add(times, Ordering::Relaxed);
    }

    /// Writes what was measured.
    pub fn set(&self, gauge: Gauge, value: u64) {
        self.gauges[gauge as usize].store(value, Ordering::Relaxed);
    }

    /// Moves a gauge to which several shards contribute by the change of one contribution.
    pub fn change(&self, gauge: Gauge, from: u64, to: u64) {
        // The sum may wrap below zero in between. It is right once all changes are in, in any order.
        self.gauges[gauge as usize].fetch_add(to.wrapping_sub(from), Ordering::Relaxed);
    }

    /// Counts what was forgiven in one message.
    pub fn forgive(&self, what: Leniencies) {
        for leniency in what.iter() {
            self.forgiven[leniency as usize].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Messages accepted although they break the grammar, by the fault that was forgiven.
    pub fn forgiven(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Leniency::ALL
            .iter()
            .zip(&self.forgiven)
            .map(|(what, count)| (what.name(), count.load(Ordering::Relaxed)))
    }

    /// The value of a counter.
    #[must_use]
    pub fn get(&self, count: Count) -> u64 {
        self.counts[count as usize].load(Ordering::Relaxed)
    }

    /// The value of a gauge; 0 before the first measurement.
    #[must_use]
    pub fn gauge(&self, gauge: Gauge) -> u64 {
        self.gauges[gauge as usize].load(Ordering::Relaxed)
    }
}
