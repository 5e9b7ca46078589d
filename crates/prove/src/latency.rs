//! How long things took: counts by size class, in bounded memory.

use std::fmt;
use std::time::Duration;

/// Classes for each doubling: a value is known to 3 %.
const CLASSES: u32 = 32;
/// Longer than 2³⁶ µs (19 hours) counts as that.
const DOUBLINGS: u32 = 36;

/// A distribution of durations, known to 3 % and to a microsecond.
#[derive(Clone, PartialEq, Eq)]
pub struct Latencies {
    counts: Box<[u64]>,
    count: u64,
    longest: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        let classes = class(1 << DOUBLINGS) + 1;
        Self { counts: vec![0; classes].into_boxed_slice(), count: 0, longest: 0 }
    }
}

/// Values below `CLASSES` have a class of their own; above, each doubling has `CLASSES` of them.
const fn class(micros: u64) -> usize {
    let doubling = (micros | 1).ilog2().saturating_sub(CLASSES.ilog2());
    (doubling * CLASSES) as usize + (micros >> doubling) as usize
}

/// The largest value of a class.
const fn upper(class: usize) -> u64 {
    let classes = CLASSES as usize;
    if class < 2 * classes {
        return class as u64;
    }
    let doubling = class / classes - 1;
    (((class - doubling * classes) as u64 + 1) << doubling) - 1
}

impl Latencies {
    /// Adds one.
    pub fn add(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).min(1 << DOUBLINGS);
        self.counts[class(micros)] += 1;
        self.count += 1;
        self.longest = self.longest.max(micros);
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.count += other.count;
        self.longest = self.longest.max(other.longest);
    }

    /// How many there are.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The duration that `percent` (0 to 100) of all did not exceed; nothing when there are none.
    #[must_use]
    pub fn percentile(&self, percent: f64) -> Option<Duration> {
        if self.count == 0 {
            return None;
        }
        let wanted = ((self.count as f64 * percent / 100.0).ceil() as u64).clamp(1, self.count);
        let mut seen = 0;
        let found = self.counts.iter().position(|&count| {
            seen += count;
            seen >= wanted
        });
        Some(Duration::from_micros(found.map_or(self.longest, upper).min(self.longest)))
    }

    /// The longest; nothing when there are none.
    #[must_use]
    pub fn longest(&self) -> Option<Duration> {
        (self.count > 0).then(|| Duration::from_micros(self.longest))
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(middle), Some(late), Some(longest)) =
            (self.percentile(50.0), self.percentile(99.0), self.longest())
        else {
            return f.write_str("none");
        };
        let [middle, late, longest] = [middle, late, longest].map(|time| time.as_secs_f64() * 1000.0);
        write!(f, "p50 {middle:.2} ms, p99 {late:.2} ms, longest {longest:.2} ms")
    }
}

impl fmt::Debug for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Latencies({} of them: {self})", self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_percentile_is_the_sorted_value_to_three_percent(
            mut micros in proptest::collection::vec(0u64..100_000_000, 1..200),
            percent in 1.0f64..100.0,
        ) {
            let mut latencies = Latencies::default();
            micros.iter().for_each(|&each| latencies.add(Duration::from_micros(each)));
            micros.sort_unstable();
            let exact = micros[(micros.len() as f64 * percent / 100.0).ceil() as usize - 1];
            let told = latencies.percentile(percent).unwrap().as_micros() as u64;
            prop_assert!(told >= exact && told <= exact + exact / 32 + 1, "{told} for {exact}");
            prop_assert_eq!(latencies.longest(), micros.last().map(|&last| Duration::from_micros(last)));
        }
    }

    #[test]
    fn merging_adds_up() {
        let [mut one, mut other] = [Latencies::default(), Latencies::default()];
        one.add(Duration::from_millis(1));
        other.add(Duration::from_millis(100));
        one.merge(&other);
        assert_eq!((one.count(), one.longest()), (2, Some(Duration::from_millis(100))));
        assert_eq!(Latencies::default().percentile(50.0), None);
    }
}
