//! Who may call whom.

use super::*;

/// Sender, method, Request-URI, and what becomes of it.
type Row = (&'static str, &'static str, &'static str, &'static str);

fn check(site: &FakeTables, rows: &[Row]) {
    hold(rows.iter().map(|&(who, method, uri, expected)| {
        let sent = Sent::new(who, site);
        (format!("{who}: {method} {uri}"), expected, site.decides(&sent, &sent.asks(method, uri, "")))
    }));
}

const NOT_LET_IN: &str = "403 Authentication Required";
const NOT_YOURS: &str = "403 Not Your Address";
const NO_RELAY: &str = "403 Relaying Denied";
const NOT_OUTSIDE: &str = "403 Not Allowed To Call Outside";
const CHALLENGE: &str = "407 Prove It";

#[test]
fn a_user_of_a_domain_is_called_by_those_who_are_let_in_there() {
    check(
        &FakeTables::populated(),
        &[
            // No user of a domain of ours: accepted by open domains alone.
            ("nobody eve@elsewhere.test", "INVITE", "sip:bob@home.test", NOT_LET_IN),
            ("nobody eve@elsewhere.test", "MESSAGE", "sip:bob@home.test", NOT_LET_IN),
            ("nobody eve@elsewhere.test", "INVITE", "sip:bob@trunk.test", NOT_LET_IN),
            ("nobody eve@elsewhere.test", "INVITE", "sip:bob@token.test", NOT_LET_IN),
            ("nobody eve@elsewhere.test", "INVITE", "sip:bob@behind.test", NOT_LET_IN),
            ("nobody eve@elsewhere.test", "INVITE", "sip:bob@open.test", "bob"),
            ("nobody eve@elsewhere.test", "INVITE", "sip:bob@public.test", "bob"),
            // What it has proved before is not what From says.
            ("known ada@home.test as eve@elsewhere.test", "INVITE", "sip:bob@home.test", NOT_LET_IN),
            ("token ada@token.test as eve@elsewhere.test", "INVITE", "sip:bob@token.test", NOT_LET_IN),
            // Says that it is a user, and has to prove it, wherever it calls.
            ("nobody ada@home.test", "INVITE", "sip:bob@home.test", CHALLENGE),
            ("nobody ada@home.test", "INVITE", "sip:bob@open.test", CHALLENGE),
            ("nobody ada@token.test", "INVITE", "sip:bob@home.test", CHALLENGE),
            ("nobody ada@behind.test", "INVITE", "sip:bob@behind.test", "403 Register First"),
            ("phone ada@home.test", "INVITE", "sip:bob@home.test", CHALLENGE),
            // An ACK cannot be challenged.
            ("nobody ada@home.test", "ACK", "sip:bob@home.test", NOT_LET_IN),
            // ExpectedPeer it in the request.
            ("proves ada@home.test", "INVITE", "sip:bob@home.test", "bob"),
            ("proves ada@home.test", "INVITE", "sip:bob@other.test", "bob"),
            ("proves ada@home.test", "INVITE", "sip:bob@open.test", "bob"),
            ("phone-proves ada@home.test", "INVITE", "sip:bob@home.test", "bob"),
            ("proves ada@token.test", "INVITE", "sip:bob@home.test", "bob"),
            ("proves ada@home.test as carl@home.test", "INVITE", "sip:bob@home.test", NOT_YOURS),
            ("proves ada@token.test as carl@token.test", "INVITE", "sip:bob@home.test", NOT_YOURS),
            // Has proved it before, on this flow.
            ("known ada@home.test", "INVITE", "sip:bob@home.test", "bob"),
            ("known ada@home.test", "INVITE", "sip:bob@other.test", "bob"),
            ("known ada@home.test as carl@home.test", "INVITE", "sip:bob@home.test", CHALLENGE),
            ("token ada@token.test", "INVITE", "sip:bob@token.test", "bob"),
            ("token ada@token.test", "INVITE", "sip:bob@home.test", "bob"),
            ("token ada@home.test", "INVITE", "sip:bob@home.test", "bob"),
            ("token ada@token.test as carl@token.test", "INVITE", "sip:bob@token.test", NOT_YOURS),
            ("token ada@home.test as carl@home.test", "INVITE", "sip:bob@home.test", CHALLENGE),
            ("token-and-proves ada@token.test as carl@token.test", "INVITE", "sip:bob@token.test", NOT_YOURS),
            // Users of an open domain are who they say they are, and accepted where no proof is asked for.
            ("nobody ada@open.test", "INVITE", "sip:bob@open.test", "bob"),
            ("nobody ada@open.test", "INVITE", "sip:bob@public.test", "bob"),
            ("nobody ada@open.test", "INVITE", "sip:bob@home.test", NOT_LET_IN),
            ("nobody ada@open.test", "INVITE", "sip:bob@behind.test", NOT_LET_IN),
            // Registered at the server behind over this flow, which decides about all of its calls.
            ("registered ada@behind.test", "INVITE", "sip:bob@behind.test", "the registrar"),
            ("registered ada@behind.test", "INVITE", "sip:nobody@behind.test", "the registrar"),
            ("registered ada@behind.test", "INVITE", "sip:bob@home.test", "bob"),
            // It decides about the calls of other domains' users, too, and is told who they are.
            ("known ada@home.test", "INVITE", "sip:bob@behind.test", "the registrar"),
            ("token ada@token.test", "INVITE", "sip:100@behind.test", "the registrar"),
            (
                "registered ada@behind.test as carl@behind.test",
                "INVITE",
                "sip:bob@home.test",
                "403 Register First",
            ),
            // Servers behind speak for whom they will, and are never sent back what they send.
            ("pbx 100@elsewhere.test", "INVITE", "sip:bob@home.test", "bob"),
            ("pbx ada@home.test", "INVITE", "sip:bob@trunk.test", "bob"),
            ("pbx ada@home.test", "INVITE", "sip:nobody@trunk.test", "404 Not Found"),
            ("pbx 100@elsewhere.test", "INVITE", "sip:ada@trunk.test", "480 Temporarily Unavailable"),
            ("registrar 100@elsewhere.test", "INVITE", "sip:bob@behind.test", "bob of behind.test"),
            ("registrar 100@elsewhere.test", "INVITE", "sip:carl@behind.test", "480 Temporarily Unavailable"),
        ],
    );
}

