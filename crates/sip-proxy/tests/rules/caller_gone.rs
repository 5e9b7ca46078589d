//! What an answer causes when whoever asked has gone, on every method.

use std::{rc::Rc, time::Duration};

use sip_proxy::Target;

use crate::fake_network::{
    FOR_EVER, Stage, flows, line, request, request_with, response, response_with, target, values, within,
};

/// Beyond bob's user agent and in front of it there are proxies of others.
const ANSWER: &str =
    "Record-Route: <sip:p2.test;lr>\r\nContact: <sip:bob@h9.invalid;method=INVITE?Subject=x>\r\n";

/// The 200 to an INVITE: the Record-Routes of the proxies behind us come first.
fn answer(invite: &str) -> String {
    let plain = response(invite, 200, "OK");
    let at = plain.find("Record-Route").unwrap_or(plain.len() - 2);
    format!("{}{ANSWER}{}", &plain[..at], &plain[at..])
}

#[test]
fn a_call_that_is_answered_after_its_caller_has_gone_is_acknowledged_and_hung_up() {
    for (caller, callee, rings) in [(1, 2, false), (1, 2, true), (1, 102, false), (1, 102, true)] {
        let mut stage = Stage::new();
        stage.user("bob", &[callee]);
        stage.receive(caller, &request_with("INVITE", "bob", "i", "Record-Route: <sip:p1.test;lr>\r\n"));
        let invite = stage.pick(callee, "INVITE");
        if rings {
            stage.receive(callee, &response(&invite, 180, "Ringing"));
        }
        stage.sent();
        stage.end(caller);
        let cancelled = if rings { vec![format!("{callee}: CANCEL sip:bob@edge.test")] } else { vec![] };
        assert_eq!(stage.lines(), cancelled);
        // It crosses the CANCEL.
        stage.receive(callee, &answer(&invite));
        let sent = stage.sent();
        let lines: Vec<_> = sent.iter().map(|(hop, text)| format!("{hop}: {}", line(text))).collect();
        assert_eq!(
            lines,
            [format!("{callee}: ACK sip:bob@h9.invalid"), format!("{callee}: BYE sip:bob@h9.invalid")]
        );
        for (_, text) in &sent {
            assert_eq!(
                values(text, "Route"),
                ["<sip:p2.test;lr>"],
                "the proxies behind us, and not we: {text}"
            );
            assert_eq!(values(text, "From"), values(&invite, "From"));
            assert_eq!(values(text, "To"), ["<sip:bob@edge.test>;tag=b2"]);
            assert_eq!(values(text, "Via").len(), 1);
        }
        assert_eq!(values(&sent[0].1, "CSeq"), ["1 ACK"]);
        assert_eq!(values(&sent[1].1, "CSeq"), ["101 BYE"], "beyond what the caller may have used");
        // The ACK was lost, and the BYE is answered.
        stage.receive(callee, &answer(&invite));
        assert_eq!(stage.lines(), [format!("{callee}: ACK sip:bob@h9.invalid")]);
        stage.receive(callee, &response(&sent[1].1, 200, "OK"));
        // Another device behind the same proxy answers, too.
        stage.receive(callee, &answer(&invite).replace("tag=b2", "tag=b3"));
        assert_eq!(stage.lines().len(), 2);
        stage.settles();
        assert!(
            stage.network.answered.iter().all(|(status, ..)| *status != 200),
            "nobody was told of a call"
        );
    }
}

#[test]
fn a_call_that_is_answered_after_its_caller_was_told_that_it_failed_is_hung_up() {
    let mut stage = Stage::new();
    stage.network.patience = Some(Duration::from_secs(10));
    stage.user_at("bob", vec![Target { alternatives: flows(&[3]), ..target(2) }]);
    stage.receive(1, &request("INVITE", "bob", "i"));
    let silent = stage.pick(2, "INVITE");
    stage.pass(Duration::from_secs(10));
    let other = stage.pick(3, "INVITE");
    stage.receive(3, &response(&other, 486, "Busy Here"));
    assert_eq!(stage.lines(), ["3: ACK sip:bob@h3.invalid", "1: 486 Busy Here"]);
    stage.receive(2, &answer(&silent));
    assert_eq!(stage.lines(), ["2: ACK sip:bob@h9.invalid", "2: BYE sip:bob@h9.invalid"]);
    stage.settles();
}

