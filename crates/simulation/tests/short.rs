//! The short run: some hundred worlds in rough weather.

use simulation::{Plan, run};

#[test]
fn nothing_is_lost_doubled_or_out_of_order_in_rough_weather() {
    for seed in 1..=60 {
        if let Err(violation) = run(Plan::rough(seed, 150)) {
            panic!("{violation}");
        }
    }
}

#[test]
fn a_seed_replays_record_for_record() {
    for seed in 1..=5 {
        assert_eq!(run(Plan::rough(seed, 200)), run(Plan::rough(seed, 200)));
    }
}
