//! Several targets, and which of their answers goes upstream (RFC 3261 §16.6, §16.7).

use sip_proxy::Target;

use crate::fake_network::{Stage, request, request_with, response, response_with, target, values, within};

fn at(hop: u32, q: u16) -> Target<u32> {
    Target { q, ..target(hop) }
}

fn forks(stage: &mut Stage, method: &str, hops: &[u32]) -> Vec<String> {
    stage.user("bob", hops);
    stage.receive(1, &request(method, "bob", "f"));
    stage.sent().into_iter().filter(|(hop, _)| hops.contains(hop)).map(|(_, text)| text).collect()
}

#[test]
fn the_best_failure_goes_upstream() {
    for (answers, best) in [
        (&[404, 486][..], 404),
        (&[486, 404], 486),
        (&[503, 404], 404),
        (&[500, 302], 302),
        (&[486, 302, 401], 302),
        (&[486, 401], 401),
        (&[603, 302], 603),
        (&[408, 486], 486),
        (&[480, 486], 486),
        (&[503, 500], 500),
        (&[503, 503], 500),
        (&[503], 500),
        (&[488], 488),
        (&[606, 600], 606),
    ] {
        let mut stage = Stage::new();
        let hops: Vec<u32> = (2..).take(answers.len()).collect();
        let forks = forks(&mut stage, "INVITE", &hops);
        for (nth, &status) in answers.iter().enumerate() {
            stage.receive(hops[nth], &response(&forks[nth], status, "Whatever"));
        }
        let up: Vec<_> = stage.lines().into_iter().filter(|line| line.starts_with("1: ")).collect();
        assert_eq!(up.len(), 1, "{answers:?}");
        assert!(up[0].starts_with(&format!("1: {best} ")), "{answers:?}: {up:?}");
        stage.settles();
    }
}

#[test]
fn a_success_goes_up_at_once_and_the_others_are_cancelled() {
    let mut stage = Stage::new();
    let forks = forks(&mut stage, "INVITE", &[2, 3, 4]);
    stage.receive(2, &response(&forks[0], 180, "Ringing"));
    stage.receive(3, &response(&forks[1], 180, "Ringing"));
    stage.sent();
    stage.receive(2, &response(&forks[0], 200, "OK"));
    let sent = stage.sent();
    assert_eq!(sent[0].0, 1);
    assert!(sent[0].1.starts_with("SIP/2.0 200 "));
    assert_eq!(sent[1].0, 3);
    assert_eq!(values(&sent[1].1, "Reason"), ["SIP;cause=200;text=\"Call completed elsewhere\""]);
    assert_eq!(sent.len(), 2, "4 said nothing yet");
    // One that rings late is cancelled then, and nobody hears of it.
    stage.receive(4, &response(&forks[2], 180, "Ringing"));
    assert_eq!(stage.lines(), ["4: CANCEL sip:bob@edge.test"]);
    stage.receive(4, &response(&forks[2], 487, "Request Terminated"));
    // Both took the call: the caller must know of both dialogs.
    stage.receive(3, &response(&forks[1], 200, "OK"));
    stage.receive(2, &response(&forks[0], 200, "OK"));
    assert_eq!(stage.lines(), ["4: ACK sip:bob@edge.test", "1: 200 OK", "1: 200 OK"]);
    stage.settles();
    stage.receive(2, &response(&forks[0], 200, "OK"));
    assert!(stage.sent().is_empty(), "its transactions have ended (RFC 6026 §7.3)");
}

#[test]
fn only_the_first_answer_to_a_message_counts() {
    let mut stage = Stage::new();
    let forks = forks(&mut stage, "MESSAGE", &[2, 3]);
    stage.receive(3, &response(&forks[1], 200, "OK"));
    assert_eq!(stage.lines(), ["1: 200 OK"]);
    stage.receive(2, &response(&forks[0], 200, "OK"));
    assert!(stage.sent().is_empty());
    stage.settles();
}

#[test]
fn a_6xx_ends_the_search_and_waits_for_the_others() {
    let mut stage = Stage::new();
    stage.user_at("bob", vec![at(2, 1000), at(3, 1000), at(4, 500)]);
    stage.receive(1, &request("INVITE", "bob", "s"));
    let sent = stage.sent();
    stage.receive(2, &response(&sent[0].1, 180, "Ringing"));
    stage.sent();
    stage.receive(3, &response(&sent[1].1, 603, "Decline"));
    assert_eq!(stage.lines(), ["3: ACK sip:bob@edge.test", "2: CANCEL sip:bob@edge.test"]);
    stage.receive(2, &response(&sent[0].1, 487, "Request Terminated"));
    assert_eq!(stage.lines(), ["2: ACK sip:bob@edge.test", "1: 603 Decline"], "4 is not tried");
    stage.settles();
}

