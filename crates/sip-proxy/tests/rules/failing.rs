//! Hops that are gone, silence, and answers that come too late (RFC 3261 §16.8, §16.9, RFC 4320, RFC 5626
//! §5.3).

use std::time::Duration;

use sip_proxy::{Alternative, Answer, Notice, SAME_SERVER, Target};
use sip_transaction::Timers;

use crate::fake_network::{
    RING_TIMEOUT, Stage, TIMER_C, hops, line, request, request_with, response, response_with, settings,
    target, values,
};

#[test]
fn targets_that_are_gone_are_answered_for_at_once() {
    for (targets, answer) in
        [(vec![2], "480 Temporarily Unavailable"), (vec![2, 3], "480 Temporarily Unavailable")]
    {
        for method in ["INVITE", "MESSAGE"] {
            let mut stage = Stage::new();
            stage.network.gone.extend([2, 3]);
            stage.user("bob", &targets);
            stage.receive(1, &request(method, "bob", "g"));
            assert_eq!(stage.lines(), [format!("1: {answer}")]);
            assert_eq!(stage.proxy.transactions().1, 0, "nothing waits for what was never sent");
            stage.settles();
        }
    }
}

#[test]
fn one_that_is_gone_gives_way_to_the_next() {
    let mut stage = Stage::new();
    stage.network.gone.extend([2, 3]);
    let at = |hop, q| Target { q, ..target(hop) };
    stage.user_at("bob", vec![at(2, 900), at(3, 800), at(4, 700)]);
    stage.receive(1, &request("INVITE", "bob", "g"));
    let fork = stage.pick(4, "INVITE");
    stage.receive(4, &response(&fork, 486, "Busy Here"));
    assert_eq!(stage.lines(), ["4: ACK sip:bob@edge.test", "1: 486 Busy Here"]);
    stage.settles();
}

#[test]
fn a_hop_between_elements_that_fails_is_a_500() {
    let mut stage = Stage::new();
    stage.network.gone.insert(60);
    stage.receive(1, &request_with("BYE", "sip:b@z.invalid", "b", "Route: <sip:h60.test;lr>\r\n"));
    assert_eq!(stage.lines(), ["1: 500 Server Internal Error"]);
    stage.settles();
}

#[test]
fn a_callee_whose_connection_ends_is_answered_for_at_once() {
    for (method, status) in [("INVITE", 180), ("INVITE", 0), ("MESSAGE", 0)] {
        let mut stage = Stage::new();
        stage.user("bob", &[2]);
        stage.receive(1, &request(method, "bob", "e"));
        let fork = stage.pick(2, method);
        if status > 0 {
            stage.receive(2, &response(&fork, status, "Ringing"));
            stage.sent();
        }
        stage.end(2);
        assert_eq!(stage.lines(), ["1: 480 Temporarily Unavailable"]);
        stage.settles();
    }
}

#[test]
fn a_flow_that_the_request_named_itself_fails_as_430_for_who_knows_outbound_and_as_480_for_others() {
    for (knows, told) in [(true, "430 Flow Failed"), (false, "480 Temporarily Unavailable")] {
        let route = "Route: <sip:f2@edge.test;lr>\r\n";
        let stage = || {
            let mut stage = Stage::new();
            stage.network.outbound.extend(knows.then_some(1));
            stage
        };
        // It ends meanwhile, is gone when the request comes, and is gone further on.
        let mut ends = stage();
        ends.receive(1, &request_with("BYE", "sip:b@z.invalid", "b", route));
        ends.one(2);
        ends.end(2);
        assert_eq!(ends.lines(), [format!("1: {told}")]);
        assert_eq!(ends.network.answered, [(430, 1, None)], "whoever follows calls hears why");
        ends.settles();
        let mut gone = stage();
        gone.network.gone.insert(2);
        gone.receive(
            1,
            &request_with("INFO", "sip:b@z.invalid", "b", &format!("{route}X: y\r\n"))
                .replace("To: <sip:b@z.invalid>", "To: <sip:b@z.invalid>;tag=b2"),
        );
        assert_eq!(gone.lines(), [format!("1: {told}")]);
        gone.settles();
        let mut further = stage();
        further.user("bob", &[2]);
        further.receive(1, &request("INVITE", "bob", "c"));
        let fork = further.pick(2, "INVITE");
        further.receive(2, &response(&fork, 430, "Flow Failed"));
        assert_eq!(further.lines(), ["2: ACK sip:bob@edge.test".to_owned(), format!("1: {told}")]);
        let status = if knows { (430, 1, Some(2)) } else { (480, 1, None) };
        assert_eq!(further.network.answered, [status]);
        further.settles();
    }
}

