//! Who may take the place of a call (RFC 3891).

use super::*;

#[test]
fn an_invite_takes_the_place_of_a_call_where_its_sender_may_call_that_side() {
    let site = FakeTables::populated();
    site.call(("carl@home.test", flow(CARL)), ("bob@home.test", flow(BOB)));
    site.call(("carl@open.test", flow(CARL)), ("bob@open.test", flow(BOB)));
    site.call(("bob@trunk.test", flow(BOB)), ("100@trunk.test", udp(PBX)));
    site.call(("bob@few.test", flow(BOB)), ("100@few.test", udp(PBX)));
    site.call(("bob@behind.test", flow(BOB_BEHIND)), ("100@behind.test", udp(REGISTRAR)));
    const CALLER: &str = "to-tag=a;from-tag=b";
    const CALLEE: &str = "to-tag=b;from-tag=a";
    const NOT_LET_IN: &str = "403 Authentication Required";
    const NO_RELAY: &str = "403 Relaying Denied";
    // Sender, Call-ID, the side that it replaces, and where it goes. Nothing is at the Request-URI.
    let rows = [
        ("known ada@home.test", "carl@home.test-bob@home.test", CALLEE, "bob"),
        ("known ada@home.test", "carl@home.test-bob@home.test", CALLER, "carl"),
        ("known ada@other.test", "carl@home.test-bob@home.test", CALLEE, "bob"),
        ("proves ada@home.test", "carl@home.test-bob@home.test", CALLEE, "bob"),
        ("nobody ada@home.test", "carl@home.test-bob@home.test", CALLEE, "407 Prove It"),
        ("nobody eve@elsewhere.test", "carl@home.test-bob@home.test", CALLEE, NOT_LET_IN),
        ("nobody ada@open.test", "carl@home.test-bob@home.test", CALLEE, NOT_LET_IN),
        ("nobody eve@elsewhere.test", "carl@open.test-bob@open.test", CALLEE, "bob"),
        ("throttled ada@home.test", "carl@home.test-bob@home.test", CALLEE, "503 Too Many Messages"),
        // No such call, or another tag.
        ("known ada@home.test", "no-such-call", CALLEE, NO_RELAY),
        ("known ada@home.test", "carl@home.test-bob@home.test", "to-tag=b;from-tag=x", NO_RELAY),
        // The other side of a call over a trunk is outside.
        ("known ada@trunk.test", "bob@trunk.test-100@trunk.test", CALLEE, "the pbx"),
        ("known ada@home.test", "bob@trunk.test-100@trunk.test", CALLEE, "403 Not Allowed To Call Outside"),
        ("known carl@few.test", "bob@few.test-100@few.test", CALLEE, "403 Not Allowed To Call Outside"),
        ("known ada@few.test", "bob@few.test-100@few.test", CALLEE, "the pbx"),
        ("nobody eve@elsewhere.test", "bob@trunk.test-100@trunk.test", CALLEE, NOT_LET_IN),
        // Its own side is the affair of the server behind, which is asked by nobody from here.
        ("known ada@trunk.test", "bob@trunk.test-100@trunk.test", CALLER, NO_RELAY),
        ("registered ada@behind.test", "bob@behind.test-100@behind.test", CALLEE, "the registrar"),
        ("registered ada@behind.test", "bob@behind.test-100@behind.test", CALLER, NO_RELAY),
        ("pbx 100@elsewhere.test", "bob@trunk.test-100@trunk.test", CALLEE, NO_RELAY),
        ("pbx 100@elsewhere.test", "carl@home.test-bob@home.test", CALLEE, "bob"),
    ];
    hold(rows.map(|(who, call, side, expected)| {
        let sent = Sent::new(who, &site);
        let request = sent.asks("INVITE", "sip:x@x.invalid", &format!("Replaces: {call};{side}\r\n"));
        (format!("{who}: INVITE with Replaces: {call};{side}"), expected, site.decides(&sent, &request))
    }));
}
