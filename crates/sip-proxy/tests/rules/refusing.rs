//! An INVITE that goes to nobody is told of to whoever follows calls: once for each time that it is refused,
//! and no other request.

use sip_proxy::{Answer, Settings};

use crate::fake_network::{DATAGRAMS, Stage, request, request_with, response, settings, within};

fn refused(stage: &mut Stage) -> Vec<(u16, u32)> {
    stage.sent();
    std::mem::take(&mut stage.network.refused)
}

#[test]
fn an_invite_that_goes_to_nobody_is_told_of() {
    let mut stage = Stage::new();
    stage.network.refusals.insert(b"eve".to_vec(), Answer::new(404, "Not Found"));
    let cases = [
        (request("INVITE", "eve", "a"), 404),
        (request("INVITE", "eve", "b").replace("Max-Forwards: 70", "Max-Forwards: 0"), 483),
        (request_with("INVITE", "eve", "c", "Proxy-Require: magic\r\n"), 420),
        (request_with("INVITE", "eve", "d", "Max-Breadth: 0\r\n"), 440),
    ];
    for hop in [1, DATAGRAMS] {
        for (invite, status) in &cases {
            stage.receive(hop, invite);
            assert_eq!(refused(&mut stage), [(*status, hop)], "{invite}");
            // Its repeat is absorbed, and its ACK is for us.
            stage.receive(hop, invite);
            stage.receive(hop, &within("ACK", invite, Some("x")));
            assert_eq!(refused(&mut stage), [], "{invite}");
        }
    }
    // Only an INVITE begins a call; and one within a dialog does not.
    for method in ["MESSAGE", "OPTIONS", "SUBSCRIBE", "BYE"] {
        stage.receive(1, &request(method, "eve", &format!("m{method}")));
    }
    let again =
        request("INVITE", "eve", "e").replace("To: <sip:eve@edge.test>", "To: <sip:eve@edge.test>;tag=t");
    assert!(again.contains(";tag=t"), "{again}");
    stage.receive(1, &again);
    assert_eq!(refused(&mut stage), []);
    stage.settles();
}

#[test]
fn an_invite_that_went_to_somebody_was_not_refused_whatever_came_of_it() {
    let mut stage = Stage::new();
    stage.user("bob", &[2]);
    for (branch, status) in [("a", 404), ("b", 503), ("c", 486)] {
        stage.receive(1, &request("INVITE", "bob", branch));
        let invite = stage.pick(2, "INVITE");
        stage.receive(2, &response(&invite, status, "No"));
        assert_eq!(refused(&mut stage), [], "{status}");
    }
    // Its connection is over: that is found out when it is sent.
    stage.network.gone.insert(2);
    stage.receive(1, &request("INVITE", "bob", "d"));
    assert!(stage.lines().contains(&"1: 480 Temporarily Unavailable".to_owned()));
    assert_eq!(refused(&mut stage), []);
    stage.settles();
}

#[test]
fn a_full_server_has_refused_the_calls_that_it_has_no_room_for() {
    // No room for the request, none for its branch, and none for its bytes.
    for (max_transactions, alternatives) in [(1, &[3][..]), (2, &[3, 4])] {
        let mut stage = Stage::with(Settings { max_transactions, ..settings() });
        stage.user("bob", &[2]);
        stage.user("carol", alternatives);
        stage.receive(1, &request("MESSAGE", "carol", "m"));
        stage.sent();
        stage.receive(1, &request("INVITE", "bob", "i"));
        let answers: Vec<u32> = stage
            .sent()
            .iter()
            .filter(|(_, text)| text.starts_with("SIP/2.0 5"))
            .map(|(hop, _)| *hop)
            .collect();
        assert_eq!(answers, [1], "{max_transactions}");
        let told = std::mem::take(&mut stage.network.refused);
        assert!(matches!(told[..], [(500..=503, 1)]), "{told:?}");
    }
    let mut stage = Stage::with(Settings { max_kept: 10, ..settings() });
    stage.user("bob", &[2]);
    stage.receive(1, &request("INVITE", "bob", "i"));
    assert_eq!(refused(&mut stage), [(503, 1)]);
}
