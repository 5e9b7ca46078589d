//! Who comes back to a call: the user agent that was in it, and nobody else.

use std::time::Duration;

use lifecycle::{CallBy, CallCause};
use sip_dialog::{RouteOutcome, Side};
use sip_message::Message;

use crate::fake_node::{
    ALICE, BOB, Done, HOLD, Scene, agent, answer, device, ended, invite, sent, settings, within,
};

/// Bob's other phone.
const OTHER: u8 = 3;

/// Where a request of Alice's to Bob leads.
fn way(scene: &Scene) -> RouteOutcome<u8> {
    let info = within("INFO", Side::Caller, "b", 90, "");
    scene.calls.way(&Message::parse(info.as_bytes()).unwrap(), BOB, ALICE, |one, other| one == other)
}

/// Alice is in a call with Bob's phone that has this Contact.
fn call_with(contact: &str) -> Scene {
    let mut scene = Scene::new(settings());
    scene.request(&invite(1), ALICE, BOB);
    let answered = answer(&invite(1), 200, "b");
    scene.response(&answered.replace("sip:bob-device@bob.invalid;transport=ws", contact), Some(BOB));
    scene.done();
    scene
}

const DESK: &str = "sip:bob@10.0.0.1:5060";

#[test]
fn a_call_does_not_go_to_another_phone_of_the_same_user() {
    let desk = device("bob@x", DESK, None, "r1");
    for other in ["sip:bob@10.0.0.2:5060", "sip:bob@10.0.0.1:5062", "sip:other@10.0.0.1:5060"] {
        let mut scene = call_with(DESK);
        scene.gone(BOB, std::slice::from_ref(&desk));
        scene.back(&device("bob@x", other, None, "r2"), OTHER);
        assert_eq!(way(&scene), RouteOutcome::Held, "{other}");
        scene.wait(HOLD);
        let done = scene.done();
        assert_eq!(ended(&done), [(CallCause::FlowLost, CallBy::Callee)], "{other}");
        assert!(matches!(&sent(&done)[..], [(ALICE, _)]), "{done:?}");
    }
    // The phone itself: on another port, as its registration goes on; or switched off and on.
    for (contact, call_id) in [("sip:bob@10.0.0.1:49152", "r1"), (DESK, "r2")] {
        let mut scene = call_with(DESK);
        scene.gone(BOB, std::slice::from_ref(&desk));
        scene.back(&device("bob@x", contact, None, call_id), OTHER);
        assert_eq!(way(&scene), RouteOutcome::To(OTHER), "{contact}");
    }
}

#[test]
fn a_flow_that_stands_keeps_its_call_when_another_phone_registers_the_same_contact() {
    let (one, two) = (device("bob@x", DESK, None, "r1"), device("bob@x", DESK, None, "r2"));
    let mut scene = call_with(DESK);
    scene.calls.moved(&one, &two, &[], BOB, OTHER);
    assert_eq!(way(&scene), RouteOutcome::To(BOB));
    // When it ends there is no registration of it any more, and it is waited for all the same.
    assert_eq!(scene.gone(BOB, &[]), 1);
    assert_eq!((way(&scene), scene.done()), (RouteOutcome::Held, vec![]));
    scene.back(&device("bob@x", "sip:bob@10.0.0.7:5060", None, "r1"), 7);
    assert_eq!(way(&scene), RouteOutcome::To(7));
}

#[test]
fn of_two_phones_on_one_connection_only_the_one_that_moves_takes_its_call_along() {
    let second = "sip:bob@10.0.0.2:5060";
    let (one, two) = (device("bob@x", DESK, None, "r1"), device("bob@x", second, None, "r2"));
    let mut scene = call_with(second);
    scene.calls.moved(&one, &one, std::slice::from_ref(&two), BOB, OTHER);
    assert_eq!(way(&scene), RouteOutcome::To(BOB));
    scene.calls.moved(&two, &two, std::slice::from_ref(&one), BOB, OTHER);
    assert_eq!(way(&scene), RouteOutcome::To(OTHER));
    // And when the connection ends, the one whose Contact it is is waited for.
    let mut scene = call_with(second);
    scene.gone(BOB, &[one.clone(), two.clone()]);
    scene.back(&one, 7);
    assert_eq!(way(&scene), RouteOutcome::Held);
    scene.back(&two, 8);
    assert_eq!(way(&scene), RouteOutcome::To(8));
}

#[test]
fn who_speaks_in_the_call_over_the_flow_that_stands_has_it() {
    // A page was opened twice, and both have the same instance.
    let tab = |name: &str| {
        device("bob@x", &format!("sip:{name}@{name}.invalid;transport=ws"), Some("urn:uuid:1"), name)
    };
    let mut scene = Scene::new(settings());
    scene.call();
    scene.calls.moved(&tab("bob-device"), &tab("second"), &[], BOB, OTHER);
    assert_eq!(way(&scene), RouteOutcome::To(OTHER));
    scene.request(&within("INFO", Side::Callee, "b", 1, ""), BOB, ALICE);
    assert_eq!(way(&scene), RouteOutcome::To(BOB));
    assert_eq!(scene.gone(OTHER, &[tab("second")]), 0);
    assert_eq!((way(&scene), scene.done()), (RouteOutcome::To(BOB), vec![]));

    // The second closes and the first has not spoken: it stands, and has the call.
    let mut scene = Scene::new(settings());
    scene.call();
    scene.calls.moved(&tab("bob-device"), &tab("second"), &[], BOB, OTHER);
    assert_eq!(scene.gone(OTHER, &[tab("second")]), 1);
    assert_eq!(way(&scene), RouteOutcome::To(BOB));
    // It was the old connection of one page, and is over too.
    assert_eq!(scene.gone(BOB, &[]), 1);
    assert_eq!(way(&scene), RouteOutcome::Held);
    scene.back(&tab("third"), 8);
    assert_eq!(way(&scene), RouteOutcome::To(8));

    // The second knows nothing of the call: both the first and Alice are told, whoever asked.
    let mut scene = Scene::new(settings());
    scene.call();
    scene.calls.moved(&tab("bob-device"), &tab("second"), &[], BOB, OTHER);
    let info = within("INFO", Side::Caller, "b", 2, "");
    scene.request(&info, ALICE, OTHER);
    scene.response(&answer(&info, 481, ""), Some(OTHER));
    let done = scene.done();
    assert_eq!(ended(&done), [(CallCause::DialogLost, CallBy::Callee)]);
    let told: Vec<u8> = sent(&done).into_iter().map(|(hop, _)| hop).collect();
    assert_eq!(told, [ALICE, BOB]);
    assert!(scene.calls.is_empty());
}

