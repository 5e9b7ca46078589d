//! Who is led on by routes: those that we signed, those of earlier runs, and those of other elements.

use sip_message::Uri;
use sip_proxy::RouteResolution;

use super::*;

/// A route of ours with a token for these two hops.
fn token(tokens: &FlowTokens, hop: Hop, other: Hop) -> String {
    let mut uri = b"sip:".to_vec();
    tokens.write(hop, other, &mut uri);
    String::from_utf8(uri).unwrap() + "@192.0.2.1:5060;transport=udp;lr"
}

impl FakeTables {
    /// What a route is for a request of each kind of sender.
    fn resolves(&self, sent: &Sent, route: &str, request: &str) -> String {
        let message = Message::parse(request.as_bytes()).unwrap();
        let incoming = Incoming { request: &message, from: sent.hop, now: self.now };
        let routing = Routing { tables: self.tables(), flows: sent };
        match routing.resolve_route(&Uri::parse(route.as_bytes()).unwrap(), incoming, &mut sent.state()) {
            RouteResolution::Flow(hop) => name_hop(hop),
            RouteResolution::Foreign => "another element's".to_owned(),
            RouteResolution::Ours => "ours".to_owned(),
            RouteResolution::Domain => "a domain of ours".to_owned(),
            RouteResolution::Gone => "gone".to_owned(),
            RouteResolution::Held => "held".to_owned(),
            RouteResolution::Over => "over".to_owned(),
            RouteResolution::Forged => "forbidden".to_owned(),
        }
    }

    /// Where another element's route is reached, for a request of each kind of sender.
    fn leaves(&self, sent: &Sent, route: &str, request: &str) -> String {
        let message = Message::parse(request.as_bytes()).unwrap();
        let incoming = Incoming { request: &message, from: sent.hop, now: self.now };
        let routing = Routing { tables: self.tables(), flows: sent };
        let hop = routing.next_hop(&Uri::parse(route.as_bytes()).unwrap(), incoming, &mut sent.state());
        hop.map_or_else(|answer| name_answer(&answer), name_hop)
    }

    /// Sender, the two hops of the route, method, and where it leads within a dialog.
    fn check_routes(&self, tokens: &FlowTokens, rows: &[(&str, (Hop, Hop), &str, &str)]) {
        hold(rows.iter().map(|&(who, (hop, other), method, expected)| {
            let sent = Sent::new(who, self);
            let route = token(tokens, hop, other);
            let to = "<sip:bob@home.test>;tag=t";
            let request = sent.asks_for(method, "sip:bob@d2.invalid", to, "");
            let row = format!("{who}: {method} to {}, made for {}", name_hop(hop), name_hop(other));
            (row, expected, self.resolves(&sent, &route, &request))
        }));
    }
}

