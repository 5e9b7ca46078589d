//! Calls by way of a proxy behind, which sends their INVITEs back here or forks them itself.

use std::time::Duration;

use lifecycle::{CallBy, CallCause};
use sip_dialog::{RouteOutcome, Side};

use crate::fake_node::{ALICE, BOB, Done, Scene, agent, answer, ended, invite, settings, within};

/// The proxy behind.
const PBX: u8 = 5;

/// Bob's other device.
const BOB_TOO: u8 = 3;

/// The same INVITE as the proxy sends it on its branch.
fn forked(branch: &str) -> String {
    invite(1).replace("Via: ", &format!("Via: SIP/2.0/UDP pbx.invalid;branch=z9hG4bK{branch}\r\nVia: "))
}

#[test]
fn what_a_proxy_behind_is_answered_is_not_what_the_caller_hears() {
    for by in [Some(BOB), None] {
        let mut scene = Scene::new(settings());
        scene.request(&invite(1), ALICE, PBX);
        scene.request(&forked("1"), PBX, BOB);
        scene.request(&forked("2"), PBX, BOB_TOO);
        match by {
            Some(_) => scene.response_to(PBX, &answer(&forked("1"), 486, "b"), by),
            None => scene.own_to(PBX, 430, &forked("1")),
        }
        assert_eq!(scene.done(), [Done::Started(1)]);
        scene.response_to(PBX, &answer(&forked("2"), 200, "c"), Some(BOB_TOO));
        scene.response(&answer(&invite(1), 200, "c"), Some(PBX));
        assert_eq!(scene.done(), [Done::Answered(1)]);
        let bye = within("BYE", Side::Caller, "c", 2, "");
        scene.request(&bye, ALICE, PBX);
        scene.response(&answer(&bye, 200, ""), Some(PBX));
        assert_eq!(ended(&scene.done()), [(CallCause::Hangup, CallBy::Caller)]);
        assert!(scene.calls.is_empty());
    }
}

#[test]
fn a_call_that_nobody_behind_takes_ends_as_its_caller_hears_it() {
    let mut scene = Scene::new(settings());
    scene.request(&invite(1), ALICE, PBX);
    scene.request(&forked("1"), PBX, BOB);
    scene.response_to(PBX, &answer(&forked("1"), 486, "b"), Some(BOB));
    scene.response(&answer(&invite(1), 486, "b"), Some(PBX));
    assert_eq!(ended(&scene.done()), [(CallCause::Rejected, CallBy::Callee)]);
    // Its connection ended while it rang: the proxy says what it was told.
    scene.request(&invite(2), ALICE, PBX);
    let again = forked("3").replace("CSeq: 1", "CSeq: 2");
    scene.request(&again, PBX, BOB);
    assert_eq!(scene.gone(BOB, &[agent("bob")]), 1);
    scene.own_to(PBX, 430, &again);
    scene.response(&answer(&invite(2), 430, "b"), Some(PBX));
    assert_eq!(ended(&scene.done()), [(CallCause::FlowLost, CallBy::Callee)]);
    assert!(scene.calls.is_empty());
}

#[test]
fn a_call_that_a_proxy_forks_to_here_ends_with_the_last_of_its_invites() {
    let failed = |first: u16, second: u16| {
        let mut scene = Scene::new(settings());
        scene.request(&forked("1"), PBX, BOB);
        scene.request(&forked("2"), PBX, BOB_TOO);
        scene.response_to(PBX, &answer(&forked("1"), first, "b"), Some(BOB));
        assert_eq!(scene.done(), [Done::Started(1)]);
        scene.response_to(PBX, &answer(&forked("2"), second, "c"), Some(BOB_TOO));
        assert!(scene.calls.is_empty());
        ended(&scene.done())
    };
    assert_eq!(failed(480, 486), [(CallCause::Rejected, CallBy::Callee)]);
    assert_eq!(failed(486, 487), [(CallCause::Cancelled, CallBy::Caller)]);
    // Declined everywhere: the proxy has taken the other back.
    assert_eq!(failed(603, 487), [(CallCause::Rejected, CallBy::Callee)]);

    let mut scene = Scene::new(settings());
    scene.request(&forked("1"), PBX, BOB);
    scene.request(&forked("2"), PBX, BOB_TOO);
    scene.response_to(PBX, &answer(&forked("1"), 486, "b"), Some(BOB));
    scene.response_to(PBX, &answer(&forked("2"), 200, "c"), Some(BOB_TOO));
    assert_eq!(scene.done(), [Done::Started(1), Done::Answered(1)]);
    // It came twice, by two ways: the second is refused, and nothing ends by it.
    scene.own_to(PBX, 482, &forked("3"));
    assert_eq!((scene.done(), scene.calls.live()), (vec![], 1));
}

#[test]
fn a_bye_that_is_refused_here_ends_no_call() {
    for status in [400, 403, 407, 420, 481, 483, 503] {
        let mut scene = Scene::new(settings());
        scene.call();
        let bye = within("BYE", Side::Caller, "b", 2, "");
        scene.own_to(9, status, &bye);
        assert_eq!((scene.done(), scene.calls.live()), (vec![], 1), "{status}");
        let named = scene.calls.way(
            &sip_message::Message::parse(bye.as_bytes()).unwrap(),
            BOB,
            ALICE,
            |one, other| one == other,
        );
        assert_eq!(named, RouteOutcome::To(BOB));
    }
    for status in [200, 430] {
        let mut scene = Scene::new(settings());
        scene.call();
        scene.own(status, &within("BYE", Side::Caller, "b", 2, ""));
        assert_eq!(ended(&scene.done()), [(CallCause::Hangup, CallBy::Caller)], "{status}");
    }
}

