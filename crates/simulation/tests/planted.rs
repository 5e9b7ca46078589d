//! Bugs put in on purpose: the short run finds each of them, and its seed finds it again.

use simulation::{Plan, Planted, Violation, run};

/// As many seeds as the short run has.
const SEEDS: u64 = 40;

fn finds(planted: Planted) -> Violation {
    let found = (1..=SEEDS).find_map(|seed| run(Plan::rough(seed, 150).with(planted)).err());
    let found = found.unwrap_or_else(|| panic!("{planted} was not found in {SEEDS} seeds"));
    let again = run(found.plan).expect_err("the seed replays");
    assert_eq!(again, found);
    println!("{planted}: {found}");
    found
}

#[test]
fn a_close_without_a_record_is_found() {
    finds(Planted::CloseWithoutRecord);
}

#[test]
fn a_close_recorded_twice_is_found() {
    assert!(finds(Planted::RecordTwice).what.contains("closes twice"));
}

#[test]
fn a_stale_close_that_deletes_a_newer_binding_is_found() {
    assert!(finds(Planted::StaleCloseDeletesNewer).what.contains("and should have"));
}

#[test]
fn a_cursor_that_moves_before_the_acknowledgement_is_found() {
    assert!(finds(Planted::CursorBeforeAcknowledgement).what.contains("is missing"));
}

#[test]
fn a_failed_sync_that_is_ignored_is_found() {
    finds(Planted::FailedSyncIgnored);
}

#[test]
fn a_flow_that_is_usable_before_it_is_durable_is_found() {
    assert!(finds(Planted::UsableBeforeDurable).what.contains("was usable"));
}
