//! One rule each.

use std::time::Duration;

use lifecycle::{CallBy, CallCause};
use sip_dialog::{Farewell, RouteOutcome, Side};
use sip_message::Message;

use crate::fake_node::{
    ALICE, BOB, Done, HOLD, Scene, agent, answer, answer_with, device, ended, invite, sent, settings, within,
};

const HOLDS: &str = "v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 9 RTP/AVP 0\r\na=sendonly\r\n";
const TALKS: &str = "v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 9 RTP/AVP 0\r\na=sendrecv\r\n";

fn scene() -> Scene {
    Scene::new(settings())
}

fn way(scene: &Scene, request: &str, named: u8, from: u8) -> RouteOutcome<u8> {
    scene.calls.way(&Message::parse(request.as_bytes()).unwrap(), named, from, |one, other| one == other)
}

#[test]
fn a_call_is_started_answered_and_ended_by_whoever_says_bye() {
    for (by, word) in [(Side::Caller, CallBy::Caller), (Side::Callee, CallBy::Callee)] {
        let mut scene = scene();
        scene.request(&invite(1), ALICE, BOB);
        assert_eq!(scene.done(), [Done::Started(1)]);
        scene.response(&answer(&invite(1), 180, "b"), Some(BOB));
        scene.response(&answer(&invite(1), 200, "b"), Some(BOB));
        // The callee repeats its answer until the ACK is there.
        scene.response(&answer(&invite(1), 200, "b"), Some(BOB));
        assert_eq!(scene.done(), [Done::Answered(1)]);
        scene.wait(Duration::from_secs(5));
        let said = scene.now().unix_micros;
        let bye = within("BYE", by, "b", 2, "");
        scene.request(&bye, ALICE, BOB);
        assert_eq!(scene.done(), []);
        scene.wait(Duration::from_secs(1));
        scene.response(&answer(&bye, 200, ""), Some(BOB));
        let done = scene.done();
        assert_eq!(ended(&done), [(CallCause::Hangup, word)]);
        // It was over when BYE was said, not when that was answered.
        let Done::Ended(_, end) = &done[0] else { panic!("{done:?}") };
        assert_eq!(end.at, said);
        assert_eq!((scene.calls.live(), scene.calls.next_due()), (0, None));
    }
}

#[test]
fn a_bye_ends_the_call_whatever_it_is_answered_but_a_challenge() {
    for status in [481, 408, 430, 500] {
        let mut scene = scene();
        scene.call();
        let bye = within("BYE", Side::Callee, "b", 7, "");
        scene.request(&bye, BOB, ALICE);
        scene.response(&answer(&bye, 407, ""), Some(ALICE));
        assert_eq!(scene.done(), []);
        let bye = within("BYE", Side::Callee, "b", 8, "");
        scene.request(&bye, BOB, ALICE);
        scene.own(status, &bye);
        assert_eq!(ended(&scene.done()), [(CallCause::Hangup, CallBy::Callee)], "{status}");
    }
}

#[test]
fn a_call_that_is_not_answered_says_why() {
    let cases = [
        (487, Some(BOB), CallCause::Cancelled, CallBy::Caller),
        (486, Some(BOB), CallCause::Rejected, CallBy::Callee),
        (603, Some(BOB), CallCause::Rejected, CallBy::Callee),
        (408, None, CallCause::NoAnswer, CallBy::Server),
        (408, Some(BOB), CallCause::NoAnswer, CallBy::Callee),
        (480, None, CallCause::Failed, CallBy::Server),
        (503, None, CallCause::Failed, CallBy::Server),
    ];
    for (status, by, cause, who) in cases {
        let mut scene = scene();
        scene.request(&invite(1), ALICE, BOB);
        match by {
            Some(_) => scene.response(&answer(&invite(1), status, "b"), by),
            None => scene.own(status, &invite(1)),
        }
        let done = scene.done();
        assert_eq!(ended(&done), [(cause, who)], "{status}");
        let Some(Done::Ended(_, end)) = done.last() else { panic!() };
        assert_eq!(end.status, Some(status));
        assert_eq!(end.reason.as_ref().map(lifecycle::Text::as_str), by.map(|_| "Because"));
        // The next attempt with the same Call-ID is another call.
        scene.request(&invite(2), ALICE, BOB);
        assert_eq!(scene.done(), [Done::Started(2)]);
    }
}

