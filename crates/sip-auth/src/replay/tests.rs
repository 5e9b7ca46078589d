use super::*;
use proptest::prelude::*;
use std::collections::HashSet;

fn id(issued: u64) -> NonceId {
    NonceId { issued, salt: 0 }
}

#[test]
fn late_counts_are_taken_once_within_the_window() {
    let mut memory = ReplayMemory::new(10);
    for (nc, expected) in [
        (5, Use::First),
        (5, Use::Again),
        (7, Use::First),
        (6, Use::First),
        (6, Use::Again),
        (100, Use::First),
        (37, Use::First),
        (36, Use::Again),
        (7, Use::Again),
        (u32::MAX, Use::First),
        (u32::MAX, Use::Again),
    ] {
        assert_eq!(memory.count(id(1), Some(nc)), expected, "{nc}");
    }
}

#[test]
fn a_use_without_count_uses_the_nonce_up() {
    let mut memory = ReplayMemory::new(10);
    assert_eq!(memory.count(id(1), None), Use::First);
    assert_eq!(memory.count(id(1), None), Use::Again);
    assert_eq!(memory.count(id(1), Some(9)), Use::Again);
    assert_eq!(memory.count(id(2), Some(1)), Use::First);
    assert_eq!(memory.count(id(2), None), Use::Again);
}

#[test]
fn a_full_memory_forgets_the_oldest_and_takes_it_no_more() {
    let mut memory = ReplayMemory::new(2);
    assert_eq!(memory.count(id(10), Some(1)), Use::First);
    assert_eq!(memory.count(id(20), Some(1)), Use::First);
    assert_eq!(memory.count(id(5), Some(1)), Use::Again, "older than all that are remembered");
    assert_eq!(memory.count(id(30), Some(1)), Use::First);
    assert_eq!(memory.count(id(10), Some(2)), Use::Again, "forgotten");
    assert_eq!(memory.count(id(20), Some(2)), Use::First, "still remembered");
    assert_eq!(memory.len(), 2);
}

#[test]
fn what_expired_is_forgotten_for_good() {
    let mut memory = ReplayMemory::new(9);
    for issued in 1..=5 {
        memory.count(id(issued), Some(1));
    }
    memory.expire(4);
    assert_eq!(memory.len(), 2);
    assert_eq!(memory.count(id(3), Some(1)), Use::Again);
    assert_eq!(memory.count(id(4), Some(2)), Use::First);
}

proptest! {
    #[test]
    fn no_count_is_taken_twice_and_memory_is_bounded(
        uses in prop::collection::vec((0..8_u64, prop::option::of(1..150_u32), 0..20_u64), 1..300)
    ) {
        let mut memory = ReplayMemory::new(4);
        let mut taken = HashSet::new();
        let mut whole = HashSet::new();
        for (issued, nc, expire) in uses {
            if expire < 2 {
                memory.expire(issued);
            }
            if memory.count(id(issued), nc) == Use::First {
                prop_assert!(!whole.contains(&issued) && taken.insert((issued, nc)));
                if nc.is_none() {
                    whole.insert(issued);
                }
            }
            prop_assert!(memory.len() <= 4);
        }
    }
}