/// A server that is asked by two transports, and another one.
fn two_servers(first: u32, again: u32, other: u32) -> Target<u32> {
    let alternatives =
        [Alternative::Hop { hop: again, server: SAME_SERVER }, Alternative::Hop { hop: other, server: 1 }];
    Target { alternatives: alternatives.into_iter().collect(), ..target(first) }
}

/// RFC 3263 §4.3: another server after 503. It is the same call for the same server: phones that declined
/// would ring twice.
#[test]
fn a_server_that_has_answered_is_not_asked_again_by_another_transport() {
    for method in ["INVITE", "MESSAGE"] {
        let mut stage = Stage::new();
        stage.user_at("bob", vec![two_servers(2, 103, 4)]);
        stage.receive(1, &request(method, "bob", "s"));
        let fork = stage.pick(2, method);
        stage.receive(2, &response(&fork, 503, "Service Unavailable"));
        let fork = stage.pick(4, method);
        stage.receive(4, &response(&fork, 503, "Service Unavailable"));
        assert_eq!(stage.lines().last().map(String::as_str), Some("1: 500 Server Internal Error"));
        stage.settles();
        assert!(stage.sent().iter().all(|(hop, _)| *hop != 103));
        assert_eq!(stage.network.unavailable, [(2, None), (4, None)]);
        assert!(stage.network.failed.is_empty(), "that says nothing about other requests");
    }
    // The other way to it may stand anywhere in the list, seen from wherever the search has got.
    let alternatives =
        [(4, 7), (103, SAME_SERVER), (104, 7), (5, 2)].map(|(hop, server)| Alternative::Hop { hop, server });
    let mut stage = Stage::new();
    stage.user_at("bob", vec![Target { alternatives: alternatives.into_iter().collect(), ..target(2) }]);
    stage.receive(1, &request("INVITE", "bob", "l"));
    for hop in [2, 4, 5] {
        let fork = stage.pick(hop, "INVITE");
        stage.receive(hop, &response(&fork, 503, "Service Unavailable"));
    }
    assert_eq!(stage.lines(), ["5: ACK sip:bob@edge.test", "1: 500 Server Internal Error"]);
    stage.settles();
}

/// RFC 3261 §18.1.1.
#[test]
fn the_same_server_is_asked_by_another_transport_if_it_cannot_be_reached_by_the_first() {
    let mut stage = Stage::new();
    stage.network.gone.insert(2);
    stage.user_at("bob", vec![two_servers(2, 103, 4)]);
    stage.receive(1, &request("INVITE", "bob", "g"));
    let fork = stage.pick(103, "INVITE");
    stage.receive(103, &response(&fork, 486, "Busy Here"));
    assert_eq!(stage.lines(), ["103: ACK sip:bob@edge.test", "1: 486 Busy Here"]);
    stage.settles();
    // Its connection ends, with and without a sign that it has the request.
    for (heard, next) in [(0, 103), (100, 4)] {
        let mut stage = Stage::new();
        stage.user_at("bob", vec![two_servers(2, 103, 4)]);
        stage.receive(1, &request("INVITE", "bob", "e"));
        let fork = stage.pick(2, "INVITE");
        if heard > 0 {
            stage.receive(2, &response(&fork, heard, "Trying"));
        }
        stage.end(2);
        let fork = stage.pick(next, "INVITE");
        stage.receive(next, &response(&fork, 200, "OK"));
        assert_eq!(stage.lines(), ["1: 200 OK"], "{heard}");
        stage.settles();
    }
    // One that is silent may have it.
    let mut stage = Stage::new();
    stage.network.patience = Some(Duration::from_secs(4));
    stage.user_at("bob", vec![two_servers(2, 103, 4)]);
    stage.receive(1, &request("INVITE", "bob", "t"));
    stage.sent();
    stage.pass(Duration::from_secs(5));
    let fork = stage.pick(4, "INVITE");
    stage.receive(4, &response(&fork, 200, "OK"));
    stage.sent();
    stage.settles();
    assert!(stage.sent().iter().all(|(hop, _)| *hop != 103));
}

