//! Calls that are refused here before they go to anybody: each is one call, that was started and has ended.

use std::time::Duration;

use lifecycle::{CallBy, CallCause};
use sip_dialog::{Farewell, Refusal, Sent};
use sip_message::Message;

use crate::fake_node::{ALICE, BOB, Done, Hop, Scene, answer, ended, invite, settings};

const PBX: Hop = 5;

fn refused(scene: &mut Scene, text: &str, status: u16, (from, sent): (Hop, Sent)) -> Refusal {
    let (now, message) = (scene.now(), Message::parse(text.as_bytes()).unwrap());
    scene.calls.refused(&mut scene.writer, (status, "Because"), &message, (from, sent), now)
}

const USER: (Hop, Sent) = (ALICE, Sent::ByUserAgent);
const SERVER: (Hop, Sent) = (PBX, Sent::ByServer);

#[test]
fn a_call_that_is_refused_here_has_failed_with_what_its_caller_is_told() {
    for status in [403, 404, 480, 503] {
        let mut scene = Scene::new(settings());
        assert_eq!(refused(&mut scene, &invite(1), status, USER), Refusal::Written);
        let done = scene.done();
        let [Done::Started(1), Done::Ended(1, end)] = &done[..] else { panic!("{done:?}") };
        assert_eq!((end.cause, end.by, end.status), (CallCause::Failed, CallBy::Server, Some(status)));
        assert_eq!(end.reason.as_ref().map(lifecycle::Text::as_str), Some("Because"));
        assert!(scene.calls.is_empty());
    }
}

#[test]
fn one_that_comes_again_is_the_same_call_and_the_next_one_is_another() {
    let mut scene = Scene::new(settings());
    assert_eq!(refused(&mut scene, &invite(1), 403, USER), Refusal::Written);
    // Repeated over UDP, or by a proxy on another branch.
    for text in [invite(1), invite(1).replace("z9hG4bKINVITE1", "z9hG4bKother")] {
        assert_eq!(refused(&mut scene, &text, 403, USER), Refusal::Known);
    }
    assert_eq!(scene.done().len(), 2);
    assert_eq!(refused(&mut scene, &invite(2), 403, USER), Refusal::Written);
    assert_eq!(refused(&mut scene, &invite(2).replace("call-1", "call-2"), 403, USER), Refusal::Written);
    assert_eq!(scene.done().len(), 4);
    scene.wait(Duration::from_secs(32));
    assert_eq!(refused(&mut scene, &invite(1), 403, USER), Refusal::Written);
}

#[test]
fn what_is_known_as_a_call_is_no_other_one_when_a_part_of_it_is_refused() {
    // It came by a proxy behind again, for somebody who is not there.
    let mut scene = Scene::new(settings());
    scene.request(&invite(1), ALICE, PBX);
    assert_eq!(refused(&mut scene, &invite(1), 480, SERVER), Refusal::Known);
    scene.response(&answer(&invite(1), 200, "b"), Some(PBX));
    assert_eq!(scene.done(), [Done::Started(1), Done::Answered(1)]);
}

#[test]
fn a_server_may_send_it_elsewhere_and_then_it_has_not_failed() {
    let fork = |branch: &str| invite(1).replace("z9hG4bKINVITE1", branch);
    let mut scene = Scene::new(settings());
    assert_eq!(refused(&mut scene, &fork("z9hG4bK1"), 480, SERVER), Refusal::Written);
    scene.request(&fork("z9hG4bK2"), PBX, BOB);
    assert_eq!(refused(&mut scene, &fork("z9hG4bK3"), 480, SERVER), Refusal::Known);
    scene.wait(Duration::from_secs(60));
    scene.response_to(PBX, &answer(&fork("z9hG4bK2"), 200, "b"), Some(BOB));
    assert_eq!(scene.done(), [Done::Started(1), Done::Answered(1)]);

    // It does not: it has ended when it was refused.
    let mut scene = Scene::new(settings());
    let at = scene.now().unix_micros;
    refused(&mut scene, &fork("z9hG4bK1"), 480, SERVER);
    scene.wait(Duration::from_secs(2));
    let done = scene.done();
    assert_eq!(ended(&done), [(CallCause::Failed, CallBy::Server)]);
    assert!(matches!(done.last(), Some(Done::Ended(_, end)) if end.at == at && end.status == Some(480)));
    assert!(scene.calls.is_empty());

    // The process ends meanwhile, or the server's connection.
    let mut scene = Scene::new(settings());
    refused(&mut scene, &fork("z9hG4bK1"), 480, SERVER);
    let now = scene.now();
    scene.calls.end_all(&mut scene.writer, CallCause::Shutdown, Farewell::Silence, now);
    refused(&mut scene, &fork("z9hG4bK4").replace("CSeq: 1", "CSeq: 2"), 404, SERVER);
    scene.gone(PBX, &[]);
    assert_eq!(ended(&scene.done()), [(CallCause::Failed, CallBy::Server); 2]);
    assert!(scene.calls.is_empty());
}

#[test]
fn what_there_is_no_room_for_is_not_written_and_passes_for_no_call() {
    let mut scene = Scene::new(settings());
    scene.writer.full = true;
    assert_eq!(refused(&mut scene, &invite(1), 480, USER), Refusal::Unwritten);
    assert_eq!((scene.done(), scene.calls.untracked()), (vec![], 0));
    // As many as there may be are known, and no more.
    for call in 0..20_000 {
        let text = invite(1).replace("call-1", &format!("call-{call}"));
        assert_ne!(refused(&mut scene, &text, 480, USER), Refusal::Written);
    }
    assert!(scene.calls.is_empty());
}
