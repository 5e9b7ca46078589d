//! Several flows of one user agent: one at a time, the next when one fails (RFC 5626 §5.3).

use std::time::Duration;

use sip_proxy::Target;
use smallvec::SmallVec;

use crate::fake_network::{
    RING_TIMEOUT, Stage, flows, line, request, request_with, response, target, values,
};

/// A user with one user agent, whose flows these are.
fn stage(first: u32, alternatives: &[u32]) -> Stage {
    let mut stage = Stage::new();
    let request_uri = Some(format!("sip:bob@h{first}.invalid").into_bytes().into());
    stage.user_at("bob", vec![Target { request_uri, alternatives: flows(alternatives), ..target(first) }]);
    stage
}

#[test]
fn the_next_flow_is_tried_when_one_is_gone_ends_or_fails_and_under_its_own_contact() {
    for method in ["INVITE", "MESSAGE"] {
        let mut stage = stage(2, &[3, 4, 5, 6]);
        stage.network.gone.insert(2);
        stage.receive(1, &request(method, "bob", "f"));
        let third = stage.pick(3, method);
        assert_eq!(line(&third), format!("{method} sip:bob@h3.invalid"));
        stage.end(3);
        // An edge proxy in between says that it has lost the flow, or that it hears nothing of it.
        let fourth = stage.pick(4, method);
        assert_eq!(values(&fourth, "Via").len(), 2);
        stage.receive(4, &response(&fourth, 430, "Flow Failed"));
        let fifth = stage.pick(5, method);
        stage.receive(5, &response(&fifth, 408, "Request Timeout"));
        let sixth = stage.pick(6, method);
        assert_eq!(line(&sixth), format!("{method} sip:bob@h6.invalid"));
        stage.receive(6, &response(&sixth, 200, "OK"));
        assert_eq!(stage.lines(), ["1: 200 OK"]);
        stage.settles();
    }
}

#[test]
fn what_a_user_agent_says_on_one_flow_it_is_not_asked_again_on_another() {
    for status in [302, 404, 480, 482, 486, 500, 503, 600] {
        let mut stage = stage(2, &[3]);
        stage.receive(1, &request("INVITE", "bob", "f"));
        let fork = stage.pick(2, "INVITE");
        stage.receive(2, &response(&fork, status, "No"));
        let up = if status == 503 { "500 Server Internal Error".to_owned() } else { format!("{status} No") };
        assert_eq!(stage.lines(), ["2: ACK sip:bob@h2.invalid".to_owned(), format!("1: {up}")]);
        stage.settles();
        assert!(stage.sent().is_empty());
    }
}

#[test]
fn who_has_rung_is_not_rung_again() {
    let mut ringing = stage(2, &[3]);
    ringing.receive(1, &request("INVITE", "bob", "f"));
    let fork = ringing.pick(2, "INVITE");
    ringing.receive(2, &response(&fork, 180, "Ringing"));
    ringing.receive(2, &response(&fork, 408, "Request Timeout"));
    assert_eq!(ringing.lines(), ["1: 180 Ringing", "2: ACK sip:bob@h2.invalid", "1: 408 Request Timeout"]);
    ringing.settles();

    // Nor when it rang for too long, and does not even answer the CANCEL.
    let mut ringing = stage(2, &[3]);
    ringing.receive(1, &request("INVITE", "bob", "f"));
    let fork = ringing.pick(2, "INVITE");
    let mut rung = Duration::ZERO;
    while rung < RING_TIMEOUT {
        ringing.receive(2, &response(&fork, 180, "Ringing"));
        ringing.pass(Duration::from_secs(100));
        rung += Duration::from_secs(100);
    }
    ringing.sent();
    ringing.pass(Duration::from_secs(40));
    assert_eq!(ringing.lines(), ["1: 408 Request Timeout"]);
    ringing.settles();

    // But when its flow ends meanwhile, it may be on the other.
    let mut ringing = stage(2, &[3]);
    ringing.receive(1, &request("INVITE", "bob", "f"));
    let fork = ringing.pick(2, "INVITE");
    ringing.receive(2, &response(&fork, 180, "Ringing"));
    ringing.end(2);
    ringing.pick(3, "INVITE");
    ringing.end(3);
    assert_eq!(ringing.lines(), ["1: 480 Temporarily Unavailable"]);
    ringing.settles();
}

#[test]
fn a_silent_flow_gives_way_to_the_next_and_user_agents_do_not_wait_for_each_other() {
    let mut stage = stage(2, &[3]);
    stage.network.patience = Some(Duration::from_secs(10));
    let one = stage.network.users[&b"bob"[..]][0].clone();
    stage.user_at("bob", vec![one, Target { alternatives: SmallVec::new(), ..target(4) }]);
    stage.receive(1, &request("INVITE", "bob", "f"));
    let sent = stage.sent();
    let asked: Vec<u32> =
        sent.iter().filter(|(_, text)| line(text).starts_with("INVITE")).map(|(hop, _)| *hop).collect();
    assert_eq!(asked, [2, 4], "one flow of each");
    stage.pass(Duration::from_secs(9));
    assert!(stage.sent().is_empty());
    stage.pass(Duration::from_secs(1));
    let third = stage.one(3);
    stage.receive(3, &response(&third, 200, "OK"));
    assert!(stage.lines().contains(&"1: 200 OK".to_owned()));
    stage.settles();
}

