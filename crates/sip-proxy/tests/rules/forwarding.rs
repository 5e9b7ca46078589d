//! What a request and a response look like when they go on (RFC 3261 §16.3, §16.6, §16.7).

use sip_proxy::{Alternative, Notice, Settings, Target, shard_of};
use smallvec::smallvec;

use crate::fake_network::{
    Stage, line, request, request_with, response, response_with, settings, target, values, within,
};

#[test]
fn a_message_goes_there_and_its_answer_back() {
    let mut stage = Stage::new();
    stage.user("bob", &[2]);
    let sent = request("MESSAGE", "bob", "m1");
    stage.receive(1, &sent);
    let out = stage.one(2);
    let via = values(&out, "Via");
    assert!(via[0].starts_with("SIP/2.0/WS edge.test;branch=z9hG4bKsw"), "{out}");
    assert_eq!(
        via[1], "SIP/2.0/WS x7.invalid;branch=z9hG4bKm1",
        "a nameless sender's address is nobody's business"
    );
    assert_eq!(values(&out, "Max-Forwards"), ["69"]);
    assert!(out.ends_with("\r\n\r\nhello\u{0}\r\n\r\nworld"));
    assert!(values(&out, "Record-Route").is_empty());
    let back = response_with(&out, 200, "OK", "X-More: than enough\r\n");
    let parsed = sip_message::Message::parse(back.as_bytes()).unwrap();
    assert_eq!(shard_of(&parsed), Some(5));
    stage.receive(2, &back);
    let back = stage.one(1);
    assert_eq!(values(&back, "Via"), [via[1]]);
    assert_eq!(values(&back, "X-More"), ["than enough"]);
    stage.settles();
}

#[test]
fn the_senders_via_is_stamped_where_somebody_needs_it() {
    for (via, expected) in [
        ("SIP/2.0/WS q.invalid;branch=z9hG4bK1", ""),
        ("SIP/2.0/WS q.INVALID:80;branch=z9hG4bK1", ""),
        ("SIP/2.0/WS q.invalid;rport;branch=z9hG4bK1", "received=192.0.2.1|rport=40001"),
        ("SIP/2.0/TCP pc.test;branch=z9hG4bK1", "received=192.0.2.1"),
        ("SIP/2.0/TCP notinvalid;branch=z9hG4bK1", "received=192.0.2.1"),
        ("SIP/2.0/UDP 192.0.2.1:9;branch=z9hG4bK1", ""),
        ("SIP/2.0/UDP 192.0.2.1:9;branch=z9hG4bK1;rport", "received=192.0.2.1|rport=40001"),
        ("SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1;received=203.0.113.9", "received=192.0.2.1"),
    ] {
        let mut stage = Stage::new();
        stage.user("bob", &[2]);
        let sent = request("OPTIONS", "bob", "v").replace("SIP/2.0/WS x7.invalid;branch=z9hG4bKv", via);
        stage.receive(1, &sent);
        let out = stage.one(2);
        let stamps: Vec<_> = values(&out, "Via")[1]
            .split(';')
            .filter(|param| param.starts_with("received") || param.starts_with("rport"))
            .collect();
        let mut stamps = stamps;
        stamps.sort_unstable();
        assert_eq!(stamps.join("|"), expected, "{via}");
    }
}

#[test]
fn requests_that_begin_dialogs_are_record_routed_on_both_sides() {
    for (method, tag, routes) in [
        ("INVITE", "", 2),
        ("SUBSCRIBE", "", 2),
        ("REFER", "", 2),
        ("NOTIFY", "", 2),
        ("INVITE", ";tag=b2", 0),
        ("BYE", ";tag=b2", 0),
        ("MESSAGE", "", 0),
        ("REGISTER", "", 0),
        ("OPTIONS", "", 0),
    ] {
        let mut stage = Stage::new();
        stage.user("bob", &[2]);
        let text =
            request(method, "bob", "r").replace("@edge.test>\r\nCall", &format!("@edge.test>{tag}\r\nCall"));
        stage.receive(1, &text);
        let out = stage.pick(2, method);
        let found = values(&out, "Record-Route");
        assert_eq!(found.len(), routes, "{method}");
        if routes == 2 {
            assert_eq!(found, ["<sip:f2@edge.test;lr>", "<sip:f1@edge.test;lr>"], "the callee's side on top");
        }
    }
}

