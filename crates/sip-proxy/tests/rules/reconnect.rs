//! Connections to servers that end, and are made again (RFC 5923).

use sip_message::Message;

use crate::fake_network::{Stage, request, request_with, response, within};

/// A stage with a server behind `hop`, which is had again by `next`.
fn stage(hop: u32, next: u32) -> Stage {
    let mut stage = Stage::new();
    stage.network.reconnect.insert(hop, next);
    stage.user("bob", &[hop]);
    stage
}

#[test]
fn what_nothing_was_heard_of_is_sent_once_more_as_the_same_transaction() {
    for method in ["INVITE", "MESSAGE"] {
        let mut stage = stage(2, 2);
        stage.receive(1, &request(method, "bob", "a"));
        let first = stage.pick(2, method);
        stage.lose(2);
        assert_eq!(stage.one(2), first, "who has it already takes it for a repeat");
        stage.receive(2, &response(&first, 404, "Not Found"));
        assert_eq!(stage.lines().last().map(String::as_str), Some("1: 404 Not Found"));
        stage.settles();
        stage.receive(1, &request(method, "bob", "b"));
        stage.sent();
        stage.lose(2);
        stage.one(2);
        stage.lose(2);
        assert_eq!(stage.lines(), ["1: 480 Temporarily Unavailable"], "a second time is one too many");
        stage.settles();
    }
}

#[test]
fn what_has_been_heard_of_is_waited_for_until_its_server_cannot_be_had() {
    for answered in [true, false] {
        let mut stage = stage(2, 2);
        stage.receive(1, &request("INVITE", "bob", "a"));
        let fork = stage.pick(2, "INVITE");
        stage.receive(2, &response(&fork, 180, "Ringing"));
        stage.sent();
        stage.lose(2);
        assert_eq!(stage.lines(), [""; 0]);
        if answered {
            stage.receive(2, &response(&fork, 200, "OK"));
            assert_eq!(stage.lines(), ["1: 200 OK"]);
        } else {
            stage.end(2);
            assert_eq!(stage.lines(), ["1: 480 Temporarily Unavailable"]);
        }
        stage.settles();
    }
}

#[test]
fn a_cancel_that_was_lost_is_sent_once_more() {
    let mut stage = stage(2, 2);
    let invite = request("INVITE", "bob", "a");
    stage.receive(1, &invite);
    let fork = stage.pick(2, "INVITE");
    stage.receive(2, &response(&fork, 180, "Ringing"));
    stage.sent();
    stage.receive(1, &within("CANCEL", &invite, None));
    let cancel = stage.pick(2, "CANCEL");
    stage.lose(2);
    assert_eq!(stage.one(2), cancel);
    stage.receive(2, &response(&fork, 487, "Request Terminated"));
    assert_eq!(stage.lines(), ["2: ACK sip:bob@edge.test", "1: 487 Request Terminated"]);
    stage.settles();
}

/// The server had connected to us, and is connected to now: by another listener perhaps, so it is another
/// branch.
#[test]
fn what_went_over_the_servers_own_connection_goes_to_the_server() {
    let mut stage = stage(2, 3);
    stage.receive(1, &request_with("BYE", "sip:b@z.invalid", "b", "Route: <sip:f2@edge.test;lr>\r\n"));
    let first = stage.one(2);
    stage.lose(2);
    let again = stage.one(3);
    assert!(again.starts_with("BYE sip:b@z.invalid ") && again != first);
    stage.receive(3, &response(&again, 200, "OK"));
    assert_eq!(stage.lines(), ["1: 200 OK"]);
    stage.settles();
}

#[test]
fn who_called_over_a_connection_that_ended_is_answered_by_another() {
    for rings in [true, false] {
        let mut stage = Stage::new();
        stage.network.reconnect.insert(1, 3);
        stage.user("bob", &[2]);
        stage.receive(1, &request("INVITE", "bob", "a"));
        let fork = stage.pick(2, "INVITE");
        if rings {
            stage.receive(2, &response(&fork, 180, "Ringing"));
            stage.sent();
            stage.lose(1);
        } else {
            // Nobody has noticed.
            stage.network.gone.insert(1);
        }
        assert_eq!(stage.lines(), [""; 0], "nobody is cancelled");
        stage.receive(2, &response(&fork, 200, "OK"));
        assert_eq!(stage.lines(), ["3: 200 OK"]);
        stage.settles();
    }
}

#[test]
fn requests_of_our_own_are_sent_once_more() {
    let mut stage = stage(2, 2);
    let bye = request("BYE", "bob", "o");
    let bye = bye.split_inclusive("\r\n").filter(|line| !line.starts_with("Via:")).collect::<String>();
    let bye = Message::parse(bye.as_bytes()).unwrap();
    stage.proxy.originate(&mut stage.network, 2, &bye, 7, stage.now);
    let first = stage.one(2);
    stage.lose(2);
    assert_eq!(stage.one(2), first);
    stage.receive(2, &response(&first, 200, "OK"));
    assert_eq!(stage.network.own, [(7, 200)]);
    stage.settles();
}
