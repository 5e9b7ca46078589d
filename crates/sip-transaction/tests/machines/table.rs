use crate::driver::{Driver, assert_log, client_key, request, status};
use sip_transaction::{
    MethodClass, Received, Refusal, Reliability, ResponseFor, Settings, StartRefused, Timers, TryingReminder,
};
use std::time::Duration;

fn small() -> Driver {
    Driver::with(Reliability::Unreliable, Settings { max_server: 2, max_client: 1, ..Settings::default() })
}

#[test]
fn a_full_table_refuses_what_is_new_and_serves_what_it_has() {
    let mut driver = small();
    let first = driver.new_server("INVITE");
    assert!(matches!(driver.receive("MESSAGE", "2"), Received::New(_)));
    assert_eq!(driver.receive("MESSAGE", "3"), Received::Full);
    assert_eq!(driver.receive("INVITE", "1"), Received::Repeat { id: first, resend: None });
    driver.table.abandon_server(first);
    assert!(matches!(driver.receive("MESSAGE", "3"), Received::New(_)));

    driver.new_client(MethodClass::Invite);
    let more = client_key(2, MethodClass::Invite);
    let refused =
        driver.table.start_client(more, Reliability::Reliable, driver.now, "more", || panic!("no copy"));
    assert_eq!(refused, Err(StartRefused::Full("more")));
}

#[test]
fn a_branch_is_used_once_but_shared_with_its_cancel() {
    let mut driver = Driver::new(Reliability::Reliable);
    let invite = driver.new_client(MethodClass::Invite);
    let again = client_key(1, MethodClass::Invite);
    let refused = driver.table.start_client(again, Reliability::Reliable, driver.now, "again", String::new);
    assert_eq!(refused, Err(StartRefused::BranchInUse("again")));
    let cancel = driver.new_client(MethodClass::NonInvite);
    let now = driver.now;
    let mut answer = |class| driver.table.receive_response(client_key(1, class), status(200), now, |_| true);
    assert_eq!(answer(MethodClass::NonInvite), ResponseFor::Pass(cancel));
    assert_eq!(answer(MethodClass::Invite), ResponseFor::Pass(invite));
}

#[test]
fn a_stale_id_is_harmless() {
    let mut driver = small();
    let old = driver.new_server("INVITE");
    driver.table.abandon_server(old);
    let new = driver.new_server("INVITE");
    assert_ne!(old, new);
    assert_eq!(driver.table.respond(old, status(200), driver.now, String::new), Err(Refusal::Gone));
    driver.table.server_transport_error(old);
    assert_eq!(driver.table.abandon_server(old), None);
    assert_eq!(driver.table.server_mut(old), None);
    assert_eq!(driver.server_state(new), "Proceeding");

    let old = driver.new_client(MethodClass::Invite);
    driver.table.abandon_client(old);
    let new = driver.new_client(MethodClass::Invite);
    driver.table.ack_sent(old, String::new);
    driver.table.cancel_sent(old, driver.now);
    driver.table.client_transport_error(old);
    assert_eq!(driver.table.abandon_client(old), None);
    assert_eq!(driver.client_state(new), "Calling");
}

#[test]
fn abandoning_what_has_just_ended_swallows_its_event() {
    let mut driver = Driver::new(Reliability::Reliable);
    let server = driver.new_server("MESSAGE");
    driver.respond(server, 200);
    let client = driver.new_client(MethodClass::NonInvite);
    driver.response(MethodClass::NonInvite, 200);
    assert_eq!(driver.table.abandon_server(server), Some("server"));
    assert_eq!(driver.table.abandon_client(client), Some("client"));
    assert_log(&driver.pass_time(0), &[]);
    assert!(driver.table.is_empty());
}