/// From that tells nobody (RFC 3323) lets P-Preferred-Identity say it to us.
#[test]
fn an_anonymous_caller_is_whom_it_prefers_to_be() {
    let site = FakeTables::populated();
    let rows = [
        ("known ada@home.test", "ada@home.test", "bob"),
        ("proves ada@home.test", "ada@home.test", "bob"),
        ("nobody ada@home.test", "ada@home.test", CHALLENGE),
        ("known ada@home.test", "carl@home.test", CHALLENGE),
        ("proves ada@home.test", "carl@home.test", NOT_YOURS),
        ("known ada@home.test", "", NOT_LET_IN),
    ];
    hold(rows.map(|(who, preferred, expected)| {
        let mut sent = Sent::new(who, &site);
        sent.from = "anonymous@anonymous.invalid".to_owned();
        let more = format!("P-Preferred-Identity: <sip:{preferred}>\r\n");
        let more = if preferred.is_empty() { "" } else { &more };
        (
            format!("{who}: prefers {preferred}"),
            expected,
            site.decides(&sent, &sent.asks("INVITE", "sip:bob@home.test", more)),
        )
    }));
}

#[test]
fn whoever_says_too_much_begins_nothing_and_ends_what_goes_on() {
    let site = FakeTables::populated();
    let _only_call = site.quotas.call(&site.quotas.user("busy@home.test").unwrap()).unwrap();
    check(
        &site,
        &[
            ("throttled ada@home.test", "INVITE", "sip:bob@home.test", "503 Too Many Messages"),
            ("throttled ada@home.test", "MESSAGE", "sip:bob@home.test", "503 Too Many Messages"),
            ("throttled ada@home.test", "REGISTER", "sip:home.test", "503 Too Many Messages"),
            ("busy ada@home.test", "INVITE", "sip:bob@home.test", "503 Too Many Calls"),
            ("busy ada@home.test", "MESSAGE", "sip:bob@home.test", "bob"),
        ],
    );
    let sent = Sent::new("throttled ada@home.test", &site);
    let bye = sent.asks_for("BYE", "sip:bob@home.test", "<sip:bob@home.test>;tag=t", "");
    assert_eq!(site.decides(&sent, &bye), "bob", "what goes on may end");
}

