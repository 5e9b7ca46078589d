//! When a side was lost that has not come back: its talk ends there, and not with the hold.

use std::time::Duration;

use lifecycle::CallCause;
use sip_dialog::{Farewell, Side};

use crate::fake_node::{ALICE, BOB, Done, HOLD, Scene, agent, answer, invite, settings, within};

const SECOND: Duration = Duration::from_secs(1);

/// A call that was answered now.
fn call() -> Scene {
    let mut scene = Scene::new(settings());
    scene.call();
    scene
}

/// How the call ended, and how many seconds after its answer a side was lost, if one was.
fn lost(scene: &mut Scene) -> (CallCause, Option<u64>) {
    let answered = 1_000_000_000 + 2_000_000;
    let done = scene.done();
    let ends: Vec<_> = done
        .iter()
        .filter_map(|done| match done {
            Done::Ended(_, end) => {
                assert!(end.lost_at.is_none_or(|lost_at| lost_at <= end.at));
                Some((end.cause, end.lost_at.map(|at| (at - answered) / 1_000_000)))
            }
            _ => None,
        })
        .collect();
    let [end] = ends[..] else { panic!("{done:?}") };
    end
}

#[test]
fn talk_ends_when_a_side_is_lost_that_does_not_come_back() {
    for (hop, user) in [(ALICE, "alice"), (BOB, "bob")] {
        let mut scene = call();
        scene.wait(2 * SECOND);
        scene.gone(hop, &[agent(user)]);
        scene.wait(HOLD);
        assert_eq!(lost(&mut scene), (CallCause::FlowLost, Some(2)));
        // The other side hung up meanwhile, nothing was heard, or the process ended.
        let away = || {
            let mut scene = call();
            scene.wait(2 * SECOND);
            scene.gone(hop, &[agent(user)]);
            scene.wait(3 * SECOND);
            scene
        };
        let mut scene = away();
        let side = if hop == ALICE { Side::Callee } else { Side::Caller };
        scene.own(200, &within("BYE", side, "b", 2, ""));
        assert_eq!(lost(&mut scene), (CallCause::Hangup, Some(2)));
        let mut scene = away();
        let now = scene.now();
        scene.calls.hop_shut(&mut scene.writer, 3 - hop, CallCause::Shutdown, Farewell::Silence, now);
        assert_eq!(lost(&mut scene), (CallCause::Shutdown, Some(2)));
        // Nobody waits for it.
        let mut scene = call();
        scene.wait(2 * SECOND);
        scene.gone(hop, &[]);
        assert_eq!(lost(&mut scene), (CallCause::FlowLost, Some(2)));
    }
}

#[test]
fn who_comes_back_was_not_lost() {
    let mut scene = call();
    scene.wait(2 * SECOND);
    scene.gone(BOB, &[agent("bob")]);
    scene.wait(SECOND);
    scene.back(&agent("bob"), 7);
    scene.wait(SECOND);
    let bye = within("BYE", Side::Caller, "b", 2, "");
    scene.request(&bye, ALICE, 7);
    scene.response(&answer(&bye, 200, ""), Some(7));
    assert_eq!(lost(&mut scene), (CallCause::Hangup, None));
    // Lost again, it is lost since then.
    let mut scene = call();
    scene.gone(BOB, &[agent("bob")]);
    scene.back(&agent("bob"), 7);
    scene.wait(5 * SECOND);
    scene.gone(7, &[agent("bob")]);
    scene.wait(HOLD);
    assert_eq!(lost(&mut scene), (CallCause::FlowLost, Some(5)));
    // The process ends while it is there.
    let mut scene = call();
    scene.gone(BOB, &[agent("bob")]);
    scene.back(&agent("bob"), 7);
    let now = scene.now();
    scene.calls.hop_shut(&mut scene.writer, 7, CallCause::Shutdown, Farewell::Silence, now);
    assert_eq!(lost(&mut scene), (CallCause::Shutdown, None));
}

#[test]
fn who_comes_back_without_the_call_was_lost_when_it_went() {
    for method in ["INFO", "BYE"] {
        let mut scene = call();
        scene.wait(2 * SECOND);
        scene.gone(BOB, &[agent("bob")]);
        scene.wait(SECOND);
        scene.back(&agent("bob"), 7);
        scene.wait(60 * SECOND);
        let asked = within(method, Side::Caller, "b", 2, "");
        scene.request(&asked, ALICE, 7);
        scene.response(&answer(&asked, 481, ""), Some(7));
        let cause = if method == "BYE" { CallCause::Hangup } else { CallCause::DialogLost };
        assert_eq!(lost(&mut scene), (cause, Some(2)), "{method}");
    }
    // Once it has said something in the call, it has it.
    for own in [true, false] {
        let mut scene = call();
        scene.gone(BOB, &[agent("bob")]);
        scene.back(&agent("bob"), 7);
        let (side, from, to) = if own { (Side::Callee, 7, ALICE) } else { (Side::Caller, ALICE, 7) };
        let info = within("INFO", side, "b", 2, "");
        scene.request(&info, from, to);
        scene.response_to(from, &answer(&info, 200, ""), Some(to));
        let info = within("INFO", Side::Caller, "b", 3, "");
        scene.request(&info, ALICE, 7);
        scene.response(&answer(&info, 481, ""), Some(7));
        assert_eq!(lost(&mut scene), (CallCause::DialogLost, None));
    }
}

#[test]
fn of_two_sides_that_were_lost_the_first_one_counts_that_is_still_away() {
    let both = || {
        let mut scene = call();
        scene.wait(SECOND);
        scene.gone(ALICE, &[agent("alice")]);
        scene.wait(4 * SECOND);
        scene.gone(BOB, &[agent("bob")]);
        scene
    };
    let mut scene = both();
    scene.wait(HOLD);
    assert_eq!(lost(&mut scene), (CallCause::FlowLost, Some(1)));
    let mut scene = both();
    scene.back(&agent("alice"), 7);
    scene.wait(HOLD);
    assert_eq!(lost(&mut scene), (CallCause::FlowLost, Some(5)));
    let mut scene = both();
    scene.back(&agent("bob"), 7);
    scene.wait(HOLD);
    assert_eq!(lost(&mut scene), (CallCause::FlowLost, Some(1)));
}

#[test]
fn what_was_never_answered_has_no_talk_to_end() {
    let mut scene = Scene::new(settings());
    scene.request(&invite(1), ALICE, BOB);
    scene.gone(ALICE, &[agent("alice")]);
    assert_eq!(lost(&mut scene), (CallCause::FlowLost, None));
}
