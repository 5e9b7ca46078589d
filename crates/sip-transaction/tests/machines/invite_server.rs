use crate::driver::{Driver, assert_log};
use sip_transaction::{Received, Reliability, ServerId, Settings};

fn in_state(state: &str, reliability: Reliability) -> (Driver, ServerId) {
    let mut driver = Driver::new(reliability);
    let id = driver.new_server("INVITE");
    match state {
        "Proceeding" => {}
        "Proceeding, 180 sent" => drop(driver.respond(id, 180)),
        "Completed" => drop(driver.respond(id, 486)),
        "Confirmed" => {
            driver.respond(id, 486);
            assert_eq!(driver.receive("ACK", "1"), Received::AckAbsorbed(id));
        }
        "Accepted" => drop(driver.respond(id, 200)),
        other => panic!("{other}"),
    }
    assert_eq!(Some(driver.server_state(id).as_str()), state.split(',').next());
    (driver, id)
}

fn apply(driver: &mut Driver, id: ServerId, event: &str) -> String {
    match event {
        "transport error" => {
            driver.table.server_transport_error(id);
            driver.pass_time(0).into_iter().map(|(_, word)| word).collect()
        }
        "INVITE" | "ACK" => match driver.receive(event, "1") {
            Received::Repeat { resend: Some(message), .. } => format!("resend {message}"),
            Received::Repeat { resend: None, .. } => "absorb".into(),
            Received::AckAbsorbed(_) => "absorb".into(),
            Received::AckForSuccess(_) => "pass".into(),
            other => format!("{other:?}"),
        },
        code => driver.respond(id, code.parse().unwrap()),
    }
}

#[test]
fn every_state_and_event() {
    let table = [
        ("Proceeding", "INVITE", "Proceeding", "absorb"),
        ("Proceeding", "ACK", "Proceeding", "absorb"),
        ("Proceeding", "100", "Proceeding", "send 100"),
        ("Proceeding", "183", "Proceeding", "send 183"),
        ("Proceeding", "200", "Accepted", "send 200"),
        ("Proceeding", "408", "Completed", "send 408"),
        ("Proceeding", "603", "Completed", "send 603"),
        ("Proceeding", "transport error", "Proceeding", ""),
        ("Proceeding, 180 sent", "INVITE", "Proceeding", "resend 180"),
        ("Proceeding, 180 sent", "183", "Proceeding", "send 183"),
        ("Proceeding, 180 sent", "200", "Accepted", "send 200"),
        ("Completed", "INVITE", "Completed", "resend 486"),
        ("Completed", "ACK", "Confirmed", "absorb"),
        ("Completed", "183", "Completed", "AlreadyFinal"),
        ("Completed", "200", "Completed", "AlreadyFinal"),
        ("Completed", "603", "Completed", "AlreadyFinal"),
        ("Completed", "transport error", "Completed", ""),
        ("Confirmed", "INVITE", "Confirmed", "absorb"),
        ("Confirmed", "ACK", "Confirmed", "absorb"),
        ("Confirmed", "183", "Confirmed", "AlreadyFinal"),
        ("Confirmed", "200", "Confirmed", "AlreadyFinal"),
        ("Confirmed", "603", "Confirmed", "AlreadyFinal"),
        ("Confirmed", "transport error", "Confirmed", ""),
        ("Accepted", "INVITE", "Accepted", "absorb"),
        ("Accepted", "ACK", "Accepted", "pass"),
        ("Accepted", "183", "Accepted", "AlreadyFinal"),
        ("Accepted", "200", "Accepted", "send 200"),
        ("Accepted", "603", "Accepted", "AlreadyFinal"),
        ("Accepted", "transport error", "Accepted", ""),
    ];
    for (state, event, next, action) in table {
        let (mut driver, id) = in_state(state, Reliability::Unreliable);
        let did = apply(&mut driver, id, event);
        assert_eq!((driver.server_state(id).as_str(), did.as_str()), (next, action), "{event} in {state}");
    }
}

