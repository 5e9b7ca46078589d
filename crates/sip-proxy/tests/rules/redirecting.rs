//! Redirections, passed on or followed (RFC 3261 §16.5, §16.7 step 4).

use sip_proxy::Target;

use crate::fake_network::{Stage, line, request, request_with, response, response_with, target};

/// Bob's user agent is at 2; these contacts lead to these hops.
fn stage(contacts: &[(&str, u32)]) -> Stage {
    let mut stage = Stage::new();
    stage.user("bob", &[2]);
    for (user, hop) in contacts {
        let request_uri = Some(format!("sip:{user}@h{hop}.invalid").into_bytes().into());
        let to = Target { request_uri, ..target(*hop) };
        stage.network.redirects.insert(format!("sip:{user}@edge.test"), vec![to]);
    }
    stage
}

fn redirect(request: &str, contacts: &str) -> String {
    response_with(request, 302, "Moved", &format!("Contact: {contacts}\r\n"))
}

#[test]
fn contacts_are_tried_by_q_and_the_best_of_their_answers_goes_up() {
    for method in ["INVITE", "MESSAGE"] {
        let mut stage = stage(&[("carol", 3), ("dave", 4), ("erin", 5)]);
        stage.receive(1, &request(method, "bob", "r"));
        let first = stage.pick(2, method);
        let contacts = "<sip:erin@edge.test>;q=0.2, <sip:carol@edge.test>, <sip:far@away.test>, <sip:dave@edge.test>;q=1.0";
        stage.receive(2, &redirect(&first, contacts));
        let sent = stage.sent();
        let on = |hop| sent.iter().find(|(on, text)| *on == hop && line(text).starts_with(method)).cloned();
        let (third, fourth) = (on(3).unwrap().1, on(4).unwrap().1);
        assert_eq!((line(&third), on(5)), (format!("{method} sip:carol@h3.invalid"), None));
        stage.receive(3, &response(&third, 486, "Busy Here"));
        stage.receive(4, &response(&fourth, 404, "Not Found"));
        let fifth = stage.pick(5, method);
        stage.receive(5, &response(&fifth, 200, "OK"));
        assert_eq!(stage.lines(), ["1: 200 OK"]);
        stage.settles();
    }
}

#[test]
fn what_leads_nowhere_goes_to_the_caller() {
    let other = ["<sip:far@away.test>", "<sip:bob@edge.test>, <mailto:bob@edge.test>", "*"];
    for contacts in other {
        let mut stage = stage(&[("carol", 3), ("bob", 2)]);
        stage.receive(1, &request("MESSAGE", "bob", "r"));
        let first = stage.pick(2, "MESSAGE");
        stage.receive(2, &redirect(&first, contacts));
        assert_eq!(stage.lines(), ["1: 302 Moved"], "{contacts}");
        stage.settles();
    }
    // Of another proxy, of another service: not the same elsewhere.
    for status in [305, 380] {
        let mut stage = stage(&[("carol", 3)]);
        stage.receive(1, &request("MESSAGE", "bob", "r"));
        let first = stage.pick(2, "MESSAGE");
        stage.receive(2, &response_with(&first, status, "Alternative", "Contact: <sip:carol@edge.test>\r\n"));
        assert_eq!(stage.lines(), [format!("1: {status} Alternative")]);
        stage.settles();
    }
}

