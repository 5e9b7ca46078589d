//! Repeats over datagrams, and repeats absorbed (RFC 3261 §17, RFC 6026).

use std::time::Duration;

use sip_proxy::{Answer, Notice};

use crate::fake_network::{Stage, request, response, values, within};

#[test]
fn a_request_is_repeated_on_a_datagram_hop_alone() {
    for (hop, repeats) in [(2, 0), (102, 10)] {
        let mut stage = Stage::new();
        stage.user("bob", &[hop]);
        stage.receive(1, &request("MESSAGE", "bob", "r"));
        let first = stage.one(hop);
        stage.pass(Duration::from_millis(31_900));
        let again: Vec<_> = stage.sent().into_iter().filter(|(on, _)| *on == hop).collect();
        assert_eq!(again.len(), repeats);
        assert!(again.iter().all(|(_, text)| *text == first));
        stage.settles();
    }
}

#[test]
fn a_repeated_request_is_absorbed_or_answered_as_before() {
    let mut stage = Stage::new();
    stage.user("bob", &[2]);
    let message = request("MESSAGE", "bob", "r");
    stage.receive(101, &message);
    let fork = stage.one(2);
    stage.receive(101, &message);
    assert!(stage.sent().is_empty());
    stage.receive(2, &response(&fork, 200, "OK"));
    let answer = stage.one(101);
    stage.receive(101, &message);
    assert_eq!(stage.one(101), answer);
    assert_eq!(stage.network.notices, [Notice::Repeat, Notice::Repeat]);
    stage.settles();
}

#[test]
fn a_repeated_invite_hears_the_last_provisional_response() {
    let mut stage = Stage::new();
    stage.user("bob", &[2]);
    let invite = request("INVITE", "bob", "r");
    stage.receive(101, &invite);
    let fork = stage.pick(2, "INVITE");
    stage.receive(101, &invite);
    assert_eq!(stage.lines(), ["101: 100 Trying"]);
    stage.receive(2, &response(&fork, 180, "Ringing"));
    stage.sent();
    stage.receive(101, &invite);
    assert_eq!(stage.lines(), ["101: 180 Ringing"]);
    stage.receive(2, &response(&fork, 200, "OK"));
    stage.sent();
    stage.receive(101, &invite);
    assert!(stage.sent().is_empty(), "the callee repeats its 200 (RFC 6026 §7.1)");
    for _ in 0..3 {
        stage.pass(Duration::from_secs(4));
        stage.receive(2, &response(&fork, 200, "OK"));
        assert_eq!(stage.lines(), ["101: 200 OK"]);
    }
    stage.settles();
}

#[test]
fn a_failure_is_repeated_until_acknowledged_and_its_ack_goes_no_further() {
    let mut stage = Stage::new();
    stage.user("bob", &[102]);
    let invite = request("INVITE", "bob", "r");
    stage.receive(101, &invite);
    let fork = stage.pick(102, "INVITE");
    stage.receive(102, &response(&fork, 486, "Busy Here"));
    let answer = stage.pick(101, "486");
    stage.pass(Duration::from_millis(1600));
    assert_eq!(stage.lines(), ["101: 486 Busy Here", "101: 486 Busy Here"]);
    let ack = within("ACK", &invite, Some(values(&answer, "To")[0]));
    stage.receive(101, &ack);
    stage.pass(Duration::from_secs(4));
    assert!(stage.sent().is_empty());
    stage.receive(102, &response(&fork, 486, "Busy Here"));
    assert_eq!(stage.lines(), ["102: ACK sip:bob@edge.test"]);
    stage.settles();
}

#[test]
fn an_ack_of_our_own_answer_goes_nowhere_even_when_its_transaction_has_ended() {
    let mut stage = Stage::new();
    stage.user("bob", &[]);
    let invite = request("INVITE", "bob", "r");
    stage.receive(101, &invite);
    let answer = stage.one(101);
    let ack = within("ACK", &invite, Some(values(&answer, "To")[0]));
    stage.receive(101, &ack);
    stage.settles();
    stage.user("bob", &[2]);
    stage.receive(101, &ack);
    assert!(stage.sent().is_empty());
}

#[test]
fn clients_before_rfc_3261_are_served() {
    let mut stage = Stage::new();
    stage.user("bob", &[2]);
    let invite = request("INVITE", "bob", "r").replace("z9hG4bKr", "1");
    stage.receive(101, &invite);
    let fork = stage.pick(2, "INVITE");
    stage.receive(101, &invite);
    assert_eq!(stage.lines(), ["101: 100 Trying"]);
    stage.receive(2, &response(&fork, 180, "Ringing"));
    stage.receive(101, &within("CANCEL", &invite, None));
    assert_eq!(stage.lines(), ["101: 180 Ringing", "101: 200 OK", "2: CANCEL sip:bob@edge.test"]);
    stage.receive(2, &response(&fork, 487, "Request Terminated"));
    let answer = stage.pick(101, "487");
    stage.receive(101, &within("ACK", &invite, Some(values(&answer, "To")[0])));
    stage.pass(Duration::from_secs(4));
    assert!(stage.sent().is_empty());
    stage.settles();
}

/// Whoever wrote another's address on an INVITE would have the challenge sent there again and again, and fill
/// the table for everybody (RFC 3261 §8.2.7, §26.3.2.4).
#[test]
fn a_challenge_over_datagrams_is_said_once_and_nothing_is_kept_of_it() {
    for (hop, method, status, repeats) in [
        (101, "INVITE", 407, 0),
        (101, "INVITE", 401, 0),
        (101, "MESSAGE", 407, 0),
        (101, "INVITE", 403, 0),
        (101, "OPTIONS", 200, 0),
        (101, "INVITE", 404, 9),
        (101, "MESSAGE", 404, 0),
        (1, "INVITE", 407, 0),
    ] {
        let mut stage = Stage::new();
        stage.network.refusals.insert(b"bob".to_vec(), Answer::of_status(status));
        let asked = request(method, "bob", "r");
        stage.receive(hop, &asked);
        let answer = stage.one(hop);
        let forgotten = hop == 101 && status != 404;
        let said = || format!("{hop} {method} {status}");
        assert_eq!(stage.proxy.transactions(), (usize::from(!forgotten), 0), "{}", said());
        stage.pass(Duration::from_secs(31));
        assert_eq!(stage.sent().len(), repeats, "{}", said());
        if method == "INVITE" {
            stage.receive(hop, &within("ACK", &asked, Some(values(&answer, "To")[0])));
            assert!(stage.sent().is_empty(), "an ACK of it goes nowhere");
        }
        stage.settles();
        if forgotten {
            stage.receive(hop, &asked);
            let again = stage.one(hop);
            assert_eq!(values(&again, "To"), values(&answer, "To"), "a repeat is asked in the same way");
            stage.settles();
        }
    }
}
