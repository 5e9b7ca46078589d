//! CANCEL and hanging up (RFC 3261 §9, §16.10).

use std::time::Duration;

use crate::fake_network::{Stage, line, request, response, response_with, values, within};

const T1_64: Duration = Duration::from_secs(32);

/// A call from hop 1 to bob; the INVITE as it came, and as each of the hops got it.
fn call(stage: &mut Stage, from: u32, hops: &[u32]) -> (String, Vec<String>) {
    stage.user("bob", hops);
    let invite = request("INVITE", "bob", "c");
    stage.receive(from, &invite);
    let sent = stage.sent();
    let (last, forks) = sent.split_last().expect("something was sent");
    assert!(last.1.starts_with("SIP/2.0 100 "), "{last:?}");
    assert_eq!(forks.iter().map(|(hop, _)| *hop).collect::<Vec<_>>(), hops);
    (invite, forks.iter().map(|(_, text)| text.clone()).collect())
}

#[test]
fn a_ringing_call_is_cancelled() {
    let mut stage = Stage::new();
    let (invite, forks) = call(&mut stage, 1, &[2]);
    stage.receive(2, &response(&forks[0], 180, "Ringing"));
    assert_eq!(stage.lines(), ["1: 180 Ringing"]);
    stage.receive(1, &within("CANCEL", &invite, None));
    let sent = stage.sent();
    assert_eq!((sent[0].0, line(&sent[0].1)), (1, "200 OK".into()));
    let cancel = &sent[1].1;
    assert_eq!((sent[1].0, line(cancel)), (2, "CANCEL sip:bob@edge.test".into()));
    assert_eq!(values(cancel, "Via"), [values(&forks[0], "Via")[0]], "one Via, that of the INVITE");
    assert_eq!(values(cancel, "Reason"), ["SIP;cause=487;text=\"Cancelled by the caller\""]);
    stage.receive(2, &response(cancel, 200, "OK"));
    assert!(stage.sent().is_empty());
    stage.receive(2, &response(&forks[0], 487, "Request Terminated"));
    assert_eq!(stage.lines(), ["2: ACK sip:bob@edge.test", "1: 487 Request Terminated"]);
    stage.receive(1, &within("ACK", &invite, Some("<sip:bob@edge.test>;tag=b2")));
    assert!(stage.sent().is_empty());
    stage.settles();
}

#[test]
fn the_callers_reason_goes_along() {
    let mut stage = Stage::new();
    let (invite, forks) = call(&mut stage, 1, &[2]);
    stage.receive(2, &response(&forks[0], 180, "Ringing"));
    stage.sent();
    let reasons = "Reason: SIP;cause=200;\r\n text=\"Elsewhere\"\r\nReason: Q.850;cause=16\r\nContent-Length";
    stage.receive(1, &within("CANCEL", &invite, None).replace("Content-Length", reasons));
    let cancel = stage.pick(2, "CANCEL");
    assert_eq!(values(&cancel, "Reason"), ["SIP;cause=200; text=\"Elsewhere\", Q.850;cause=16"]);
}

#[test]
fn a_cancel_waits_for_the_first_provisional_response() {
    let mut stage = Stage::new();
    let (invite, forks) = call(&mut stage, 1, &[2]);
    stage.receive(1, &within("CANCEL", &invite, None));
    assert_eq!(stage.lines(), ["1: 200 OK"]);
    stage.pass(Duration::from_secs(10));
    stage.receive(2, &response(&forks[0], 100, "Trying"));
    assert_eq!(stage.lines(), ["2: CANCEL sip:bob@edge.test"]);
    stage.receive(2, &response(&forks[0], 180, "Ringing"));
    assert_eq!(stage.lines(), ["1: 180 Ringing"], "only one CANCEL");
    stage.receive(2, &response(&forks[0], 487, "Request Terminated"));
    assert_eq!(stage.lines(), ["2: ACK sip:bob@edge.test", "1: 487 Request Terminated"]);
    stage.settles();
}

#[test]
fn a_callee_that_never_says_anything_is_487_after_timer_b() {
    let mut stage = Stage::new();
    let (invite, _) = call(&mut stage, 1, &[2]);
    stage.receive(1, &within("CANCEL", &invite, None));
    stage.sent();
    stage.pass(T1_64 - Duration::from_millis(1));
    assert!(stage.sent().is_empty());
    stage.pass(Duration::from_millis(1));
    assert_eq!(stage.lines(), ["1: 487 Request Terminated"]);
    stage.settles();
}

#[test]
fn a_callee_that_does_not_answer_the_cancel_is_487_after_64_t1() {
    let mut stage = Stage::new();
    let (invite, forks) = call(&mut stage, 1, &[2]);
    stage.receive(2, &response(&forks[0], 180, "Ringing"));
    stage.pass(Duration::from_secs(60));
    stage.receive(1, &within("CANCEL", &invite, None));
    stage.sent();
    stage.pass(T1_64);
    assert_eq!(stage.lines(), ["1: 487 Request Terminated"]);
    stage.settles();
}

