//! RFC 3261 §10.3 and RFC 5626 §6, case by case.

use sip_message::Message;
use sip_registrar::{
    CONTACT_VALUES, Change, CurrentBinding, HopMatch, ListedBinding, Policy, Refusal, ShortExpiry,
    StoredPart, address_of_record, decide, write_contacts,
};

const POLICY: Policy = Policy {
    min_expires: 60,
    shorter: ShortExpiry::Refused,
    max_expires: 3600,
    default_expires: 600,
    max_contacts: 3,
    gruu: sip_registrar::Gruu::Off,
};

fn register(call_id: &str, cseq: u32, headers: &[&str]) -> Vec<u8> {
    let mut text = format!(
        "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/WS x.invalid;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
         From: <sip:alice@example.com>;tag=1\r\nTo: <sip:alice@example.com>\r\nCall-ID: {call_id}\r\nCSeq: {cseq} REGISTER\r\n"
    );
    for header in headers {
        text.push_str(header);
        text.push_str("\r\n");
    }
    text.push_str("Content-Length: 0\r\n\r\n");
    text.into_bytes()
}

const fn bound(contact: &str) -> CurrentBinding<'_> {
    CurrentBinding {
        contact: contact.as_bytes(),
        instance: None,
        reg_id: None,
        call_id: b"c1",
        cseq: 5,
        way: HopMatch::Same,
    }
}

const fn paired<'a>(contact: &'a str, instance: &'a str, reg_id: u32) -> CurrentBinding<'a> {
    CurrentBinding {
        instance: Some(instance.as_bytes()),
        reg_id: Some(reg_id),
        way: HopMatch::Other,
        ..bound(contact)
    }
}

/// The changes as text: `+uri/expires`, `=index/expires`, `~index>uri/expires`, `-index`, separated by
/// spaces.
fn changes_of(bytes: &[u8], bound: &[CurrentBinding<'_>]) -> Result<String, Refusal> {
    let message = Message::parse(bytes).expect("a whole message");
    let decision = decide(&message, bound, &POLICY)?;
    let text = |change: &Change<'_>| match change {
        Change::Add(wish) => format!("+{}/{}", wish.uri.as_bytes().escape_ascii(), wish.expires),
        Change::Refresh { binding, with } => format!("={binding}/{}", with.expires),
        Change::Replace { binding, with } => {
            format!("~{binding}>{}/{}", with.uri.as_bytes().escape_ascii(), with.expires)
        }
        Change::Remove { binding } => format!("-{binding}"),
    };
    Ok(decision.changes.iter().map(text).collect::<Vec<_>>().join(" "))
}