#[test]
fn a_register_that_is_forwarded_gets_a_path_if_the_environment_has_one() {
    let mut stage = Stage::new();
    stage.user("bob", &[60]);
    stage.receive(1, &request_with("REGISTER", "bob", "p", "Path: <sip:inner.test;lr>\r\n"));
    assert_eq!(values(&stage.one(60), "Path"), ["<sip:inner.test;lr>"]);
    stage.network.path = true;
    stage.receive(1, &request_with("REGISTER", "bob", "p2", "Path: <sip:inner.test;lr>\r\n"));
    assert_eq!(values(&stage.one(60), "Path"), ["<sip:f1@edge.test;lr;ob>", "<sip:inner.test;lr>"]);
}

#[test]
fn a_target_says_request_uri_and_path() {
    let mut stage = Stage::new();
    let bob = Target {
        request_uri: Some(Box::from(&b"sip:bob@p4.invalid;transport=ws"[..])),
        routes: smallvec![Box::from(&b"<sip:one.test;lr>"[..]), Box::from(&b"<sip:two.test;lr>"[..])],
        ..target(60)
    };
    stage.user_at("bob", vec![bob]);
    stage.receive(1, &request_with("INVITE", "bob", "t", "Route: <sip:edge.test;lr>\r\n"));
    let out = stage.pick(60, "INVITE");
    assert!(out.starts_with("INVITE sip:bob@p4.invalid;transport=ws SIP/2.0\r\n"));
    assert_eq!(values(&out, "Route"), ["<sip:one.test;lr>", "<sip:two.test;lr>"]);
    assert_eq!(values(&out, "Record-Route"), ["<sip:edge.test;lr>", "<sip:f1@edge.test;lr>"]);
}

#[test]
fn a_target_that_cannot_be_written_is_a_500() {
    let mut stage = Stage::new();
    let bob = Target { request_uri: Some(Box::from(&b"sip:b ob@x"[..])), ..target(2) };
    stage.user_at("bob", vec![bob]);
    stage.receive(1, &request("MESSAGE", "bob", "w"));
    assert_eq!(stage.lines(), ["1: 500 Server Internal Error"]);
    assert_eq!(stage.network.notices, [Notice::Unwritable]);
    stage.settles();
}

#[test]
fn hops_are_counted() {
    for (header, forwarded) in [
        ("Max-Forwards: 70\r\n", Some("69")),
        ("Max-Forwards: 1\r\n", Some("0")),
        ("Max-Forwards: 255\r\n", Some("254")),
        ("", Some("70")),
        ("Max-Forwards: 0\r\n", None),
    ] {
        let mut stage = Stage::new();
        stage.user("bob", &[2]);
        stage.receive(1, &request("OPTIONS", "bob", "h").replace("Max-Forwards: 70\r\n", header));
        match forwarded {
            Some(hops) => assert_eq!(values(&stage.one(2), "Max-Forwards"), [hops]),
            None => assert_eq!(stage.lines(), ["1: 483 Too Many Hops"]),
        }
    }
}

#[test]
fn extensions_that_a_proxy_would_need_to_know_are_refused_but_not_for_ack_and_cancel() {
    let mut stage = Stage::new();
    stage.user("bob", &[2]);
    let more = "Proxy-Require: sec-agree, foo\r\nProxy-Require: bar\r\n";
    stage.receive(1, &request_with("INVITE", "bob", "x", more));
    let answer = stage.one(1);
    assert!(answer.starts_with("SIP/2.0 420 Bad Extension\r\n"));
    assert_eq!(values(&answer, "Unsupported"), ["sec-agree, foo, bar"]);
    stage.receive(1, &request_with("CANCEL", "bob", "y", more));
    assert_eq!(stage.lines(), ["1: 481 Call/Transaction Does Not Exist"]);
    stage.receive(1, &request_with("ACK", "bob", "z", more));
    assert_eq!(stage.lines(), ["2: ACK sip:bob@edge.test"]);
    stage.settles();
}