#[test]
fn forks_are_one_call_and_each_answer_is_a_dialog() {
    let mut scene = scene();
    scene.request(&invite(1), ALICE, BOB);
    scene.request(&invite(1), ALICE, 3);
    scene.response(&answer(&invite(1), 200, "b"), Some(BOB));
    // It crossed the CANCEL.
    scene.response(&answer(&invite(1), 200, "c"), Some(3));
    assert_eq!(scene.done(), [Done::Started(1), Done::Answered(1)]);
    let bye = within("BYE", Side::Caller, "c", 2, "");
    scene.request(&bye, ALICE, 3);
    scene.response(&answer(&bye, 200, ""), Some(3));
    assert_eq!((scene.done(), scene.calls.live()), (vec![], 1));
    let bye = within("BYE", Side::Callee, "b", 1, "");
    scene.request(&bye, BOB, ALICE);
    scene.response(&answer(&bye, 200, ""), Some(ALICE));
    assert_eq!(ended(&scene.done()), [(CallCause::Hangup, CallBy::Callee)]);
}

#[test]
fn hold_is_seen_when_its_offer_is_accepted() {
    let mut scene = scene();
    let call = scene.call();
    let hold = within("INVITE", Side::Callee, "b", 1, HOLDS);
    scene.request(&hold, BOB, ALICE);
    scene.response(&answer(&hold, 488, ""), Some(ALICE));
    assert_eq!(scene.done(), []);
    let hold = within("INVITE", Side::Callee, "b", 2, HOLDS);
    scene.request(&hold, BOB, ALICE);
    scene.response(&answer(&hold, 200, ""), Some(ALICE));
    scene.response(&answer(&hold, 200, ""), Some(ALICE));
    assert_eq!(scene.done(), [Done::Held(call, Side::Callee)]);
    // A refresh of the session changes nothing.
    let refresh = within("UPDATE", Side::Callee, "b", 3, HOLDS);
    scene.request(&refresh, BOB, ALICE);
    scene.response(&answer(&refresh, 200, ""), Some(ALICE));
    assert_eq!(scene.done(), []);
    let talk = within("UPDATE", Side::Callee, "b", 4, TALKS);
    scene.request(&talk, BOB, ALICE);
    scene.response(&answer(&talk, 200, ""), Some(ALICE));
    assert_eq!(scene.done(), [Done::Resumed(call, Side::Callee)]);
}

#[test]
fn who_comes_back_within_the_hold_has_the_call_on_the_new_flow_both_ways() {
    for (side, user, hop, other) in [(Side::Caller, "alice", ALICE, BOB), (Side::Callee, "bob", BOB, ALICE)] {
        let mut scene = scene();
        scene.call();
        assert_eq!(scene.gone(hop, &[agent(user)]), 1);
        assert_eq!((scene.calls.live(), scene.calls.held()), (1, 1));
        let (mine, theirs) = (within("INFO", side, "b", 5, ""), within("BYE", other_side(side), "b", 5, ""));
        assert_eq!(way(&scene, &theirs, hop, other), RouteOutcome::Held);
        // An unauthenticated client, and another of the user's devices, do not get it.
        scene.back(&agent("mallory"), 9);
        scene.back(&device(&format!("{user}@x"), "sip:other@o.invalid", None, "other"), 9);
        assert_eq!(way(&scene, &theirs, hop, other), RouteOutcome::Held);
        assert_eq!(way(&scene, &mine, other, 9), RouteOutcome::NotAParty);
        scene.wait(HOLD - Duration::from_millis(1));
        scene.back(&agent(user), 7);
        scene.wait(HOLD);
        assert_eq!((scene.done(), scene.calls.held()), (vec![], 0));
        // Its routes name the old flow.
        assert_eq!(way(&scene, &theirs, hop, other), RouteOutcome::To(7));
        assert_eq!(way(&scene, &mine, other, 7), RouteOutcome::To(other));
        assert_eq!(way(&scene, &mine, hop, 7), RouteOutcome::To(7), "its own side");
        assert_eq!(way(&scene, &mine, 99, 7), RouteOutcome::Unknown, "a route of something else");
        scene.request(&theirs, other, 7);
        scene.response(&answer(&theirs, 200, ""), Some(7));
        assert_eq!(ended(&scene.done()).len(), 1);
        assert_eq!(way(&scene, &theirs, hop, other), RouteOutcome::Unknown);
    }
}

