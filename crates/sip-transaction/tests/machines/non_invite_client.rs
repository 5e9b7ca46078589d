use crate::driver::{Driver, assert_log};
use sip_transaction::{ClientId, MethodClass, Reliability};

const OTHER: MethodClass = MethodClass::NonInvite;

fn in_state(state: &str, reliability: Reliability) -> (Driver, ClientId) {
    let mut driver = Driver::new(reliability);
    let id = driver.new_client(OTHER);
    let responses: &[u16] = match state {
        "Trying" => &[],
        "Proceeding" => &[100],
        "Completed" => &[100, 200],
        other => panic!("{other}"),
    };
    for code in responses {
        driver.response(OTHER, *code);
    }
    assert_eq!(driver.client_state(id), state);
    (driver, id)
}

#[test]
fn every_state_and_event() {
    let table = [
        ("Trying", "100", "Proceeding", "pass"),
        ("Trying", "200", "Completed", "pass"),
        ("Trying", "404", "Completed", "pass"),
        ("Trying", "transport error", "Terminated", "client TransportError"),
        ("Proceeding", "100", "Proceeding", "pass"),
        ("Proceeding", "200", "Completed", "pass"),
        ("Proceeding", "404", "Completed", "pass"),
        ("Proceeding", "transport error", "Terminated", "client TransportError"),
        ("Completed", "100", "Completed", "absorb"),
        ("Completed", "200", "Completed", "absorb"),
        ("Completed", "404", "Completed", "absorb"),
        ("Completed", "transport error", "Terminated", "client Done"),
    ];
    for (state, event, next, action) in table {
        let (mut driver, id) = in_state(state, Reliability::Unreliable);
        let did = if event == "transport error" {
            driver.table.client_transport_error(id);
            driver.pass_time(0).into_iter().map(|(_, word)| word).collect()
        } else {
            driver.response(OTHER, event.parse().unwrap())
        };
        assert_eq!((driver.client_state(id).as_str(), did.as_str()), (next, action), "{event} in {state}");
    }
}

#[test]
fn trying_repeats_by_timer_e_capped_at_t2_until_timer_f() {
    let (mut driver, _) = in_state("Trying", Reliability::Unreliable);
    let mut expected: Vec<(u64, &str)> =
        [500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]
            .map(|at| (at, "resend request"))
            .into();
    expected.push((32_000, "client Timeout"));
    assert_log(&driver.run_out(), &expected);
}

#[test]
fn proceeding_repeats_every_t2_until_timer_f() {
    let (mut driver, _) = in_state("Trying", Reliability::Unreliable);
    driver.pass_time(100);
    assert_eq!(driver.response(OTHER, 100), "pass");
    // The running Timer E is not reset; the next pauses are T2.
    let mut expected: Vec<(u64, &str)> =
        [500, 4_500, 8_500, 12_500, 16_500, 20_500, 24_500, 28_500].map(|at| (at, "resend request")).into();
    expected.push((32_000, "client Timeout"));
    assert_log(&driver.run_out(), &expected);
}

#[test]
fn over_a_reliable_transport_timer_f_alone() {
    for state in ["Trying", "Proceeding"] {
        let (mut driver, _) = in_state(state, Reliability::Reliable);
        assert_log(&driver.run_out(), &[(32_000, "client Timeout")]);
    }
}

#[test]
fn completed_lingers_for_timer_k() {
    let (mut driver, _) = in_state("Completed", Reliability::Unreliable);
    driver.pass_time(4_999);
    assert_eq!(driver.response(OTHER, 200), "absorb");
    assert_log(&driver.run_out(), &[(5_000, "client Done")]);
    assert_eq!(driver.response(OTHER, 200), "unmatched");
}

#[test]
fn completed_over_a_reliable_transport_ends_at_once() {
    let mut driver = Driver::new(Reliability::Reliable);
    let id = driver.new_client(OTHER);
    assert_eq!(driver.response(OTHER, 200), "pass");
    assert_eq!(driver.client_state(id), "Terminated");
    assert_eq!(driver.response(OTHER, 200), "unmatched");
    assert_log(&driver.run_out(), &[(0, "client Done")]);
}