#[test]
fn a_success_that_crosses_the_cancel_wins() {
    let mut stage = Stage::new();
    let (invite, forks) = call(&mut stage, 1, &[2]);
    stage.receive(2, &response(&forks[0], 180, "Ringing"));
    stage.receive(1, &within("CANCEL", &invite, None));
    stage.sent();
    stage.receive(2, &response(&forks[0], 200, "OK"));
    assert_eq!(stage.lines(), ["1: 200 OK"]);
    let cancel = within("CANCEL", &forks[0], None);
    stage.receive(2, &response(&cancel, 481, "Call/Transaction Does Not Exist"));
    assert!(stage.sent().is_empty());
    stage.settles();
}

#[test]
fn a_cancel_after_the_answer_changes_nothing_and_one_without_invite_is_481() {
    let mut stage = Stage::new();
    let (invite, forks) = call(&mut stage, 1, &[2]);
    stage.receive(2, &response(&forks[0], 200, "OK"));
    stage.sent();
    stage.receive(1, &within("CANCEL", &invite, None));
    assert_eq!(stage.lines(), ["1: 200 OK"]);
    let unknown = within("CANCEL", &request("INVITE", "bob", "other"), None);
    stage.receive(1, &unknown);
    assert_eq!(stage.lines(), ["1: 481 Call/Transaction Does Not Exist"]);
    stage.settles();
}

/// It is told 200 all the same, as long as the transaction lives (RFC 3261 §9.2, §16.10).
#[test]
fn a_request_other_than_invite_cannot_be_cancelled() {
    for method in ["MESSAGE", "OPTIONS", "INFO", "X-EXTENSION"] {
        let mut stage = Stage::new();
        stage.user("bob", &[2]);
        let message = request(method, "bob", "m");
        stage.receive(101, &message);
        let out = stage.one(2);
        stage.receive(101, &within("CANCEL", &message, None));
        assert_eq!(stage.lines(), ["101: 200 OK"], "{method}");
        stage.receive(2, &response(&out, 202, "Accepted"));
        assert_eq!(stage.lines(), ["101: 202 Accepted"], "the request goes on");
        stage.pass(Duration::from_secs(20));
        // Over datagrams the answer is kept for repeats, and so is that of the CANCEL.
        stage.receive(101, &within("CANCEL", &message, None));
        assert_eq!(stage.lines(), ["101: 200 OK"], "{method} with its final response");
        stage.pass(Duration::from_secs(32));
        stage.receive(101, &within("CANCEL", &message, None));
        assert_eq!(stage.lines(), ["101: 481 Call/Transaction Does Not Exist"], "{method} that is over");
        stage.settles();
    }
}

#[test]
fn every_fork_is_cancelled_and_487_goes_up_once() {
    let mut stage = Stage::new();
    let (invite, forks) = call(&mut stage, 1, &[2, 3, 4]);
    stage.receive(2, &response(&forks[0], 180, "Ringing"));
    stage.receive(3, &response(&forks[1], 180, "Ringing"));
    stage.receive(4, &response(&forks[2], 486, "Busy Here"));
    stage.sent();
    stage.receive(1, &within("CANCEL", &invite, None));
    assert_eq!(stage.lines(), ["1: 200 OK", "2: CANCEL sip:bob@edge.test", "3: CANCEL sip:bob@edge.test"]);
    stage.receive(3, &response(&forks[1], 487, "Request Terminated"));
    stage.receive(2, &response(&forks[0], 487, "Request Terminated"));
    assert_eq!(
        stage.lines(),
        ["3: ACK sip:bob@edge.test", "2: ACK sip:bob@edge.test", "1: 487 Request Terminated"]
    );
    stage.settles();
}

#[test]
fn over_datagrams_a_cancel_is_repeated_until_answered() {
    let mut stage = Stage::new();
    let (invite, forks) = call(&mut stage, 101, &[102]);
    stage.receive(102, &response(&forks[0], 180, "Ringing"));
    stage.sent();
    stage.receive(101, &within("CANCEL", &invite, None));
    let cancel = stage.pick(102, "CANCEL");
    stage.pass(Duration::from_millis(500));
    assert_eq!(stage.one(102), cancel);
    stage.receive(102, &response(&cancel, 200, "OK"));
    stage.pass(Duration::from_secs(20));
    assert!(stage.sent().is_empty());
    stage.receive(102, &response(&forks[0], 487, "Request Terminated"));
    let ack = stage.pick(102, "ACK");
    stage.receive(102, &response(&forks[0], 487, "Request Terminated"));
    assert_eq!(stage.pick(102, "ACK"), ack);
    stage.settles();
}