/// The caller may come back to the call (its side is held), so a BYE is not for us to say.
#[test]
fn an_answer_that_the_caller_had_and_one_within_a_dialog_end_nothing() {
    let mut stage = Stage::new();
    stage.user("bob", &[2]);
    stage.receive(1, &request("INVITE", "bob", "i"));
    let invite = stage.pick(2, "INVITE");
    stage.receive(2, &answer(&invite));
    assert_eq!(stage.lines().last().unwrap(), "1: 200 OK");
    stage.end(1);
    stage.receive(2, &answer(&invite));
    assert_eq!(stage.lines(), Vec::<String>::new());
    stage.settles();

    let mut stage = Stage::new();
    let again = request_with("INVITE", "sip:bob@h9.invalid", "i", "Route: <sip:f2@edge.test;lr>\r\n");
    stage.receive(1, &again.replace("To: <sip:bob@h9.invalid>", "To: <sip:bob@edge.test>;tag=b2"));
    let invite = stage.pick(2, "INVITE");
    stage.end(1);
    stage.receive(2, &answer(&invite));
    assert_eq!(stage.lines(), ["2: ACK sip:bob@h9.invalid"]);
    stage.settles();
}

#[test]
fn a_register_that_succeeds_after_its_connection_has_ended_is_told_and_until_then_under_way() {
    for wait in [0, 10, 31] {
        let mut stage = Stage::new();
        stage.user_at("bob", vec![Target { alternatives: crate::fake_network::hops(&[161]), ..target(160) }]);
        stage.receive(1, &request("REGISTER", "bob", "r"));
        let register = stage.pick(160, "REGISTER");
        stage.end(1);
        stage.pass(Duration::from_secs(wait));
        stage.sent();
        assert_eq!(Rc::strong_count(&stage.network.under_way), 2);
        stage.receive(160, &response(&register, 200, "OK"));
        assert_eq!(stage.network.registered, [1], "after {wait} s");
        assert_eq!(Rc::strong_count(&stage.network.under_way), 1);
        assert_eq!(stage.lines(), Vec::<String>::new());
        stage.settles();
    }
    // Its connection is found to be gone only when it is to be told of the delay.
    let mut stage = Stage::new();
    stage.user("bob", &[160]);
    stage.receive(1, &request("REGISTER", "bob", "r"));
    let register = stage.pick(160, "REGISTER");
    stage.network.gone.insert(1);
    stage.pass(Duration::from_secs(10));
    assert_eq!(stage.network.attempts, [1]);
    stage.receive(160, &response(&register, 200, "OK"));
    assert_eq!(stage.network.registered, [1]);
    stage.settles();
}

#[test]
fn a_register_of_somebody_who_has_gone_is_tried_nowhere_else_and_is_over_when_it_fails() {
    for answered in [Some(401), Some(503), None] {
        let mut stage = Stage::new();
        stage.user_at("bob", vec![Target { alternatives: crate::fake_network::hops(&[161]), ..target(160) }]);
        stage.receive(1, &request("REGISTER", "bob", "r"));
        let register = stage.pick(160, "REGISTER");
        stage.end(1);
        match answered {
            Some(status) => stage.receive(160, &response(&register, status, "No")),
            None => stage.pass(FOR_EVER),
        }
        assert_eq!(Rc::strong_count(&stage.network.under_way), 1, "{answered:?}");
        assert!(stage.sent().iter().all(|(hop, _)| *hop == 160));
        assert_eq!(stage.network.registered, [0; 0]);
        stage.settles();
    }
}

#[test]
fn a_register_is_under_way_until_it_has_its_answer() {
    for status in [200, 401, 503] {
        let mut stage = Stage::new();
        stage.user("bob", &[160]);
        stage.receive(1, &request("REGISTER", "bob", "r"));
        let register = stage.pick(160, "REGISTER");
        assert_eq!(Rc::strong_count(&stage.network.under_way), 2);
        stage.receive(160, &response(&register, status, "So"));
        assert_eq!(Rc::strong_count(&stage.network.under_way), 1, "{status}");
        stage.settles();
    }
}