#[test]
fn a_success_that_follows_a_6xx_wins() {
    let mut stage = Stage::new();
    let forks = forks(&mut stage, "INVITE", &[2, 3]);
    stage.receive(3, &response(&forks[1], 603, "Decline"));
    stage.sent();
    stage.receive(2, &response(&forks[0], 200, "OK"));
    assert_eq!(stage.lines(), ["1: 200 OK"]);
    stage.settles();
}

#[test]
fn targets_are_tried_by_q() {
    let mut stage = Stage::new();
    stage.user_at("bob", vec![at(4, 300), at(2, 900), at(5, 300), at(3, 600)]);
    stage.receive(1, &request("INVITE", "bob", "q"));
    let first = stage.pick(2, "INVITE");
    stage.receive(2, &response(&first, 486, "Busy Here"));
    let second = stage.pick(3, "INVITE");
    assert!(second.ends_with("\r\n\r\nhello\u{0}\r\n\r\nworld"), "the body goes along");
    stage.receive(3, &response(&second, 401, "Unauthorized"));
    let sent = stage.sent();
    assert_eq!(sent.iter().map(|(hop, _)| *hop).collect::<Vec<_>>(), [3, 4, 5]);
    for (hop, text) in &sent[1..] {
        stage.receive(*hop, &response(text, 404, "Not Found"));
    }
    assert_eq!(
        stage.lines(),
        ["4: ACK sip:bob@edge.test", "5: ACK sip:bob@edge.test", "1: 401 Unauthorized"]
    );
    stage.settles();
}

#[test]
fn a_cancel_ends_the_search() {
    let mut stage = Stage::new();
    stage.user_at("bob", vec![at(2, 900), at(3, 600)]);
    let invite = request("INVITE", "bob", "q");
    stage.receive(1, &invite);
    let first = stage.pick(2, "INVITE");
    stage.receive(2, &response(&first, 180, "Ringing"));
    stage.receive(1, &within("CANCEL", &invite, None));
    stage.sent();
    stage.receive(2, &response(&first, 486, "Busy Here"));
    assert_eq!(stage.lines(), ["2: ACK sip:bob@edge.test", "1: 487 Request Terminated"]);
    stage.settles();
}

#[test]
fn challenges_of_all_branches_are_gathered() {
    let mut stage = Stage::new();
    let forks = forks(&mut stage, "MESSAGE", &[2, 3, 4]);
    stage.receive(3, &response_with(&forks[1], 407, "Proxy", "Proxy-Authenticate: Digest realm=\"b\"\r\n"));
    stage.receive(2, &response_with(&forks[0], 401, "Who", "WWW-Authenticate: Digest\r\n realm=\"a\"\r\n"));
    stage.receive(4, &response(&forks[2], 404, "Not Found"));
    let answer = stage.one(1);
    assert!(answer.starts_with("SIP/2.0 407 "));
    assert_eq!(values(&answer, "Proxy-Authenticate"), ["Digest realm=\"b\""]);
    assert_eq!(values(&answer, "WWW-Authenticate"), ["Digest realm=\"a\""]);
    stage.settles();
}

#[test]
fn no_target_is_480() {
    for method in ["INVITE", "MESSAGE"] {
        let mut stage = Stage::new();
        stage.user("bob", &[]);
        stage.receive(1, &request(method, "bob", "n"));
        assert_eq!(stage.lines(), ["1: 480 Temporarily Unavailable"]);
        stage.settles();
    }
}

#[test]
fn a_request_becomes_no_broader_than_it_may() {
    for (more, hops, first, share) in [
        ("", 1, 1, None),
        ("", 3, 3, Some("20")),
        ("Max-Breadth: 5\r\n", 1, 1, Some("5")),
        ("Max-Breadth: 5\r\n", 2, 2, Some("2")),
        ("Max-Breadth: 2\r\n", 3, 2, Some("1")),
        ("Max-Breadth: 4000000000\r\n", 1, 1, Some("60")),
        ("Max-Breadth: many\r\n", 2, 2, Some("30")),
    ] {
        let mut stage = Stage::new();
        let targets: Vec<u32> = (2..).take(hops).collect();
        stage.user("bob", &targets);
        stage.receive(1, &request_with("MESSAGE", "bob", "b", more));
        let sent = stage.sent();
        assert_eq!(sent.len(), first, "{more}{hops}");
        for (hop, text) in &sent {
            assert_eq!(values(text, "Max-Breadth"), Vec::from_iter(share), "{more}{hops}");
            stage.receive(*hop, &response(text, 404, "Not Found"));
        }
        // Those that had to wait have their turn.
        for (hop, text) in stage.sent().into_iter().filter(|(hop, _)| *hop != 1) {
            stage.receive(hop, &response(&text, 404, "Not Found"));
        }
        stage.settles();
    }
    let mut stage = Stage::new();
    stage.user("bob", &[2]);
    stage.receive(1, &request_with("MESSAGE", "bob", "b", "Max-Breadth: 0\r\n"));
    assert_eq!(stage.lines(), ["1: 440 Max-Breadth Exceeded"]);
    stage.settles();
}