#[test]
fn where_a_phone_has_rung_no_other_server_is_asked() {
    for status in [180, 183, 199] {
        for ends in [true, false] {
            let mut stage = Stage::new();
            stage.user_at("bob", vec![two_servers(2, 103, 4)]);
            stage.receive(1, &request("INVITE", "bob", "r"));
            let fork = stage.pick(2, "INVITE");
            stage.receive(2, &response(&fork, status, "So Far"));
            stage.sent();
            if ends {
                stage.end(2);
                assert_eq!(stage.lines(), ["1: 480 Temporarily Unavailable"]);
            } else {
                stage.receive(
                    2,
                    &response_with(
                        &fork,
                        503,
                        "Service Unavailable",
                        "Retry-After: 7 (later);duration=9\r\n",
                    ),
                );
                let sent = stage.sent();
                assert_eq!(line(&sent[1].1), "500 Server Internal Error");
                assert_eq!(values(&sent[1].1, "Retry-After"), ["7"], "when it may be tried again goes along");
                assert_eq!(stage.network.unavailable, [(2, Some(7))]);
            }
            stage.settles();
            assert!(stage.sent().iter().all(|(hop, _)| ![103, 4].contains(hop)), "{status}");
        }
    }
}

/// RFC 3261 §16.7 step 6: a 503 goes on if we know that nobody else can serve what comes next, and else is a
/// 500.
#[test]
fn a_503_goes_to_the_caller_if_nobody_is_left_to_serve_what_comes_next() {
    let asked = |again: Option<u32>, more: Option<&str>| {
        let mut stage = Stage::new();
        stage.network.out_of_service.extend(again.map(|seconds| (2, seconds)));
        stage.user_at("bob", vec![Target { when_gone: 503, ..target(2) }]);
        stage.receive(1, &request("MESSAGE", "bob", "u"));
        let fork = stage.one(2);
        match more {
            Some(more) => stage.receive(2, &response_with(&fork, 503, "In An Hour", more)),
            None => stage.end(2),
        }
        let answer = stage.one(1);
        stage.settles();
        let waits: Vec<String> = values(&answer, "Retry-After").into_iter().map(str::to_owned).collect();
        (line(&answer), waits.concat())
    };
    let is = |line: &str, wait: &str| (line.to_owned(), wait.to_owned());
    assert_eq!(asked(None, None), is("500 Server Internal Error", ""));
    assert_eq!(asked(None, Some("")), is("500 Server Internal Error", ""));
    assert_eq!(asked(Some(5), None), is("503 Service Unavailable", "5"));
    assert_eq!(asked(Some(60), Some("Retry-After: 3600\r\n")), is("503 In An Hour", "3600"));
}

#[test]
fn a_datagram_that_comes_back_fails_its_request_at_once_and_no_other() {
    for (method, when_gone, told) in
        [("INVITE", 480, "480 Temporarily Unavailable"), ("REGISTER", 503, "503 Service Unavailable")]
    {
        let mut stage = Stage::new();
        stage.network.out_of_service.insert(102, 5);
        stage.user_at("bob", vec![Target { when_gone, ..target(102) }]);
        stage.receive(1, &request(method, "bob", "i"));
        let fork = stage.pick(102, method);
        let quoted = &fork[..fork.find("\r\nMax-Forwards").unwrap()];
        // Who has not seen the request does not know its branch; what is cut off before it tells nothing.
        let at = quoted.find("z9hG4bKsw").unwrap();
        for wrong in [
            quoted.replace("z9hG4bKsw", "z9hG4bKsw0"),
            quoted[..at + 20].to_owned(),
            quoted.replace(method, "ACK"),
            String::new(),
        ] {
            stage.come_back(102, &wrong);
        }
        stage.come_back(103, quoted);
        assert!(stage.sent().is_empty() && stage.network.unreachable.is_empty());
        stage.come_back(102, quoted);
        assert_eq!((stage.lines(), &stage.network.unreachable), (vec![format!("1: {told}")], &vec![102]));
        stage.come_back(102, quoted);
        assert!(stage.sent().is_empty());
        stage.settles();
    }
    // There may be somebody else.
    let mut stage = Stage::new();
    stage.user_at("bob", vec![two_servers(102, 3, 4)]);
    stage.receive(1, &request("INVITE", "bob", "n"));
    let fork = stage.pick(102, "INVITE");
    stage.come_back(102, &fork[..600.min(fork.len())]);
    let fork = stage.pick(3, "INVITE");
    stage.receive(3, &response(&fork, 200, "OK"));
    assert_eq!(stage.lines(), ["1: 200 OK"]);
    stage.settles();
}