#[test]
fn a_route_of_ours_serves_the_two_sides_that_it_was_made_for() {
    let site = FakeTables::populated();
    let to_bob = (flow(BOB), flow(SENDER));
    let to_pbx = (udp(PBX), flow(SENDER));
    site.check_routes(
        &site.flow_tokens,
        &[
            ("nobody eve@elsewhere.test", to_bob, "BYE", "bob"),
            ("nobody eve@elsewhere.test", to_bob, "INVITE", "bob"),
            // Its own side's: the way back to itself.
            ("nobody eve@elsewhere.test", (flow(SENDER), flow(BOB)), "BYE", "the sender"),
            // No other sender may use the flow.
            ("nobody eve@elsewhere.test", (flow(BOB), flow(CARL)), "BYE", "forbidden"),
            ("known ada@home.test", (flow(BOB), flow(CARL)), "BYE", "forbidden"),
            ("token-outside ada@token.test", (flow(BOB), flow(CARL)), "INVITE", "forbidden"),
            ("phone eve@elsewhere.test", to_bob, "BYE", "forbidden"),
            ("pbx 100@elsewhere.test", to_bob, "BYE", "forbidden"),
            // One server behind speaks along the Path of another.
            ("registrar 100@elsewhere.test", (flow(BOB), udp(PBX)), "INVITE", "bob"),
            ("pbx 100@elsewhere.test", (flow(BOB), udp(REGISTRAR)), "INVITE", "bob"),
            // A phone behind a NAT may change its port.
            ("phone eve@elsewhere.test", (flow(BOB), udp("198.51.100.7:9")), "BYE", "bob"),
            ("phone eve@elsewhere.test", (flow(BOB), udp("198.51.100.8:5060")), "BYE", "forbidden"),
            // Flows that have ended.
            ("nobody eve@elsewhere.test", (flow(ENDED), flow(SENDER)), "BYE", "gone"),
            ("nobody eve@elsewhere.test", (flow(BOB), flow(ENDED)), "BYE", "over"),
            ("nobody eve@elsewhere.test", (flow(ENDED), flow(BOB)), "BYE", "over"),
            // A To tag begins nothing at a server behind: that takes what it would take without the tag.
            ("nobody eve@elsewhere.test", to_pbx, "BYE", "the pbx"),
            ("nobody eve@elsewhere.test", to_pbx, "INVITE", "forbidden"),
            ("nobody eve@elsewhere.test", to_pbx, "MESSAGE", "forbidden"),
            ("nobody ada@trunk.test", to_pbx, "INVITE", "forbidden"),
            ("known ada@trunk.test", to_pbx, "INVITE", "the pbx"),
            ("proves ada@trunk.test", to_pbx, "REFER", "the pbx"),
            ("known carl@few.test", to_pbx, "INVITE", "forbidden"),
            ("known ada@few.test", to_pbx, "INVITE", "the pbx"),
            ("token ada@token.test", to_pbx, "INVITE", "forbidden"),
            ("token-outside ada@token.test", to_pbx, "INVITE", "the pbx"),
            ("nobody ada@lobby.test", to_pbx, "INVITE", "forbidden"),
            ("nobody ada@public.test", to_pbx, "INVITE", "the pbx"),
            // A registrar behind decides about calls of those who have registered there.
            ("registered ada@behind.test", (udp(REGISTRAR), flow(ADA_BEHIND)), "INVITE", "the registrar"),
            ("nobody ada@behind.test", (udp(REGISTRAR), flow(SENDER)), "INVITE", "forbidden"),
            // The right to call outside is one for the servers behind one's own domain.
            ("known ada@trunk.test", (udp(REGISTRAR), flow(SENDER)), "INVITE", "forbidden"),
            ("registered ada@behind.test", (udp(PBX), flow(ADA_BEHIND)), "INVITE", "forbidden"),
            ("known ada@trunk.test", (udp(REGISTRAR), flow(SENDER)), "BYE", "the registrar"),
            // A connection that the server made, which stands or has ended, leads to that server.
            ("known ada@trunk.test", (flow(PBX_CAME), flow(SENDER)), "INVITE", "the pbx's connection"),
            ("known carl@few.test", (flow(PBX_CAME), flow(SENDER)), "INVITE", "forbidden"),
            ("known carl@few.test", (flow(PBX_CAME), flow(SENDER)), "BYE", "the pbx's connection"),
            ("known ada@trunk.test", (flow(PBX_LEFT), flow(SENDER)), "INVITE", "the pbx"),
            ("known carl@few.test", (flow(PBX_LEFT), flow(SENDER)), "INVITE", "forbidden"),
            ("nobody eve@elsewhere.test", (flow(PBX_LEFT), flow(SENDER)), "INVITE", "forbidden"),
            ("nobody eve@elsewhere.test", (flow(PBX_LEFT), flow(SENDER)), "BYE", "the pbx"),
            // A peer that we connect to may open connections to us, too: it is known by its address.
            ("nobody eve@elsewhere.test", (flow(BOB), peer(HOST)), "BYE", "bob"),
            ("nobody eve@elsewhere.test", (flow(BOB), peer("203.0.113.9")), "BYE", "forbidden"),
        ],
    );
}