fn other_side(side: Side) -> Side {
    match side {
        Side::Caller => Side::Callee,
        Side::Callee => Side::Caller,
    }
}

#[test]
fn who_does_not_come_back_is_told_of_to_the_other_side() {
    let cases = [
        (Side::Caller, "alice", ALICE, BOB, CallBy::Caller, 10, "CSeq: 11 BYE"),
        (Side::Callee, "bob", BOB, ALICE, CallBy::Callee, 40, "CSeq: 41 BYE"),
    ];
    for (side, user, hop, other, by, cseq, line) in cases {
        let mut scene = scene();
        scene.call();
        scene.request(&within("INFO", side, "b", cseq, ""), hop, other);
        scene.gone(hop, &[agent(user)]);
        scene.wait(HOLD - Duration::from_millis(1));
        assert_eq!(scene.done(), []);
        scene.wait(Duration::from_millis(1));
        let done = scene.done();
        assert_eq!(ended(&done), [(CallCause::FlowLost, by)]);
        let [(to, bye)] = &sent(&done)[..] else { panic!("{done:?}") };
        assert_eq!(*to, other);
        let bye = Message::parse(bye.as_bytes()).unwrap();
        assert!(
            String::from_utf8_lossy(bye.bytes()).contains(line),
            "{}",
            String::from_utf8_lossy(bye.bytes())
        );
        // From the one who is gone, to the one who is there, at its Contact.
        let (from, to) = (bye.from().unwrap(), bye.to().unwrap());
        let tags = (from.tag().unwrap(), to.tag().unwrap());
        match side {
            Side::Caller => assert_eq!(
                (tags, bye.request_uri_bytes().unwrap()),
                ((&b"a"[..], &b"b"[..]), &b"sip:bob-device@bob.invalid;transport=ws"[..])
            ),
            Side::Callee => assert_eq!(
                (tags, bye.request_uri_bytes().unwrap()),
                ((&b"b"[..], &b"a"[..]), &b"sip:alice-device@alice.invalid;transport=ws"[..])
            ),
        }
        assert!(bye.value(sip_message::HeaderId::Reason).is_some());
        // Too late.
        scene.back(&agent(user), 7);
        assert_eq!((scene.done(), scene.calls.live()), (vec![], 0));
    }
}

/// A Contact with header fields would write them into our request (RFC 3261 §19.1.1).
#[test]
fn a_bye_of_ours_has_no_header_fields_of_a_contact_in_its_request_uri() {
    let wrong = |text: String| text.replace(";transport=ws>", ";method=INVITE;transport=ws?Subject=x>");
    for (user, hop, target) in [("alice", ALICE, "bob-device@bob"), ("bob", BOB, "alice-device@alice")] {
        let mut scene = scene();
        scene.request(&wrong(invite(1)), ALICE, BOB);
        scene.response(&wrong(answer(&invite(1), 200, "b")), Some(BOB));
        scene.gone(hop, &[agent(user)]);
        scene.wait(HOLD);
        let sent = sent(&scene.done());
        let [(_, bye)] = &sent[..] else { panic!("{sent:?}") };
        assert!(bye.starts_with(&format!("BYE sip:{target}.invalid;transport=ws SIP/2.0\r\n")), "{bye}");
    }
}