#[test]
fn users_of_the_domain_alone_are_told_who_exists() {
    const AWAY: &str = "480 Temporarily Unavailable";
    const UNKNOWN: &str = "404 Not Found";
    check(
        &FakeTables::populated(),
        &[
            ("known ada@home.test", "INVITE", "sip:carl@home.test", AWAY),
            ("known ada@home.test", "INVITE", "sip:zoe@home.test", UNKNOWN),
            ("proves ada@home.test", "INVITE", "sip:zoe@home.test", UNKNOWN),
            ("known ada@other.test", "INVITE", "sip:carl@home.test", AWAY),
            ("known ada@other.test", "INVITE", "sip:zoe@home.test", AWAY),
            ("token ada@token.test", "INVITE", "sip:zoe@home.test", AWAY),
            ("registered ada@behind.test", "INVITE", "sip:zoe@home.test", AWAY),
            ("nobody eve@elsewhere.test", "INVITE", "sip:carl@home.test", NOT_LET_IN),
            ("nobody eve@elsewhere.test", "INVITE", "sip:zoe@home.test", NOT_LET_IN),
            ("nobody ada@home.test", "INVITE", "sip:zoe@home.test", CHALLENGE),
            ("pbx 100@elsewhere.test", "INVITE", "sip:zoe@home.test", UNKNOWN),
            // Everybody is possible there.
            ("nobody eve@elsewhere.test", "INVITE", "sip:zoe@open.test", AWAY),
        ],
    );
}

