use crate::driver::{Driver, assert_log};
use sip_transaction::{Received, Reliability, ServerId, Settings};

/// Far enough in that 100 is allowed.
fn in_state(state: &str, reliability: Reliability) -> (Driver, ServerId) {
    let mut driver = Driver::new(reliability);
    let id = driver.new_server("MESSAGE");
    driver.pass_time(4_000);
    match state {
        "Trying" => {}
        "Proceeding" => drop(driver.respond(id, 100)),
        "Completed" => drop(driver.respond(id, 200)),
        other => panic!("{other}"),
    }
    assert_eq!(driver.server_state(id), state);
    (driver, id)
}

#[test]
fn every_state_and_event() {
    let table = [
        ("Trying", "MESSAGE", "Trying", "absorb"),
        ("Trying", "100", "Proceeding", "send 100"),
        ("Trying", "180", "Trying", "ProvisionalToNonInvite"),
        ("Trying", "200", "Completed", "send 200"),
        ("Trying", "404", "Completed", "send 404"),
        ("Trying", "408", "Trying", "TimeoutToNonInvite"),
        ("Trying", "transport error", "Terminated", "server TransportError"),
        ("Proceeding", "MESSAGE", "Proceeding", "resend 100"),
        ("Proceeding", "100", "Proceeding", "send 100"),
        ("Proceeding", "180", "Proceeding", "ProvisionalToNonInvite"),
        ("Proceeding", "200", "Completed", "send 200"),
        ("Proceeding", "404", "Completed", "send 404"),
        ("Proceeding", "408", "Proceeding", "TimeoutToNonInvite"),
        ("Proceeding", "transport error", "Terminated", "server TransportError"),
        ("Completed", "MESSAGE", "Completed", "resend 200"),
        ("Completed", "100", "Completed", "AlreadyFinal"),
        ("Completed", "180", "Completed", "AlreadyFinal"),
        ("Completed", "200", "Completed", "AlreadyFinal"),
        ("Completed", "404", "Completed", "AlreadyFinal"),
        ("Completed", "408", "Completed", "AlreadyFinal"),
        ("Completed", "transport error", "Terminated", "server TransportError"),
    ];
    for (state, event, next, action) in table {
        let (mut driver, id) = in_state(state, Reliability::Unreliable);
        let did = match event {
            "transport error" => {
                driver.table.server_transport_error(id);
                driver.pass_time(0).into_iter().map(|(_, word)| word).collect()
            }
            "MESSAGE" => match driver.receive(event, "1") {
                Received::Repeat { resend: Some(message), .. } => format!("resend {message}"),
                Received::Repeat { resend: None, .. } => "absorb".into(),
                other => format!("{other:?}"),
            },
            code => driver.respond(id, code.parse().unwrap()),
        };
        assert_eq!((driver.server_state(id).as_str(), did.as_str()), (next, action), "{event} in {state}");
    }
}

#[test]
fn a_100_may_be_sent_only_once_timer_e_has_grown_to_t2() {
    let mut driver = Driver::new(Reliability::Unreliable);
    let id = driver.new_server("MESSAGE");
    driver.pass_time(3_499);
    assert_eq!(driver.respond(id, 100), "TryingTooEarly");
    driver.pass_time(1);
    assert_eq!(driver.respond(id, 100), "send 100");
    let mut driver = Driver::new(Reliability::Reliable);
    let id = driver.new_server("MESSAGE");
    assert_eq!(driver.respond(id, 100), "send 100");
}

#[test]
fn a_quiet_owner_is_reminded_of_100_just_then() {
    let mut driver = Driver::with(Reliability::Unreliable, Settings::default());
    let id = driver.new_server("MESSAGE");
    assert_log(&driver.pass_time(3_500), &[(3_500, "send 100")]);
    assert_eq!(driver.respond(id, 100), "send 100");
    assert_log(&driver.run_out(), &[(32_000, "server Unanswered")]);
}

#[test]
fn completed_lingers_for_timer_j() {
    let (mut driver, id) = in_state("Completed", Reliability::Unreliable);
    driver.pass_time(31_999);
    assert_eq!(driver.receive("MESSAGE", "1"), Received::Repeat { id, resend: Some("200".into()) });
    assert_log(&driver.run_out(), &[(36_000, "server Done")]);
    assert!(matches!(driver.receive("MESSAGE", "1"), Received::New(_)));
}

#[test]
fn completed_over_a_reliable_transport_ends_at_once_and_keeps_nothing() {
    let mut driver = Driver::new(Reliability::Reliable);
    let id = driver.new_server("MESSAGE");
    let kept =
        driver.table.respond(id, crate::driver::status(200), driver.now, || panic!("no copy is needed"));
    assert_eq!(kept, Ok(()));
    assert_eq!(driver.server_state(id), "Terminated");
    assert_eq!(driver.respond(id, 200), "Gone");
    assert_log(&driver.run_out(), &[(0, "server Done")]);
}

#[test]
fn a_request_never_answered_ends_when_its_client_has_given_up() {
    for reliability in [Reliability::Reliable, Reliability::Unreliable] {
        let mut driver = Driver::new(reliability);
        let id = driver.new_server("MESSAGE");
        assert_log(&driver.run_out(), &[(32_000, "server Unanswered")]);
        assert_eq!(driver.respond(id, 200), "Gone");
    }
}

#[test]
fn a_cancel_finds_its_invite() {
    let mut driver = Driver::new(Reliability::Unreliable);
    let invite = driver.new_server("INVITE");
    let Received::NewCancel { id, cancels } = driver.receive("CANCEL", "1") else {
        panic!("not a new CANCEL")
    };
    assert_eq!(cancels, Some(invite));
    assert_ne!(id, invite);
    assert_eq!(driver.respond(id, 200), "send 200");
    assert_eq!(driver.receive("CANCEL", "1"), Received::Repeat { id, resend: Some("200".into()) });
    assert_eq!(driver.server_state(invite), "Proceeding");
    assert!(matches!(driver.receive("CANCEL", "2"), Received::NewCancel { cancels: None, .. }));
}

/// A CANCEL has the branch of what it cancels and does not say its method.
#[test]
fn a_cancel_finds_a_request_of_any_method_as_long_as_that_lives() {
    for method in ["MESSAGE", "OPTIONS", "REGISTER", "X-EXTENSION"] {
        let mut driver = Driver::new(Reliability::Unreliable);
        let request = driver.new_server(method);
        let cancels = |driver: &mut Driver| match driver.receive("CANCEL", "1") {
            Received::NewCancel { id, cancels } => {
                driver.table.abandon_server(id);
                cancels
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(cancels(&mut driver), Some(request), "{method}");
        assert_eq!(driver.server_state(request), "Trying", "{method}");
        assert_eq!(driver.respond(request, 200), "send 200");
        assert_eq!(cancels(&mut driver), Some(request), "{method} with its final response");
        driver.run_out();
        assert_eq!(cancels(&mut driver), None, "{method} that has ended");
    }
}

#[test]
fn a_cancel_of_a_branch_that_two_requests_have_finds_the_invite() {
    let mut driver = Driver::new(Reliability::Unreliable);
    driver.new_server("MESSAGE");
    let invite = driver.new_server("INVITE");
    let received = driver.receive("CANCEL", "1");
    assert!(
        matches!(received, Received::NewCancel { cancels: Some(id), .. } if id == invite),
        "{received:?}"
    );
}
