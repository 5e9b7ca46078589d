//! The order in which servers are tried (RFC 2782).

/// How much a server is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preference {
    /// Lower ones are tried first.
    pub priority: u32,
    /// Among those of one priority, how often it is the first, in proportion to the others' weights. 0:
    /// hardly ever.
    pub weight: u16,
}

impl Preference {
    /// Of a server that there is no other beside.
    pub const ONLY: Self = Self { priority: 0, weight: 1 };
}

/// The places of the servers in the order in which to try them: by priority, and within one by chance, as the
/// weights say. `below` gives a number that is evenly spread from 0 to its argument, exclusive.
#[must_use]
pub fn order(servers: &[Preference], mut below: impl FnMut(u64) -> u64) -> Vec<usize> {
    let mut left: Vec<usize> = (0..servers.len()).collect();
    // Those of weight 0 come first: they are drawn by 0 alone (RFC 2782, "Weight").
    left.sort_by_key(|&at| (servers[at].priority, servers[at].weight != 0));
    let mut order = Vec::with_capacity(left.len());
    while let Some(&first) = left.first() {
        let same = left.iter().take_while(|&&at| servers[at].priority == servers[first].priority).count();
        let weight = |at: usize| u64::from(servers[at].weight);
        let all: u64 = left[..same].iter().map(|&at| weight(at)).sum();
        let drawn = below(all + 1);
        let mut reached = 0;
        let found = left[..same].iter().position(|&at| {
            reached += weight(at);
            reached >= drawn
        });
        order.push(left.remove(found.unwrap_or(0)));
    }
    order
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn server(priority: u32, weight: u16) -> Preference {
        Preference { priority, weight }
    }

    #[test]
    fn lower_priorities_come_first_whatever_chance_says() {
        let servers = [server(2, 100), server(1, 0), server(3, 7), server(1, 0)];
        for chance in 0..200 {
            let order = order(&servers, |below| chance % below);
            assert_eq!((order[2], order[3]), (0, 2), "{order:?}");
        }
    }

    #[test]
    fn weights_are_shares() {
        let servers = [server(1, 1), server(1, 3), server(1, 0)];
        let mut first = [0; 3];
        for chance in 0..5 {
            let mut draws = [chance, 0, 0].into_iter();
            first[order(&servers, |below| draws.next().unwrap_or(0) % below)[0]] += 1;
        }
        // Of the five numbers that can be drawn, 0 is the one without weight's.
        assert_eq!(first, [1, 3, 1]);
    }

    proptest! {
        #[test]
        fn every_server_stands_in_it_once_and_no_priority_before_a_lower_one(
            servers in proptest::collection::vec((0u32..4, 0u16..9), 0..12),
            seed in any::<u64>(),
        ) {
            let servers: Vec<_> = servers.into_iter().map(|(priority, weight)| server(priority, weight)).collect();
            let mut state = seed;
            let order = order(&servers, |below| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 33) % below
            });
            let mut sorted = order.clone();
            sorted.sort_unstable();
            prop_assert_eq!(sorted, (0..servers.len()).collect::<Vec<_>>());
            prop_assert!(order.windows(2).all(|two| servers[two[0]].priority <= servers[two[1]].priority));
        }
    }
}