#[test]
fn a_leg_of_nobody_who_could_come_back_is_lost_at_once() {
    let mut scene = scene();
    scene.call();
    scene.gone(BOB, &[agent("someone else")]);
    let done = scene.done();
    assert_eq!(ended(&done), [(CallCause::FlowLost, CallBy::Callee)]);
    assert_eq!(sent(&done).len(), 1);
    assert_eq!(scene.calls.next_due(), None);
}

#[test]
fn both_sides_may_go_and_both_may_come_back() {
    let mut scene = scene();
    scene.call();
    scene.gone(ALICE, &[agent("alice")]);
    scene.wait(Duration::from_secs(10));
    scene.gone(BOB, &[agent("bob")]);
    scene.back(&agent("bob"), 8);
    scene.back(&agent("alice"), 7);
    scene.wait(HOLD);
    assert_eq!(scene.done(), []);
    assert_eq!(way(&scene, &within("INFO", Side::Caller, "b", 5, ""), BOB, 7), RouteOutcome::To(8));
    // And both may stay away: nobody is left to be told.
    scene.gone(7, &[agent("alice")]);
    scene.gone(8, &[agent("bob")]);
    scene.wait(HOLD);
    let done = scene.done();
    assert_eq!((ended(&done).len(), sent(&done).len(), scene.calls.next_due()), (1, 0, None));
}

#[test]
fn a_bye_while_the_other_is_away_ends_the_call_and_waits_for_him() {
    let mut scene = scene();
    scene.call();
    scene.gone(BOB, &[agent("bob")]);
    let bye = within("BYE", Side::Caller, "b", 2, "");
    assert_eq!(way(&scene, &bye, BOB, ALICE), RouteOutcome::Held);
    scene.own(200, &bye);
    let done = scene.done();
    assert_eq!((ended(&done), sent(&done).len()), (vec![(CallCause::Hangup, CallBy::Caller)], 0));
    assert_eq!(scene.calls.live(), 0);
    scene.back(&agent("bob"), 7);
    let done = scene.done();
    let [(7, bye)] = &sent(&done)[..] else { panic!("{done:?}") };
    assert!(bye.starts_with("BYE sip:bob-device@bob.invalid"), "{bye}");
    assert_eq!(scene.calls.next_due(), None);
}

#[test]
fn a_tab_that_closes_right_after_its_bye_has_hung_up() {
    for (by, word, hop) in [(Side::Caller, CallBy::Caller, ALICE), (Side::Callee, CallBy::Callee, BOB)] {
        let mut scene = scene();
        scene.call();
        let bye = within("BYE", by, "b", 2, "");
        scene.request(&bye, hop, 3 - hop);
        scene.gone(hop, &[agent(if hop == ALICE { "alice" } else { "bob" })]);
        let done = scene.done();
        assert_eq!((ended(&done), sent(&done).len()), (vec![(CallCause::Hangup, word)], 0));
        scene.response(&answer(&bye, 200, ""), Some(3 - hop));
        assert_eq!(scene.done(), []);
    }
}

#[test]
fn whoever_is_told_bye_and_goes_does_not_keep_the_call() {
    for (by, word, hop) in [(Side::Caller, CallBy::Caller, ALICE), (Side::Callee, CallBy::Callee, BOB)] {
        let mut scene = scene();
        scene.call();
        let bye = within("BYE", by, "b", 2, "");
        scene.request(&bye, hop, 3 - hop);
        scene.gone(3 - hop, &[]);
        assert_eq!(scene.done(), []);
        scene.own(430, &bye);
        assert_eq!(ended(&scene.done()), [(CallCause::Hangup, word)]);
    }
}