#[test]
fn ended_transactions_are_not_listed() {
    let mut driver = Driver::new(Reliability::Reliable);
    let server = driver.new_server("MESSAGE");
    assert_eq!(driver.table.servers().count(), 1);
    driver.respond(server, 200);
    assert_eq!(driver.table.servers().count(), 0);
    assert_eq!(driver.table.server_count(), 1);
    driver.new_client(MethodClass::NonInvite);
    assert_eq!(driver.table.clients().map(|(_, _, data)| *data).collect::<Vec<_>>(), ["client"]);
}

#[test]
fn other_base_timers_scale_all_others_but_d() {
    let timers =
        Timers { t1: Duration::from_millis(100), t2: Duration::from_secs(1), t4: Duration::from_secs(2) };
    let settings = Settings { timers, trying: TryingReminder::Silent, ..Settings::default() };
    let mut driver = Driver::with(Reliability::Unreliable, settings);
    driver.new_client(MethodClass::Invite);
    driver.response(MethodClass::Invite, 404);
    assert_log(&driver.run_out(), &[(32_000, "client Done")]);
    let slow = Timers { t1: Duration::from_secs(2), ..Timers::default() };
    assert_eq!(slow.d(Reliability::Unreliable), Duration::from_secs(128));
    assert_eq!(timers.non_invite_trying_after(), Duration::from_millis(1_500));

    let mut driver = Driver::with(Reliability::Unreliable, settings);
    driver.new_client(MethodClass::NonInvite);
    let mut expected: Vec<(u64, &str)> =
        [100, 300, 700, 1_500, 2_500, 3_500, 4_500, 5_500].map(|at| (at, "resend request")).into();
    expected.push((6_400, "client Timeout"));
    assert_log(&driver.run_out(), &expected);
}

#[test]
fn timers_beyond_the_wheel_are_kept() {
    let timers = Timers { t1: Duration::from_secs(5), ..Timers::default() };
    let settings = Settings { timers, ..Settings::default() };
    let mut driver = Driver::with(Reliability::Reliable, settings);
    driver.new_client(MethodClass::Invite);
    assert_log(&driver.run_out(), &[(320_000, "client Timeout")]);
}

#[test]
fn timers_of_zero_do_not_spin() {
    let timers = Timers { t1: Duration::ZERO, t2: Duration::ZERO, t4: Duration::ZERO };
    let mut driver = Driver::with(Reliability::Unreliable, Settings { timers, ..Settings::default() });
    driver.new_client(MethodClass::Invite);
    driver.new_server("MESSAGE");
    assert_log(&driver.run_out(), &[(0, "client Timeout"), (0, "server Unanswered")]);
}

#[test]
fn a_late_poll_ends_rather_than_repeats() {
    let mut driver = Driver::new(Reliability::Unreliable);
    driver.new_client(MethodClass::Invite);
    driver.now += Duration::from_secs(100);
    let event = driver.table.poll(driver.now);
    assert!(matches!(event, Some(sip_transaction::Event::ClientEnded { .. })), "{event:?}");
    assert!(driver.table.poll(driver.now).is_none());
}

#[test]
fn time_that_goes_back_counts_as_the_latest() {
    let mut driver = Driver::new(Reliability::Unreliable);
    driver.pass_time(10_000);
    assert!(driver.table.poll(driver.now).is_none());
    let early = driver.start;
    let _ = driver.table.receive_request(request("MESSAGE", "1"), Reliability::Reliable, early, || "server");
    assert_log(&driver.run_out(), &[(42_000, "server Unanswered")]);
}

#[test]
fn a_status_is_100_to_699() {
    use sip_transaction::{Status, StatusClass};
    assert_eq!([99, 700, 0, u16::MAX].map(Status::new), [None; 4]);
    let class = |code| status(code).class();
    assert_eq!([100, 199].map(class), [StatusClass::Provisional; 2]);
    assert_eq!([200, 299].map(class), [StatusClass::Success; 2]);
    assert_eq!([300, 699].map(class), [StatusClass::Failure; 2]);
}