#[test]
fn a_user_agent_that_knows_the_call_no_more_ends_it() {
    for method in ["INVITE", "UPDATE", "INFO", "MESSAGE", "REFER", "OPTIONS"] {
        for (status, told) in [(481, vec![BOB]), (408, vec![BOB, ALICE])] {
            let mut scene = Scene::new(settings());
            scene.call();
            let asked = within(method, Side::Callee, "b", 5, "");
            scene.request(&asked, BOB, ALICE);
            scene.response_to(BOB, &answer(&asked, status, ""), Some(ALICE));
            let done = scene.done();
            assert_eq!(ended(&done), [(CallCause::DialogLost, CallBy::Caller)], "{method} {status}");
            let Some(Done::Ended(_, end)) = done.iter().find(|done| matches!(done, Done::Ended(..))) else {
                panic!("{done:?}")
            };
            assert_eq!(end.reason.as_ref().map(lifecycle::Text::as_str), Some("Because"));
            let byes = sent(&done);
            assert_eq!(byes.iter().map(|(hop, _)| *hop).collect::<Vec<_>>(), told, "{method} {status}");
            assert!(byes[0].1.contains("Reason: SIP;cause=481"), "{byes:?}");
            assert!(scene.calls.is_empty());
        }
    }
}

#[test]
fn what_says_nothing_of_the_call_does_not_end_it() {
    let no_end = |method: &str, status: u16, by: Option<u8>| {
        let mut scene = Scene::new(settings());
        scene.call();
        let asked = within(method, Side::Caller, "b", 5, "");
        scene.request(&asked, ALICE, BOB);
        match by {
            Some(_) => scene.response(&answer(&asked, status, ""), by),
            None => scene.own(status, &asked),
        }
        assert_eq!((scene.done(), scene.calls.live()), (vec![], 1), "{method} {status}");
    };
    // A subscription is over, a PRACK came late, the request is not liked, or was answered by nobody.
    for method in ["NOTIFY", "SUBSCRIBE", "PRACK"] {
        no_end(method, 481, Some(BOB));
        no_end(method, 408, Some(BOB));
    }
    for status in [403, 405, 488, 491, 500, 501, 603] {
        no_end("INFO", status, Some(BOB));
        no_end("INVITE", status, Some(BOB));
    }
    no_end("INFO", 408, None);
    // With a BYE under way, that is what ends it.
    let mut scene = Scene::new(settings());
    scene.call();
    let (info, bye) = (within("INFO", Side::Caller, "b", 5, ""), within("BYE", Side::Callee, "b", 1, ""));
    scene.request(&info, ALICE, BOB);
    scene.request(&bye, BOB, ALICE);
    scene.response(&answer(&info, 481, ""), Some(BOB));
    assert_eq!(scene.done(), []);
    scene.response_to(BOB, &answer(&bye, 200, ""), Some(ALICE));
    assert_eq!(ended(&scene.done()), [(CallCause::Hangup, CallBy::Callee)]);
}

#[test]
fn a_page_that_comes_back_without_its_call_keeps_nobody_waiting() {
    let mut scene = Scene::new(settings());
    scene.call();
    scene.gone(BOB, &[agent("bob")]);
    scene.wait(Duration::from_secs(3));
    scene.back(&agent("bob"), 7);
    let hold = within("INVITE", Side::Caller, "b", 2, "v=0\r\nm=audio 9 RTP/AVP 0\r\na=sendonly\r\n");
    scene.request(&hold, ALICE, 7);
    scene.response(&answer(&hold, 481, ""), Some(7));
    let done = scene.done();
    assert_eq!(ended(&done), [(CallCause::DialogLost, CallBy::Callee)]);
    assert!(matches!(&sent(&done)[..], [(ALICE, _)]), "{done:?}");
    assert!(scene.calls.is_empty());
}

/// The hop before the last one is left for good: no entry of it stays when the call is over.
#[test]
fn a_device_that_moves_twice_leaves_nothing_behind() {
    let one = device("bob@x", DESK, None, "r1");
    let mut scene = call_with(DESK);
    scene.calls.moved(&one, &one, &[], BOB, OTHER);
    scene.calls.moved(&one, &one, &[], OTHER, 7);
    assert_eq!(way(&scene), RouteOutcome::To(7));
    scene.wait(settings().silence * 2);
    scene.wait(settings().hold * 2);
    assert!(scene.calls.is_empty(), "{:?}", scene.calls);
}