#[test]
fn the_outside_is_for_those_whom_the_domain_lets_out() {
    check(
        &FakeTables::populated(),
        &[
            // All users.
            ("known ada@trunk.test", "INVITE", "sip:100@trunk.test", "the pbx"),
            ("proves ada@trunk.test", "INVITE", "sip:100@trunk.test", "the pbx"),
            ("phone-proves ada@trunk.test", "INVITE", "sip:100@trunk.test", "the pbx"),
            // Also for a user who is away, but never for one who is here.
            ("known ada@trunk.test", "INVITE", "sip:carl@trunk.test", "the pbx"),
            ("known ada@trunk.test", "INVITE", "sip:bob@trunk.test", "bob"),
            ("known ada@trunk.test", "ACK", "sip:100@trunk.test", "404 Not Found"),
            // Users of other domains may call in, and not out.
            ("known ada@home.test", "INVITE", "sip:100@trunk.test", NOT_OUTSIDE),
            ("known ada@home.test", "INVITE", "sip:bob@trunk.test", "bob"),
            ("token-outside ada@token.test", "INVITE", "sip:100@trunk.test", NOT_OUTSIDE),
            ("registered ada@behind.test", "INVITE", "sip:100@trunk.test", NOT_OUTSIDE),
            ("nobody ada@open.test", "INVITE", "sip:100@trunk.test", NOT_LET_IN),
            ("nobody eve@elsewhere.test", "INVITE", "sip:100@trunk.test", NOT_LET_IN),
            ("nobody ada@trunk.test", "INVITE", "sip:100@trunk.test", CHALLENGE),
            // Some users by name.
            ("known ada@few.test", "INVITE", "sip:100@few.test", "the pbx"),
            ("known carl@few.test", "INVITE", "sip:100@few.test", NOT_OUTSIDE),
            ("known ada@home.test", "INVITE", "sip:100@few.test", NOT_OUTSIDE),
            // Nobody.
            ("known ada@inner.test", "INVITE", "sip:100@inner.test", NOT_OUTSIDE),
            ("pbx 100@elsewhere.test", "INVITE", "sip:bob@inner.test", "bob"),
            // Those whose token says so.
            ("token-outside ada@token.test", "INVITE", "sip:100@token.test", "the pbx"),
            ("proves-outside ada@token.test", "INVITE", "sip:100@token.test", "the pbx"),
            ("token ada@token.test", "INVITE", "sip:100@token.test", NOT_OUTSIDE),
            ("proves ada@token.test", "INVITE", "sip:100@token.test", NOT_OUTSIDE),
            // An open domain has no users with proofs. If it lets everybody out, its own users may, by their
            // word.
            ("nobody ada@public.test", "INVITE", "sip:100@public.test", "the pbx"),
            ("nobody eve@elsewhere.test", "INVITE", "sip:100@public.test", NOT_OUTSIDE),
            ("known ada@home.test", "INVITE", "sip:100@public.test", NOT_OUTSIDE),
            ("nobody ada@lobby.test", "INVITE", "sip:100@lobby.test", NOT_OUTSIDE),
            ("nobody ada@lobby.test", "INVITE", "sip:bob@lobby.test", "bob"),
            // A server is asked for event state of users, also of those who are here.
            ("known ada@trunk.test", "SUBSCRIBE", "sip:bob@trunk.test", "the pbx"),
            ("known carl@few.test", "SUBSCRIBE", "sip:bob@few.test", NOT_OUTSIDE),
            ("known ada@home.test", "PUBLISH", "sip:ada@home.test", "405 Method Not Allowed"),
            ("known ada@home.test", "SUBSCRIBE", "sip:bob@home.test", "489 Bad Event"),
        ],
    );
}

#[test]
fn nothing_is_relayed_to_others() {
    check(
        &FakeTables::populated(),
        &[
            ("known ada@home.test", "INVITE", "sip:bob@elsewhere.test", NO_RELAY),
            ("known ada@trunk.test", "INVITE", "sip:100@192.0.2.9", NO_RELAY),
            ("known ada@trunk.test", "INVITE", "sip:100@198.51.100.1", NO_RELAY),
            ("token-outside ada@token.test", "MESSAGE", "sip:100@192.0.2.9:5060", NO_RELAY),
            ("registered ada@behind.test", "INVITE", "sip:100@192.0.2.8", NO_RELAY),
            ("nobody eve@elsewhere.test", "INVITE", "sip:eve@elsewhere.test", NO_RELAY),
            ("pbx 100@elsewhere.test", "INVITE", "sip:bob@elsewhere.test", NO_RELAY),
            ("pbx 100@elsewhere.test", "INVITE", "sip:100@192.0.2.8", NO_RELAY),
            ("nobody eve@elsewhere.test", "INVITE", "tel:+15551234", "416 Unsupported URI Scheme"),
            ("nobody eve@elsewhere.test", "REGISTER", "sip:elsewhere.test", "403 Domain Not Served"),
            // Our own address names no user here, since several domains have a trunk. That holds for a server
            // behind, too.
            ("known ada@home.test", "INVITE", "sip:bob@192.0.2.1", NO_RELAY),
            ("pbx 100@elsewhere.test", "INVITE", "sip:bob@192.0.2.1:5060", NO_RELAY),
            ("nobody eve@elsewhere.test", "OPTIONS", "sip:192.0.2.1:5060", "200 OK"),
            ("nobody eve@elsewhere.test", "OPTIONS", "sip:home.test", "200 OK"),
            ("nobody eve@elsewhere.test", "OPTIONS", "sip:198.51.100.1", NO_RELAY),
            ("nobody eve@elsewhere.test", "INVITE", "sip:home.test", "404 No User In Request-URI"),
        ],
    );
}