#[test]
fn a_caller_who_has_cancelled_waits_for_no_other_flow() {
    let mut stage = stage(2, &[3]);
    stage.receive(1, &request("INVITE", "bob", "f"));
    let fork = stage.pick(2, "INVITE");
    stage.receive(2, &response(&fork, 180, "Ringing"));
    stage.receive(1, &request("CANCEL", "bob", "f"));
    stage.sent();
    stage.end(2);
    assert_eq!(stage.lines(), ["1: 487 Request Terminated"]);
    stage.settles();
}

#[test]
fn where_one_user_agent_declined_for_all_no_other_flow_is_tried() {
    let declined = || {
        let mut stage = stage(2, &[3]);
        stage.network.patience = Some(Duration::from_secs(10));
        let one = stage.network.users[&b"bob"[..]][0].clone();
        stage.user_at("bob", vec![one, Target { alternatives: SmallVec::new(), ..target(4) }]);
        stage.receive(1, &request("INVITE", "bob", "f"));
        let sent = stage.sent();
        let on = |hop| sent.iter().find(|(on, _)| *on == hop).unwrap().1.clone();
        stage.receive(4, &response(&on(4), 603, "Decline"));
        stage.sent();
        (stage, on(2))
    };
    // Its connection ends.
    let (mut stage, _) = declined();
    stage.end(2);
    assert_eq!(stage.lines(), ["1: 603 Decline"]);
    stage.settles();
    // An edge proxy in between has lost the flow.
    let (mut stage, fork) = declined();
    stage.receive(2, &response(&fork, 430, "Flow Failed"));
    assert_eq!(stage.lines(), ["2: ACK sip:bob@h2.invalid", "1: 603 Decline"]);
    stage.settles();
    // It is silent.
    let (mut stage, _) = declined();
    stage.pass(Duration::from_secs(10));
    assert!(stage.sent().is_empty());
    stage.pass(Duration::from_secs(40));
    assert_eq!(stage.lines(), ["1: 603 Decline"]);
    stage.settles();
}

const GRUU: &str = "sip:bob@edge.test;gr=urn:uuid:1";

#[test]
fn within_a_dialog_a_user_agent_is_called_by_its_contact_and_by_another_flow_when_the_one_named_is_gone() {
    let ways = |hop, alternatives: &[u32]| {
        let request_uri = Some(format!("sip:bob@h{hop}.invalid").into_bytes().into());
        Some(Target { request_uri, alternatives: flows(alternatives), ..target(hop) })
    };
    let route = "Route: <sip:f2@edge.test;lr>\r\n";
    for method in ["BYE", "ACK"] {
        let mut stage = Stage::new();
        stage.network.outbound.insert(1);
        stage.network.named = ways(2, &[3]);
        stage.receive(1, &request_with(method, GRUU, "g", route));
        let there = stage.one(2);
        assert_eq!(line(&there), format!("{method} sip:bob@h2.invalid"));
        assert!(values(&there, "Route").is_empty());
        if method == "BYE" {
            stage.end(2);
            assert_eq!(line(&stage.one(3)), "BYE sip:bob@h3.invalid");
            stage.end(3);
            assert_eq!(stage.lines(), ["1: 430 Flow Failed"]);
        }
        stage.settles();
        // It has come back with the Contact that it had.
        let mut stage = Stage::new();
        stage.network.gone.insert(2);
        stage.network.returned = ways(3, &[]);
        stage.receive(1, &request_with(method, "sip:bob@h3.invalid", "g", route));
        assert_eq!(line(&stage.one(3)), format!("{method} sip:bob@h3.invalid"));
        stage.settles();
        // Gone when it comes: it is asked about as if there were no route.
        let mut stage = Stage::new();
        stage.network.gone.insert(2);
        stage.network.instead = ways(3, &[]);
        stage.receive(1, &request_with(method, GRUU, "g", route));
        assert_eq!(line(&stage.one(3)), format!("{method} sip:bob@h3.invalid"));
        stage.settles();
    }
    // Behind another element its own routes say the way.
    let mut stage = Stage::new();
    stage.network.outbound.insert(1);
    stage.network.named = ways(2, &[3]);
    stage.network.instead = ways(3, &[]);
    let route = "Route: <sip:f2@edge.test;lr>, <sip:p.test;lr>\r\n";
    stage.receive(1, &request_with("BYE", GRUU, "g", route));
    let there = stage.one(2);
    assert_eq!((line(&there), values(&there, "Route")), (format!("BYE {GRUU}"), vec!["<sip:p.test;lr>"]));
    stage.network.gone.insert(2);
    stage.receive(1, &request_with("BYE", GRUU, "h", route));
    assert_eq!(stage.lines(), ["1: 430 Flow Failed"]);
    stage.settles();
}
