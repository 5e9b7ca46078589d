//! Where a request goes along Route headers (RFC 3261 §16.4, RFC 5626 §5.3).

use sip_proxy::Target;
use smallvec::smallvec;

use crate::fake_network::{Stage, request_with, target, values};

/// Sends a request from flow 1 with these routes; what came of it.
fn routed(stage: &mut Stage, method: &str, uri: &str, routes: &str) -> (u32, String) {
    stage.receive(1, &request_with(method, uri, "r", routes));
    let mut sent = stage.sent();
    assert_eq!(sent.len(), 1, "{sent:?}");
    sent.remove(0)
}

#[test]
fn our_routes_name_the_way_and_are_taken_off() {
    for (uri, routes, hop, left) in [
        ("sip:b@z.invalid", "Route: <sip:f1@edge.test;lr>\r\nRoute: <sip:f2@edge.test;lr>\r\n", 2, vec![]),
        ("sip:b@z.invalid", "Route: <sip:f1@edge.test;lr>, <sip:f2@edge.test;lr>\r\n", 2, vec![]),
        // Ours, but no flow: by Request-URI.
        ("sip:b@h60.test", "Route: <sip:f1@edge.test;lr>, <sip:edge.test;lr>\r\n", 60, vec![]),
        ("sip:b@h60.test", "Route: <sip:edge.test;lr>\r\n", 60, vec![]),
        // The sender's own flow alone says only where it came from.
        ("sip:b@h60.test", "Route: <sip:f1@edge.test;lr;ob>\r\n", 60, vec![]),
        // A call to oneself.
        ("sip:b@z.invalid", "Route: <sip:f1@edge.test;lr>, <sip:f1@edge.test;lr>\r\n", 1, vec![]),
        // Another element's.
        (
            "sip:b@z.invalid",
            "Route: <sip:f1@edge.test;lr>\r\nRoute: <sip:edge.test;lr>,  <sip:h60.test;lr>, <sip:last.test;lr>\r\n",
            60,
            vec!["<sip:h60.test;lr>, <sip:last.test;lr>"],
        ),
        ("sip:b@z.invalid", "Route: <sip:h60.test;lr>\r\n", 60, vec!["<sip:h60.test;lr>"]),
        // A flow that we named ourselves, another element behind it.
        (
            "sip:b@z.invalid",
            "Route: <sip:f2@edge.test;lr>, <sip:h60.test;lr>\r\n",
            2,
            vec!["<sip:h60.test;lr>"],
        ),
    ] {
        let mut stage = Stage::new();
        let (on, out) = routed(&mut stage, "BYE", uri, routes);
        assert_eq!((on, values(&out, "Route")), (hop, left), "{uri} {routes}");
        assert!(out.starts_with(&format!("BYE {uri} SIP/2.0\r\n")));
    }
}