#[test]
fn a_caller_who_goes_while_it_rings_ends_the_call_and_a_callee_does_not() {
    let mut scene = scene();
    scene.request(&invite(1), ALICE, BOB);
    scene.request(&invite(1), ALICE, 3);
    assert_eq!(scene.gone(BOB, &[agent("bob")]), 1);
    assert_eq!(scene.done(), [Done::Started(1)]);
    scene.gone(ALICE, &[agent("alice")]);
    assert_eq!(ended(&scene.done()), [(CallCause::FlowLost, CallBy::Caller)]);
    scene.request(&invite(2), ALICE, BOB);
    scene.gone(BOB, &[agent("bob")]);
    scene.own(480, &invite(2));
    assert_eq!(ended(&scene.done()), [(CallCause::FlowLost, CallBy::Callee)]);
}

#[test]
fn a_registration_that_takes_over_moves_the_call_before_the_old_flow_ends() {
    let mut scene = scene();
    scene.call();
    scene.calls.moved(&agent("someone"), &agent("someone"), &[], BOB, 7);
    assert_eq!(way(&scene, &within("INFO", Side::Caller, "b", 2, ""), BOB, ALICE), RouteOutcome::To(BOB));
    scene.calls.moved(&agent("bob"), &agent("bob"), &[], BOB, 7);
    assert_eq!(way(&scene, &within("INFO", Side::Caller, "b", 2, ""), BOB, ALICE), RouteOutcome::To(7));
    assert_eq!(scene.gone(BOB, &[]), 0);
    assert_eq!((scene.done(), scene.calls.live()), (vec![], 1));
    assert_eq!(scene.gone(7, &[agent("bob")]), 1);
}

#[test]
fn a_call_whose_session_is_not_refreshed_is_dead_and_one_that_is_lives() {
    let mut scene = scene();
    scene.request(&invite(1), ALICE, BOB);
    scene.response(&answer_with(&invite(1), 200, "b", "Session-Expires: 90;refresher=uas\r\n"), Some(BOB));
    scene.done();
    scene.wait(Duration::from_secs(80));
    let refresh = within("UPDATE", Side::Callee, "b", 1, "");
    scene.request(&refresh, BOB, ALICE);
    scene.response(&answer_with(&refresh, 200, "", "x: 90\r\n"), Some(ALICE));
    scene.wait(Duration::from_secs(80));
    // Something else than a refresh does not lengthen the session.
    scene.request(&within("INFO", Side::Callee, "b", 2, ""), BOB, ALICE);
    assert_eq!(scene.done(), []);
    scene.wait(Duration::from_secs(43));
    let done = scene.done();
    assert_eq!((ended(&done), sent(&done).len()), (vec![(CallCause::Expired, CallBy::Server)], 0));
}

#[test]
fn a_session_timer_that_the_other_side_does_not_know_kills_no_call() {
    for status in [405, 501] {
        let mut scene = scene();
        scene.request(&invite(1), ALICE, BOB);
        let answer = answer_with(&invite(1), 200, "b", "Session-Expires: 90;refresher=uas\r\n");
        scene.response(&answer, Some(BOB));
        scene.wait(Duration::from_secs(45));
        let refresh = within("UPDATE", Side::Callee, "b", 1, "");
        scene.request(&refresh, BOB, ALICE);
        scene.response(&answer_with(&refresh, status, "", ""), Some(ALICE));
        scene.done();
        scene.wait(settings().silence - Duration::from_secs(1));
        assert_eq!((scene.done(), scene.calls.live()), (vec![], 1), "{status}");
    }
}

#[test]
fn a_call_without_session_timer_that_nothing_is_heard_of_is_dead() {
    let mut scene = scene();
    scene.call();
    scene.wait(settings().silence - Duration::from_secs(1));
    scene.request(&within("INFO", Side::Caller, "b", 2, ""), ALICE, BOB);
    scene.wait(settings().silence - Duration::from_secs(1));
    assert_eq!(scene.done(), []);
    scene.wait(Duration::from_secs(1));
    assert_eq!(ended(&scene.done()), [(CallCause::Expired, CallBy::Server)]);
    scene.request(&invite(5), ALICE, BOB);
    scene.wait(settings().ringing);
    assert_eq!(ended(&scene.done()), [(CallCause::NoAnswer, CallBy::Server)]);
}