#[test]
fn a_server_is_heard_of_once_for_each_request() {
    let mut stage = Stage::new();
    stage.user("bob", &[2]);
    stage.receive(1, &request("INVITE", "bob", "h"));
    let fork = stage.pick(2, "INVITE");
    for status in [100, 180, 486] {
        stage.receive(2, &response(&fork, status, "Said"));
    }
    assert_eq!(stage.network.heard, [2]);
    stage.settles();
}

#[test]
fn the_end_of_a_connection_concerns_only_its_own() {
    let mut stage = Stage::new();
    stage.user("bob", &[2, 3]);
    stage.receive(1, &request("INVITE", "bob", "e"));
    let third = stage.sent().into_iter().find(|(hop, _)| *hop == 3).unwrap().1;
    stage.end(2);
    assert!(stage.sent().is_empty());
    stage.receive(3, &response(&third, 200, "OK"));
    assert_eq!(stage.lines(), ["1: 200 OK"]);
    stage.end(3);
    stage.end(1);
    assert!(stage.sent().is_empty());
    stage.settles();
}

#[test]
fn a_sender_whose_connection_ended_is_not_answered() {
    let mut stage = Stage::new();
    stage.user("bob", &[2]);
    stage.receive(1, &request("MESSAGE", "bob", "e"));
    let fork = stage.one(2);
    stage.end(1);
    stage.receive(2, &response(&fork, 200, "OK"));
    assert!(stage.sent().is_empty());
    assert!(stage.network.attempts.is_empty());
    stage.settles();
}

#[test]
fn a_call_to_oneself_ends_with_the_connection() {
    let mut stage = Stage::new();
    stage.user("alice", &[1]);
    stage.receive(1, &request("INVITE", "alice", "e"));
    let fork = stage.sent().into_iter().find(|(_, text)| text.starts_with("INVITE")).unwrap().1;
    stage.receive(1, &response(&fork, 180, "Ringing"));
    stage.sent();
    stage.end(1);
    assert!(stage.sent().is_empty());
    stage.settles();
}

#[test]
fn an_invite_that_nobody_answers_is_408() {
    let mut stage = Stage::new();
    stage.user("bob", &[2]);
    stage.receive(1, &request("INVITE", "bob", "t"));
    stage.sent();
    stage.pass(Duration::from_secs(32));
    assert_eq!(stage.lines(), ["1: 408 Request Timeout"]);
    stage.settles();
}

#[test]
fn a_message_that_nobody_answers_is_told_to_wait_and_then_nothing() {
    let mut stage = Stage::new();
    stage.user("bob", &[2]);
    stage.receive(1, &request("MESSAGE", "bob", "t"));
    stage.sent();
    stage.pass(Duration::from_secs(4));
    assert_eq!(stage.lines(), ["1: 100 Trying"], "once Timer E has grown to T2 (RFC 4320 §4.1)");
    stage.settles();
    assert!(stage.sent().is_empty(), "never 408 (RFC 4320 §4.2)");
}

#[test]
fn whoever_follows_calls_hears_that_a_bye_stays_unanswered() {
    // By one who says nothing, and by a proxy that has given up itself.
    for (hop, answer) in [(2, None), (100, None), (2, Some(408)), (100, Some(408))] {
        let mut stage = Stage::new();
        let route = format!("Route: <sip:f{hop}@edge.test;lr>\r\n");
        stage.receive(1, &request_with("BYE", "sip:b@z.invalid", "b", &route));
        let bye = stage.pick(hop, "BYE");
        if let Some(status) = answer {
            stage.receive(hop, &response(&bye, status, "Request Timeout"));
        }
        stage.settles();
        assert!(stage.sent().iter().all(|(_, message)| !message.contains(" 408 ")), "never (RFC 4320 §4.2)");
        assert_eq!(stage.network.answered, [(408, 1, answer.map(|_| hop))]);
    }
}

