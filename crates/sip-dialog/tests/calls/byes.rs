//! A BYE of ours is the next request of the side that it speaks for: in number, to where the other side is,
//! along its routes.

use std::time::Duration;

use sip_dialog::Side;
use sip_message::{HeaderId, Message};

use crate::fake_node::{
    ALICE, BOB, HOLD, Hop, Scene, agent, answer, answer_with, invite, sent, settings, within,
};

const RELIABLE: &str = "Require: 100rel\r\nRSeq: 1\r\n";
const BOBS: &str = "sip:bob-device@bob.invalid;transport=ws";
const ALICES: &str = "sip:alice-device@alice.invalid;transport=ws";

/// The one BYE that was sent: to whom, its number and its Request-URI.
fn bye(scene: &mut Scene) -> (Hop, u32, String) {
    let byes = sent(&scene.done());
    let [(hop, bye)] = &byes[..] else { panic!("{byes:?}") };
    let bye = Message::parse(bye.as_bytes()).unwrap();
    let uri = String::from_utf8(bye.request_uri_bytes().unwrap().to_vec()).unwrap();
    (*hop, bye.cseq().unwrap().number, uri)
}

/// One side is lost for good; the BYE that the other one gets.
fn lost(scene: &mut Scene, side: Side) -> (Hop, u32, String) {
    let (hop, user) = if side == Side::Caller { (ALICE, "alice") } else { (BOB, "bob") };
    scene.done();
    scene.gone(hop, &[agent(user)]);
    scene.wait(HOLD);
    bye(scene)
}

fn with_contact(text: &str, contact: &str) -> String {
    let (before, rest) = text.split_once("Contact: <").unwrap();
    format!("{before}Contact: <{contact}{}", &rest[rest.find('>').unwrap()..])
}

/// INVITE 10, a reliable 183, PRACK 11, UPDATEs of both sides, 200.
fn early(scene: &mut Scene) {
    let invite = invite(10);
    scene.request(&invite, ALICE, BOB);
    scene.response(&answer_with(&invite, 183, "b", RELIABLE), Some(BOB));
    let prack = within("PRACK", Side::Caller, "b", 11, "");
    scene.request(&prack, ALICE, BOB);
    scene.response(&answer(&prack, 200, ""), Some(BOB));
    let update = within("UPDATE", Side::Caller, "b", 12, "");
    scene.request(&update, ALICE, BOB);
    scene.response(&answer(&update, 200, ""), Some(BOB));
    let update = within("UPDATE", Side::Callee, "b", 70, "");
    scene.request(&update, BOB, ALICE);
    scene.response_to(BOB, &answer(&update, 500, ""), Some(ALICE));
    scene.response(&answer(&invite, 200, "b"), Some(BOB));
}

#[test]
fn its_number_is_above_every_request_of_that_side_before_the_answer_too() {
    for (side, number) in [(Side::Caller, 13), (Side::Callee, 71)] {
        let mut scene = Scene::new(settings());
        early(&mut scene);
        assert_eq!(lost(&mut scene, side).1, number);
    }
    // And behind the answer, whatever became of the request, and whether it was one that came late.
    for (side, number) in [(Side::Caller, 31), (Side::Callee, 81)] {
        let mut scene = Scene::new(settings());
        early(&mut scene);
        let (first, hop) = if side == Side::Caller { (30, ALICE) } else { (80, BOB) };
        for cseq in [first, first - 5] {
            let info = within("INFO", side, "b", cseq, "");
            scene.request(&info, hop, 3 - hop);
            scene.response_to(hop, &answer(&info, 488, ""), Some(3 - hop));
        }
        assert_eq!(lost(&mut scene, side).1, number);
    }
    // A callee that has said nothing begins at one.
    let mut scene = Scene::new(settings());
    scene.call();
    assert_eq!(lost(&mut scene, Side::Callee).1, 1);
}

#[test]
fn each_early_dialog_has_numbers_of_its_own() {
    let mut scene = Scene::new(settings());
    scene.request(&invite(10), ALICE, BOB);
    scene.request(&invite(10), ALICE, 3);
    for (tag, hop, prack, update) in [("b", BOB, 11, 7), ("c", 3, 21, 900)] {
        scene.response(&answer_with(&invite(10), 183, tag, RELIABLE), Some(hop));
        scene.request(&within("PRACK", Side::Caller, tag, prack, ""), ALICE, hop);
        scene.request(&within("UPDATE", Side::Callee, tag, update, ""), hop, ALICE);
    }
    scene.response(&answer(&invite(10), 200, "b"), Some(BOB));
    let mut other = Scene::new(settings());
    std::mem::swap(&mut scene, &mut other);
    assert_eq!(lost(&mut other, Side::Caller), (BOB, 12, BOBS.to_owned()));

    // So many that they are not told apart: it is above all of them.
    let mut scene = Scene::new(settings());
    scene.request(&invite(10), ALICE, BOB);
    for tag in 0..40 {
        scene.request(&within("PRACK", Side::Caller, &format!("t{tag}"), 100 + tag, ""), ALICE, BOB);
    }
    scene.response(&answer(&invite(10), 200, "t39"), Some(BOB));
    scene.done();
    scene.gone(ALICE, &[]);
    assert_eq!(bye(&mut scene).1, 140);
}