#[test]
fn who_takes_the_place_of_a_call_reaches_the_one_who_has_it() {
    let mut scene = scene();
    scene.call();
    let found = |scene: &crate::fake_node::Scene, uri: &str, tags: &str| {
        let invite = invite(1)
            .replace("INVITE sip:bob@x", &format!("INVITE {uri}"))
            .replace("User-Agent: paper", &format!("Replaces: call-1 ;{tags}"));
        scene
            .calls
            .replaced(&Message::parse(invite.as_bytes()).unwrap())
            .map(|replaced| (replaced.aor, replaced.hop))
    };
    let bob = "sip:bob-device@bob.invalid;transport=ws";
    let alice = "sip:alice-device@ALICE.invalid;transport=ws";
    // His tag is the to-tag, whether he called or was called; he is named by his Contact, or by his address.
    assert_eq!(found(&scene, bob, "to-tag=b;from-tag=a"), Some(("bob@x".to_owned(), Some(BOB))));
    assert_eq!(
        found(&scene, "sip:bob@x", "From-Tag=a; to-tag=b;early-only"),
        Some(("bob@x".to_owned(), Some(BOB)))
    );
    assert_eq!(found(&scene, alice, "to-tag=a;from-tag=b"), Some(("alice@x".to_owned(), Some(ALICE))));
    // Somebody else's name, another dialog, or half a dialog are nobody's.
    for (uri, tags) in [
        (alice, "to-tag=b;from-tag=a"),
        ("sip:eve@x", "to-tag=b;from-tag=a"),
        (bob, "to-tag=b;from-tag=c"),
        (bob, "to-tag=b"),
    ] {
        assert_eq!(found(&scene, uri, tags), None, "{uri} {tags}");
    }
    // He came back on another flow, or is away.
    scene.gone(BOB, &[agent("bob")]);
    assert_eq!(found(&scene, bob, "to-tag=b;from-tag=a"), Some(("bob@x".to_owned(), None)));
    scene.back(&agent("bob"), 7);
    assert_eq!(found(&scene, bob, "to-tag=b;from-tag=a"), Some(("bob@x".to_owned(), Some(7))));
}

#[test]
fn a_full_ledger_or_table_lets_calls_pass_untracked() {
    let mut scene = Scene::new(sip_dialog::Settings { most: 1, ..settings() });
    scene.writer.full = true;
    scene.request(&invite(1), ALICE, BOB);
    scene.response(&answer(&invite(1), 200, "b"), Some(BOB));
    assert_eq!((scene.done(), scene.calls.untracked()), (vec![], 1));
    assert_eq!(way(&scene, &within("BYE", Side::Caller, "b", 2, ""), BOB, ALICE), RouteOutcome::Unknown);
    scene.writer.full = false;
    scene.call();
    scene.request(&invite(3).replace("call-1", "call-2"), ALICE, BOB);
    assert_eq!((scene.done(), scene.calls.untracked(), scene.calls.live()), (vec![], 2, 1));
}

#[test]
fn an_invite_that_comes_by_again_is_not_another_call() {
    let mut scene = scene();
    scene.request(&invite(1), ALICE, 5);
    scene.request(&invite(1), 5, BOB);
    scene.response(&answer(&invite(1), 200, "b"), Some(BOB));
    scene.response(&answer(&invite(1), 200, "b"), Some(5));
    assert_eq!(scene.done(), [Done::Started(1), Done::Answered(1)]);
}