#[test]
fn none_is_followed_twice_nor_more_than_ten() {
    let mut circle = stage(&[("carol", 3), ("dave", 4)]);
    circle.receive(1, &request("MESSAGE", "bob", "r"));
    let first = circle.pick(2, "MESSAGE");
    circle.receive(2, &redirect(&first, "<sip:carol@edge.test>"));
    let second = circle.pick(3, "MESSAGE");
    circle.receive(3, &redirect(&second, "<sip:dave@edge.test>, <sip:bob@edge.test>"));
    let third = circle.pick(4, "MESSAGE");
    circle.receive(4, &redirect(&third, "<sip:carol@EDGE.test;x=y>"));
    assert_eq!(circle.lines(), ["1: 480 Temporarily Unavailable"], "all that it led to was asked");
    circle.settles();

    let many: Vec<String> = (0..12).map(|at| format!("user{at}")).collect();
    let mut chain = stage(&many.iter().map(|user| (&**user, 3)).collect::<Vec<_>>());
    chain.receive(1, &request("MESSAGE", "bob", "r"));
    let mut last = chain.pick(2, "MESSAGE");
    let mut on = 2;
    for user in &many[..10] {
        chain.receive(on, &redirect(&last, &format!("<sip:{user}@edge.test>")));
        last = chain.pick(3, "MESSAGE");
        on = 3;
    }
    chain.receive(3, &redirect(&last, "<sip:user10@edge.test>"));
    assert_eq!(chain.lines(), ["1: 302 Moved"]);
    chain.settles();
}

#[test]
fn within_dialogs_and_for_registrations_they_pass() {
    let mut stage = stage(&[("carol", 3)]);
    stage.receive(1, &request_with("BYE", "sip:b@z.invalid", "b", "Route: <sip:f2@edge.test;lr>\r\n"));
    let bye = stage.one(2);
    stage.receive(2, &redirect(&bye, "<sip:carol@edge.test>"));
    assert_eq!(stage.lines(), ["1: 302 Moved"]);
    stage.receive(1, &request("REGISTER", "bob", "r"));
    let register = stage.one(2);
    stage.receive(2, &redirect(&register, "<sip:carol@edge.test>"));
    assert_eq!(stage.lines(), ["1: 302 Moved"]);
    stage.settles();
}

#[test]
fn a_caller_who_has_cancelled_is_sent_nowhere_else() {
    let mut stage = stage(&[("carol", 3)]);
    stage.receive(1, &request("INVITE", "bob", "r"));
    let first = stage.pick(2, "INVITE");
    stage.receive(2, &response(&first, 180, "Ringing"));
    stage.receive(1, &request("CANCEL", "bob", "r"));
    stage.sent();
    stage.receive(2, &redirect(&first, "<sip:carol@edge.test>"));
    assert_eq!(stage.lines(), ["2: ACK sip:bob@edge.test", "1: 487 Request Terminated"]);
    stage.settles();
}

#[test]
fn a_redirection_waits_for_whoever_still_rings() {
    let mut stage = stage(&[("carol", 3)]);
    stage.user("bob", &[2, 4]);
    stage.receive(1, &request("INVITE", "bob", "r"));
    let sent = stage.sent();
    let on = |hop| sent.iter().find(|(on, _)| *on == hop).unwrap().1.clone();
    stage.receive(4, &response(&on(4), 180, "Ringing"));
    stage.receive(2, &redirect(&on(2), "<sip:carol@edge.test>"));
    assert_eq!(stage.lines(), ["1: 180 Ringing", "2: ACK sip:bob@edge.test"]);
    stage.receive(4, &response(&on(4), 486, "Busy Here"));
    let third = stage.pick(3, "INVITE");
    stage.receive(3, &response(&third, 200, "OK"));
    assert_eq!(stage.lines(), ["1: 200 OK"]);
    stage.settles();
}

#[test]
fn where_one_declined_for_all_nobody_else_is_called() {
    let mut stage = stage(&[("carol", 3)]);
    stage.user("bob", &[2, 4]);
    stage.receive(1, &request("INVITE", "bob", "r"));
    let sent = stage.sent();
    let on = |hop| sent.iter().find(|(on, _)| *on == hop).unwrap().1.clone();
    stage.receive(2, &response(&on(2), 180, "Ringing"));
    stage.receive(4, &response(&on(4), 603, "Decline"));
    stage.sent();
    stage.receive(2, &redirect(&on(2), "<sip:carol@edge.test>"));
    assert_eq!(stage.lines(), ["2: ACK sip:bob@edge.test", "1: 603 Decline"]);
    stage.settles();
}