/// PBXs that know a trunk by its address alone call `sip:ada@10.0.0.1`.
#[test]
fn the_only_domain_with_a_trunk_is_meant_by_our_address_and_only_by_a_server_behind() {
    let text = DOMAINS.split("[[domain]]\nname = \"few.test\"").next().unwrap();
    let site = FakeTables::with(text);
    site.registers(flow(BOB), "bob@trunk.test", "");
    check(
        &site,
        &[
            ("pbx 100@elsewhere.test", "INVITE", "sip:bob@192.0.2.1:5060", "bob"),
            ("pbx 100@elsewhere.test", "INVITE", "sip:bob@192.0.2.1", "bob"),
            ("pbx 100@elsewhere.test", "INVITE", "sip:carl@192.0.2.1", "480 Temporarily Unavailable"),
            ("pbx 100@elsewhere.test", "INVITE", "sip:zoe@192.0.2.1", "404 Not Found"),
            ("pbx 100@elsewhere.test", "INVITE", "sip:bob@192.0.2.1:5099", NO_RELAY),
            ("pbx 100@elsewhere.test", "REGISTER", "sip:bob@192.0.2.1", "403 Domain Not Served"),
            ("known ada@trunk.test", "INVITE", "sip:bob@192.0.2.1", NO_RELAY),
            ("nobody eve@elsewhere.test", "INVITE", "sip:bob@192.0.2.1", NO_RELAY),
        ],
    );
}

#[test]
fn a_gruu_leads_to_its_instance_and_never_outside() {
    const AWAY: &str = "480 Temporarily Unavailable";
    check(
        &FakeTables::populated(),
        &[
            ("known ada@home.test", "INVITE", "sip:bob@home.test;gr=urn:uuid:b", "bob"),
            ("known ada@home.test", "INVITE", "sip:bob@home.test;gr=urn:uuid:z", AWAY),
            ("known ada@trunk.test", "INVITE", "sip:bob@trunk.test;gr=urn:uuid:b", "bob"),
            ("known ada@trunk.test", "INVITE", "sip:carl@trunk.test;gr=urn:uuid:b", AWAY),
            ("known ada@trunk.test", "SUBSCRIBE", "sip:bob@trunk.test;gr=urn:uuid:b", "bob"),
            // A device without an instance is none that a GRUU names.
            ("known ada@home.test", "INVITE", "sip:bob@open.test;gr=urn:uuid:z", AWAY),
            ("nobody eve@elsewhere.test", "INVITE", "sip:bob@home.test;gr=urn:uuid:b", NOT_LET_IN),
            ("nobody ada@home.test", "INVITE", "sip:bob@home.test;gr=urn:uuid:b", CHALLENGE),
            // A registrar behind resolves its own.
            ("registered ada@behind.test", "INVITE", "sip:bob@behind.test;gr=urn:uuid:b", "the registrar"),
        ],
    );
}

#[test]
fn a_proof_is_noted_for_its_flow_whether_or_not_it_is_of_the_user_that_from_names() {
    let site = FakeTables::populated();
    let effects = |who: &str| {
        let sent = Sent::new(who, &site);
        site.decides(&sent, &sent.asks("INVITE", "sip:bob@home.test", ""));
        sent.effects.into_inner().join(", ")
    };
    assert_eq!(effects("proves ada@home.test"), "authenticated, charged to ada@home.test");
    assert_eq!(effects("proves ada@home.test as carl@home.test"), "authenticated");
    for who in
        ["nobody ada@home.test", "known ada@home.test", "nobody eve@elsewhere.test", "nobody ada@open.test"]
    {
        assert_eq!(effects(who), "", "{who}");
    }
}