/// As another proxy sends it on.
fn through(other: &str, text: &str) -> String {
    text.replacen("Via: ", &format!("Via: SIP/2.0/TCP {other}.test;branch=z9hG4bK{other}\r\nVia: "), 1)
}

#[test]
fn a_loop_is_seen_and_a_spiral_is_not() {
    let mut stage = Stage::new();
    stage.user("bob", &[60]);
    stage.user("carol", &[60]);
    stage.receive(1, &request("MESSAGE", "bob", "l"));
    let first = stage.one(60);
    // Another element changed where it goes, and it comes by again: a spiral.
    stage.receive(60, &through("other", &first).replace("MESSAGE sip:bob@", "MESSAGE sip:carol@"));
    let second = stage.one(60);
    assert!(second.starts_with("MESSAGE sip:carol@"));
    // And once more, to whom it was for at first: it came from elsewhere then, which may count for the
    // decision.
    stage.receive(60, &through("second", &second).replace("MESSAGE sip:carol@", "MESSAGE sip:bob@"));
    let third = stage.one(60);
    assert!(third.starts_with("MESSAGE sip:bob@"));
    // But now it was here in each form.
    for user in ["carol", "bob"] {
        let fourth = through("third", &third).replace("MESSAGE sip:bob@", &format!("MESSAGE sip:{user}@"));
        stage.receive(60, &fourth.replace("z9hG4bKthird", &format!("z9hG4bK{user}")));
        assert_eq!(stage.lines(), ["60: 482 Loop Detected"]);
    }
    assert_eq!(stage.network.notices, [Notice::Loop, Notice::Loop]);
}

#[test]
fn an_ack_that_goes_round_is_dropped() {
    let mut stage = Stage::new();
    stage.user("bob", &[60]);
    stage.receive(60, &request("ACK", "bob", "a"));
    let round = stage.one(60);
    stage.receive(60, &round);
    assert!(stage.sent().is_empty());
    stage.receive(1, &request("ACK", "bob", "a").replace("Max-Forwards: 70", "Max-Forwards: 0"));
    assert!(stage.sent().is_empty());
    assert_eq!(stage.network.notices, [Notice::StrayAck, Notice::StrayAck]);
}

#[test]
fn an_ack_of_a_success_passes_in_no_transaction_the_same_way_each_time() {
    let mut stage = Stage::new();
    let routes = "Route: <sip:f1@edge.test;lr>, <sip:f2@edge.test;lr>\r\n";
    for uri in ["sip:bob@z.invalid", "bob"] {
        stage.user("bob", &[2]);
        let more = if uri == "bob" { "" } else { routes };
        stage.receive(1, &request_with("ACK", uri, "k", more));
        let first = stage.one(2);
        assert!(values(&first, "Route").is_empty());
        stage.receive(1, &request_with("ACK", uri, "k", more));
        assert_eq!(stage.one(2), first);
    }
    stage.receive(1, &request_with("ACK", "sip:zed@nowhere.test", "k", ""));
    assert!(stage.sent().is_empty());
    assert_eq!(stage.proxy.transactions(), (0, 0));
}

#[test]
fn invalid_requests_are_answered_and_their_acks_go_nowhere() {
    let mut stage = Stage::new();
    stage.user("bob", &[2]);
    let invite = request("INVITE", "bob", "i").replace("CSeq: 1 INVITE", "CSeq: 1 BYE");
    stage.receive(1, &invite);
    let answer = stage.one(1);
    assert!(answer.starts_with("SIP/2.0 400 "), "{answer}");
    stage.receive(1, &within("ACK", &invite, Some(values(&answer, "To")[0])));
    assert!(stage.sent().is_empty());
    stage.receive(1, "INVITE sip:bob@edge.test SIP/2.0\r\nVia: SIP/2.0/WS a.invalid;branch=z9hG4bK1\r\nContent-Length: -1\r\n\r\n");
    assert_eq!(stage.lines(), ["1: 400 Invalid Content-Length"]);
    assert_eq!(stage.proxy.transactions(), (0, 0));
}