/// Nothing final may be said of it (RFC 4320 §4.2), and a 100 must be (§4.1).
#[test]
fn a_408_to_a_message_is_not_passed_on_but_its_sender_is_told_to_wait() {
    for from in [1, 101] {
        let mut stage = Stage::new();
        stage.user("bob", &[2]);
        let message = request("MESSAGE", "bob", "t");
        stage.receive(from, &message);
        let fork = stage.one(2);
        stage.receive(2, &response(&fork, 408, "Request Timeout"));
        stage.pass(Duration::from_millis(3499));
        assert!(stage.sent().is_empty());
        stage.pass(Duration::from_millis(501));
        assert_eq!(stage.lines(), [format!("{from}: 100 Trying")]);
        stage.receive(from, &message);
        assert_eq!(stage.lines(), [format!("{from}: 100 Trying")], "to a repeat as well");
        stage.settles();
        assert!(stage.sent().is_empty());
        stage.receive(2, &response(&fork, 200, "OK"));
        assert!(stage.sent().is_empty());
        assert_eq!(stage.network.notices, [Notice::Repeat, Notice::StrayResponse]);
    }
}

#[test]
fn of_several_answers_to_a_message_a_408_is_the_worst() {
    for (status, answer) in [(404, "404 So"), (503, "500 Server Internal Error"), (603, "603 So")] {
        for timeout_first in [true, false] {
            let mut stage = Stage::new();
            stage.user("bob", &[2, 3]);
            stage.receive(1, &request("MESSAGE", "bob", "t"));
            let forks = stage.sent();
            let mut answers = [(0, 408), (1, status)];
            if !timeout_first {
                answers.reverse();
            }
            for (fork, status) in answers {
                let (hop, text) = &forks[fork];
                stage.receive(*hop, &response(text, status, "So"));
            }
            assert_eq!(stage.lines(), [format!("1: {answer}")]);
            stage.settles();
        }
    }
}

/// One hop was silent and had its turn taken by another, which timed out; then the first one answers after
/// all.
#[test]
fn a_success_that_comes_after_a_408_to_a_message_counts() {
    let mut stage = Stage::new();
    stage.network.patience = Some(Duration::from_secs(4));
    stage.user_at("bob", vec![Target { alternatives: hops(&[3]), ..target(2) }]);
    stage.receive(1, &request("MESSAGE", "bob", "s"));
    let first = stage.pick(2, "MESSAGE");
    stage.pass(Duration::from_secs(5));
    let second = stage.pick(3, "MESSAGE");
    stage.receive(3, &response(&second, 408, "Request Timeout"));
    assert!(stage.sent().is_empty());
    stage.receive(2, &response(&first, 200, "OK"));
    assert_eq!(stage.lines(), ["1: 200 OK"]);
    stage.settles();
}

#[test]
fn provisional_responses() {
    let mut stage = Stage::new();
    stage.user("bob", &[2]);
    stage.receive(1, &request("INVITE", "bob", "p"));
    let fork = stage.pick(2, "INVITE");
    for (status, up) in [(100, 0), (180, 1), (183, 1), (199, 1), (100, 0)] {
        stage.receive(2, &response(&fork, status, "So Far"));
        assert_eq!(stage.sent().len(), up, "{status}");
    }
    let mut stage = Stage::new();
    stage.user("bob", &[2]);
    stage.receive(1, &request("MESSAGE", "bob", "p"));
    let fork = stage.one(2);
    for status in [100, 180] {
        stage.receive(2, &response(&fork, status, "So Far"));
        assert!(stage.sent().is_empty(), "{status}: not for a MESSAGE (RFC 4320 §4.1)");
    }
    stage.receive(2, &response(&fork, 200, "OK"));
    assert_eq!(stage.lines(), ["1: 200 OK"]);
    stage.settles();
}

#[test]
fn it_may_ring_for_timer_c_after_each_sign_of_life() {
    let mut stage = Stage::new();
    stage.user("bob", &[2]);
    stage.receive(1, &request("INVITE", "bob", "c"));
    let fork = stage.pick(2, "INVITE");
    stage.receive(2, &response(&fork, 180, "Ringing"));
    stage.pass(TIMER_C - Duration::from_secs(1));
    stage.receive(2, &response(&fork, 180, "Ringing"));
    stage.pass(TIMER_C - Duration::from_secs(1));
    // 100 says nothing of the callee.
    stage.receive(2, &response(&fork, 100, "Trying"));
    stage.sent();
    stage.pass(Duration::from_secs(1));
    let cancel = stage.one(2);
    assert_eq!(values(&cancel, "Reason"), ["SIP;cause=408;text=\"Rang too long\""]);
    stage.receive(2, &response(&fork, 487, "Request Terminated"));
    assert_eq!(stage.lines(), ["2: ACK sip:bob@edge.test", "1: 408 Request Timeout"]);
    stage.settles();
}