/// RFC 3261 §16.4: whoever has the domain for its outbound proxy begins its routes with it.
#[test]
fn a_route_that_names_a_domain_of_ours_names_us_and_is_taken_off() {
    let us = "<sip:domain.test;lr>";
    for (routes, hop, left) in [
        (format!("Route: {us}\r\n"), 60, vec![]),
        (format!("Route: <sip:edge.test;lr>, {us}\r\n"), 60, vec![]),
        (format!("Route: {us}, <sip:edge.test;lr>\r\nRoute: {us}\r\n"), 60, vec![]),
        (format!("Route: {us}, <sip:h61.test;lr>\r\n"), 61, vec!["<sip:h61.test;lr>"]),
        // Before the routes of the dialog.
        (format!("Route: {us}, <sip:f1@edge.test;lr>, <sip:f2@edge.test;lr>\r\n"), 2, vec![]),
        (format!("Route: {us}, <sip:f1@edge.test;lr;ob>\r\n"), 60, vec![]),
        // Behind them it is the route of the server that the dialog goes to.
        (format!("Route: <sip:f1@edge.test;lr>, <sip:f2@edge.test;lr>, {us}\r\n"), 2, vec![us]),
    ] {
        let mut stage = Stage::new();
        let (on, out) = routed(&mut stage, "BYE", "sip:b@h60.test", &routes);
        assert_eq!((on, values(&out, "Route")), (hop, left), "{routes}");
    }
    // Outside of dialogs, by any method, the environment decides as if it were not there.
    for method in
        ["REGISTER", "INVITE", "MESSAGE", "OPTIONS", "SUBSCRIBE", "PUBLISH", "NOTIFY", "REFER", "INFO"]
    {
        let mut stage = Stage::new();
        stage.user("bob", &[3]);
        stage.receive(1, &request_with(method, "bob", "o", &format!("Route: {us}, <sip:edge.test;lr>\r\n")));
        let out = stage.pick(3, method);
        assert!(values(&out, "Route").is_empty(), "{out}");
    }
    let mut stage = Stage::new();
    stage.receive(1, &request_with("BYE", "sip:b@z.invalid", "o", "Route: <sip:bob@domain.test;lr>\r\n"));
    assert_eq!(stage.lines(), ["1: 404 No Such Host"], "a user is no proxy");
}

/// Nobody writes a Record-Route with a domain here, so no strict router puts it into a Request-URI.
#[test]
fn a_request_uri_that_names_a_domain_of_ours_is_no_strict_routers() {
    let mut stage = Stage::new();
    let routes = "Route: <sip:edge.test;lr>, <sip:h61.test;lr>\r\n";
    let (hop, out) = routed(&mut stage, "OPTIONS", "sip:domain.test;lr", routes);
    assert_eq!((hop, out.split(' ').nth(1).unwrap()), (61, "sip:domain.test;lr"));
}

#[test]
fn outside_of_a_dialog_a_route_of_ours_proves_nothing_and_the_environment_decides() {
    for method in ["MESSAGE", "INVITE", "REGISTER"] {
        let mut stage = Stage::new();
        stage.user("bob", &[3]);
        stage.receive(1, &request_with(method, "bob", "o", "Route: <sip:f2@edge.test;lr>\r\n"));
        assert!(stage.sent().iter().all(|(hop, _)| *hop != 2), "{method}");
    }
}

#[test]
fn routes_that_lead_nowhere_are_answered() {
    for (routes, answer) in [
        ("Route: <sip:f9@edge.test;lr>\r\n", "430 Flow Failed"),
        ("Route: <sip:f1@edge.test;lr>, <sip:f9@edge.test;lr>\r\n", "430 Flow Failed"),
        ("Route: <sip:bob@edge.test;lr>\r\n", "403 Forbidden Route"),
        ("Route: <sip:unknown.test;lr>\r\n", "404 No Such Host"),
        ("Route: \"open\r\n", "400 Malformed Route"),
    ] {
        let mut stage = Stage::new();
        stage.network.gone.insert(9);
        stage.network.outbound.insert(1);
        let (hop, out) = routed(&mut stage, "BYE", "sip:b@z.invalid", routes);
        assert_eq!((hop, &out[8..8 + answer.len()]), (1, answer), "{routes}");
        stage.settles();
    }
}

#[test]
fn a_list_of_our_own_routes_without_end_is_refused() {
    let mut stage = Stage::new();
    let routes = format!("Route: {}\r\n", vec!["<sip:edge.test;lr>"; 1000].join(","));
    let (_, out) = routed(&mut stage, "BYE", "sip:b@h60.test", &routes);
    assert!(out.starts_with("SIP/2.0 400 Too Many Routes\r\n"), "{out}");
    stage.settles();
}