#[test]
fn the_next_in_turn_may_ring_as_long_as_the_first() {
    let mut scene = Scene::new(settings());
    scene.request(&invite(1), ALICE, BOB);
    scene.response(&answer(&invite(1), 180, "b"), Some(BOB));
    scene.wait(Duration::from_secs(120));
    scene.request(&invite(1), ALICE, BOB_TOO);
    scene.wait(Duration::from_secs(180));
    scene.response(&answer(&invite(1), 200, "c"), Some(BOB_TOO));
    assert_eq!(scene.done(), [Done::Started(1), Done::Answered(1)]);
}

#[test]
fn who_comes_back_speaks_to_a_proxy_behind_from_where_he_is_now() {
    let mut scene = Scene::new(settings());
    scene.request(&invite(1), ALICE, PBX);
    scene.request(&forked("1"), PBX, BOB);
    scene.response_to(PBX, &answer(&forked("1"), 200, "b"), Some(BOB));
    scene.response(&answer(&invite(1), 200, "b"), Some(PBX));
    scene.gone(BOB, &[agent("bob")]);
    let same = |one: u8, other: u8| one == other || other == PBX;
    let (from_bob, from_alice) =
        (within("INFO", Side::Callee, "b", 1, ""), within("INFO", Side::Caller, "b", 2, ""));
    let [from_bob, from_alice] =
        [&from_bob, &from_alice].map(|text| sip_message::Message::parse(text.as_bytes()).unwrap());
    assert!(!scene.calls.has_moved(&from_bob, BOB, 7, same));
    // The proxy may speak for him meanwhile.
    assert_eq!(scene.calls.way(&from_bob, ALICE, PBX, same), RouteOutcome::To(ALICE));
    scene.back(&agent("bob"), 7);
    assert!(scene.calls.has_moved(&from_bob, BOB, 7, same));
    assert!(!scene.calls.has_moved(&from_bob, BOB, 8, same));
    assert!(!scene.calls.has_moved(&from_bob, PBX, 7, same));
    assert!(!scene.calls.has_moved(&from_alice, BOB, 7, same));
    assert_eq!(scene.calls.way(&from_alice, BOB, PBX, same), RouteOutcome::To(7));
}

/// Alice's INVITE has been challenged.
fn challenged(status: u16) -> Scene {
    let mut scene = Scene::new(settings());
    scene.request(&invite(1), ALICE, PBX);
    scene.response(&answer(&invite(1), status, "p"), Some(PBX));
    assert_eq!(scene.done(), [Done::Started(1)]);
    scene
}

#[test]
fn an_invite_that_comes_again_with_credentials_is_the_same_call() {
    for status in [401, 407] {
        let mut scene = challenged(status);
        scene.wait(Duration::from_secs(1));
        scene.request(&invite(2), ALICE, PBX);
        scene.response(&answer(&invite(2), 180, "p"), Some(PBX));
        scene.wait(Duration::from_secs(60));
        scene.response(&answer(&invite(2), 200, "p"), Some(PBX));
        assert_eq!(scene.done(), [Done::Answered(1)], "{status}");
        let bye = within("BYE", Side::Callee, "p", 1, "");
        scene.request(&bye, PBX, ALICE);
        scene.response_to(PBX, &answer(&bye, 200, ""), Some(ALICE));
        assert_eq!(ended(&scene.done()), [(CallCause::Hangup, CallBy::Callee)]);
        assert!(scene.calls.is_empty());
    }
}

#[test]
fn a_challenge_that_nobody_answers_ends_the_call_as_it_was_refused() {
    let refused = [(CallCause::Rejected, CallBy::Callee)];
    let mut scene = challenged(407);
    let at = scene.now().unix_micros;
    scene.wait(Duration::from_secs(32));
    let done = scene.done();
    assert_eq!(ended(&done), refused);
    let Some(Done::Ended(_, end)) = done.last() else { panic!() };
    assert_eq!((end.status, end.at), (Some(407), at));
    assert!(scene.calls.is_empty());

    // The credentials were wrong.
    let mut scene = challenged(407);
    scene.request(&invite(2), ALICE, PBX);
    scene.response(&answer(&invite(2), 403, "p"), Some(PBX));
    assert_eq!(ended(&scene.done()), refused);

    let mut scene = challenged(401);
    scene.gone(ALICE, &[agent("alice")]);
    assert_eq!(ended(&scene.done()), refused);

    let mut scene = challenged(401);
    let now = scene.now();
    scene.calls.end_all(&mut scene.writer, CallCause::Shutdown, sip_dialog::Farewell::Silence, now);
    assert_eq!(ended(&scene.done()), refused);
    assert!(scene.calls.is_empty());
}

#[test]
fn a_call_whose_callee_is_told_that_the_server_ends_was_not_lost_by_him() {
    let mut scene = Scene::new(settings());
    scene.request(&invite(1), ALICE, BOB);
    let now = scene.now();
    let silence = sip_dialog::Farewell::Silence;
    scene.calls.hop_shut(&mut scene.writer, BOB, CallCause::Shutdown, silence, now);
    scene.own(480, &invite(1));
    assert_eq!(ended(&scene.done()), [(CallCause::Shutdown, CallBy::Server)]);
}