#[test]
fn it_rings_no_longer_than_it_may_however_many_signs_of_life_there_are() {
    let mut stage = Stage::new();
    stage.user("bob", &[2]);
    stage.receive(1, &request("INVITE", "bob", "c"));
    let fork = stage.pick(2, "INVITE");
    stage.pass(Duration::from_secs(20));
    let mut rung = Duration::ZERO;
    let minute = Duration::from_secs(60);
    while rung + minute < RING_TIMEOUT {
        stage.receive(2, &response(&fork, 180, "Ringing"));
        assert_eq!(stage.lines(), ["1: 180 Ringing"], "after {rung:?}");
        stage.pass(minute);
        rung += minute;
    }
    stage.pass(RING_TIMEOUT - rung - Duration::from_secs(1));
    assert!(stage.sent().is_empty());
    stage.pass(Duration::from_secs(1));
    assert_eq!(stage.lines(), ["2: CANCEL sip:bob@edge.test"]);
    stage.receive(2, &response(&fork, 487, "Request Terminated"));
    assert_eq!(stage.lines(), ["2: ACK sip:bob@edge.test", "1: 408 Request Timeout"]);
    stage.settles();
}

#[test]
fn after_timer_c_the_next_target_has_its_turn() {
    let mut stage = Stage::new();
    stage.user_at("bob", vec![target(2), Target { q: 1, ..target(3) }]);
    stage.receive(1, &request("INVITE", "bob", "c"));
    let fork = stage.pick(2, "INVITE");
    stage.receive(2, &response(&fork, 180, "Ringing"));
    stage.pass(TIMER_C);
    stage.sent();
    // Not even the CANCEL is answered.
    stage.pass(Duration::from_secs(32));
    let next = stage.pick(3, "INVITE");
    stage.receive(3, &response(&next, 200, "OK"));
    assert_eq!(stage.lines(), ["1: 200 OK"]);
    stage.settles();
}

#[test]
fn a_timer_c_below_timer_b_gives_up_on_the_silent_and_cancels_them_when_they_wake() {
    let mut stage = Stage::with(sip_proxy::Settings { timer_c: Duration::from_secs(5), ..settings() });
    stage.user("bob", &[2]);
    stage.receive(1, &request("INVITE", "bob", "c"));
    let fork = stage.pick(2, "INVITE");
    stage.pass(Duration::from_secs(5));
    assert_eq!(stage.lines(), ["1: 408 Request Timeout"]);
    stage.receive(2, &response(&fork, 180, "Ringing"));
    assert_eq!(stage.lines(), ["2: CANCEL sip:bob@edge.test"]);
    stage.receive(2, &response(&fork, 487, "Request Terminated"));
    assert_eq!(stage.lines(), ["2: ACK sip:bob@edge.test"]);
    stage.settles();
}

#[test]
fn answers_that_cannot_be_given_become_a_500() {
    for answer in [
        Answer::new(183, "Too Early"),
        Answer::new(700, "Too Much"),
        Answer::new(404, "Line\r\nEnd"),
        Answer::new(404, "Not Found").header("X", "a\r\nb: c"),
    ] {
        let mut stage = Stage::new();
        stage.network.refusals.insert(b"bob".to_vec(), answer);
        stage.receive(1, &request("INVITE", "bob", "a"));
        assert_eq!(stage.lines(), ["1: 500 Server Internal Error"]);
        assert_eq!(stage.network.notices, [Notice::Unwritable]);
        stage.settles();
    }
}

#[test]
fn shorter_timers_are_kept() {
    let timers = Timers { t1: Duration::from_millis(100), ..Timers::default() };
    let mut stage = Stage::with(sip_proxy::Settings { timers, ..settings() });
    stage.user("bob", &[2]);
    stage.receive(1, &request("INVITE", "bob", "t"));
    stage.sent();
    stage.pass(Duration::from_millis(6400));
    assert_eq!(stage.lines(), ["1: 408 Request Timeout"]);
}