/// A known call is for its two sides, whatever they prove. Its Call-ID and tags alone give no right.
#[test]
fn a_route_of_a_known_call_serves_its_sides_and_nobody_else() {
    let site = FakeTables::populated();
    site.call(("carl@home.test", flow(CARL)), ("bob@home.test", flow(BOB)));
    site.call(("carl@few.test", flow(CARL)), ("100@few.test", udp(PBX)));
    let (users, trunk) = ("carl@home.test-bob@home.test", "carl@few.test-100@few.test");
    // By whom, the call, the route's two hops, method, and where it leads.
    let rows = [
        (flow(CARL), users, (flow(BOB), flow(CARL)), "BYE", "bob"),
        (flow(CARL), users, (flow(BOB), flow(CARL)), "INVITE", "bob"),
        (flow(SENDER), users, (flow(BOB), flow(CARL)), "BYE", "forbidden"),
        (flow(SENDER), users, (flow(BOB), flow(CARL)), "INVITE", "forbidden"),
        (udp(PHONE), users, (flow(BOB), flow(CARL)), "BYE", "forbidden"),
        // Servers behind may stand between the sides.
        (udp(PBX), users, (flow(BOB), flow(CARL)), "BYE", "bob"),
        // Within a call that is known the caller needs no proof again, and nobody else has a right by it.
        (flow(CARL), trunk, (udp(PBX), flow(CARL)), "INVITE", "the pbx"),
        (flow(SENDER), trunk, (udp(PBX), flow(CARL)), "BYE", "forbidden"),
        (flow(SENDER), trunk, (udp(PBX), flow(SENDER)), "INVITE", "forbidden"),
    ];
    hold(rows.map(|(from, call, (hop, other), method, expected)| {
        let mut sent = Sent::new("nobody carl@home.test", &site);
        sent.hop = from;
        let request = sent.asks_for(method, "sip:x@x.invalid", "<sip:bob@home.test>;tag=b", "");
        let request = request.replace("Call-ID: call", &format!("Call-ID: {call}")).replace("tag=f", "tag=a");
        let row = format!(
            "{}: {method} of {call} to {}, made for {}",
            name_hop(from),
            name_hop(hop),
            name_hop(other)
        );
        (row, expected, site.resolves(&sent, &token(&site.flow_tokens, hop, other), &request))
    }));
}

/// Outside of dialogs a route that leads on proves nothing: the proxy then decides as if there were none.
#[test]
fn without_a_to_tag_a_route_of_ours_is_read_and_not_judged() {
    let site = FakeTables::populated();
    let sent = Sent::new("nobody eve@elsewhere.test", &site);
    let route = token(&site.flow_tokens, udp(PBX), flow(SENDER));
    let first = sent.asks("INVITE", "sip:100@trunk.test", &format!("Route: <{route}>\r\n"));
    assert_eq!(site.resolves(&sent, &route, &first), "the pbx");
    assert_eq!(site.decides(&sent, &first), "403 Authentication Required");
}

#[test]
fn a_route_that_we_did_not_sign_is_no_way() {
    let site = FakeTables::populated();
    let forged = token(&FlowTokens::new(&[9; 32], 1), flow(BOB), flow(SENDER));
    let own = token(&site.flow_tokens, flow(BOB), flow(SENDER));
    let at = |host: &str| own.replace("192.0.2.1:5060", host);
    let (elsewhere, at_domain, at_nat) = (at("elsewhere.test"), at("home.test"), at("203.0.113.9:1024"));
    let rows = [
        (forged.as_str(), "forbidden"),
        ("sip:bob@192.0.2.1:5060;lr", "forbidden"),
        // A token counts at our names and at any address, which servers put in. At another name it is not
        // ours.
        (&elsewhere, "another element's"),
        (&at_domain, "bob"),
        (&at_nat, "bob"),
        ("sip:192.0.2.1:5060;lr", "ours"),
        ("sip:192.0.2.1;lr", "ours"),
        ("sip:home.test;lr", "a domain of ours"),
        ("sip:home.test:5099;lr", "another element's"),
        ("sip:elsewhere.test;lr", "another element's"),
        ("sip:192.0.2.9;lr", "another element's"),
    ];
    hold(rows.map(|(route, expected)| {
        let sent = Sent::new("known ada@home.test", &site);
        let request = sent.asks_for("BYE", "sip:bob@d2.invalid", "<sip:bob@home.test>;tag=t", "");
        (route.to_owned(), expected, site.resolves(&sent, route, &request))
    }));
}