#[test]
fn subscriptions_and_publications_of_somebody_who_has_gone_are_taken_back() {
    let contact = "Contact: <sip:alice@x7.invalid>\r\n";
    let made = "Contact: <sip:bob@h9.invalid?a=b>\r\nExpires: 600\r\n";
    let cases = [
        (
            "SUBSCRIBE",
            format!("Event: presence;id=7\r\n{contact}"),
            made,
            Some("SUBSCRIBE sip:bob@h9.invalid"),
        ),
        ("REFER", format!("Refer-To: <sip:c@x>\r\n{contact}"), made, Some("SUBSCRIBE sip:bob@h9.invalid")),
        (
            "PUBLISH",
            "Event: presence\r\nExpires: 600\r\n".to_owned(),
            "SIP-ETag: xyz\r\n",
            Some("PUBLISH sip:bob@edge.test"),
        ),
        // There is nothing to take back.
        ("SUBSCRIBE", format!("Event: presence\r\nExpires: 0\r\n{contact}"), "Expires: 0\r\n", None),
        ("REFER", format!("Refer-Sub: false\r\n{contact}"), "Refer-Sub: False\r\n", None),
        ("PUBLISH", "Event: presence\r\nExpires: 0\r\n".to_owned(), "SIP-ETag: xyz\r\n", None),
        ("MESSAGE", String::new(), "", None),
        ("INFO", String::new(), "", None),
        ("OPTIONS", String::new(), "", None),
        ("NOTIFY", "Event: presence\r\nSubscription-State: active\r\n".to_owned(), "", None),
    ];
    for (method, more, answer, undone) in cases {
        let mut stage = Stage::new();
        stage.user("bob", &[102]);
        stage.receive(1, &request_with(method, "bob", "s", &more));
        let out = stage.pick(102, method);
        stage.end(1);
        stage.receive(102, &response_with(&out, 202, "Accepted", answer));
        let sent = stage.sent();
        let lines: Vec<String> = sent.iter().map(|(_, text)| line(text)).collect();
        assert_eq!(lines, undone.into_iter().collect::<Vec<_>>(), "{method} {more}");
        if let Some((_, undo)) = sent.first() {
            assert_eq!(values(undo, "Expires"), ["0"]);
            assert_eq!(values(undo, "CSeq"), [format!("2 {}", undo.split(' ').next().unwrap())]);
            let event = if method == "REFER" { "refer" } else { values(&out, "Event")[0] };
            assert_eq!(values(undo, "Event"), [event]);
            assert!(values(undo, "Route").is_empty(), "our own are no way for us");
            if method == "PUBLISH" {
                assert_eq!(values(undo, "SIP-If-Match"), ["xyz"]);
            } else {
                assert_eq!(values(undo, "To"), ["<sip:bob@edge.test>;tag=b2"]);
            }
            // Nobody asked here, so it is repeated until it is answered, and then over.
            stage.receive(102, &response(undo, 200, "OK"));
        }
        stage.settles();
    }
}

#[test]
fn who_is_there_for_the_answer_keeps_what_it_made() {
    for method in ["SUBSCRIBE", "REFER", "PUBLISH", "REGISTER"] {
        let mut stage = Stage::new();
        stage.user("bob", &[2]);
        stage.receive(
            1,
            &request_with(method, "bob", "s", "Event: presence\r\nContact: <sip:a@x7.invalid>\r\n"),
        );
        let out = stage.pick(2, method);
        stage.receive(2, &response_with(&out, 200, "OK", "SIP-ETag: xyz\r\nExpires: 600\r\n"));
        assert_eq!(stage.lines(), ["1: 200 OK"], "{method}");
        stage.end(1);
        stage.receive(2, &response_with(&out, 200, "OK", "SIP-ETag: xyz\r\nExpires: 600\r\n"));
        assert_eq!(stage.lines(), Vec::<String>::new());
        stage.settles();
    }
    // A CANCEL means no connection's end: who cancelled acknowledges and hangs up itself.
    let mut stage = Stage::new();
    stage.user("bob", &[2]);
    let invite = request("INVITE", "bob", "i");
    stage.receive(1, &invite);
    let out = stage.pick(2, "INVITE");
    stage.receive(1, &within("CANCEL", &invite, None));
    stage.sent();
    stage.receive(2, &response(&out, 200, "OK"));
    assert_eq!(stage.lines(), ["1: 200 OK"]);
    stage.settles();
}
