//! The short run: some thousand flows in rough weather.

use simulation::{Plan, run};

#[test]
fn nothing_is_lost_doubled_or_out_of_order_in_rough_weather() {
    for seed in 1..=16 {
        if let Err(violation) = run(Plan::rough(seed, 150)) {
            panic!("{violation}");
        }
    }
}

#[test]
fn a_seed_replays_record_for_record() {
    for seed in 101..=103 {
        assert_eq!(run(Plan::rough(seed, 100)), run(Plan::rough(seed, 100)));
    }
}
