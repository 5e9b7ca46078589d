use crate::driver::{Driver, assert_log};
use sip_transaction::{ClientId, MethodClass, Reliability};

const INVITE: MethodClass = MethodClass::Invite;

fn in_state(state: &str, reliability: Reliability) -> (Driver, ClientId) {
    let mut driver = Driver::new(reliability);
    let id = driver.new_client(INVITE);
    let responses: &[u16] = match state {
        "Calling" => &[],
        "Proceeding" => &[180],
        "Completed" => &[180, 486],
        "Accepted" => &[180, 200],
        other => panic!("{other}"),
    };
    for code in responses {
        driver.response(INVITE, *code);
    }
    assert_eq!(driver.client_state(id), state);
    (driver, id)
}

#[test]
fn every_state_and_event() {
    let table = [
        // state, event, next state, action
        ("Calling", "100", "Proceeding", "pass"),
        ("Calling", "183", "Proceeding", "pass"),
        ("Calling", "200", "Accepted", "pass"),
        ("Calling", "302", "Completed", "pass, ack"),
        ("Calling", "603", "Completed", "pass, ack"),
        ("Calling", "transport error", "Terminated", "client TransportError"),
        ("Proceeding", "100", "Proceeding", "pass"),
        ("Proceeding", "183", "Proceeding", "pass"),
        ("Proceeding", "200", "Accepted", "pass"),
        ("Proceeding", "302", "Completed", "pass, ack"),
        ("Proceeding", "603", "Completed", "pass, ack"),
        ("Proceeding", "transport error", "Terminated", "client TransportError"),
        ("Completed", "100", "Completed", "absorb"),
        ("Completed", "183", "Completed", "absorb"),
        ("Completed", "200", "Completed", "absorb"),
        ("Completed", "302", "Completed", "resend ack"),
        ("Completed", "603", "Completed", "resend ack"),
        ("Completed", "transport error", "Terminated", "client TransportError"),
        ("Accepted", "100", "Accepted", "absorb"),
        ("Accepted", "183", "Accepted", "absorb"),
        ("Accepted", "200", "Accepted", "pass"),
        ("Accepted", "302", "Accepted", "absorb"),
        ("Accepted", "603", "Accepted", "absorb"),
        ("Accepted", "transport error", "Accepted", ""),
    ];
    for (state, event, next, action) in table {
        let (mut driver, id) = in_state(state, Reliability::Unreliable);
        let did = if event == "transport error" {
            driver.table.client_transport_error(id);
            driver.pass_time(0).into_iter().map(|(_, word)| word).collect()
        } else {
            driver.response(INVITE, event.parse().unwrap())
        };
        assert_eq!((driver.client_state(id).as_str(), did.as_str()), (next, action), "{event} in {state}");
    }
}

#[test]
fn calling_repeats_by_timer_a_until_timer_b() {
    let (mut driver, _) = in_state("Calling", Reliability::Unreliable);
    let expected = [
        (500, "resend request"),
        (1_500, "resend request"),
        (3_500, "resend request"),
        (7_500, "resend request"),
        (15_500, "resend request"),
        (31_500, "resend request"),
        (32_000, "client Timeout"),
    ];
    assert_log(&driver.run_out(), &expected);
    assert!(driver.table.is_empty());
}

#[test]
fn calling_over_a_reliable_transport_has_timer_b_alone() {
    let (mut driver, _) = in_state("Calling", Reliability::Reliable);
    assert_log(&driver.run_out(), &[(32_000, "client Timeout")]);
}

#[test]
fn proceeding_waits_without_end() {
    let (mut driver, id) = in_state("Proceeding", Reliability::Unreliable);
    assert_log(&driver.run_out(), &[]);
    assert_eq!(driver.client_state(id), "Proceeding");
}

#[test]
fn a_cancel_bounds_the_wait_once() {
    let (mut driver, id) = in_state("Proceeding", Reliability::Reliable);
    driver.pass_time(10_000);
    driver.table.cancel_sent(id, driver.now);
    driver.pass_time(1_000);
    driver.table.cancel_sent(id, driver.now);
    assert_eq!(driver.response(INVITE, 180), "pass");
    assert_log(&driver.run_out(), &[(42_000, "client Timeout")]);
}

#[test]
fn a_cancel_counts_in_proceeding_only() {
    let (mut driver, id) = in_state("Calling", Reliability::Reliable);
    driver.pass_time(10_000);
    driver.table.cancel_sent(id, driver.now);
    assert_log(&driver.run_out(), &[(32_000, "client Timeout")]);
}

#[test]
fn a_final_response_to_a_cancelled_invite_is_as_any() {
    let (mut driver, id) = in_state("Proceeding", Reliability::Unreliable);
    driver.table.cancel_sent(id, driver.now);
    driver.pass_time(31_999);
    assert_eq!(driver.response(INVITE, 487), "pass, ack");
    assert_log(&driver.run_out(), &[(63_999, "client Done")]);
}

#[test]
fn completed_lingers_for_timer_d() {
    let (mut driver, _) = in_state("Completed", Reliability::Unreliable);
    driver.pass_time(31_999);
    assert_eq!(driver.response(INVITE, 486), "resend ack");
    assert_log(&driver.run_out(), &[(32_000, "client Done")]);
    assert_eq!(driver.response(INVITE, 486), "unmatched");
}

#[test]
fn completed_over_a_reliable_transport_ends_at_once() {
    let mut driver = Driver::new(Reliability::Reliable);
    let id = driver.new_client(INVITE);
    assert_eq!(driver.response(INVITE, 486), "pass, ack");
    assert_eq!(driver.client_state(id), "Terminated");
    assert_eq!(driver.table.client(id), Some(&"client"), "the data stays until the end was polled");
    assert_eq!(driver.response(INVITE, 486), "unmatched");
    assert_log(&driver.run_out(), &[(0, "client Done")]);
    assert_eq!(driver.table.client(id), None);
}

#[test]
fn accepted_passes_2xx_until_timer_m() {
    for reliability in [Reliability::Reliable, Reliability::Unreliable] {
        let (mut driver, _) = in_state("Accepted", reliability);
        driver.pass_time(31_999);
        assert_eq!(driver.response(INVITE, 200), "pass");
        assert_log(&driver.run_out(), &[(32_000, "client Done")]);
        assert_eq!(driver.response(INVITE, 200), "unmatched");
    }
}
