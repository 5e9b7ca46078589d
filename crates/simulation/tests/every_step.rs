//! One small run, in which nothing goes wrong but one crash: at every change of the disk, and after every
//! step of a task.

use ledger::storage::sim::End;
use simulation::{At, DiskFaults, Plan, run};

fn calm(flows: u64, crash: Option<(At, End)>) -> Plan {
    Plan { weather: DiskFaults::Calm, crash, ..Plan::rough(7, flows) }
}

#[track_caller]
fn survives(plan: Plan) {
    if let Err(violation) = run(plan) {
        panic!("{violation}");
    }
}

#[test]
fn a_crash_at_every_change_of_the_disk_loses_nothing() {
    let changes = run(calm(4, None)).expect("nothing goes wrong").changes;
    assert!(changes > 60, "the run is too small to prove anything: {changes}");
    for change in 1..=changes {
        survives(calm(4, Some((At::Change(change), End::Kill))));
        survives(calm(4, Some((At::Change(change), End::PowerLoss))));
    }
}

#[test]
fn a_crash_after_every_step_of_a_task_loses_nothing() {
    let steps = run(calm(10, None)).expect("nothing goes wrong").steps;
    assert!(steps > 60, "the run is too small to prove anything: {steps}");
    for step in 1..=steps {
        survives(calm(10, Some((At::Step(step), if step % 2 == 0 { End::Kill } else { End::PowerLoss }))));
    }
}