#[test]
fn a_repeat_gets_the_latest_provisional_response() {
    for reliability in [Reliability::Reliable, Reliability::Unreliable] {
        let (mut driver, id) = in_state("Proceeding", reliability);
        driver.respond(id, 100);
        driver.respond(id, 183);
        assert_eq!(apply(&mut driver, id, "INVITE"), "resend 183");
    }
}

#[test]
fn completed_repeats_by_timer_g_capped_at_t2_until_timer_h() {
    let (mut driver, _) = in_state("Completed", Reliability::Unreliable);
    let mut expected: Vec<(u64, &str)> =
        [500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]
            .map(|at| (at, "resend 486"))
            .into();
    expected.push((32_000, "server AckMissing"));
    assert_log(&driver.run_out(), &expected);
}

#[test]
fn completed_over_a_reliable_transport_has_timer_h_alone() {
    let (mut driver, _) = in_state("Completed", Reliability::Reliable);
    assert_log(&driver.run_out(), &[(32_000, "server AckMissing")]);
}

#[test]
fn confirmed_lingers_for_timer_i() {
    let (mut driver, _) = in_state("Completed", Reliability::Unreliable);
    assert_log(&driver.pass_time(600), &[(500, "resend 486")]);
    let _ = driver.receive("ACK", "1");
    assert_log(&driver.run_out(), &[(5_600, "server Done")]);
    assert_eq!(driver.receive("ACK", "1"), Received::AckUnmatched);
}

#[test]
fn confirmed_over_a_reliable_transport_ends_at_once() {
    let mut driver = Driver::new(Reliability::Reliable);
    let id = driver.new_server("INVITE");
    driver.respond(id, 486);
    assert_eq!(driver.receive("ACK", "1"), Received::AckAbsorbed(id));
    assert_eq!(driver.server_state(id), "Terminated");
    assert_log(&driver.run_out(), &[(0, "server Done")]);
}

#[test]
fn accepted_absorbs_the_invite_until_timer_l() {
    for reliability in [Reliability::Reliable, Reliability::Unreliable] {
        let (mut driver, id) = in_state("Accepted", reliability);
        driver.pass_time(31_999);
        assert_eq!(apply(&mut driver, id, "INVITE"), "absorb");
        assert_log(&driver.run_out(), &[(32_000, "server Done")]);
        assert!(matches!(driver.receive("INVITE", "1"), Received::New(_)));
    }
}

#[test]
fn the_ack_for_2xx_of_today_has_its_own_branch_and_passes() {
    let (mut driver, _) = in_state("Accepted", Reliability::Unreliable);
    assert_eq!(driver.receive("ACK", "2"), Received::AckUnmatched);
}

#[test]
fn a_quiet_owner_is_reminded_of_100_after_200_ms() {
    let mut driver = Driver::with(Reliability::Unreliable, Settings::default());
    let id = driver.new_server("INVITE");
    assert_log(&driver.run_out(), &[(200, "send 100")]);
    assert_eq!(driver.respond(id, 100), "send 100");
}

#[test]
fn an_owner_that_answered_is_not_reminded() {
    for code in [100, 180, 200] {
        let mut driver = Driver::with(Reliability::Reliable, Settings::default());
        let id = driver.new_server("INVITE");
        driver.pass_time(199);
        driver.respond(id, code);
        assert!(driver.run_out().iter().all(|(_, word)| word != "send 100"), "{code}");
    }
}

#[test]
fn proceeding_waits_without_end() {
    let (mut driver, id) = in_state("Proceeding, 180 sent", Reliability::Unreliable);
    assert_log(&driver.run_out(), &[]);
    assert_eq!(driver.server_state(id), "Proceeding");
    assert_eq!(driver.table.abandon_server(id), Some("server"));
    assert!(driver.table.is_empty());
}