fn changes(headers: &[&str], bound: &[CurrentBinding<'_>]) -> Result<String, Refusal> {
    changes_of(&register("c1", 6, headers), bound)
}

#[track_caller]
fn does(headers: &[&str], bound: &[CurrentBinding<'_>], expected: &str) {
    assert_eq!(changes(headers, bound).as_deref(), Ok(expected));
}

#[track_caller]
fn refuses(headers: &[&str], bound: &[CurrentBinding<'_>], expected: Refusal) {
    assert_eq!(changes(headers, bound), Err(expected));
}

const TOO_BRIEF: Refusal = Refusal::TooBrief { min_expires: 60 };

#[test]
fn time_granted() {
    for (headers, expected) in [
        (&["Contact: <sip:a@h>;expires=100"][..], "+sip:a@h/100"),
        (&["Contact: <sip:a@h>;expires=100", "Expires: 200"], "+sip:a@h/100"),
        (&["Contact: <sip:a@h>", "Expires: 200"], "+sip:a@h/200"),
        (&["Contact: <sip:a@h>"], "+sip:a@h/600"),
        (&["Contact: <sip:a@h>;expires=60"], "+sip:a@h/60"),
        (&["Contact: <sip:a@h>;expires=86400"], "+sip:a@h/3600"),
        (&["Contact: <sip:a@h>;expires=99999999999999"], "+sip:a@h/3600"),
        (&["Contact: <sip:a@h>", "Expires: 99999999999999"], "+sip:a@h/3600"),
        (&["Contact: <sip:a@h>", "Expires: soon"], "+sip:a@h/3600"),
        (&["Contact: sip:a@h;expires=70"], "+sip:a@h/70"),
        (
            &["Contact: <sip:a@h>;expires=70, <sip:b@h>", "m: sip:c@h"],
            "+sip:a@h/70 +sip:b@h/600 +sip:c@h/600",
        ),
    ] {
        does(headers, &[], expected);
    }
}

#[test]
fn too_brief_is_423_only_below_an_hour() {
    refuses(&["Contact: <sip:a@h>;expires=59"], &[], TOO_BRIEF);
    refuses(&["Contact: <sip:a@h>", "Expires: 1"], &[], TOO_BRIEF);
    refuses(&["Contact: <sip:ok@h>, <sip:a@h>;expires=59"], &[], TOO_BRIEF);
    assert_eq!((TOO_BRIEF.status(), TOO_BRIEF.min_expires()), (423, Some(60)));
    let slow = Policy {
        min_expires: 7200,
        shorter: ShortExpiry::Refused,
        max_expires: 9000,
        default_expires: 7200,
        max_contacts: 1,
        gruu: sip_registrar::Gruu::Off,
    };
    for (wish, granted) in [(3599, None), (3600, Some(3600)), (9001, Some(9000))] {
        let bytes = register("c1", 1, &[&format!("Contact: <sip:a@h>;expires={wish}")]);
        let decision = decide(&Message::parse(&bytes).unwrap(), &[], &slow);
        let got = decision.ok().map(|decision| match decision.changes[0] {
            Change::Add(wish) => wish.expires,
            ref other => panic!("{other:?}"),
        });
        assert_eq!(got, granted, "{wish}");
    }
}

#[test]
fn what_another_registrar_has_granted_holds_for_shorter_and_longer_wishes() {
    let granted = Policy {
        min_expires: 300,
        shorter: ShortExpiry::Raised,
        max_expires: 300,
        default_expires: 300,
        max_contacts: 1,
        gruu: sip_registrar::Gruu::Off,
    };
    for (wish, expected) in [(1, 300), (299, 300), (300, 300), (4000, 300)] {
        let bytes = register("c1", 1, &[&format!("Contact: <sip:a@h>;expires={wish}")]);
        let decision = decide(&Message::parse(&bytes).unwrap(), &[], &granted).unwrap();
        assert!(matches!(decision.changes[0], Change::Add(wish) if wish.expires == expected), "{wish}");
    }
    let bytes = register("c1", 6, &["Contact: <sip:a@h>;expires=0"]);
    let decision = decide(&Message::parse(&bytes).unwrap(), &[bound("sip:a@h")], &granted).unwrap();
    assert!(matches!(decision.changes[0], Change::Remove { binding: 0 }));
}

#[test]
fn a_query_changes_nothing() {
    does(&[], &[bound("sip:a@h")], "");
    does(&["Expires: 0"], &[bound("sip:a@h")], "");
    does(&["Contact: "], &[bound("sip:a@h")], "");
}

#[test]
fn star_removes_all_and_stands_alone() {
    let both = [bound("sip:a@h"), paired("sip:b@h", "urn:x:1", 1)];
    does(&["Contact: *", "Expires: 0"], &both, "-0 -1");
    does(&["Contact: *", "Expires: 0"], &[], "");
    refuses(&["Contact: *"], &both, Refusal::StarWithoutZero);
    refuses(&["Contact: *", "Expires: 60"], &both, Refusal::StarWithoutZero);
    refuses(&["Contact: *", "Expires: never"], &both, Refusal::StarWithoutZero);
    for contact in ["Contact: *, <sip:a@h>", "Contact: <sip:a@h>, *", "Contact: *, *"] {
        refuses(&[contact, "Expires: 0"], &both, Refusal::StarNotAlone);
    }
    refuses(&["Contact: *", "Contact: <sip:a@h>", "Expires: 0"], &both, Refusal::StarNotAlone);
    assert!(matches!(changes(&["Contact: *;expires=0"], &both), Err(Refusal::ContactUri(_))));
}

#[test]
fn bindings_are_found_by_uri_equality() {
    for (have, contact, expected) in [
        ("sip:a@h", "<sip:a@h>", "=0/600"),
        ("sip:a@h", "<sip:a@H>", "~0>sip:a@H/600"),
        ("sip:%61@h", "<sip:a@h>", "~0>sip:a@h/600"),
        ("sip:a@h", "<sip:a@h;x=1>", "~0>sip:a@h;x=1/600"),
        ("sip:a@h;x=2", "<sip:a@h;x=1>", "+sip:a@h;x=1/600"),
        ("sip:a@h", "<sip:A@h>", "+sip:A@h/600"),
        ("sip:a@h", "<sip:a@h:5060>", "+sip:a@h:5060/600"),
        ("sip:a@h", "<sips:a@h>", "+sips:a@h/600"),
        ("sip:a@h", "<sip:a@h;transport=tcp>", "+sip:a@h;transport=tcp/600"),
        ("mailto:a@h", "<mailto:a@h>", "=0/600"),
        ("sip:a@h", "<sip:a@h>;expires=0", "-0"),
        ("sip:a@h", "<sip:b@h>;expires=0", ""),
    ] {
        does(&[&format!("Contact: {contact}")], &[bound(have)], expected);
    }
    let other = CurrentBinding { way: HopMatch::Other, ..bound("sip:a@h") };
    does(&["Contact: <sip:a@h>"], &[other], "~0>sip:a@h/600");
}

#[test]
fn an_instance_with_reg_id_goes_before_the_uri() {
    let jssip =
        "Contact: <sip:new@x.invalid;transport=ws>;+sip.instance=\"<urn:uuid:1>\";reg-id=1;expires=600";
    let old = paired("sip:old@x.invalid;transport=ws", "urn:uuid:1", 1);
    does(&[jssip], &[old], "~0>sip:new@x.invalid;transport=ws/600");
    does(
        &[jssip],
        &[paired("sip:new@x.invalid;transport=ws", "urn:uuid:2", 1)],
        "+sip:new@x.invalid;transport=ws/600",
    );
    does(
        &[jssip],
        &[paired("sip:new@x.invalid;transport=ws", "urn:uuid:1", 2)],
        "+sip:new@x.invalid;transport=ws/600",
    );
    // Its own binding from before it had an instance, and back.
    does(&[jssip], &[bound("sip:new@x.invalid;transport=ws")], "=0/600");
    does(
        &["Contact: <sip:old@x.invalid;transport=ws>;expires=0"],
        &[old, bound("sip:old@x.invalid;transport=ws")],
        "-1",
    );
    does(&["Contact: <sip:old@x.invalid;transport=ws>;expires=0"], &[old], "-0");
    // reg-id alone, or an instance alone, is told apart by its URI.
    does(&["Contact: <sip:n@h>;reg-id=1"], &[paired("sip:o@h", "urn:uuid:1", 1)], "+sip:n@h/600");
    let alone = "Contact: <sip:n@h>;+sip.instance=\"<urn:uuid:1>\"";
    does(&[alone], &[paired("sip:o@h", "urn:uuid:1", 1)], "+sip:n@h/600");
    // Removal by the pair, whatever the URI.
    let gone = "Contact: <sip:z@h>;+sip.instance=\"<urn:uuid:1>\";reg-id=1;expires=0";
    does(&[gone], &[bound("sip:z@h"), old], "-1");
}

#[test]
fn order_within_a_call_id() {
    let have = [bound("sip:a@h"), CurrentBinding { call_id: b"c2", cseq: 900, ..bound("sip:b@h") }];
    for contact in ["<sip:a@h>", "<sip:a@h>;expires=0", "<sip:n@h>, <sip:a@h>", "<sip:b@h>, <sip:a@h>"] {
        let contact = format!("Contact: {contact}");
        for cseq in [0, 4, 5] {
            assert_eq!(changes_of(&register("c1", cseq, &[&contact]), &have), Err(Refusal::OutOfOrder));
        }
        assert!(changes_of(&register("c1", 6, &[&contact]), &have).is_ok());
        assert!(changes_of(&register("c3", 0, &[&contact]), &have).is_ok());
    }
    let star = ["Contact: *", "Expires: 0"];
    assert_eq!(changes_of(&register("c1", 5, &star), &have), Err(Refusal::OutOfOrder));
    assert_eq!(changes_of(&register("c2", 900, &star), &have), Err(Refusal::OutOfOrder));
    assert_eq!(changes_of(&register("c1", 6, &star), &have).as_deref(), Ok("-0 -1"));
    // A query and a new contact do not meet any older binding.
    assert_eq!(changes_of(&register("c1", 1, &[]), &have).as_deref(), Ok(""));
    assert_eq!(changes_of(&register("c1", 1, &["Contact: <sip:n@h>"]), &have).as_deref(), Ok("+sip:n@h/600"));
    assert_eq!(Refusal::OutOfOrder.status(), 500);
}

#[test]
fn not_more_contacts_than_allowed() {
    let full = [bound("sip:a@h"), bound("sip:b@h"), bound("sip:c@h")];
    let refused = Refusal::TooManyContacts { max_contacts: 3 };
    refuses(&["Contact: <sip:d@h>"], &full, refused);
    refuses(&["Contact: <sip:d@h>, <sip:e@h>, <sip:a@h>;expires=0"], &full, refused);
    assert_eq!(refused.status(), 403);
    does(&["Contact: <sip:a@h>"], &full, "=0/600");
    does(&["Contact: <sip:d@h>, <sip:a@h>;expires=0"], &full, "+sip:d@h/600 -0");
    let over = [full[0], full[1], full[2], bound("sip:d@h")];
    does(&["Contact: <sip:d@h>"], &over, "=3/600");
    refuses(&["Contact: <sip:e@h>"], &over, refused);
    let many = |count: usize| {
        format!(
            "Contact: {}",
            (0..count).map(|n| format!("<sip:{n}@h>;expires=0")).collect::<Vec<_>>().join(",")
        )
    };
    does(&[&many(CONTACT_VALUES)], &[], "");
    refuses(&[&many(CONTACT_VALUES + 1)], &[], Refusal::TooManyValues);
}

#[test]
fn one_binding_is_named_once() {
    refuses(&["Contact: <sip:a@h>, <sip:a@H>;expires=0"], &[], Refusal::ContactTwice);
    let pair = ";+sip.instance=\"<urn:x:1>\";reg-id=1";
    refuses(&[&format!("Contact: <sip:a@h>{pair}, <sip:b@h>{pair}")], &[], Refusal::ContactTwice);
    // Not transitive: both are equal to what is there, but not to each other.
    does(
        &["Contact: <sip:a@h;x=1>, <sip:a@h;x=2>"],
        &[bound("sip:a@h")],
        "~0>sip:a@h;x=1/600 +sip:a@h;x=2/600",
    );
}

#[test]
fn malformed_requests() {
    type Kind = fn(&Refusal) -> bool;
    let cases: [(&str, Kind); 9] = [
        ("Contact: <sip:a@h", |r| matches!(r, Refusal::Contact(_))),
        ("Contact: <sip:>", |r| matches!(r, Refusal::ContactUri(_))),
        ("Contact: <a@h>", |r| matches!(r, Refusal::ContactUri(_))),
        ("Path: <sip:p", |r| matches!(r, Refusal::Path(_))),
        ("Contact: <sip:a@h>;+sip.instance=\"<a\r\n b>\"", |r| *r == Refusal::Instance),
        ("Contact: <sip:a@h>;+sip.instance=\"<LONG>\"", |r| *r == Refusal::TooLong(StoredPart::Instance)),
        ("Contact: <sip:LONG@h>", |r| *r == Refusal::TooLong(StoredPart::ContactUri)),
        ("Path: <sip:LONG@h>, <sip:LONG@h>", |r| *r == Refusal::TooLong(StoredPart::Path)),
        ("Contact: <sip:a@h>;expires=1", |r| *r == TOO_BRIEF),
    ];
    for (header, kind) in cases {
        let refusal = changes(&[&header.replace("LONG", &"l".repeat(1024))], &[]).unwrap_err();
        assert!(kind(&refusal), "{header}: {refusal:?}");
        assert_eq!(refusal.status(), if refusal == TOO_BRIEF { 423 } else { 400 });
    }
    let long = register(&"c".repeat(513), 1, &["Contact: <sip:a@h>"]);
    assert_eq!(changes_of(&long, &[]), Err(Refusal::TooLong(StoredPart::CallId)));
    let text = String::from_utf8(register("c1", 1, &[])).unwrap();
    let without = text.replace("Call-ID: c1\r\n", "");
    assert_eq!(changes_of(without.as_bytes(), &[]), Err(Refusal::NoCallId));
    let without = text.replace("CSeq: 1 REGISTER\r\n", "");
    assert!(matches!(changes_of(without.as_bytes(), &[]), Err(Refusal::CSeq(_))));
}

#[test]
fn the_key_of_the_address_of_record() {
    let text = String::from_utf8(register("c1", 1, &[])).unwrap();
    for (to, expected) in [
        ("\"A\" <sip:%61lice:pw@EXAMPLE.com:5070;x=1>;tag=9", Ok("alice@example.com")),
        ("<tel:+1-234>", Ok("tel:+1234")),
        ("<mailto:a@b>", Err(404)),
        ("<sip:", Err(400)),
        ("<@>", Err(400)),
    ] {
        let bytes = text.replace("To: <sip:alice@example.com>", &format!("To: {to}"));
        let key = address_of_record(&Message::parse(bytes.as_bytes()).unwrap());
        assert_eq!(key.as_deref().map_err(Refusal::status), expected, "{to}");
    }
    let long = text.replace("sip:alice@", &format!("sip:{}@", "a".repeat(256)));
    let key = address_of_record(&Message::parse(long.as_bytes()).unwrap());
    assert_eq!(key, Err(Refusal::TooLong(StoredPart::AddressOfRecord)));
}

#[test]
fn contacts_of_the_200() {
    let mut out = Vec::new();
    write_contacts([], &mut out);
    assert_eq!(out, b"");
    let one = ListedBinding {
        contact: b"sip:a@h;ob",
        instance: None,
        reg_id: Some(7),
        q: None,
        expires: 9,
        gruu: None,
    };
    let listed = [
        one,
        ListedBinding { instance: Some(b"urn:uuid:1"), reg_id: Some(1), q: Some(1000), ..one },
        ListedBinding { instance: Some(b"urn:uuid:2"), reg_id: None, q: Some(500), ..one },
        ListedBinding { instance: Some(b"urn:uuid:3"), reg_id: None, gruu: Some("a@h"), ..one },
        // Without an instance there is none to name.
        ListedBinding { q: Some(50), gruu: Some("a@h"), ..one },
        ListedBinding { q: Some(7), ..one },
        ListedBinding { q: Some(0), ..one },
    ];
    write_contacts(listed, &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "<sip:a@h;ob>;expires=9, \
         <sip:a@h;ob>;q=1;expires=9;+sip.instance=\"<urn:uuid:1>\";reg-id=1, \
         <sip:a@h;ob>;q=0.5;expires=9;+sip.instance=\"<urn:uuid:2>\", \
         <sip:a@h;ob>;expires=9;+sip.instance=\"<urn:uuid:3>\";pub-gruu=\"sip:a@h;gr=urn:uuid:3\", \
         <sip:a@h;ob>;q=0.05;expires=9, <sip:a@h;ob>;q=0.007;expires=9, <sip:a@h;ob>;q=0;expires=9"
    );
}

/// Credentials that end soon shorten every time that the policy grants, and no more than that.
#[test]
fn no_registration_outlasts_the_credentials() {
    let seconds = std::time::Duration::from_secs;
    assert_eq!(POLICY.lasting_at_most(seconds(86_400)), POLICY);
    let short = Policy { min_expires: 30, max_expires: 30, default_expires: 30, ..POLICY };
    assert_eq!(POLICY.lasting_at_most(seconds(30)), short);
    let middle = Policy { max_expires: 700, ..POLICY };
    assert_eq!(POLICY.lasting_at_most(seconds(700)), middle);
    let over = Policy { min_expires: 1, max_expires: 1, default_expires: 1, ..POLICY };
    assert_eq!(POLICY.lasting_at_most(seconds(0)), over, "0 would remove the binding");
}

#[test]
fn what_is_stored_may_be_as_long_as_its_limit() {
    for part in [
        StoredPart::AddressOfRecord,
        StoredPart::Instance,
        StoredPart::ContactUri,
        StoredPart::CallId,
        StoredPart::Path,
    ] {
        assert_eq!(part.check(part.limit()), Ok(()));
        assert_eq!(part.check(part.limit() + 1), Err(Refusal::TooLong(part)));
    }
}

/// Values of Path are stored with a comma and a space between them.
#[test]
fn the_values_of_path_have_one_limit_together() {
    let path = |host: usize| format!("Path: <sip:{}>, <sip:b.invalid>", "h".repeat(host));
    let rest = "<sip:>".len() + "<sip:b.invalid>".len() + 2 * ", ".len();
    let longest = StoredPart::Path.limit() - rest;
    let contact = "Contact: <sip:a@h>;expires=70";
    does(&[contact, &path(longest)], &[], "+sip:a@h/70");
    refuses(&[contact, &path(longest + 1)], &[], Refusal::TooLong(StoredPart::Path));
}

/// A contact that goes makes room for one that comes in the same request.
#[test]
fn what_is_removed_makes_room_for_what_is_added() {
    let three = [bound("sip:a@h"), bound("sip:b@h"), bound("sip:c@h")];
    does(&["Contact: <sip:a@h>;expires=0, <sip:d@h>;expires=70"], &three, "-0 +sip:d@h/70");
    let two_for_one = ["Contact: <sip:a@h>;expires=0, <sip:d@h>;expires=70, <sip:e@h>;expires=70"];
    refuses(&two_for_one, &three, Refusal::TooManyContacts { max_contacts: 3 });
    does(&two_for_one, &three[..2], "-0 +sip:d@h/70 +sip:e@h/70");
}

/// Each refusal has a reason phrase of its own: user agents show it.
#[test]
fn reason_phrases_tell_refusals_apart() {
    let too_long = |part| Refusal::TooLong(part);
    let refusals = [
        Refusal::ToScheme,
        Refusal::NoCallId,
        Refusal::Instance,
        Refusal::StarNotAlone,
        Refusal::StarWithoutZero,
        Refusal::ContactTwice,
        Refusal::TooManyValues,
        too_long(StoredPart::AddressOfRecord),
        too_long(StoredPart::ContactUri),
        too_long(StoredPart::Instance),
        too_long(StoredPart::CallId),
        too_long(StoredPart::Path),
        Refusal::TooManyContacts { max_contacts: 1 },
        Refusal::TooBrief { min_expires: 60 },
        Refusal::FirstHop,
        Refusal::OutOfOrder,
    ];
    let reasons: std::collections::HashSet<_> = refusals.iter().map(Refusal::reason).collect();
    assert_eq!(reasons.len(), refusals.len());
    assert!(reasons.iter().all(|reason| !reason.is_empty() && reason.is_ascii()));
}