/// A sender that had a flow then cannot be recognised. So such a route lets anybody end a dialog, and nobody
/// begin anything.
#[test]
fn a_route_of_an_earlier_run_lets_dialogs_go_on_and_end() {
    let site = FakeTables::populated();
    let earlier = FlowTokens::new(&SECRET, site.registry.incarnation() - 1);
    let to = |hop| (hop, flow(SENDER));
    site.check_routes(
        &earlier,
        &[
            ("nobody eve@elsewhere.test", to(flow(BOB)), "BYE", "gone"),
            ("nobody eve@elsewhere.test", to(udp(PBX)), "BYE", "the pbx"),
            ("nobody eve@elsewhere.test", to(udp(PBX)), "INFO", "the pbx"),
            ("nobody eve@elsewhere.test", to(udp(PBX)), "INVITE", "forbidden"),
            ("nobody eve@elsewhere.test", to(udp(PBX)), "MESSAGE", "forbidden"),
            ("nobody eve@elsewhere.test", to(udp(PBX)), "REFER", "forbidden"),
            ("known carl@few.test", to(udp(PBX)), "INVITE", "forbidden"),
            ("known ada@trunk.test", to(udp(PBX)), "INVITE", "the pbx"),
            ("registrar 100@elsewhere.test", to(udp(PBX)), "INVITE", "the pbx"),
            ("nobody eve@elsewhere.test", to(udp(PHONE)), "BYE", "the phone"),
            ("nobody eve@elsewhere.test", to(udp(PHONE)), "INVITE", "forbidden"),
            ("nobody ada@home.test", to(udp(PHONE)), "INVITE", "forbidden"),
            ("known ada@home.test", to(udp(PHONE)), "INVITE", "the phone"),
            // A sender that claims a user of an open domain has proved nothing.
            ("nobody ada@open.test", to(udp(PHONE)), "INVITE", "forbidden"),
            ("nobody ada@open.test", to(udp(PHONE)), "BYE", "the phone"),
            ("known ada@trunk.test", to(udp(REGISTRAR)), "INVITE", "forbidden"),
            ("phone eve@elsewhere.test", to(udp(PHONE)), "INVITE", "the phone"),
            // Its own side's, by a connection from the address that we connect to.
            ("nobody eve@elsewhere.test", to(peer(HOST)), "INVITE", "the peer at 203.0.113.1:5061"),
            ("nobody eve@elsewhere.test", to(peer("203.0.113.9")), "BYE", "gone"),
            // It is registered no more.
            ("nobody eve@elsewhere.test", to(udp("198.51.100.8:5060")), "BYE", "gone"),
        ],
    );
    let sent = Sent::new("nobody eve@elsewhere.test", &site);
    let route = token(&earlier, udp(PBX), flow(SENDER));
    let first = sent.asks("BYE", "sip:bob@home.test", "");
    assert_eq!(site.resolves(&sent, &route, &first), "gone", "without a To tag it belongs to no dialog");
}

#[test]
fn a_route_to_another_element_is_for_users_whose_domain_has_that_server_behind() {
    const NO_RELAY: &str = "403 Relaying Denied";
    const NOT_OUTSIDE: &str = "403 Not Allowed To Call Outside";
    let site = FakeTables::populated();
    let rows = [
        ("known ada@trunk.test", "INVITE", "sip:192.0.2.9;lr", "the pbx"),
        ("registered ada@behind.test", "INVITE", "sip:192.0.2.8;lr", "the registrar"),
        ("nobody ada@public.test", "INVITE", "sip:192.0.2.9;lr", "the pbx"),
        // Another server, another port, and a sender without either.
        ("known ada@trunk.test", "INVITE", "sip:192.0.2.8;lr", NO_RELAY),
        ("known ada@trunk.test", "INVITE", "sip:192.0.2.9:5070;lr", NO_RELAY),
        ("known ada@trunk.test", "INVITE", "sip:198.51.100.1;lr", NO_RELAY),
        ("known ada@trunk.test", "INVITE", "sip:proxy.elsewhere.test;lr", NO_RELAY),
        ("known ada@home.test", "INVITE", "sip:192.0.2.9;lr", NO_RELAY),
        ("registered ada@behind.test", "INVITE", "sip:192.0.2.9;lr", NO_RELAY),
        ("nobody eve@elsewhere.test", "INVITE", "sip:192.0.2.9;lr", NO_RELAY),
        ("nobody ada@trunk.test", "INVITE", "sip:192.0.2.9;lr", "407 Prove It"),
        ("nobody ada@behind.test", "INVITE", "sip:192.0.2.8;lr", "403 Register First"),
        // Only those who may call outside.
        ("known carl@few.test", "INVITE", "sip:192.0.2.9;lr", NOT_OUTSIDE),
        ("known ada@inner.test", "INVITE", "sip:192.0.2.9;lr", NOT_OUTSIDE),
        ("token ada@token.test", "INVITE", "sip:192.0.2.9;lr", NOT_OUTSIDE),
        ("token-outside ada@token.test", "INVITE", "sip:192.0.2.9;lr", "the pbx"),
        ("nobody ada@lobby.test", "INVITE", "sip:192.0.2.9;lr", NOT_OUTSIDE),
        // Nobody registers past his registrar.
        ("known ada@trunk.test", "REGISTER", "sip:192.0.2.9;lr", NO_RELAY),
        ("registered ada@behind.test", "REGISTER", "sip:192.0.2.8;lr", "the registrar"),
        ("pbx 100@elsewhere.test", "INVITE", "sip:192.0.2.8;lr", NO_RELAY),
        ("throttled ada@trunk.test", "INVITE", "sip:192.0.2.9;lr", "503 Too Many Messages"),
    ];
    hold(rows.map(|(who, method, route, expected)| {
        let sent = Sent::new(who, &site);
        let request = sent.asks(method, "sip:100@trunk.test", "");
        (format!("{who}: {method} by {route}"), expected, site.leaves(&sent, route, &request))
    }));
}

