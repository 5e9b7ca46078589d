//! Who may register whom, and what.

use super::*;

/// Sender, domain, whom To names, header fields besides, and what becomes of it.
type Row = (&'static str, &'static str, &'static str, &'static str, &'static str);

fn check(site: &FakeTables, rows: &[Row]) {
    hold(rows.iter().map(|&(who, domain, to, more, expected)| {
        let sent = Sent::new(who, site);
        let request = sent.asks_for("REGISTER", &format!("sip:{domain}"), &format!("<sip:{to}>"), more);
        (format!("{who}: REGISTER {to} at {domain}"), expected, site.decides(&sent, &request))
    }));
}

const CHALLENGE: &str = "401 Prove It";
const NOT_YOURS: &str = "403 Not Your Address";
const NOT_A_USER: &str = "404 Not A User Of This Domain";

#[test]
fn a_user_registers_itself_and_nobody_else() {
    check(
        &FakeTables::populated(),
        &[
            // By a password.
            ("nobody ada@home.test", "home.test", "ada@home.test", "", CHALLENGE),
            ("phone ada@home.test", "home.test", "ada@home.test", "", CHALLENGE),
            (
                "proves ada@home.test",
                "home.test",
                "ada@home.test",
                "",
                "registers ada@home.test, by password",
            ),
            (
                "phone-proves ada@home.test",
                "home.test",
                "ada@home.test",
                "",
                "registers ada@home.test, by password",
            ),
            ("proves ada@home.test", "home.test", "carl@home.test", "", NOT_YOURS),
            // From says nothing here: the credentials and To do.
            (
                "proves ada@home.test as carl@home.test",
                "home.test",
                "ada@home.test",
                "",
                "registers ada@home.test, by password",
            ),
            // It registers anew by a proof of its own each time.
            ("known ada@home.test", "home.test", "ada@home.test", "", CHALLENGE),
            ("nobody ada@home.test", "home.test", "ada@other.test", "", NOT_A_USER),
            ("proves ada@other.test", "home.test", "ada@other.test", "", NOT_A_USER),
            // By what vouches for its flow: a token or a certificate.
            (
                "token ada@token.test",
                "token.test",
                "ada@token.test",
                "",
                "registers ada@token.test, by its flow",
            ),
            ("token ada@home.test", "home.test", "ada@home.test", "", "registers ada@home.test, by its flow"),
            ("token ada@token.test", "token.test", "carl@token.test", "", NOT_YOURS),
            ("token ada@home.test", "home.test", "carl@home.test", "", CHALLENGE),
            ("token ada@home.test", "token.test", "ada@token.test", "", NOT_YOURS),
            (
                "token-and-proves ada@home.test",
                "home.test",
                "ada@home.test",
                "",
                "registers ada@home.test, by its flow",
            ),
            // By a token in the request.
            ("nobody ada@token.test", "token.test", "ada@token.test", "", CHALLENGE),
            (
                "proves ada@token.test",
                "token.test",
                "ada@token.test",
                "",
                "registers ada@token.test, by voucher",
            ),
            (
                "phone-proves ada@token.test",
                "token.test",
                "ada@token.test",
                "",
                "registers ada@token.test, by voucher",
            ),
            ("proves ada@token.test", "token.test", "carl@token.test", "", NOT_YOURS),
            (
                "token-and-proves ada@token.test",
                "token.test",
                "ada@token.test",
                "",
                "registers ada@token.test, by voucher",
            ),
            ("token-and-proves ada@token.test", "token.test", "carl@token.test", "", NOT_YOURS),
            // Anybody under any name where nobody is asked.
            (
                "nobody eve@elsewhere.test",
                "open.test",
                "ada@open.test",
                "",
                "registers ada@open.test, unproved",
            ),
            ("known ada@home.test", "open.test", "carl@open.test", "", "registers carl@open.test, unproved"),
            (
                "nobody eve@elsewhere.test",
                "elsewhere.test",
                "eve@elsewhere.test",
                "",
                "403 Domain Not Served",
            ),
            // Servers behind are no users, and prove themselves like everybody.
            ("pbx ada@home.test", "home.test", "ada@home.test", "", CHALLENGE),
            ("pbx 100@elsewhere.test", "open.test", "ada@open.test", "", "registers ada@open.test, unproved"),
        ],
    );
}

/// Its own registrar asks for the proof; by From it would choose whose rules hold.
#[test]
fn what_a_registrar_behind_is_asked_names_one_user() {
    check(
        &FakeTables::populated(),
        &[
            ("nobody ada@behind.test", "behind.test", "ada@behind.test", "", "the registrar"),
            ("phone ada@behind.test", "behind.test", "ada@behind.test", "", "the registrar"),
            ("known ada@home.test as ada@behind.test", "behind.test", "ada@behind.test", "", "the registrar"),
            ("nobody trunk@behind.test", "behind.test", "ada@behind.test", "", NOT_YOURS),
            ("nobody eve@elsewhere.test", "behind.test", "ada@behind.test", "", NOT_YOURS),
            ("nobody ada@behind.test", "behind.test", "ada@home.test", "", NOT_A_USER),
            // A server behind may register for others: it is asked there who it is.
            ("pbx trunk@behind.test", "behind.test", "ada@behind.test", "", "the registrar"),
            ("throttled ada@behind.test", "behind.test", "ada@behind.test", "", "503 Too Many Messages"),
        ],
    );
}

/// A registration is reached at the socket that it came from, and nowhere else.
#[test]
fn a_contact_that_leads_elsewhere_is_not_registered() {
    let site = FakeTables::populated();
    let rows = [
        ("<sip:ada@c.invalid;transport=ws>", "registers ada@home.test, by password"),
        ("<sip:ada@203.0.113.1>", "registers ada@home.test, by password"),
        ("<sip:ada@phone.local>", "registers ada@home.test, by password"),
        ("<sip:ada@192.0.2.99>, <sip:bob@192.0.2.98>", "403 Contact Leads Elsewhere"),
        ("<sip:ada@203.0.113.1>, <sip:ada@192.0.2.99>", "registers ada@home.test, by password but for 1"),
        ("<sip:ada@other.invalid>, <sip:ada@192.0.2.99>", "registers ada@home.test, by password but for 1"),
        ("<sip:ada@phone.local>, <sip:ada@192.0.2.99>", "403 Contact Leads Elsewhere"),
        ("<tel:+15551234>", "403 Contact Leads Elsewhere"),
        ("<sip:ada@home.test;gr=urn:uuid:b>", "403 Contact Is A GRUU"),
        ("*", "registers ada@home.test, by password"),
    ];
    hold(rows.map(|(contact, expected)| {
        let sent = Sent::new("proves ada@home.test", &site);
        let request = sent.asks_for("REGISTER", "sip:home.test", "<sip:ada@home.test>", "");
        let request = request.replace("<sip:me@c.invalid>", contact);
        (format!("Contact: {contact}"), expected, site.decides(&sent, &request))
    }));
}