#[test]
fn the_way_to_others_behind_is_kept() {
    let mut scene = scene();
    let invite = invite(1).replace("Contact:", "Record-Route: <sip:near.up;lr>, <sip:far.up;lr>\r\nContact:");
    scene.request(&invite, ALICE, BOB);
    let routes = "Record-Route: <sip:far.down;lr>, <sip:near.down;lr>, <sip:ours1;lr>, <sip:ours2;lr>, <sip:near.up;lr>, <sip:far.up;lr>\r\n";
    scene.response(&answer_with(&invite, 200, "b", routes), Some(BOB));
    scene.gone(9, &[]);
    scene.done();
    scene.gone(ALICE, &[]);
    let done = scene.done();
    assert!(sent(&done)[0].1.contains("\r\nRoute: <sip:near.down;lr>, <sip:far.down;lr>\r\n"), "{done:?}");
    scene.request(&invite, ALICE, BOB);
    scene.response(&answer_with(&invite, 200, "b", routes), Some(BOB));
    scene.done();
    scene.gone(BOB, &[]);
    let done = scene.done();
    assert!(sent(&done)[0].1.contains("\r\nRoute: <sip:near.up;lr>, <sip:far.up;lr>\r\n"), "{done:?}");
}

#[test]
fn the_end_of_the_process_ends_every_call_and_sends_nothing() {
    let mut scene = scene();
    scene.call();
    scene.request(&invite(1).replace("call-1", "call-2"), ALICE, BOB);
    scene.done();
    let now = scene.now();
    scene.calls.end_all(&mut scene.writer, CallCause::Shutdown, Farewell::Silence, now);
    let done = scene.done();
    assert_eq!(ended(&done), [(CallCause::Shutdown, CallBy::Server); 2]);
    assert_eq!((sent(&done).len(), scene.calls.next_due()), (0, None));
    // Unless they are to be told.
    scene.call();
    scene.calls.hop_shut(&mut scene.writer, ALICE, CallCause::Shutdown, Farewell::Bye, now);
    let done = scene.done();
    assert_eq!(ended(&done), [(CallCause::Shutdown, CallBy::Server)]);
    assert!(matches!(&sent(&done)[..], [(BOB, _)]), "{done:?}");
    assert!(scene.calls.is_empty());
}

/// Why a user agent hung up (RFC 3326) stands in the record of the call.
#[test]
fn the_reason_of_a_bye_is_the_reason_of_the_end() {
    let mut scene = scene();
    scene.call();
    scene.done();
    let reason = "Q.850;cause=16;text=\"Terminated\"";
    let bye = within("BYE", Side::Caller, "b", 2, "")
        .replace("Content-Length", &format!("Reason: {reason}\r\nContent-Length"));
    scene.request(&bye, ALICE, BOB);
    scene.response(&answer(&bye, 200, ""), Some(BOB));
    let done = scene.done();
    let Done::Ended(_, end) = &done[0] else { panic!("{done:?}") };
    assert_eq!(end.reason.as_ref().map(lifecycle::Text::as_str), Some(reason));
}

/// CSeq is below 2^31 (RFC 3261 §8.1.1.5), also in a BYE of ours to a peer that is at the very top.
#[test]
fn a_bye_of_ours_never_has_too_large_a_cseq() {
    const TOP: u32 = (1 << 31) - 1;
    for (cseq, expected) in [(TOP - 2, TOP - 1), (TOP - 1, TOP), (TOP, TOP)] {
        let mut scene = scene();
        scene.request(&invite(cseq), ALICE, BOB);
        scene.response(&answer(&invite(cseq), 200, "b"), Some(BOB));
        scene.done();
        let now = scene.now();
        scene.calls.hop_shut(&mut scene.writer, ALICE, CallCause::Shutdown, Farewell::Bye, now);
        let done = scene.done();
        let byes = sent(&done);
        assert!(
            byes.iter().any(|(hop, bye)| *hop == BOB && bye.contains(&format!("CSeq: {expected} BYE\r\n"))),
            "{byes:?}"
        );
    }
}

#[test]
fn a_user_agent_knows_its_address_of_record() {
    assert_eq!(agent("bob").aor(), "bob@x");
}