#[test]
fn it_goes_to_where_the_other_side_said_last_that_it_is() {
    // Each side moves its Contact by a request that is accepted, and by its answer to one.
    for method in ["INVITE", "UPDATE", "SUBSCRIBE", "NOTIFY", "REFER"] {
        let moved = |by: Side, status: u16| {
            let mut scene = Scene::new(settings());
            scene.call();
            let (hop, other) = if by == Side::Caller { (ALICE, BOB) } else { (BOB, ALICE) };
            let request = with_contact(&within(method, by, "b", 50, ""), "sip:new@asker");
            scene.request(&request, hop, other);
            let answer = with_contact(&answer(&request, status, ""), "sip:new@asked");
            scene.response_to(hop, &answer, Some(other));
            scene
        };
        for (by, other) in [(Side::Caller, Side::Callee), (Side::Callee, Side::Caller)] {
            assert_eq!(lost(&mut moved(by, 200), other).2, "sip:new@asker", "{method}");
            assert_eq!(lost(&mut moved(by, 200), by).2, "sip:new@asked", "{method}");
            // What was refused has changed nothing.
            let stays = if by == Side::Caller { (ALICES, BOBS) } else { (BOBS, ALICES) };
            assert_eq!(lost(&mut moved(by, 488), other).2, stays.0, "{method}");
            assert_eq!(lost(&mut moved(by, 488), by).2, stays.1, "{method}");
        }
    }
    // An INFO moves nobody.
    let mut scene = Scene::new(settings());
    scene.call();
    let info = with_contact(&within("INFO", Side::Caller, "b", 50, ""), "sip:new@asker");
    scene.request(&info, ALICE, BOB);
    scene.response(&answer(&info, 200, ""), Some(BOB));
    assert_eq!(lost(&mut scene, Side::Callee).2, ALICES);
}

#[test]
fn a_contact_that_moved_before_the_answer_counts() {
    let begun = |answered: &dyn Fn(&str) -> String| {
        let mut scene = Scene::new(settings());
        scene.request(&invite(10), ALICE, BOB);
        let ringing = answer_with(&invite(10), 183, "b", RELIABLE);
        scene.response(&with_contact(&ringing, "sip:early@bob"), Some(BOB));
        let update = with_contact(&within("UPDATE", Side::Caller, "b", 12, ""), "sip:moved@alice");
        scene.request(&update, ALICE, BOB);
        scene.response(&with_contact(&answer(&update, 200, ""), "sip:early@bob"), Some(BOB));
        scene.response(&answered(&answer(&invite(10), 200, "b")), Some(BOB));
        scene
    };
    assert_eq!(lost(&mut begun(&str::to_owned), Side::Callee).2, "sip:moved@alice");
    // The answer says where Bob is; if it does not, he has said it before.
    assert_eq!(lost(&mut begun(&str::to_owned), Side::Caller).2, BOBS);
    let silent = |text: &str| text.replace(&format!("Contact: <{BOBS}>\r\n"), "");
    assert_eq!(lost(&mut begun(&silent), Side::Caller).2, "sip:early@bob");
}

#[test]
fn its_routes_are_those_of_the_answer_and_of_the_way_that_it_came() {
    const PBX: Hop = 5;
    // By way of a proxy behind, which sends it back here: ours stand twice in it, and the proxy's between.
    let ours = |n: u8| format!("<sip:ours{n}a;lr>, <sip:ours{n}b;lr>");
    let again =
        invite(10).replace("Contact:", &format!("Record-Route: <sip:pbx;lr>, {}\r\nContact:", ours(1)));
    let all = format!("Record-Route: {}, <sip:pbx;lr>, {}\r\n", ours(2), ours(1));
    let mut scene = Scene::new(settings());
    scene.request(&invite(10), ALICE, PBX);
    scene.request(&again, PBX, BOB);
    // What rang had other routes: those of the answer count.
    let early = format!("Record-Route: <sip:early;lr>\r\n{RELIABLE}");
    scene.response_to(PBX, &answer_with(&again, 183, "b", &early), Some(BOB));
    scene.response_to(PBX, &answer_with(&again, 200, "b", &all), Some(BOB));
    scene.response(&answer_with(&invite(10), 200, "b", &all), Some(PBX));
    scene.done();
    scene.gone(ALICE, &[]);
    let byes = sent(&scene.done());
    let [(BOB, bye)] = &byes[..] else { panic!("{byes:?}") };
    let bye = Message::parse(bye.as_bytes()).unwrap();
    assert_eq!(bye.value(HeaderId::Route), None, "{byes:?}");
}

#[test]
fn no_bye_is_made_of_a_call_that_was_never_answered() {
    for first in [ALICE, BOB] {
        let mut scene = Scene::new(settings());
        scene.request(&invite(10), ALICE, BOB);
        scene.response(&answer_with(&invite(10), 183, "b", RELIABLE), Some(BOB));
        scene.request(&within("PRACK", Side::Caller, "b", 11, ""), ALICE, BOB);
        scene.gone(first, &[agent(if first == ALICE { "alice" } else { "bob" })]);
        scene.wait(Duration::from_secs(1));
        scene.gone(3 - first, &[]);
        scene.own(480, &invite(10));
        let done = scene.done();
        assert_eq!((sent(&done).len(), crate::fake_node::ended(&done).len()), (0, 1), "{done:?}");
        assert!(scene.calls.is_empty());
    }
}