#[test]
fn a_full_table_says_so_and_stays_as_it_is() {
    let mut stage = Stage::with(Settings { max_transactions: 1, ..settings() });
    stage.user("bob", &[2]);
    stage.receive(1, &request("MESSAGE", "bob", "f1"));
    let first = stage.one(2);
    let invite = request("INVITE", "bob", "f2");
    stage.receive(1, &invite);
    let answer = stage.one(1);
    assert!(answer.starts_with("SIP/2.0 503 "));
    assert_eq!(values(&answer, "Retry-After"), ["5"]);
    stage.receive(1, &within("ACK", &invite, Some(values(&answer, "To")[0])));
    assert!(stage.sent().is_empty(), "the ACK was for us");
    stage.receive(2, &response(&first, 200, "OK"));
    assert_eq!(stage.lines(), ["1: 200 OK"]);
    stage.receive(1, &request("MESSAGE", "bob", "f3"));
    assert_eq!(stage.lines(), ["2: MESSAGE sip:bob@edge.test"]);
    stage.settles();
}

#[test]
fn a_fork_that_finds_no_room_fails_before_it_is_sent() {
    let mut stage = Stage::with(Settings { max_transactions: 2, ..settings() });
    stage.user("bob", &[2, 3, 4]);
    stage.receive(1, &request("MESSAGE", "bob", "g"));
    let sent = stage.sent();
    assert_eq!(sent.iter().map(|(hop, _)| *hop).collect::<Vec<_>>(), [2, 3]);
    for (hop, text) in &sent {
        stage.receive(*hop, &response(text, 404, "Not Found"));
    }
    assert_eq!(stage.lines(), ["1: 404 Not Found"]);
    stage.settles();
}

/// A proxy behind us may send it back at once, and another shard hears of that: whoever follows calls took
/// the way back for the way out, and let the caller's own ACK and BYE go nowhere.
#[test]
fn whoever_follows_calls_hears_of_a_request_before_it_is_sent() {
    let mut stage = Stage::new();
    stage.user("bob", &[2, 3]);
    stage.receive(1, &request("INVITE", "bob", "t"));
    let sent: Vec<u32> = stage.sent().iter().map(|(hop, _)| *hop).filter(|&hop| hop != 1).collect();
    assert_eq!(sent, [2, 3]);
    assert_eq!(stage.network.told, [(2, 0), (3, 1)]);
}