/// A device that has lost its flow is found by the Contact of the dialog, for those who may call it without a
/// dialog.
#[test]
fn a_device_that_came_back_is_reached_by_those_who_are_let_in() {
    let site = FakeTables::populated();
    let rows = [
        ("known ada@home.test", "bob@home.test", "sip:bob@d2.invalid", "bob"),
        ("proves ada@home.test", "bob@home.test", "sip:bob@d2.invalid", "bob"),
        ("nobody ada@home.test", "bob@home.test", "sip:bob@d2.invalid", "407 Prove It"),
        ("nobody eve@elsewhere.test", "bob@home.test", "sip:bob@d2.invalid", "403 Authentication Required"),
        ("nobody eve@elsewhere.test", "bob@open.test", "sip:bob@d2.invalid", "bob"),
        ("known ada@home.test", "bob@home.test", "sip:bob@d3.invalid", "not found"),
        ("known ada@home.test", "carl@home.test", "sip:carl@d2.invalid", "not found"),
        ("known ada@home.test", "bob@elsewhere.test", "sip:bob@d2.invalid", "not found"),
        // A server that had a connection is named by its address.
        ("known ada@trunk.test", "100@trunk.test", "sip:100@192.0.2.9", "the pbx"),
        ("registered ada@behind.test", "100@behind.test", "sip:100@192.0.2.8", "the registrar"),
        ("known carl@few.test", "100@few.test", "sip:100@192.0.2.9", "not found"),
        ("known ada@home.test", "100@trunk.test", "sip:100@192.0.2.9", "not found"),
        ("nobody eve@elsewhere.test", "100@trunk.test", "sip:100@192.0.2.9", "not found"),
    ];
    hold(rows.map(|(who, to, uri, expected)| {
        let sent = Sent::new(who, &site);
        let request = sent.asks_for("BYE", uri, &format!("<sip:{to}>;tag=t"), "");
        let message = Message::parse(request.as_bytes()).unwrap();
        let incoming = Incoming { request: &message, from: sent.hop, now: site.now };
        let routing = Routing { tables: site.tables(), flows: &sent };
        let found = match routing.find_returned(incoming, &mut sent.state()) {
            Some(Ok(targets)) => name_targets(&targets),
            Some(Err(answer)) => name_answer(&answer),
            None => "not found".to_owned(),
        };
        (format!("{who}: BYE {uri} for {to}"), expected, found)
    }));
}

/// Along a route a GRUU names the user agent at its end. Its other flows are for senders that are accepted.
#[test]
fn other_flows_of_a_gruu_are_for_those_who_are_let_in() {
    let site = FakeTables::populated();
    let uri = "sip:bob@home.test;gr=urn:uuid:b";
    let rows = [
        ("nobody eve@elsewhere.test", BOB, "bob"),
        ("nobody eve@elsewhere.test", CARL, "carl"),
        ("nobody ada@home.test", CARL, "carl"),
        ("known ada@home.test", CARL, "carl, else bob"),
        ("known ada@other.test", CARL, "carl, else bob"),
        ("pbx 100@elsewhere.test", CARL, "carl, else bob"),
        // Nothing that this request brings is looked at.
        ("proves ada@home.test", CARL, "carl"),
    ];
    hold(rows.map(|(who, count, expected)| {
        let sent = Sent::new(who, &site);
        let request = sent.asks_for("BYE", uri, "<sip:bob@home.test>;tag=t", "");
        let message = Message::parse(request.as_bytes()).unwrap();
        let incoming = Incoming { request: &message, from: sent.hop, now: site.now };
        let routing = Routing { tables: site.tables(), flows: &sent };
        let target = routing.named(incoming, flow(count)).unwrap();
        (format!("{who}: BYE to {}", name_hop(flow(count))), expected, name_target(&target))
    }));
}

