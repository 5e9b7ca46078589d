//! What of a request goes on to whom: what it says of its sender, and credentials.

use sip_message::Rewrite;
use sip_proxy::Dialog;

use super::*;

/// What a client may write into a request, to be believed or to be looked at.
const SAID: [(&str, &str); 5] = [
    ("P-Asserted-Identity", "<sip:boss@home.test>"),
    ("P-Preferred-Identity", "<sip:boss@home.test>"),
    ("Remote-Party-ID", "<sip:boss@home.test>"),
    // Made for us, and made for another server.
    ("Proxy-Authorization", "Digest realm=\"home.test\", username=\"ada\""),
    ("Authorization", "Digest realm=\"elsewhere.test\", username=\"ada\""),
];

/// What of these reaches a hop, in short, and what is asserted there.
fn passes(site: &FakeTables, sent: &Sent, method: &str, to: Hop, dialog: Dialog) -> String {
    let said: String = SAID.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let tag = if dialog == Dialog::Within { ";tag=t" } else { "" };
    let text = sent.asks_for(method, "sip:bob@home.test", &format!("<sip:bob@home.test>{tag}"), &said);
    let message = Message::parse(text.as_bytes()).unwrap();
    let (mut added, mut out) = (Vec::new(), Vec::new());
    let mut rewrite = Rewrite::new(&message);
    let routing = Routing { tables: site.tables(), flows: sent };
    routing.amend(&message, (sent.hop, to), dialog, &mut added, &mut rewrite);
    rewrite.write(&mut out).unwrap();
    let out = String::from_utf8(out).unwrap();
    let mut left: Vec<String> = SAID
        .iter()
        .filter(|(name, value)| out.contains(&format!("{name}: {value}\r\n")))
        .map(|(name, _)| (*name).to_owned())
        .collect();
    let asserted = out.lines().filter_map(|line| line.strip_prefix("P-Asserted-Identity: "));
    left.extend(asserted.filter(|value| *value != SAID[0].1).map(|value| format!("asserts {value}")));
    left.join(", ")
}

#[test]
fn what_a_request_says_of_its_sender_is_for_servers_that_trust_each_other() {
    const OTHERS: &str = "Authorization";
    const ALL: &str =
        "P-Asserted-Identity, P-Preferred-Identity, Remote-Party-ID, Proxy-Authorization, Authorization";
    const ADA: &str = "Authorization, asserts <sip:ada@home.test>";
    let site = FakeTables::populated();
    let (outside, within) = (Dialog::Outside, Dialog::Within);
    let rows = [
        // To a user: neither what its sender says of itself nor credentials for us.
        ("known ada@home.test", "INVITE", flow(BOB), outside, "Remote-Party-ID, Authorization"),
        ("nobody eve@elsewhere.test", "MESSAGE", flow(BOB), outside, "Remote-Party-ID, Authorization"),
        ("known ada@home.test", "INFO", flow(BOB), within, "Remote-Party-ID, Authorization"),
        // To a server behind: what is proved, and nothing that is only said.
        ("known ada@home.test", "INVITE", udp(PBX), outside, ADA),
        ("proves ada@home.test", "INVITE", udp(PBX), outside, ADA),
        ("known ada@home.test", "INFO", udp(PBX), within, ADA),
        ("token ada@home.test", "INFO", udp(PBX), within, ADA),
        // Within a dialog nothing is proved by From.
        ("nobody ada@home.test", "INFO", udp(PBX), within, OTHERS),
        ("known ada@home.test as carl@home.test", "INFO", udp(PBX), within, ADA),
        ("phone ada@home.test", "INFO", udp(PBX), within, OTHERS),
        // No user of an open domain has proved anything.
        ("nobody ada@open.test", "INVITE", udp(PBX), outside, OTHERS),
        ("nobody eve@elsewhere.test", "INVITE", udp(PBX), outside, OTHERS),
        // A registrar asks for a proof of its own.
        ("known ada@home.test", "REGISTER", udp(REGISTRAR), outside, OTHERS),
        // From a server behind: to another all, to a user nothing.
        ("pbx 100@elsewhere.test", "INVITE", udp(REGISTRAR), outside, ALL),
        ("pbx 100@elsewhere.test", "INVITE", flow(BOB), outside, "Proxy-Authorization, Authorization"),
    ];
    hold(rows.map(|(who, method, to, dialog, expected)| {
        let sent = Sent::new(who, &site);
        let row = format!("{who}: {method} to {}, {dialog:?}", name_hop(to));
        (row, expected, passes(&site, &sent, method, to, dialog))
    }));
}

/// An element further on reads our branch, and could answer past the server that decides.
#[test]
fn an_answer_is_believed_from_where_its_request_went() {
    let site = FakeTables::populated();
    let sent = Sent::new("nobody eve@elsewhere.test", &site);
    let routing = Routing { tables: site.tables(), flows: &sent };
    let (other_port, other_host) = (udp("198.51.100.7:9"), udp("198.51.100.8:5060"));
    let rows = [
        (udp(PHONE), other_port, "yes"),
        (udp(PHONE), other_host, "no"),
        (udp(PHONE), flow(SENDER), "no"),
        (udp(PHONE), udp(PBX), "no"),
        (flow(BOB), flow(SENDER), "no"),
        (flow(BOB), udp(PBX), "no"),
        // Servers behind answer for each other.
        (udp(PBX), udp(REGISTRAR), "yes"),
        (udp(PBX), udp("192.0.2.9:9"), "yes"),
        (udp(PBX), udp(PHONE), "no"),
        (udp(PBX), flow(SENDER), "no"),
    ];
    hold(rows.map(|(asked, from, expected)| {
        let found = if routing.answers_for(asked, from, None) { "yes" } else { "no" };
        (format!("asked {}, answered by {}", name_hop(asked), name_hop(from)), expected, found.to_owned())
    }));
}