#[test]
fn a_caller_whose_connection_ended_hangs_up() {
    let mut stage = Stage::new();
    let (_, forks) = call(&mut stage, 1, &[2, 3]);
    stage.receive(2, &response(&forks[0], 180, "Ringing"));
    stage.sent();
    stage.end(1);
    let cancel = stage.one(2);
    assert_eq!(values(&cancel, "Reason"), ["SIP;cause=487;text=\"Caller's connection ended\""]);
    stage.receive(3, &response_with(&forks[1], 183, "Session Progress", ""));
    assert_eq!(stage.lines(), ["3: CANCEL sip:bob@edge.test"]);
    stage.receive(2, &response(&forks[0], 487, "Request Terminated"));
    stage.receive(3, &response(&forks[1], 487, "Request Terminated"));
    assert_eq!(stage.lines(), ["2: ACK sip:bob@edge.test", "3: ACK sip:bob@edge.test"]);
    stage.settles();
}

#[test]
fn a_caller_who_cannot_be_told_hangs_up_even_before_its_end_is_reported() {
    let mut stage = Stage::new();
    let (_, forks) = call(&mut stage, 1, &[2]);
    stage.network.gone.insert(1);
    stage.receive(2, &response(&forks[0], 180, "Ringing"));
    assert_eq!(stage.lines(), ["2: CANCEL sip:bob@edge.test"]);
    stage.receive(2, &response(&forks[0], 487, "Request Terminated"));
    stage.settles();
}

#[test]
fn nobody_cancels_over_another_connection() {
    let mut stage = Stage::new();
    stage.user("bob", &[2]);
    stage.receive(1, &request("INVITE", "bob", "x"));
    let invite = stage.pick(2, "INVITE");
    stage.receive(2, &response(&invite, 180, "Ringing"));
    stage.sent();
    stage.receive(3, &request("CANCEL", "bob", "x"));
    assert_eq!(stage.lines(), ["3: 481 Call/Transaction Does Not Exist"]);
}

/// A request of our own, without a Via.
const OWN_BYE: &[u8] = b"BYE sip:bob@b.test SIP/2.0\r\nMax-Forwards: 70\r\nFrom: <sip:a@edge.test>;tag=a\r\n\
    To: <sip:b@edge.test>;tag=b\r\nCall-ID: c\r\nCSeq: 2 BYE\r\nContent-Length: 0\r\n\r\n";

/// A BYE of our own has no Via but ours; over datagrams it is repeated until it is answered, and not after.
#[test]
fn a_request_of_our_own_is_repeated_until_it_is_answered() {
    let bye = sip_message::Message::parse(OWN_BYE).unwrap();
    let mut stage = Stage::new();
    stage.proxy.originate(&mut stage.network, 101, &bye, 4, stage.now);
    let sent = stage.one(101);
    assert_eq!((line(&sent), values(&sent, "Via").len()), ("BYE sip:bob@b.test".into(), 1));
    stage.pass(Duration::from_millis(600));
    assert_eq!(stage.one(101), sent);
    stage.receive(101, &response(&sent, 200, "OK"));
    stage.pass(Duration::from_secs(3));
    assert!(stage.sent().is_empty());
    stage.settles();
    assert_eq!(stage.network.own, [(4, 200)]);
    for (number, hop, gone) in [(5, 101, false), (6, 3, true), (7, 3, false)] {
        if gone {
            stage.network.gone.insert(hop);
        } else {
            stage.network.gone.remove(&hop);
        }
        stage.proxy.originate(&mut stage.network, hop, &bye, number, stage.now);
        if number == 7 {
            stage.end(hop);
        }
        stage.pass(Duration::from_secs(40));
    }
    assert_eq!(
        stage.network.own[1..],
        [(5, 408), (6, 503), (7, 503)],
        "silence, nowhere to go, gone meanwhile"
    );
    stage.sent();
    // Somebody else's may not come back to nobody.
    let stray = response(&sent, 200, "OK")
        .replace(&values(&sent, "Via")[0].to_string(), "SIP/2.0/UDP edge.test;branch=z9hG4bKx");
    stage.receive(101, &stray);
    assert!(stage.sent().is_empty());
}

/// Repeated later, it would come behind what is said to that server meanwhile.
#[test]
fn a_request_of_our_own_whose_answer_nobody_waits_for_is_not_repeated() {
    let bye = sip_message::Message::parse(OWN_BYE).unwrap();
    for given_up in [false, true] {
        let mut stage = Stage::new();
        stage.proxy.originate(&mut stage.network, 101, &bye, 4, stage.now);
        stage.pass(Duration::from_millis(600));
        assert_eq!(stage.sent().len(), 2);
        stage.network.unwanted.extend(given_up.then_some(4));
        stage.pass(Duration::from_secs(40));
        assert_eq!(stage.sent().is_empty(), given_up);
        assert_eq!(stage.network.own, [(4, if given_up { 503 } else { 408 })]);
        stage.settles();
    }
}