/// Devices are asked for event state that only they know.
#[test]
fn event_packages_of_devices_reach_them_where_no_server_keeps_event_state() {
    let site = FakeTables::populated();
    let rows = [
        ("sip:bob@home.test", "dialog", "bob"),
        ("sip:bob@home.test", "dialog;id=7", "bob"),
        ("sip:bob@home.test", "presence", "489 Bad Event"),
        ("sip:bob@home.test", "presence;id=7", "489 Bad Event"),
        ("sip:bob@other.test", "presence", "489 Bad Event"),
        ("sip:bob@inner.test", "presence", NOT_OUTSIDE),
    ];
    hold(rows.map(|(uri, package, expected)| {
        let sent = Sent::new("known ada@home.test", &site);
        let request = sent.asks("SUBSCRIBE", uri, &format!("Event: {package}\r\n"));
        (format!("SUBSCRIBE {uri} for {package}"), expected, site.decides(&sent, &request))
    }));
}

/// A refused call is written down for a user only if it is known to be that user's.
#[test]
fn a_refused_call_is_its_users_if_that_is_proved_or_registered_there() {
    let site = FakeTables::populated();
    let rows = [
        ("nobody eve@elsewhere.test", "nobody's"),
        ("nobody ada@home.test", "nobody's"),
        ("nobody ada@open.test", "nobody's"),
        ("proves ada@home.test", "of ada@home.test"),
        ("proves ada@home.test as carl@home.test", "nobody's"),
        ("known ada@home.test", "of ada@home.test"),
        ("known ada@home.test as carl@home.test", "nobody's"),
        ("registered ada@behind.test", "of ada@behind.test"),
        ("registered ada@behind.test as carl@behind.test", "nobody's"),
        ("phone phone@home.test", "of phone@home.test"),
        ("phone ada@home.test", "nobody's"),
        ("pbx ada@home.test", "of the server 192.0.2.9"),
    ];
    hold(rows.map(|(who, expected)| {
        let sent = Sent::new(who, &site);
        let request = sent.asks("INVITE", "sip:zoe@home.test", "");
        let message = Message::parse(request.as_bytes()).unwrap();
        let incoming = Incoming { request: &message, from: sent.hop, now: site.now };
        let routing = Routing { tables: site.tables(), flows: &sent };
        let mut state = sent.state();
        let _ = routing.decide(incoming, &mut state);
        let whose = match routing.whose_call(incoming, state.proved) {
            None => "nobody's".to_owned(),
            Some(crate::call_table::Refused::User(aor)) => format!("of {aor}"),
            Some(crate::call_table::Refused::Server(address)) => format!("of the server {address}"),
        };
        (who.to_owned(), expected, whose)
    }));
}

/// PUBLISH is understood only where a server behind keeps event state.
#[test]
fn options_say_what_may_be_asked_of_a_domain() {
    let site = FakeTables::populated();
    let sent = Sent::new("nobody eve@elsewhere.test", &site);
    let rows = [
        ("sip:home.test", "without PUBLISH"),
        ("sip:trunk.test", "with PUBLISH"),
        ("sip:behind.test", "with PUBLISH"),
        ("sip:192.0.2.1:5060", "with PUBLISH"),
    ];
    hold(rows.map(|(uri, expected)| {
        let request = sent.asks("OPTIONS", uri, "");
        let message = Message::parse(request.as_bytes()).unwrap();
        let incoming = Incoming { request: &message, from: sent.hop, now: site.now };
        let routing = Routing { tables: site.tables(), flows: &sent };
        let answer = routing.decide(incoming, &mut sent.state()).unwrap_err();
        let allow = answer.headers.iter().find(|(name, _)| *name == "Allow").expect("there is an Allow");
        let publish = allow.1.windows(7).any(|part| part == b"PUBLISH");
        (uri.to_owned(), expected, if publish { "with PUBLISH" } else { "without PUBLISH" }.to_owned())
    }));
}