/// RFC 3261 §16.6 step 2, §19.1.1: whoever registers a Contact, redirects, or writes a Route must not write
/// into requests of others.
#[test]
fn header_fields_and_the_method_of_a_uri_stay_out_of_every_request_uri() {
    const WRITTEN: &str = "sip:bob@h3.invalid;method=BYE;transport=ws?Subject=x&Route=%3Csip:evil.test%3E";
    const FORM: &str = "MESSAGE sip:bob@h3.invalid;transport=ws";
    let uri = || Some(WRITTEN.as_bytes().into());
    let at = |stage: &mut Stage, to: &str, more: &str| {
        stage.receive(1, &request_with("MESSAGE", to, "u", more));
    };
    // A contact, another flow of it, a redirection.
    let mut stage = Stage::new();
    stage.user_at("bob", vec![Target { request_uri: uri(), ..target(3) }]);
    at(&mut stage, "bob", "");
    assert_eq!(stage.lines(), [format!("3: {FORM}")]);
    let mut stage = Stage::new();
    let flow = Alternative::Flow { hop: 3, request_uri: uri().unwrap(), routes: smallvec![] };
    stage.user_at("bob", vec![Target { alternatives: smallvec![flow], ..target(2) }]);
    stage.network.gone.insert(2);
    at(&mut stage, "bob", "");
    assert_eq!(stage.lines(), [format!("3: {FORM}")]);
    let mut stage = Stage::new();
    stage.user("bob", &[2]);
    stage.network.redirects.insert(WRITTEN.to_owned(), vec![Target { request_uri: uri(), ..target(3) }]);
    at(&mut stage, "bob", "");
    let asked = stage.pick(2, "MESSAGE");
    stage.receive(2, &response_with(&asked, 302, "Moved", &format!("Contact: <{WRITTEN}>\r\n")));
    assert_eq!(stage.lines(), [format!("3: {FORM}")]);
    // What a GRUU stands for, within a dialog.
    let mut stage = Stage::new();
    stage.network.named = Some(Target { request_uri: uri(), ..target(3) });
    stage.receive(1, &request_with("BYE", "bob", "u", "Route: <sip:f3@edge.test;lr>\r\n"));
    assert_eq!(stage.lines(), [format!("3: {}", FORM.replace("MESSAGE", "BYE"))]);
    // What the sender wrote itself (header fields there are refused with 400), by a loose and by a strict
    // router.
    let mut stage = Stage::new();
    at(&mut stage, "sip:b@h60.test;Method=REGISTER", "");
    assert_eq!(stage.lines(), ["60: MESSAGE sip:b@h60.test"]);
    let mut stage = Stage::new();
    at(&mut stage, "sip:edge.test;lr", "Route: <sip:b@h60.test?Subject=x>\r\n");
    assert_eq!(stage.lines(), ["60: MESSAGE sip:b@h60.test"]);
    // A strict router's own URI, and the Route that the Request-URI becomes.
    let mut stage = Stage::new();
    at(&mut stage, "sip:b@z.invalid;method=x", "Route: <sip:h60.test;method=BYE?Subject=x>\r\n");
    let out = stage.one(60);
    assert_eq!(
        (line(&out).as_str(), values(&out, "Route")),
        ("MESSAGE sip:h60.test", vec!["<sip:b@z.invalid>"])
    );
}

/// 3,000 unanswered INVITEs of 130 kB once held 761 MB.
#[test]
fn unanswered_requests_keep_so_many_bytes_and_no_more() {
    let mut stage = Stage::with(Settings { max_kept: 18_000, ..settings() });
    stage.user("bob", &[2]);
    let long =
        |branch: &str| request_with("INVITE", "bob", branch, &format!("Subject: {}\r\n", "x".repeat(3000)));
    let mut forwarded = Vec::new();
    let refused = loop {
        stage.receive(1, &long(&format!("k{}", forwarded.len())));
        let sent = stage.sent();
        match sent.into_iter().find(|(hop, text)| *hop == 2 || text.starts_with("SIP/2.0 503 ")) {
            Some((2, invite)) => forwarded.push(invite),
            Some((_, answer)) => break answer,
            None => panic!("neither forwarded nor refused"),
        }
    };
    assert_eq!(values(&refused, "Retry-After"), ["5"]);
    assert!(forwarded.len() == 2 && stage.proxy.kept_bytes() <= 18_000, "{}", forwarded.len());
    // What belongs to what is there is heard all the same, and so is what belongs to a dialog.
    stage.receive(1, &long("k0"));
    assert_eq!(stage.lines(), ["1: 100 Trying"]);
    let bye = request_with("BYE", "bob", "k8", "")
        .replace("To: <sip:bob@edge.test>", "To: <sip:bob@edge.test>;tag=b2");
    stage.receive(1, &bye.replace("Max-Forwards", &format!("Subject: {}\r\nMax-Forwards", "x".repeat(500))));
    stage.pick(2, "BYE");
    stage.receive(2, &response(&forwarded[0], 486, "Busy Here"));
    stage.pick(2, "ACK");
    stage.receive(1, &long("k9"));
    stage.pick(2, "INVITE");
    stage.settles();
}
