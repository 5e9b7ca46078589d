use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

#[test]
fn timers_come_in_order_and_not_early() {
    let mut wheel = TimerWheel::new();
    wheel.schedule(1, 500, 0);
    wheel.schedule(2, 200, 0);
    wheel.schedule(3, 500, 0);
    assert_eq!(wheel.next_deadline(), Some(200));
    assert_eq!(wheel.pop_due(199), None);
    assert_eq!(wheel.pop_due(200), Some(2));
    assert_eq!(wheel.pop_due(200), None);
    assert_eq!(wheel.pop_due(900), Some(1));
    assert_eq!(wheel.pop_due(900), Some(3));
    assert!(wheel.is_empty() && wheel.next_deadline().is_none());
}

#[test]
fn a_deadline_in_the_past_is_due_at_once() {
    let mut wheel = TimerWheel::new();
    wheel.schedule(0, 10_000, 9_000);
    assert_eq!(wheel.pop_due(9_500), None);
    wheel.schedule(1, 3, 9_500);
    assert_eq!(wheel.pop_due(9_500), Some(1));
    assert_eq!(wheel.pop_due(9_500), None);
}

#[test]
fn a_long_sleep_does_not_shorten_the_sight() {
    let mut wheel = TimerWheel::new();
    wheel.schedule(0, 10_000_000, 9_990_000);
    assert_eq!(wheel.next_deadline(), Some(10_000_000));
}

proptest! {
    /// Against a model that is plainly right.
    #[test]
    fn like_an_ordered_map(
        steps in prop::collection::vec((0..20_u32, prop_oneof![0..100_u64, 0..300_000_u64], 0..3_u8), 1..200)
    ) {
        let mut wheel = TimerWheel::new();
        let mut model: BTreeMap<u32, u64> = BTreeMap::new();
        let mut now = 0;
        for (token, amount, what) in steps {
            match what {
                0 => {
                    wheel.schedule(token, now + amount, now);
                    model.insert(token, now + amount);
                }
                1 => {
                    wheel.cancel(token);
                    model.remove(&token);
                }
                _ => {
                    now += amount;
                    let mut last = 0;
                    while let Some(token) = wheel.pop_due(now) {
                        let deadline = model.remove(&token);
                        prop_assert!(deadline.is_some_and(|deadline| deadline <= now && last <= deadline));
                        last = deadline.unwrap_or(0);
                    }
                    prop_assert!(model.values().all(|deadline| *deadline > now));
                }
            }
            prop_assert_eq!(wheel.len(), model.len());
            let earliest = model.values().min().copied();
            let next = wheel.next_deadline();
            prop_assert_eq!(next.is_some(), earliest.is_some());
            prop_assert!(next <= earliest);
        }
    }
}
