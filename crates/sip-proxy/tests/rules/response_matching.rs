//! Which responses are believed (RFC 3261 §8.1.3.3, §8.2.6.2, §16.7 step 3, §17.1.3, §18.1.2).

use std::time::Duration;

use sip_message::{Invalid, ViaError};
use sip_proxy::Notice;

use crate::fake_network::{Stage, request, response, values, within};

const NO_VIA: Notice = Notice::Invalid(Invalid::Via(ViaError::Missing));

/// The answer with one header field's value written otherwise.
fn with(answer: &str, name: &str, write: impl Fn(&str) -> String) -> String {
    let changed: Vec<String> = answer
        .split("\r\n")
        .map(|line| match line.split_once(": ") {
            Some((header, value)) if header == name => format!("{name}: {}", write(value)),
            _ => line.to_owned(),
        })
        .collect();
    changed.join("\r\n")
}

/// Without its Vias behind the first one.
fn for_nobody(answer: &str) -> String {
    let mut seen = 0;
    let kept: Vec<&str> = answer
        .split("\r\n")
        .filter(|line| {
            seen += usize::from(line.starts_with("Via: "));
            !line.starts_with("Via: ") || seen == 1
        })
        .collect();
    kept.join("\r\n")
}

/// Each of these is dropped, and the right answer is an answer all the same.
fn drops(method: &str, wrong: &[(&str, String)], stage: &mut Stage, fork: &str) {
    for (why, wrong) in wrong {
        stage.receive(2, wrong);
        assert!(stage.sent().is_empty(), "{why}: {wrong}");
        assert_eq!(stage.network.notices.len(), 1, "{why} is noticed once");
        stage.network.notices.clear();
    }
    stage.receive(2, &response(fork, 200, "OK"));
    assert_eq!(stage.lines(), ["1: 200 OK"], "{method}");
    stage.settles();
}

#[test]
fn a_response_that_is_no_answer_to_the_request_is_dropped_and_the_right_one_is_not_lost() {
    for method in ["MESSAGE", "INVITE"] {
        let mut stage = Stage::new();
        stage.user("bob", &[2]);
        stage.receive(1, &request(method, "bob", "s"));
        let fork = stage.pick(2, method);
        let answer = response(&fork, 200, "OK");
        let [own, senders] = [0, 1].map(|at| format!("Via: {}\r\n", values(&fork, "Via")[at]));
        let other = |cseq: &str| with(&answer, "CSeq", |_| cseq.into());
        let wrong = [
            ("no Via of ours", answer.replace(&own, "")),
            ("no Via but ours", answer.replace(&senders, "")),
            ("our Via twice", answer.replace(&senders, &own)),
            (
                "our Via below the sender's",
                answer.replace(&own, "").replace(&senders, &format!("{senders}{own}")),
            ),
            ("another sender's Via", answer.replace("branch=z9hG4bKs\r\n", "branch=z9hG4bKt\r\n")),
            ("a Via of the sender's without branch", answer.replace(";branch=z9hG4bKs\r\n", "\r\n")),
            ("a Via of the sender's that is none", answer.replace(&senders, "Via: ;;;\r\n")),
            ("an empty Via of the sender's", answer.replace(&senders, "Via: \r\n")),
            ("nobody's branch", answer.replace("z9hG4bKsw", "z9hG4bKsx")),
            ("another branch", answer.replace("z9hG4bKsw", "z9hG4bKswff")),
            (
                "another sent-by",
                answer.replace("edge.test;branch=z9hG4bKsw", "edge.example;branch=z9hG4bKsw"),
            ),
            ("another method", other("1 INFO")),
            (
                "a method of the other machine",
                other(if method == "INVITE" { "1 MESSAGE" } else { "1 INVITE" }),
            ),
            ("a CANCEL", other("1 CANCEL")),
            ("an ACK", other("1 ACK")),
            ("the method in small letters", other(&format!("1 {}", method.to_lowercase()))),
            ("another number", other(&format!("2 {method}"))),
            ("another call", with(&answer, "Call-ID", |id| format!("{id}x"))),
            ("another sender", with(&answer, "From", |from| from.replace("tag=a1", "tag=a2"))),
            ("a sender without tag", with(&answer, "From", |from| from.replace(";tag=a1", ""))),
        ];
        drops(method, &wrong, &mut stage, &fork);
    }
}

/// Whatever a callee makes of the branch, the CSeq and the Vias, nothing goes to a caller without a Via of
/// the caller's.
#[test]
fn a_response_with_our_via_alone_reaches_nobody() {
    for method in ["MESSAGE", "INVITE", "BYE", "CANCEL"] {
        for mark in ["", "0000000000000000"] {
            let mut stage = Stage::new();
            stage.user("bob", &[2]);
            stage.receive(1, &request("MESSAGE", "bob", "v"));
            let fork = stage.one(2);
            let via = values(&fork, "Via")[0];
            let without_mark = &via[..via.len() - mark.len()];
            let answer = for_nobody(&response(&fork, 200, "OK"))
                .replace(via, &format!("{without_mark}{mark}"))
                .replace("1 MESSAGE", &format!("1 {method}"));
            stage.receive(2, &answer);
            assert!(stage.sent().is_empty(), "{answer}");
            let notice = if method == "INVITE" { Notice::StrayResponse } else { NO_VIA };
            assert_eq!(stage.network.notices, [notice], "{answer}");
            stage.receive(2, &response(&fork, 200, "OK"));
            assert_eq!(stage.lines(), ["1: 200 OK"]);
            stage.settles();
        }
    }
}

