//! Flows opened together are not pinged together, nor do they end together.

use std::time::Duration;

/// So many parts of a whole a time can be shortened by.
const PARTS: u32 = 4096;

/// A time that is up to a quarter shorter, never longer: bounds that were promised hold. `turn` counts the
/// flows of one owner; any number of flows in a row are spread evenly, and each has always the same share.
#[must_use]
pub fn jittered(time: Duration, turn: u64) -> Duration {
    // Multiples of the golden ratio fall evenly into an interval, however many of them there are.
    let share = turn.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54;
    time - time / PARTS * u32::try_from(share).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_row_of_flows_is_spread_evenly() {
        let time = Duration::from_secs(40);
        for (first, flows) in [(1, 10), (17, 100), (123_456, 1000)] {
            let mut times: Vec<_> = (first..first + flows).map(|turn| jittered(time, turn)).collect();
            times.sort();
            assert!(times[0] > Duration::from_secs(30) && times[times.len() - 1] <= time);
            // 10 s for all of them: no gap is three times an even share.
            let even = Duration::from_secs(10) / u32::try_from(flows).unwrap();
            assert!(times.windows(2).all(|pair| pair[1] - pair[0] < 3 * even), "{first} {flows}: {times:?}");
        }
        assert_eq!(jittered(time, 7), jittered(time, 7));
    }
}
