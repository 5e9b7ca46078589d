//! Where the routes of a call lead while a side of it is away, and after it came back on another flow.

use sip_dialog::{Agent, Registered};
use sip_message::Uri;
use sip_proxy::RouteResolution;

use super::*;

/// A user agent that may come back, by the Contact that calls have of it.
fn agent(aor: &str) -> Agent {
    Agent::new(&Registered {
        aor,
        contact: b"sip:x@x.invalid",
        instance: Some(b"urn:uuid:1"),
        identity: Some(aor),
        call_id: b"r",
        source: "127.0.0.1".parse().unwrap(),
    })
}

impl FakeTables {
    /// The flow of a side ends. `agents` are the user agents that were registered on it.
    fn loses(&self, hop: Hop, agents: &[Agent]) {
        let records = self.tables().call_records();
        self.calls.change(records, |calls, recorder, now| calls.hop_gone(recorder, hop, agents, now));
    }

    fn comes_back(&self, agent: &Agent, hop: Hop) {
        let records = self.tables().call_records();
        self.calls.change(records, |calls, recorder, _| calls.came_back(recorder, agent, hop));
    }

    /// Where a BYE of the call from Ada to Bob leads, along a route that names a hop.
    fn bye(&self, who: &str, named: Hop) -> String {
        let sent = Sent::new(who, self);
        let bye = "BYE sip:x@x.invalid SIP/2.0\r\nVia: SIP/2.0/WS c.invalid;branch=z9hG4bK2\r\n\
             From: <sip:ada@home.test>;tag=a\r\nTo: <sip:bob@home.test>;tag=b\r\n\
             Call-ID: ada@home.test-bob@home.test\r\nCSeq: 2 BYE\r\nContent-Length: 0\r\n\r\n";
        let message = Message::parse(bye.as_bytes()).unwrap();
        let incoming = Incoming { request: &message, from: sent.hop, now: self.now };
        let routing = Routing { tables: self.tables(), flows: &sent };
        let mut uri = b"sip:".to_vec();
        self.flow_tokens.write(named, flow(SENDER), &mut uri);
        let route = String::from_utf8(uri).unwrap() + "@192.0.2.1:5060;transport=udp;lr";
        match routing.resolve_route(&Uri::parse(route.as_bytes()).unwrap(), incoming, &mut sent.state()) {
            RouteResolution::Flow(hop) => name_hop(hop),
            other => format!("{other:?}").to_lowercase(),
        }
    }
}

/// Ada, who is the sender, calls Bob.
fn in_a_call() -> FakeTables {
    let site = FakeTables::populated();
    site.call(("ada@home.test", flow(SENDER)), ("bob@home.test", flow(BOB)));
    site
}

const ADA: &str = "known ada@home.test";

#[test]
fn a_route_to_a_side_that_is_away_is_held_until_it_is_back() {
    let site = in_a_call();
    let bob = agent("bob@home.test");
    assert_eq!(site.bye(ADA, flow(BOB)), "bob");
    site.loses(flow(BOB), std::slice::from_ref(&bob));
    assert_eq!(site.bye(ADA, flow(BOB)), "held");
    // Another user's device is not Bob's.
    site.comes_back(&agent("carl@home.test"), flow(CARL));
    assert_eq!(site.bye(ADA, flow(BOB)), "held");
    site.comes_back(&bob, flow(CARL));
    assert_eq!(site.bye(ADA, flow(BOB)), "carl", "the old route leads to the new flow");
}

#[test]
fn a_route_to_a_side_that_is_not_expected_back_is_gone() {
    let site = FakeTables::populated();
    site.call(("ada@home.test", flow(SENDER)), ("bob@home.test", flow(ENDED)));
    site.loses(flow(ENDED), &[]);
    assert_eq!(site.bye(ADA, flow(ENDED)), "gone");
}

/// Who knows the identifiers of a call is no side of it.
#[test]
fn only_a_side_of_the_call_uses_its_routes() {
    let site = in_a_call();
    let bob = agent("bob@home.test");
    assert_eq!(site.bye("phone eve@elsewhere.test", flow(BOB)), "forged");
    site.loses(flow(BOB), std::slice::from_ref(&bob));
    assert_eq!(site.bye("phone eve@elsewhere.test", flow(BOB)), "forged");
    site.comes_back(&bob, flow(CARL));
    assert_eq!(site.bye("phone eve@elsewhere.test", flow(BOB)), "forged");
    assert_eq!(site.bye("phone ada@home.test", flow(BOB)), "forged", "the same name is not the same hop");
}