#[test]
fn a_response_to_a_request_of_our_own_has_our_via_alone() {
    let bye =
        request("BYE", "sip:bob@b.test", "o").replace("Via: SIP/2.0/WS x7.invalid;branch=z9hG4bKo\r\n", "");
    let bye = sip_message::Message::parse(bye.as_bytes()).unwrap();
    let mut stage = Stage::new();
    stage.proxy.originate(&mut stage.network, 101, &bye, 4, stage.now);
    let sent = stage.one(101);
    let via = values(&sent, "Via")[0];
    let answer = response(&sent, 200, "OK");
    let more = answer.replace(via, &format!("{via}, SIP/2.0/WS x7.invalid;branch=z9hG4bKx"));
    for wrong in [more, answer.replace("1 BYE", "1 INFO"), answer.replace("1 BYE", "1 CANCEL")] {
        stage.receive(101, &wrong);
        assert!(stage.sent().is_empty() && stage.network.own.is_empty(), "{wrong}");
    }
    // The mark that it echoes says nothing.
    stage.receive(101, &answer.replace("0000000000000000", "00000000000000ff"));
    assert_eq!(stage.network.own, [(4, 200)]);
    stage.settles();
}

/// Whoever is further on sees our branch in the Vias below its own, and could answer in the place of one that
/// is asked.
#[test]
fn a_response_comes_from_where_the_request_went() {
    let mut stage = Stage::new();
    stage.user("bob", &[2, 3]);
    stage.receive(1, &request("INVITE", "bob", "h"));
    let invites = stage.sent();
    let fork = |hop: u32| invites.iter().find(|(to, _)| *to == hop).unwrap().1.clone();
    for (from, of) in [(3, 2), (2, 3), (1, 2), (102, 2)] {
        for status in [100, 180, 200, 486] {
            stage.receive(from, &response(&fork(of), status, "Me"));
            assert!(stage.sent().is_empty(), "{status} to {of} from {from}");
            assert_eq!(stage.network.notices, [Notice::ForeignResponse]);
            stage.network.notices.clear();
        }
    }
    stage.receive(3, &response(&fork(3), 486, "Busy Here"));
    stage.sent();
    stage.receive(2, &response(&fork(2), 200, "OK"));
    assert_eq!(stage.lines(), ["1: 200 OK"]);
    stage.settles();
}

/// The CANCEL of an INVITE shares its branch, and neither is answered by the other's answer.
#[test]
fn an_answer_to_a_cancel_is_none_to_its_invite() {
    let mut stage = Stage::new();
    stage.user("bob", &[102]);
    let invite = request("INVITE", "bob", "c");
    stage.receive(1, &invite);
    let fork = stage.pick(102, "INVITE");
    stage.receive(102, &response(&fork, 180, "Ringing"));
    stage.sent();
    stage.receive(1, &within("CANCEL", &invite, None));
    let cancel = stage.pick(102, "CANCEL");
    for wrong in ["1 OPTIONS", "2 CANCEL"] {
        stage.receive(102, &response(&cancel, 200, "OK").replace("1 CANCEL", wrong));
    }
    stage.pass(Duration::from_millis(500));
    assert_eq!(stage.one(102), cancel, "it is not answered");
    stage.receive(102, &response(&cancel, 200, "OK"));
    stage.pass(Duration::from_secs(5));
    assert!(stage.sent().is_empty());
    stage.receive(102, &response(&fork, 487, "Request Terminated"));
    assert_eq!(stage.lines(), ["102: ACK sip:bob@edge.test", "1: 487 Request Terminated"]);
    stage.settles();
}

/// A branch is a token, whose case an element on the way may change (RFC 3261 §7.3.1).
#[test]
fn a_branch_that_comes_back_in_another_case_is_ours() {
    let upper = |via: &str| via.replacen("z9hG4bKsw", "Z9HG4BKSW", 1);
    let everywhere = |via: &str| {
        let (head, branch) = via.split_once("branch=").unwrap();
        format!("{head}BRANCH={}", branch.to_ascii_uppercase())
    };
    let lower = |via: &str| via.to_ascii_lowercase();
    let writings: [&dyn Fn(&str) -> String; 3] = [&upper, &everywhere, &lower];
    // So may it with that of the sender, who may know it all the same.
    for write in writings {
        let mut stage = Stage::new();
        stage.user("bob", &[2]);
        stage.receive(1, &request("MESSAGE", "bob", "b"));
        let fork = stage.one(2);
        let via = values(&fork, "Via")[0];
        let answer =
            response(&fork, 200, "OK").replace(via, &write(via)).replace("z9hG4bKb\r\n", "Z9HG4BKB\r\n");
        assert!(!answer.contains(via) && answer.contains("Z9HG4BKB"), "{answer}");
        stage.receive(2, &answer);
        assert_eq!(stage.lines(), ["1: 200 OK"], "{answer}");
        stage.settles();
    }
}
