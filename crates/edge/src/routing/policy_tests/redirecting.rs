//! Where a redirection is followed to, for whom.

use sip_message::Uri;

use super::*;

#[test]
fn a_redirection_leads_no_further_than_its_caller_may_call() {
    let site = FakeTables::populated();
    const LEFT: &str = "passed on";
    // Caller, whom the caller has called, the contact that the callee names, and where that leads.
    let rows = [
        // To users here.
        ("known ada@home.test", "sip:carl@home.test", "sip:bob@home.test", "bob"),
        ("known ada@home.test", "sip:carl@home.test", "sip:bob@other.test", "bob"),
        ("known ada@home.test", "sip:carl@home.test", "sip:bob@open.test", "bob"),
        ("known ada@home.test", "sip:carl@home.test", "sip:carl@home.test", LEFT),
        ("known ada@home.test", "sip:carl@home.test", "sip:bob@home.test;gr=urn:uuid:b", "bob"),
        ("known ada@home.test", "sip:carl@home.test", "sip:bob@home.test;gr=urn:uuid:z", LEFT),
        // A domain that does not say `follow`.
        ("known ada@other.test", "sip:carl@other.test", "sip:bob@other.test", LEFT),
        ("known ada@trunk.test", "sip:carl@trunk.test", "sip:bob@home.test", LEFT),
        // A sender that proves itself with each request was accepted by the domain that it called.
        ("proves ada@home.test", "sip:carl@home.test", "sip:bob@home.test", "bob"),
        ("proves ada@home.test", "sip:carl@home.test", "sip:bob@other.test", LEFT),
        ("nobody eve@elsewhere.test", "sip:carl@open.test", "sip:bob@open.test", "bob"),
        ("nobody eve@elsewhere.test", "sip:carl@open.test", "sip:bob@home.test", LEFT),
        ("nobody ada@open.test", "sip:carl@open.test", "sip:bob@home.test", LEFT),
        ("nobody ada@open.test", "sip:carl@open.test", "sip:bob@public.test", "bob"),
        ("pbx 100@elsewhere.test", "sip:carl@few.test", "sip:bob@home.test", "bob"),
        // To users of a domain whose registrar is behind.
        ("known ada@home.test", "sip:carl@home.test", "sip:bob@behind.test", LEFT),
        ("registered ada@behind.test", "sip:carl@home.test", "sip:bob@behind.test", LEFT),
        // To the outside.
        ("known ada@few.test", "sip:bob@few.test", "sip:100@few.test", "the pbx"),
        ("known carl@few.test", "sip:bob@few.test", "sip:100@few.test", LEFT),
        ("known ada@home.test", "sip:bob@few.test", "sip:100@few.test", LEFT),
        ("known ada@trunk.test", "sip:bob@few.test", "sip:100@trunk.test", "the pbx"),
        ("proves ada@few.test", "sip:bob@few.test", "sip:100@few.test", LEFT),
        ("nobody eve@elsewhere.test", "sip:carl@open.test", "sip:100@trunk.test", LEFT),
        ("nobody ada@open.test", "sip:carl@open.test", "sip:100@public.test", LEFT),
        ("token-outside ada@token.test", "sip:bob@few.test", "sip:100@token.test", "the pbx"),
        ("token ada@token.test", "sip:bob@few.test", "sip:100@token.test", LEFT),
        ("pbx 100@elsewhere.test", "sip:bob@few.test", "sip:100@few.test", LEFT),
        // By the address of the server behind.
        ("known ada@few.test", "sip:bob@few.test", "sip:100@192.0.2.9", "the pbx"),
        ("known carl@few.test", "sip:bob@few.test", "sip:100@192.0.2.9", LEFT),
        ("known ada@home.test", "sip:bob@few.test", "sip:100@192.0.2.9", LEFT),
        ("proves ada@few.test", "sip:bob@few.test", "sip:100@192.0.2.9", LEFT),
        ("pbx 100@elsewhere.test", "sip:bob@few.test", "sip:100@192.0.2.9", LEFT),
        ("known ada@few.test", "sip:bob@few.test", "sip:100@192.0.2.8", LEFT),
        ("known ada@few.test", "sip:bob@few.test", "sip:100@192.0.2.9:5070", LEFT),
        ("known ada@home.test", "sip:carl@home.test", "sip:100@192.0.2.9", LEFT),
        // Elsewhere.
        ("known ada@home.test", "sip:carl@home.test", "sip:bob@elsewhere.test", LEFT),
        ("known ada@home.test", "sip:carl@home.test", "sip:bob@198.51.100.1", LEFT),
        ("known ada@home.test", "sip:carl@home.test", "sip:home.test", LEFT),
        ("known ada@home.test", "sip:carl@home.test", "tel:+15551234", LEFT),
        ("known ada@home.test", "sip:carl@home.test", "sip:bob@home.test?Replaces=1", LEFT),
    ];
    hold(rows.map(|(who, called, contact, expected)| {
        let sent = Sent::new(who, &site);
        let request = sent.asks("INVITE", called, "");
        let message = Message::parse(request.as_bytes()).unwrap();
        let incoming = Incoming { request: &message, from: sent.hop, now: site.now };
        let routing = Routing { tables: site.tables(), flows: &sent };
        let targets = routing.follow_redirect(&Uri::parse(contact.as_bytes()).unwrap(), incoming);
        let found = targets.map_or_else(|| LEFT.to_owned(), |targets| name_targets(&targets));
        (format!("{who}: INVITE {called}, redirected to {contact}"), expected, found)
    }));
}