#[test]
fn a_place_is_reached_by_another_way_when_one_is_gone_ends_or_answers_503() {
    let mut stage = Stage::new();
    stage.network.gone.insert(2);
    stage.user_at("bob", vec![Target { alternatives: hops(&[3, 4, 5]), ..target(2) }]);
    stage.receive(1, &request("INVITE", "bob", "o"));
    let fork = stage.pick(3, "INVITE");
    stage.receive(3, &response(&fork, 503, "Service Unavailable"));
    stage.pick(4, "INVITE");
    stage.end(4);
    let fork = stage.pick(5, "INVITE");
    // What the place itself says is the answer.
    stage.receive(5, &response(&fork, 486, "Busy Here"));
    assert_eq!(stage.lines(), ["5: ACK sip:bob@edge.test", "1: 486 Busy Here"]);
    stage.settles();
}

#[test]
fn no_other_way_is_tried_for_a_caller_who_has_cancelled_nor_after_the_last() {
    let mut stage = Stage::new();
    stage.user_at("bob", vec![Target { alternatives: hops(&[3]), ..target(2) }]);
    stage.receive(1, &request("INVITE", "bob", "o"));
    let fork = stage.pick(2, "INVITE");
    stage.receive(2, &response(&fork, 180, "Ringing"));
    stage.receive(1, &request("CANCEL", "bob", "o"));
    stage.sent();
    stage.receive(2, &response(&fork, 503, "Service Unavailable"));
    assert_eq!(stage.lines(), ["2: ACK sip:bob@edge.test", "1: 487 Request Terminated"]);
    stage.settles();

    let mut stage = Stage::new();
    stage.user_at("bob", vec![Target { alternatives: hops(&[3]), ..target(2) }]);
    stage.receive(1, &request("MESSAGE", "bob", "p"));
    stage.pick(2, "MESSAGE");
    stage.end(2);
    stage.pick(3, "MESSAGE");
    stage.end(3);
    assert_eq!(stage.lines(), ["1: 480 Temporarily Unavailable"]);
    stage.settles();
}

#[test]
fn the_next_way_is_tried_when_one_gives_no_sign_of_life() {
    for (method, rings) in [("INVITE", true), ("MESSAGE", false)] {
        let mut stage = Stage::new();
        stage.network.patience = Some(Duration::from_secs(4));
        stage.user_at("bob", vec![Target { alternatives: hops(&[103]), ..target(102) }]);
        stage.receive(1, &request(method, "bob", "s"));
        let first = stage.pick(102, method);
        stage.pass(Duration::from_millis(3900));
        assert!(stage.sent().iter().all(|(hop, _)| *hop != 103));
        stage.pass(Duration::from_millis(200));
        assert_eq!(stage.network.failed, [102]);
        let second = stage.pick(103, method);
        // The first one wakes up.
        if rings {
            stage.receive(102, &response(&first, 180, "Ringing"));
            assert!(stage.lines().contains(&format!("102: {}", line(&first).replace("INVITE", "CANCEL"))));
        } else {
            stage.receive(102, &response(&first, 404, "Not Found"));
            assert!(stage.lines().is_empty(), "the other one may know better");
        }
        stage.receive(103, &response(&second, 200, "OK"));
        assert!(stage.lines().contains(&"1: 200 OK".to_owned()));
        // Both of them had 32 s.
        stage.settles();
    }
}

#[test]
fn a_sign_of_life_is_enough_and_so_is_being_the_only_one() {
    for (alternatives, trying) in [(vec![103], true), (vec![], false)] {
        let mut stage = Stage::new();
        stage.network.patience = Some(Duration::from_secs(4));
        stage.user_at("bob", vec![Target { alternatives: hops(&alternatives), ..target(102) }]);
        stage.receive(1, &request("INVITE", "bob", "s"));
        let first = stage.pick(102, "INVITE");
        if trying {
            stage.receive(102, &response(&first, 100, "Trying"));
        }
        stage.pass(Duration::from_secs(20));
        assert!(stage.sent().iter().all(|(hop, _)| *hop != 103));
        assert!(stage.network.failed.is_empty());
        stage.receive(102, &response(&first, 486, "Busy Here"));
        stage.settles();
    }
}