/// A registrar behind resolves GRUUs of its own.
#[test]
fn a_gruu_of_a_registrar_behind_names_nobody_here() {
    let site = FakeTables::populated();
    let sent = Sent::new("known ada@home.test", &site);
    for (uri, named) in
        [("sip:bob@home.test;gr=urn:uuid:b", true), ("sip:bob@behind.test;gr=urn:uuid:b", false)]
    {
        let request = sent.asks_for("BYE", uri, "<sip:bob@home.test>;tag=t", "");
        let message = Message::parse(request.as_bytes()).unwrap();
        let incoming = Incoming { request: &message, from: sent.hop, now: site.now };
        let routing = Routing { tables: site.tables(), flows: &sent };
        assert_eq!(routing.named(incoming, flow(BOB)).is_some(), named, "{uri}");
    }
}

/// A Contact of ours, and a Path, are for servers behind.
#[test]
fn a_contact_of_ours_and_a_path_are_for_servers_behind() {
    let site = FakeTables::populated();
    let registry = &site.registry;
    let contact = {
        let location = registry.location();
        let binding = location.bindings("bob@behind.test", site.now).next().unwrap();
        let mut uri = b"sip:".to_vec();
        site.flow_tokens
            .write_device(super::super::rewritten_contact::device_of(&site.flow_tokens, binding), &mut uri);
        String::from_utf8(uri).unwrap() + "@192.0.2.1:5060;transport=udp"
    };
    let path = format!("Route: <{}>\r\n", token(&site.flow_tokens, flow(BOB), udp(PBX)));
    let gone = format!("Route: <{}>\r\n", token(&site.flow_tokens, flow(ENDED), udp(PBX)));
    let elsewhere = contact.replace("192.0.2.1:5060", "elsewhere.test");
    let rows = [
        ("registrar 100@elsewhere.test", contact.as_str(), "", "bob of behind.test"),
        ("pbx 100@elsewhere.test", &contact, "", "bob of behind.test"),
        ("registrar 100@elsewhere.test", &elsewhere, "", "403 Relaying Denied"),
        ("nobody eve@elsewhere.test", &contact, "", "403 Relaying Denied"),
        ("known ada@home.test", &contact, "", "403 Relaying Denied"),
        ("registered ada@behind.test", &contact, "", "403 Relaying Denied"),
        ("pbx 100@elsewhere.test", "sip:bob@d2.invalid", &path, "bob"),
        ("registrar 100@elsewhere.test", "sip:bob@d2.invalid", &path, "bob"),
        ("pbx 100@elsewhere.test", "sip:bob@d9.invalid", &gone, "430 Flow Failed"),
        ("known ada@home.test", "sip:bob@d2.invalid", &path, "403 Relaying Denied"),
    ];
    hold(rows.map(|(who, uri, route, expected)| {
        let sent = Sent::new(who, &site);
        (
            format!("{who}: INVITE {uri} {route}"),
            expected,
            site.decides(&sent, &sent.asks("INVITE", uri, route)),
        )
    }));
}

/// In an open domain anybody may call, so a route of an earlier run to a phone of it serves anybody, too.
#[test]
fn a_route_of_an_earlier_run_to_a_phone_of_an_open_domain_serves_its_users() {
    let site = FakeTables::populated();
    let phone = udp("198.51.100.9:5060");
    site.registers(phone, "phone@open.test", "");
    let earlier = FlowTokens::new(&SECRET, site.registry.incarnation() - 1);
    let route = token(&earlier, phone, flow(SENDER));
    let rows = [
        ("nobody ada@open.test", "phone@open.test", name_hop(phone)),
        ("nobody ada@open.test", "bob@open.test", "forbidden".to_owned()),
        ("nobody ada@open.test", "phone@home.test", "forbidden".to_owned()),
        ("nobody eve@elsewhere.test", "phone@open.test", "forbidden".to_owned()),
    ];
    for (who, to, expected) in rows {
        let sent = Sent::new(who, &site);
        let to = format!("<sip:{to}>;tag=t");
        let request = sent.asks_for("INVITE", "sip:phone@198.51.100.9", &to, "");
        assert_eq!(site.resolves(&sent, &route, &request), expected, "{who} to {to}");
    }
}