#[test]
fn a_strict_router_put_our_route_into_the_request_uri() {
    for (uri, routes, hop, onward, left) in [
        (
            "sip:f1@edge.test;lr",
            "Route: <sip:f2@edge.test;lr>, <sip:b@z.invalid>\r\n",
            2,
            "sip:b@z.invalid",
            vec![],
        ),
        ("sip:edge.test;lr", "Route: <sip:b@h60.test>\r\n", 60, "sip:b@h60.test", vec![]),
        (
            "sip:edge.test;lr",
            "Route: <sip:h61.test;lr>\r\nRoute: <sip:b@h60.test>\r\n",
            61,
            "sip:b@h60.test",
            vec!["<sip:h61.test;lr>"],
        ),
        // Not ours, or no route: as it stands.
        (
            "sip:x@h62.test;lr",
            "Route: <sip:h61.test;lr>\r\n",
            61,
            "sip:x@h62.test;lr",
            vec!["<sip:h61.test;lr>"],
        ),
    ] {
        for method in ["BYE", "ACK"] {
            let mut stage = Stage::new();
            let (on, out) = routed(&mut stage, method, uri, routes);
            assert_eq!((on, values(&out, "Route")), (hop, left.clone()), "{uri} {routes}");
            assert!(out.starts_with(&format!("{method} {onward} SIP/2.0\r\n")), "{out}");
        }
    }
}

#[test]
fn the_next_hop_may_be_a_strict_router() {
    let mut stage = Stage::new();
    let routes = "Route: <sip:edge.test;lr>, <sip:h60.test>, <sip:last.test;lr>\r\n";
    let (hop, out) = routed(&mut stage, "BYE", "sip:b@z.invalid", routes);
    assert_eq!(hop, 60);
    assert!(out.starts_with("BYE sip:h60.test SIP/2.0\r\n"));
    assert_eq!(values(&out, "Route"), ["<sip:last.test;lr>", "<sip:b@z.invalid>"]);
    let strict = Target {
        request_uri: Some(Box::from(&b"sip:bob@p4.invalid"[..])),
        routes: smallvec![Box::from(&b"<sip:old.test>"[..]), Box::from(&b"<sip:two.test;lr>"[..])],
        ..target(60)
    };
    stage.user_at("bob", vec![strict]);
    let (_, out) = routed(&mut stage, "MESSAGE", "bob", "");
    assert!(out.starts_with("MESSAGE sip:old.test SIP/2.0\r\n"));
    assert_eq!(values(&out, "Route"), ["<sip:two.test;lr>", "<sip:bob@p4.invalid>"]);
}

#[test]
fn requests_of_both_sides_follow_the_routes_that_the_invite_got() {
    let mut stage = Stage::new();
    stage.user("bob", &[2]);
    stage.receive(1, &request_with("INVITE", "bob", "i", ""));
    let invite = stage.pick(2, "INVITE");
    let recorded = values(&invite, "Record-Route");
    let callee = format!("Route: {}\r\nRoute: {}\r\n", recorded[0], recorded[1]);
    let caller = format!("Route: {}\r\nRoute: {}\r\n", recorded[1], recorded[0]);
    stage.receive(2, &request_with("BYE", "sip:a@x7.invalid", "b1", &callee));
    assert!(stage.one(1).starts_with("BYE sip:a@x7.invalid "));
    stage.receive(1, &request_with("BYE", "sip:b@y.invalid", "b2", &caller));
    assert!(stage.one(2).starts_with("BYE sip:b@y.invalid "));
}

/// Along a route of ours it would reach a registrar behind us past everybody who judges it.
#[test]
fn a_register_belongs_to_no_dialog_whatever_its_to_says() {
    let mut stage = Stage::new();
    stage.user("bob", &[3]);
    let request = request_with("REGISTER", "bob", "t", "Route: <sip:f2@edge.test;lr>\r\n");
    stage.receive(1, &request.replace("To: <sip:bob@edge.test>", "To: <sip:bob@edge.test>;tag=b2"));
    let sent = stage.sent();
    assert!(sent.iter().any(|(hop, _)| *hop == 3) && sent.iter().all(|(hop, _)| *hop != 2), "{sent:?}");
}
